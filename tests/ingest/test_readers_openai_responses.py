"""OpenAI Responses, and the prompts that are rebuilt through previous_response_id."""

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from ingest import threads
from ingest.readers.openai_responses import OpenAIResponses
from ingest.readers.reading import Interaction
from ingest.schema import content_id, interaction_id, messages_hash

READER = OpenAIResponses()


def text(role: str, content: str | None, **fields: Any) -> dict[str, str | None]:
    return {"role": role, "content": content, "tool_calls": None, "tool_call_id": None, "name": None} | fields


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def output(content: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": content}]}


def answered(number: int, *items: dict[str, Any], **fields: Any) -> dict[str, Any]:
    usage = {"input_tokens": 3, "output_tokens": 2}
    response = {"id": f"resp_{number}", "object": "response", "created_at": 1760000000, "status": "completed"}
    return response | {"model": "m-1", "output": list(items), "usage": usage, "error": None} | fields


def exchange(number: int, said: Any, answer: str, **request: Any) -> dict[str, Any]:
    return {"request": {"model": "m", "input": said} | request, "response": answered(number, output(answer))}


def read_one(record: dict[str, Any]) -> Interaction:
    assert READER.sniff(record)
    [one] = READER.read(record).interactions
    return one


def test_a_response() -> None:
    one = read_one(exchange(1, "hi", "hey", instructions="s", temperature=0.5, max_output_tokens=9, user="u-1"))
    assert one.prompt == [text("system", "s"), text("user", "hi")]
    assert one.response == [text("assistant", "hey")]
    assert (one.source_id, one.parent_id, one.status, one.user) == ("resp_1", None, "ok", "u-1")
    assert (one.model, one.model_requested, one.finish_reason) == ("m-1", "m", "stop")
    assert one.sampling == '{"instructions":true,"max_output_tokens":9,"temperature":0.5}'
    assert (one.tokens_in, one.tokens_out) == (3, 2)
    assert one.event_time == datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)


def test_items_become_messages_and_tools_those_of_chat() -> None:
    called = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":1}'}
    function = {"name": "f", "parameters": {"type": "object"}, "strict": True}
    request = {
        "input": [
            {"role": "developer", "content": "d"},
            {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
            {"type": "reasoning", "summary": []},
            {"role": "assistant", "content": [{"type": "output_text", "text": "wait"}]},
            called,
            called | {"call_id": "c2"},
            {"type": "function_call_output", "call_id": "c1", "output": "x"},
            {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "y"}]},
            {"role": "user", "content": [{"type": "input_image", "image_url": "u"}]},
        ],
        "tools": [{"type": "function"} | function, {"type": "web_search_preview"}],
    }
    search = {"type": "web_search_call", "id": "w", "status": "completed"}
    refusal = {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    one = read_one({"request": request, "response": answered(1, {"type": "reasoning"}, search, refusal, called)})
    made = {"type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    assert one.prompt == [
        text("developer", "d"),
        text("user", "a\nb"),
        text("assistant", "wait", tool_calls=compact([{"id": "c1"} | made, {"id": "c2"} | made])),
        text("tool", "x", tool_call_id="c1"),
        text("tool", "y", tool_call_id="c2"),
        text("user", '[{"type":"input_image","image_url":"u"}]'),
    ]
    assert one.response == [
        text("assistant", None, tool_calls=compact([search])),
        text("assistant", "No.", tool_calls=compact([{"id": "c1"} | made])),
    ]
    assert one.tools == compact([{"type": "function", "function": function}, {"type": "web_search_preview"}])
    assert one.finish_reason == "tool_calls"


FINISH = [
    ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
    ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
    ({"status": "incomplete"}, "length"),
    ({"output": []}, "stop"),
]


@pytest.mark.parametrize(("fields", "expected"), FINISH)
def test_finish_reasons(fields: dict[str, Any], expected: str) -> None:
    record = {"request": {"input": "hi"}, "response": answered(1, output("a")) | fields}
    assert read_one(record).finish_reason == expected


def test_a_stream_says_everything_in_its_last_event() -> None:
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": answered(1, status="in_progress")},
        {"type": "response.output_text.delta", "delta": "he"},
        {"type": "response.completed", "response": answered(1, output("hey\u2028"))},
    ]
    body = "".join(f"event: {e['type']}\ndata: {json.dumps(e, ensure_ascii=False)}\n\n" for e in events)
    row = {"kind": "openai_responses", "status": 200, "request": {"input": "hi"}}
    assert read_one(row | {"response_raw": body}).response == [text("assistant", "hey\u2028")]
    cut = body[: body.index("event: response.completed")]
    assert READER.read(row | {"response_raw": cut}).skipped == "response_cut_off"
    failed = 'data: {"type":"error","message":"x"}\n\n'
    assert READER.read(row | {"response_raw": failed}).skipped == "error_response"


SKIPPED: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("failed", {}, {"status": "failed", "error": {"code": "server_error"}}, "error_response"),
    ("cancelled", {}, {"status": "cancelled"}, "response_cancelled"),
    ("in the background", {}, {"status": "queued"}, "response_queued"),
    ("conversation", {"conversation": "conv_1"}, {}, "prompt_not_logged"),
    ("template", {"prompt": {"id": "pmpt_1"}}, {}, "prompt_not_logged"),
    ("an item's id", {"input": [{"type": "item_reference", "id": "msg_1"}]}, {}, "prompt_not_logged"),
    ("compacted", {"input": [{"type": "compaction", "encrypted_content": "x"}]}, {}, "prompt_not_logged"),
]


@pytest.mark.parametrize(("request_", "response", "reason"), [s[1:] for s in SKIPPED], ids=[s[0] for s in SKIPPED])
def test_what_is_skipped(request_: dict[str, Any], response: dict[str, Any], reason: str) -> None:
    record = {"request": {"input": "hi"} | request_, "response": answered(1, output("a")) | response}
    assert READER.read(record).skipped == reason


# Four exchanges of one conversation; resp_4 follows resp_2, as resp_3 does.
THREAD = [
    exchange(1, "q1", "a1", instructions="s1"),
    exchange(2, "q2", "a2", previous_response_id="resp_1", instructions="s2"),
    exchange(3, "q3", "a3", previous_response_id="resp_2"),
    exchange(4, "q3", "a4", previous_response_id="resp_2"),
]
WHOLE = {
    "resp_1": [text("system", "s1"), text("user", "q1")],
    "resp_2": [text("system", "s2"), text("user", "q1"), text("assistant", "a1"), text("user", "q2")],
    "resp_3": [
        text(*t) for t in (("user", "q1"), ("assistant", "a1"), ("user", "q2"), ("assistant", "a2"), ("user", "q3"))
    ],
}
WHOLE["resp_4"] = WHOLE["resp_3"]


def prompts(workspace: Any) -> dict[str, tuple[str, Any]]:
    return {
        name: (status, prompt)
        for name, status, prompt in workspace.rows("interactions", "source_id", "status", "prompt")
    }


def test_prompts_are_rebuilt_from_one_file(workspace: Any, log: Callable[..., bytes]) -> None:
    (workspace.logs / "a.jsonl").write_bytes(log(*reversed(THREAD)))
    summary = workspace.run()
    assert (summary.completed, summary.awaiting_parent) == (3, 0)
    assert prompts(workspace) == {name: ("ok", prompt) for name, prompt in WHOLE.items()}
    columns = ("source_id", "interaction_id", "prompt_hash", "sibling_group")
    for name, key, prompt_hash, siblings in workspace.rows("interactions", *columns):
        assert key == interaction_id("app", name)
        assert prompt_hash == messages_hash(WHOLE[name])
        assert siblings == content_id(["siblings", "app", None, prompt_hash])


def test_prompts_wait_for_the_response_before_them(workspace: Any, log: Callable[..., bytes]) -> None:
    """Files arrive in the wrong order: 3, 2, then 1. Votes on what is not whole wait with it."""
    (workspace.logs / "c.jsonl").write_bytes(log(THREAD[2], THREAD[3]))
    vote = {"winnow": 1, "kind": "feedback", "id": "v", "time": "2026-10-01T08:16:00Z", "signal": "choice"}
    sides = {"target": {"id": "resp_3"}, "others": [{"id": "resp_4"}]}
    (workspace.logs / "votes.jsonl").write_bytes(log(vote | sides))
    found = []
    for name, record in (("", None), ("b.jsonl", THREAD[1]), ("a.jsonl", THREAD[0])):
        if record:
            (workspace.logs / name).write_bytes(log(record))
        summary = workspace.run()
        assert summary.paired is not None
        found.append((summary.completed, summary.awaiting_parent, summary.paired.orphans, summary.paired.total))
    assert found == [(0, 2, 1, 0), (0, 3, 1, 0), (3, 0, 0, 1)]
    assert prompts(workspace) == {name: ("ok", prompt) for name, prompt in WHOLE.items()}
    [[prompt, chosen]] = workspace.rows("triples", "prompt", "chosen")
    assert (prompt, chosen) == (WHOLE["resp_3"], [text("assistant", "a3")])


def test_a_prompt_whose_beginning_never_comes_says_so(workspace: Any, log: Callable[..., bytes]) -> None:
    (workspace.logs / "a.jsonl").write_bytes(log(*THREAD[1:]))
    workspace.run()
    again = workspace.run()
    assert (again.completed, again.awaiting_parent) == (0, 3)
    assert prompts(workspace)["resp_3"] == ("awaits_parent", [text("user", "q3")])


def test_the_order_of_files_and_runs_makes_no_difference(
    workspace: Any, tmp_path_factory: pytest.TempPathFactory, log: Callable[..., bytes]
) -> None:
    generator = random.Random(3)
    outcomes = set()
    for _ in range(4):
        order = generator.sample(THREAD, len(THREAD))
        workspace = type(workspace)(tmp_path_factory.mktemp("order"))
        for number, record in enumerate(order):
            (workspace.logs / f"{number}.jsonl").write_bytes(log(record))
            if generator.random() < 0.5:
                workspace.run()
        workspace.run()
        rows = [row | {"file_id": 0, "byte_offset": 0} for row in workspace.stable()["interactions"]]
        outcomes.add(json.dumps(rows, default=str))
    assert len(outcomes) == 1


def test_nothing_is_written_where_nothing_waits(workspace: Any, log: Callable[..., bytes]) -> None:
    (workspace.logs / "a.jsonl").write_bytes(log(*THREAD))
    workspace.run()
    before = workspace.versions()
    assert threads.complete(workspace.lake) == (0, 0)
    assert workspace.versions() == before
