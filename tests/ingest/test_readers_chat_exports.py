"""Exports of chat clients: LibreChat's trees and thumbs, ChatGPT's data export, Chatbot UI's."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.errors import RecordError
from ingest.readers.branches import Node, prompt
from ingest.readers.chatbotui_export import ChatbotUIExport
from ingest.readers.chatgpt_export import ChatGPTExport
from ingest.readers.librechat import LibreChat
from ingest.readers.preference import turn
from ingest.readers.reading import Ref

LIBRECHAT, CHATGPT = LibreChat(), ChatGPTExport()


def test_a_path_needs_every_ancestor_and_an_end() -> None:
    """a <- b <- d; c's parent is missing; e and f name each other."""
    parents = {"a": None, "b": "a", "c": "x", "d": "b", "e": "f", "f": "e"}
    nodes = {key: Node(parent, [turn("user", key)]) for key, parent in parents.items()}
    paths = {key: prompt(nodes, key) for key in nodes}
    said = {key: path if path is None else "".join(str(m["content"]) for m in path) for key, path in paths.items()}
    assert said == {"a": "", "b": "a", "c": None, "d": "ab", "e": None, "f": None}


def user(key: str, parent: str | None, **fields: Any) -> dict[str, Any]:
    return {"messageId": key, "parentMessageId": parent, "isCreatedByUser": True, "text": f"ask {key}"} | fields


def bot(key: str, parent: str, **fields: Any) -> dict[str, Any]:
    said = {"messageId": key, "parentMessageId": parent, "isCreatedByUser": False, "text": f"say {key}", "model": "m-1"}
    return said | {"conversationId": "c", "unfinished": False, "error": False} | fields


def export(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"conversationId": "c", "endpoint": "openAI", "messages": list(messages)} | fields


def lines(messages: Any) -> list[str]:
    return [f"{m['role']}: {m['content']}" for m in messages]


BRANCHES = [
    user("1", "00000000-0000-0000-0000-000000000000"),
    bot("2", "1", finish_reason="stop", createdAt="2026-10-01T08:15:30.000Z", user="u-1"),
    bot("3", "1"),
    user("4", "3"),
    bot("5", "4"),
]
NESTED = [
    BRANCHES[0] | {"children": [BRANCHES[1], BRANCHES[2] | {"children": [BRANCHES[3] | {"children": [BRANCHES[4]]}]}]}
]


@pytest.mark.parametrize("messages", [BRANCHES, NESTED], ids=["flat", "nested"])
def test_librechat_answers_follow_their_branch(messages: list[dict[str, Any]]) -> None:
    options = {"model": "m", "promptPrefix": "Be brief.", "temperature": 0.5, "title": "t"}
    reading = LIBRECHAT.read(export(*messages, options=options))
    assert [(i.source_id, i.parent_id, lines(i.prompt), lines(i.response)) for i in reading.interactions] == [
        ("2", "1", ["system: Be brief.", "user: ask 1"], ["assistant: say 2"]),
        ("3", "1", ["system: Be brief.", "user: ask 1"], ["assistant: say 3"]),
        ("5", "4", ["system: Be brief.", "user: ask 1", "assistant: say 3", "user: ask 4"], ["assistant: say 5"]),
    ]
    first = reading.interactions[0]
    assert (first.conversation_id, first.user, first.model, first.model_requested) == ("c", "u-1", "m-1", "m")
    assert (first.sampling, first.finish_reason) == ('{"temperature":0.5}', "stop")
    assert first.event_time == datetime(2026, 10, 1, 8, 15, 30, tzinfo=UTC)
    assert (reading.feedback, reading.skipped_parts) == ((), {})


def test_librechat_what_is_no_answer_is_counted() -> None:
    reading = LIBRECHAT.read(
        export(
            user("1", None),
            bot("2", "1", unfinished=True),
            bot("3", "1", error=True),
            bot("4", "1", isTemporary=True),
            bot("5", "1", text=""),
            bot("6", "lost"),
        )
    )
    assert reading.interactions == ()
    assert reading.skipped_parts == {
        "unfinished": 1,
        "error_response": 1,
        "temporary": 1,
        "no_response": 1,
        "missing_parent": 1,
    }
    assert LIBRECHAT.read(export(user("1", None))).skipped == "no_answer"


CONTENTS = [
    ("text parts", [{"type": "text", "text": "a"}, {"type": "text", "text": {"value": "b"}}], "a\nb"),
    ("reasoning", [{"type": "think", "think": "hm"}, {"type": "text", "text": "a"}], "a"),
    ("an image", [{"type": "image_file", "x": 1}], '[{"type":"image_file","x":1}]'),
    ("text", "a", "a"),
]


@pytest.mark.parametrize(("content", "expected"), [c[1:] for c in CONTENTS], ids=[c[0] for c in CONTENTS])
def test_librechat_contents(content: Any, expected: str) -> None:
    [one] = LIBRECHAT.read(export(user("1", None), bot("2", "1", text="", content=content))).interactions
    assert one.response[0]["content"] == expected


def test_librechat_thumbs_stand_on_the_message_in_an_export_and_alone() -> None:
    rated = bot("2", "1", feedback={"rating": "thumbsDown", "tag": "inaccurate"}, updatedAt="1970-01-01T00:00:01Z")
    for reading in (
        LIBRECHAT.read(rated | {"user": "u-1"}),
        LIBRECHAT.read(export(user("1", None), rated | {"user": "u-1"})),
    ):
        [one] = reading.feedback
        assert (one.source_id, one.signal, one.target, one.value) == ("2:feedback", "thumb", Ref("2"), -1.0)
        assert (one.text, one.rater_kind, one.rater, one.revision) == ("inaccurate", "user", "u-1", 1_000_000)
    assert LIBRECHAT.read(bot("2", "1")).skipped == "message_outside_its_conversation"
    assert LIBRECHAT.read(rated | {"isTemporary": True}).skipped == "message_outside_its_conversation"


def node(key: str, parent: str | None, role: str, content: Any, **fields: Any) -> dict[str, Any]:
    content = {"content_type": "text", "parts": [content]} if isinstance(content, str) else content
    message = {"author": {"role": role, "name": None}, "content": content, "status": "finished_successfully"}
    return {"id": key, "parent": parent, "children": [], "message": message | {"recipient": "all"} | fields}


def test_chatgpt_tools_branches_and_what_was_stopped() -> None:
    """root - hidden system - question - call - tool's answer - answer; beside the call, one that was interrupted."""
    entries = [
        {"id": "root", "parent": None, "message": None},
        node("sys", "root", "system", ""),
        node("ask", "sys", "user", "hi"),
        node("call", "ask", "assistant", {"content_type": "code", "text": 'search("x")'}, recipient="browser"),
        node("found", "call", "tool", {"content_type": "tether_quote", "text": "page", "url": "u"}),
        node("mind", "found", "assistant", {"content_type": "thoughts", "thoughts": []}),
        node(
            "say",
            "mind",
            "assistant",
            "hey",
            create_time=1760000000,
            metadata={"model_slug": "gpt", "finish_details": {"type": "stop"}},
        ),
        node("cut", "ask", "assistant", "he", status="in_progress"),
    ]
    record = {"mapping": {e["id"]: e for e in entries}, "current_node": "say", "conversation_id": "c", "id": "c"}
    reading = CHATGPT.read(record)
    call, said = reading.interactions
    assert (call.source_id, lines(call.prompt)) == ("call", ["user: hi"])
    assert json.loads(str(call.response[0]["tool_calls"])) == [
        {"type": "function", "function": {"name": "browser", "arguments": 'search("x")'}}
    ]
    assert (said.source_id, said.parent_id, said.conversation_id) == ("say", "mind", "c")
    assert lines(said.prompt) == ["user: hi", "assistant: None", "tool: page"]
    assert (lines(said.response), said.model, said.finish_reason) == (["assistant: hey"], "gpt", "stop")
    assert said.event_time == datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)
    assert reading.skipped_parts == {"unfinished": 1, "reasoning": 1}


def test_chatbot_ui_answers_are_named_by_their_place() -> None:
    messages = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    conversation = {
        "id": "c",
        "prompt": "Be brief.",
        "temperature": 1,
        "model": {"id": "m"},
        "messages": [{"role": role, "content": content} for role, content in messages],
    }
    reading = ChatbotUIExport().read({"version": 4, "history": [conversation], "folders": [], "prompts": []})
    assert [(i.source_id, lines(i.prompt), lines(i.response)) for i in reading.interactions] == [
        ("c:1", ["system: Be brief.", "user: a"], ["assistant: b"]),
        ("c:3", ["system: Be brief.", "user: a", "assistant: b", "user: c"], ["assistant: d"]),
    ]
    assert {(i.model, i.model_requested, i.sampling) for i in reading.interactions} == {
        (None, "m", '{"temperature":1}')
    }


REFUSED: list[tuple[str, Any, dict[str, Any], str, str]] = [
    ("no id", LIBRECHAT, export(bot("2", "1") | {"messageId": None}), "missing_field", "messages[0].messageId: "),
    ("no such thumb", LIBRECHAT, bot("2", "1", feedback={"rating": "SECRET"}), "bad_value", "feedback.rating: "),
    (
        "time without zone",
        LIBRECHAT,
        export(user("1", None), bot("2", "1", createdAt="2026-10-01")),
        "bad_value",
        "zone",
    ),
    (
        "no author",
        CHATGPT,
        {"mapping": {"a": {"message": {}}}, "current_node": "a"},
        "missing_field",
        "a.message.author",
    ),
]


@pytest.mark.parametrize(
    ("reader", "record", "reason", "detail"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_bad_records_are_refused(reader: Any, record: dict[str, Any], reason: str, detail: str) -> None:
    assert reader.sniff(record)
    with pytest.raises(RecordError) as caught:
        reader.read(record)
    assert caught.value.reason == reason
    assert detail in caught.value.detail
    assert "SECRET" not in caught.value.detail
