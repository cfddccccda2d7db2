"""The real `openai` client against a stub server: the caller sees what it would see, the lake holds what was said."""

import asyncio
import gc
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from ingest.logged_openai import logged
from ingest.logger import DeploymentLog, Turn

from .conftest import Workspace, run_async
from .openai_stub import Stub, logprob, stub, tokens

ASKED: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How do I reset it?"}]
ANSWERS = ["".join(tokens(i)) for i in range(3)]


@pytest.fixture(scope="module")
def server() -> Iterator[Stub]:
    with stub() as server:
        yield server


@pytest.fixture
def log(workspace: Workspace) -> Iterator[DeploymentLog]:
    made = DeploymentLog(workspace.logs, linger_seconds=0.001)
    yield made
    made.close()


@pytest.fixture
def client(server: Stub, log: DeploymentLog) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url, api_key="k", max_retries=0) as made:
        yield logged(made, log)


@pytest.fixture
def plain(server: Stub) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url, api_key="k", max_retries=0) as made:
        yield made


def lake(workspace: Workspace, log: DeploymentLog) -> list[dict[str, Any]]:
    """Ingest what was logged, and return the interactions."""
    assert log.flush()
    assert log.counters().lost == {}
    assert workspace.run().totals()["quarantined"] == 0
    found: list[dict[str, Any]] = workspace.arrow("interactions").to_pylist()
    return sorted(found, key=lambda row: (row["event_time"], row["choice_index"]))


def skipped(workspace: Workspace, log: DeploymentLog) -> dict[str, int]:
    assert log.flush()
    summary = workspace.run()
    assert summary.totals()["interactions"] == 0
    return dict(summary.skipped())


def without_ids(answer: Any) -> dict[str, Any]:
    """Return an answer as plain values, without the number that the stub counts up."""
    return {**answer.model_dump(), "id": None}


def test_answers_with_logprobs_are_in_the_lake_and_the_caller_sees_none(
    workspace: Workspace, log: DeploymentLog, client: openai.OpenAI, plain: openai.OpenAI, server: Stub
) -> None:
    with log.turn(conversation_id="c-7", user_id="u-1", consent="training", shown=True) as turn:
        answer = client.chat.completions.create(model="m", messages=ASKED, n=3, temperature=0.5)
    assert server.requests[-1]["logprobs"] is True
    assert without_ids(answer) == without_ids(
        plain.chat.completions.create(model="m", messages=ASKED, n=3, temperature=0.5)
    )
    log.thumb((turn.id or "", 1), up=True, rater="u-1")
    rows = lake(workspace, log)
    assert [row["source_id"] for row in rows] == [turn.id] * 3
    assert [row["choice_index"] for row in rows] == [0, 1, 2]
    for i, row in enumerate(rows):
        assert [(m["role"], m["content"]) for m in row["prompt"]] == [(m["role"], m["content"]) for m in ASKED]
        assert [m["content"] for m in row["response"]] == [ANSWERS[i]]
        assert row["token_logprobs"] == [logprob(i, place) for place in range(len(tokens(i)))]
        assert (row["model_requested"], row["model"], row["logprob_model"]) == ("m", "m-01", "m-01")
        assert (row["conversation_id"], row["consent"], row["shown"]) == ("c-7", "training", True)
        assert (row["finish_reason"], row["tokens_in"], row["latency_ms"] > 0) == ("stop", 7, True)
        assert json.loads(row["sampling"]) == {"n": 3, "temperature": 0.5}
    (about,) = workspace.rows("feedback", "interaction_id")
    assert about == rows[1]["interaction_id"]


def test_streams_pass_unchanged_and_are_joined(
    workspace: Workspace, log: DeploymentLog, client: openai.OpenAI, plain: openai.OpenAI
) -> None:
    with log.turn(user_id="u-1") as turn:
        stream = client.chat.completions.create(model="m", messages=ASKED, n=2, stream=True)
    assert isinstance(stream, openai.Stream)
    seen = [without_ids(chunk) for chunk in stream]  # read after the turn, and still of it
    unlogged = plain.chat.completions.create(model="m", messages=ASKED, n=2, stream=True)
    assert seen == [without_ids(chunk) for chunk in unlogged]
    rows = lake(workspace, log)
    assert [row["source_id"] for row in rows] == [turn.id] * 2
    assert [row["response"][0]["content"] for row in rows] == ANSWERS[:2]
    assert [row["token_logprobs"] for row in rows] == [[logprob(i, p) for p in range(len(tokens(i)))] for i in (0, 1)]
    assert {row["finish_reason"] for row in rows} == {"stop"}


def test_async_clients_are_logged_alike(workspace: Workspace, log: DeploymentLog, server: Stub) -> None:
    async def serve(number: int) -> tuple[Turn, str]:
        async with openai.AsyncOpenAI(base_url=server.url, api_key="k", max_retries=0) as made:
            client = logged(made, log)
            with log.turn(user_id=f"u-{number}") as turn:
                if number % 2:
                    answer = await client.chat.completions.create(model="m", messages=ASKED)
                    return turn, answer.choices[0].message.content or ""
                stream = await client.chat.completions.create(model="m", messages=ASKED, stream=True)
                return turn, "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def all_at_once() -> list[tuple[Turn, str]]:
        return await asyncio.gather(*[serve(number) for number in range(6)])

    served = run_async(all_at_once())
    assert [text for _, text in served] == [ANSWERS[0]] * 6
    rows = {row["source_id"]: row for row in lake(workspace, log)}
    assert sorted(rows) == sorted(turn.id or "" for turn, _ in served)
    users = [rows[turn.id or ""]["user_id"] for turn, _ in served]
    assert len(set(users)) == 6  # no turn was mixed up with another
    assert all(row["token_logprobs"] == [logprob(0, p) for p in range(4)] for row in rows.values())


def test_server_that_refuses_logprobs_is_asked_once_and_remembered(
    workspace: Workspace, log: DeploymentLog, client: openai.OpenAI, server: Stub
) -> None:
    before = len(server.requests)
    texts = [
        used.chat.completions.create(model="refuses-logprobs", messages=ASKED).choices[0].message.content
        for used in (client, client.with_options(timeout=9))
    ]
    assert texts == [ANSWERS[0]] * 2
    assert ["logprobs" in body for body in server.requests[before:]] == [True, False, False]
    rows = lake(workspace, log)
    assert [(row["token_logprobs"], row["logprob_model"]) for row in rows] == [(None, None)] * 2


def test_caller_who_asks_for_logprobs_gets_them(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="m", messages=ASKED, logprobs=True)
    assert answer.choices[0].logprobs is not None
    assert [t.logprob for t in answer.choices[0].logprobs.content or ()] == [logprob(0, p) for p in range(4)]


def test_nothing_is_asked_for_where_that_is_settled(server: Stub, log: DeploymentLog, client: openai.OpenAI) -> None:
    client.chat.completions.create(model="m", messages=ASKED, logprobs=False)
    with openai.OpenAI(base_url=server.url, api_key="k") as other:
        logged(other, log, logprobs=False).chat.completions.create(model="m", messages=ASKED)
    assert [body.get("logprobs") for body in server.requests[-2:]] == [False, None]


def test_failures_are_raised_as_ever_and_logged(
    workspace: Workspace, log: DeploymentLog, client: openai.OpenAI
) -> None:
    with log.turn() as turn:
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(model="busy", messages=ASKED)
        gone = client.with_options(base_url="http://127.0.0.1:9/v1")
        with pytest.raises(openai.APIConnectionError):
            gone.chat.completions.create(model="m", messages=ASKED)
    assert turn.ids == []
    assert skipped(workspace, log) == {"http_status_429": 1, "no_response": 1}


def _left(client: openai.OpenAI) -> None:
    with client.chat.completions.create(model="m", messages=ASKED, stream=True) as stream:
        next(iter(stream))


def _dropped(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model="m", messages=ASKED, stream=True)
    next(iter(stream))
    stream.response.close()
    del stream
    gc.collect()


def _unread(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model="m", messages=ASKED, stream=True)
    stream.response.close()
    del stream
    gc.collect()


def _broken(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIConnectionError):
        list(client.chat.completions.create(model="cuts", messages=ASKED, stream=True))


LEFT = [("left", _left), ("dropped", _dropped), ("never read", _unread), ("connection broke", _broken)]


@pytest.mark.parametrize("leave", [case[1] for case in LEFT], ids=[case[0] for case in LEFT])
def test_streams_without_an_end_are_told_from_whole_ones(
    workspace: Workspace, log: DeploymentLog, client: openai.OpenAI, leave: Callable[[openai.OpenAI], None]
) -> None:
    with log.turn() as turn:
        leave(client)
    assert skipped(workspace, log) == {"cut_off": 1}
    assert turn.ids == []


def test_stream_that_is_left_after_its_last_token_is_whole(
    workspace: Workspace, log: DeploymentLog, client: openai.OpenAI
) -> None:
    with client.chat.completions.create(model="m", messages=ASKED, stream=True) as stream:
        for chunk in stream:
            if chunk.choices[0].finish_reason:
                break
    (row,) = lake(workspace, log)
    assert (row["response"][0]["content"], row["finish_reason"]) == (ANSWERS[0], "stop")


def test_cancelled_async_stream_is_cut_off(workspace: Workspace, log: DeploymentLog, server: Stub) -> None:
    async def serve() -> None:
        async with openai.AsyncOpenAI(base_url=server.url, api_key="k") as made:
            stream = await logged(made, log).chat.completions.create(model="m", messages=ASKED, stream=True)
            async with stream:
                await stream.__anext__()

    run_async(serve())
    assert skipped(workspace, log) == {"cut_off": 1}


def test_cancelled_async_call_is_logged_as_one_without_an_answer(
    workspace: Workspace, log: DeploymentLog, server: Stub
) -> None:
    async def serve() -> None:
        async with openai.AsyncOpenAI(base_url=server.url, api_key="k", max_retries=0) as made:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await logged(made, log).chat.completions.create(model="slow", messages=ASKED)

    run_async(serve())
    assert skipped(workspace, log) == {"no_response": 1}


def test_arguments_that_are_wrong_are_the_clients_to_refuse(
    log: DeploymentLog, client: openai.OpenAI, plain: openai.OpenAI
) -> None:
    wrong: dict[str, Any] = {"model": ["m"], "messages": ASKED, "extra_body": 7}
    with pytest.raises(Exception) as expected:
        plain.chat.completions.create(**wrong)
    with pytest.raises(type(expected.value), match=re.escape(str(expected.value))):
        client.chat.completions.create(**wrong)
    assert log.counters().lost == {"not_logged": 1}


def test_helpers_of_the_client_are_logged_too(
    workspace: Workspace, log: DeploymentLog, client: openai.OpenAI, server: Stub
) -> None:
    with client.chat.completions.stream(model="m", messages=ASKED) as events:
        assert events.get_final_completion().choices[0].message.content == ANSWERS[0]
    assert client.chat.completions.parse(model="m", messages=ASKED).choices[0].message.content == ANSWERS[0]
    raw = client.chat.completions.with_raw_response.create(model="m", messages=ASKED)
    assert "logprobs" not in server.requests[-1]  # the caller of a raw response would see them
    assert raw.parse().choices[0].message.content == ANSWERS[0]
    assert client.with_options(timeout=9).chat.completions.create(model="m", messages=ASKED).choices
    rows = lake(workspace, log)
    assert [row["response"][0]["content"] for row in rows] == [ANSWERS[0]] * 4
    assert [row["token_logprobs"] is None for row in rows] == [False, False, True, False]


def test_raw_stream_is_counted_as_not_logged(log: DeploymentLog, client: openai.OpenAI) -> None:
    with client.chat.completions.with_streaming_response.create(model="m", messages=ASKED) as answer:
        assert answer.read()
    assert log.counters().lost == {"not_logged": 1}


def test_responses_go_on_from_each_other(workspace: Workspace, log: DeploymentLog, client: openai.OpenAI) -> None:
    with log.turn(conversation_id="c-1") as turn:
        first = client.responses.create(model="m", input="How do I reset it?", instructions="Be brief.")
        stream = client.responses.create(model="m", input="And then?", previous_response_id=first.id, stream=True)
        second = next(event.response for event in stream if event.type == "response.completed")
    assert turn.ids == [first.id, second.id]
    rows = lake(workspace, log)
    assert [[m["content"] for m in row["prompt"]] for row in rows] == [
        ["Be brief.", "How do I reset it?"],
        ["How do I reset it?", "Choose Reset, ok?", "And then?"],
    ]
    assert [(row["status"], row["conversation_id"]) for row in rows] == [("ok", "c-1")] * 2


def test_response_stream_that_is_left_is_cut_off(
    workspace: Workspace, log: DeploymentLog, client: openai.OpenAI
) -> None:
    with client.responses.create(model="m", input="How?", stream=True) as stream:
        next(iter(stream))
    assert skipped(workspace, log) == {"cut_off": 1}


def test_messages_are_logged_as_they_were_sent(workspace: Workspace, log: DeploymentLog, client: openai.OpenAI) -> None:
    """A caller goes on with its list while the stream runs, and puts the client's own objects into it."""
    said = client.chat.completions.create(model="m", messages=ASKED).choices[0].message
    messages: list[Any] = [*ASKED, said, {"role": "user", "content": "And then?"}]
    for _ in client.chat.completions.create(model="m", messages=messages, stream=True):
        messages.append({"role": "user", "content": "later"})  # noqa: PERF401
    rows = lake(workspace, log)
    assert [m["content"] for m in rows[1]["prompt"]] == ["Be brief.", ASKED[1]["content"], ANSWERS[0], "And then?"]


def test_bug_of_ours_reaches_nobody(log: DeploymentLog, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.openai_calls._dumped", lambda value: value.no_such_method())
    answer = client.chat.completions.create(model="m", messages=ASKED)
    assert (answer.choices[0].message.content, answer.choices[0].logprobs) == (ANSWERS[0], None)
    chunks = list(client.chat.completions.create(model="m", messages=ASKED, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWERS[0]
    assert log.counters().lost == {"not_logged": 2}


@pytest.mark.parametrize("broken", [("interaction",), ("snapshot",), ("interaction", "snapshot", "not_logged")])
def test_broken_log_reaches_nobody(
    log: DeploymentLog, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch, broken: tuple[str, ...]
) -> None:
    for name in broken:
        monkeypatch.setattr(log, name, lambda *_, **__: 1 / 0)
    answer = client.chat.completions.create(model="m", messages=ASKED)
    assert answer.choices[0].message.content == ANSWERS[0]
    assert log.counters().lost == ({} if "not_logged" in broken else {"not_logged": 1})


def test_client_is_wrapped_once(workspace: Workspace, log: DeploymentLog, client: openai.OpenAI) -> None:
    assert logged(client, log) is client
    client.chat.completions.create(model="m", messages=ASKED)
    assert len(lake(workspace, log)) == 1
