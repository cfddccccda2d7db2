"""Winnow's own log."""

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.errors import RecordError
from ingest.readers.reading import Ref
from ingest.readers.winnow import Winnow

READER = Winnow()

EXCHANGE: dict[str, Any] = {
    "winnow": 1,
    "kind": "interaction",
    "id": "int-1",
    "time": "2026-10-01T10:15:30.123456+02:00",
    "conversation_id": "conv-1",
    "parent_id": "int-0",
    "turn_index": 2,
    "user_id": "u-1",
    "consent": "training",
    "shown": True,
    "position": "left",
    "arm": "support-3",
    "propensity": 0.5,
    "latency_ms": 412,
    "status": 200,
    "request": {"model": "support", "messages": [{"role": "user", "content": "q"}], "max_tokens": 8},
    "response": {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "support-3",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "a"},
                "finish_reason": "stop",
                "logprobs": {"content": [{"token": "a", "logprob": -0.5}, {"token": "", "logprob": -0.25}]},
                "token_ids": [7, 2],
            }
        ],
        "usage": {"prompt_tokens": 4, "completion_tokens": 2},
    },
    "logprob_model": "support-3",
}

VOTE: dict[str, Any] = {
    "winnow": 1,
    "kind": "feedback",
    "id": "fb-1",
    "revision": 3,
    "time": "2026-10-01T08:16:00Z",
    "signal": "choice",
    "target": {"id": "int-1", "choice": 0},
    "others": [{"id": "int-1", "choice": 1}, {"id": "int-2"}],
    "value": 1,
    "scale": [0, 1],
    "text": None,
    "rater": {"kind": "user", "id": "u-1"},
    "position": "right",
    "retracted": False,
}


def test_an_exchange() -> None:
    [one] = READER.read(EXCHANGE).interactions
    assert (one.source_id, one.conversation_id, one.parent_id, one.turn_index) == ("int-1", "conv-1", "int-0", 2)
    assert (one.user, one.consent, one.shown, one.position) == ("u-1", "training", True, "left")
    assert (one.arm, one.propensity, one.latency_ms) == ("support-3", 0.5, 412.0)
    assert (one.model, one.model_requested, one.sampling) == ("support-3", "support", '{"max_tokens":8}')
    assert (one.token_ids, one.token_logprobs, one.logprob_model) == ([7, 2], [-0.5, -0.25], "support-3")
    assert one.event_time == datetime(2026, 10, 1, 8, 15, 30, 123456, tzinfo=UTC)


def test_what_an_exchange_does_not_say_is_none() -> None:
    bare = {key: EXCHANGE[key] for key in ("winnow", "kind", "id", "time", "status", "request", "response")}
    [one] = READER.read(bare).interactions
    assert (one.consent, one.shown, one.user, one.conversation_id, one.logprob_model) == (None,) * 5


def test_two_choices_share_the_id() -> None:
    record = deepcopy(EXCHANGE)
    second = deepcopy(record["response"]["choices"][0]) | {"index": 1}
    record["response"]["choices"].append(second)
    assert [(i.source_id, i.choice_index) for i in READER.read(record).interactions] == [("int-1", 0), ("int-1", 1)]


def test_a_vote() -> None:
    [one] = READER.read(VOTE).feedback
    assert (one.source_id, one.revision, one.signal) == ("fb-1", 3, "choice")
    assert (one.target, one.others) == (Ref("int-1", 0), [Ref("int-1", 1), Ref("int-2", 0)])
    assert (one.value, one.scale_min, one.scale_max, one.text) == (1.0, 0.0, 1.0, None)
    assert (one.rater_kind, one.rater, one.position, one.retracted) == ("user", "u-1", "right", False)
    assert one.event_time == datetime(2026, 10, 1, 8, 16, tzinfo=UTC)


def test_what_is_taken_back_need_not_be_said_again() -> None:
    record = VOTE | {"signal": "thumb", "value": None, "scale": None, "others": [], "retracted": True}
    [one] = READER.read(record).feedback
    assert (one.signal, one.value, one.retracted) == ("thumb", None, True)


SKIPPED = [("status", EXCHANGE | {"status": 503}, "http_status_503")]
SKIPPED += [("no choice", EXCHANGE | {"response": {"choices": []}}, "no_choice")]


@pytest.mark.parametrize(("record", "reason"), [s[1:] for s in SKIPPED], ids=[s[0] for s in SKIPPED])
def test_calls_without_an_answer_are_skipped(record: dict[str, Any], reason: str) -> None:
    assert READER.read(record).skipped == reason


BAD: list[tuple[str, dict[str, Any], str, str]] = [
    ("a later version", EXCHANGE | {"winnow": 2}, "bad_value", "winnow: expected version 1 of the log"),
    ("version is text", EXCHANGE | {"winnow": "1"}, "wrong_type", "winnow: expected a whole number, got text"),
    ("kind", EXCHANGE | {"kind": "trace"}, "bad_value", "kind: expected one of feedback, interaction"),
    ("no id", EXCHANGE | {"id": None}, "missing_field", "id: "),
    ("empty id", EXCHANGE | {"id": ""}, "bad_value", "id: expected a text that is not empty"),
    ("id is a number", EXCHANGE | {"id": 4}, "wrong_type", "id: expected text, got a number"),
    ("no zone", EXCHANGE | {"time": "2026-10-01T10:15:30"}, "bad_value", "time: expected a time with its zone"),
    ("no time", EXCHANGE | {"time": "noon"}, "bad_value", "time: expected an ISO 8601 time"),
    ("no status", EXCHANGE | {"status": None}, "missing_field", "status: "),
    ("request is text", EXCHANGE | {"request": "{}"}, "wrong_type", "request: expected an object, got text"),
    ("shown is text", EXCHANGE | {"shown": "yes"}, "wrong_type", "shown: expected true or false, got text"),
    ("propensity", EXCHANGE | {"propensity": 1.5}, "bad_value", "propensity: expected a probability"),
    ("position", EXCHANGE | {"position": "top"}, "bad_value", "position: expected one of left, right"),
    ("turn", EXCHANGE | {"turn_index": 1.5}, "bad_value", "turn_index: expected a whole number"),
    ("signal", VOTE | {"signal": "like"}, "bad_value", "signal: expected one of accept, both_bad"),
    ("no target", VOTE | {"target": None}, "missing_field", "target: "),
    ("target is text", VOTE | {"target": "int-1"}, "wrong_type", "target: expected an object, got text"),
    ("no others", VOTE | {"others": []}, "bad_value", "others: expected at least one response that a choice"),
    ("off the scale", VOTE | {"value": 2}, "bad_value", "value: expected a number on the scale"),
    ("scale", VOTE | {"scale": [1, 0]}, "bad_value", "scale: expected two numbers, the smaller first"),
    ("edit without text", VOTE | {"signal": "edit"}, "missing_field", "text: "),
    ("thumb without value", VOTE | {"signal": "thumb", "value": None}, "missing_field", "value: "),
    ("thumb without scale", VOTE | {"signal": "thumb", "scale": None}, "missing_field", "scale: "),
    ("rater", VOTE | {"rater": {"kind": "robot"}}, "bad_value", "rater.kind: expected one of"),
    ("revision", VOTE | {"revision": -1}, "bad_value", "revision: expected a whole number"),
]


@pytest.mark.parametrize(("record", "reason", "detail"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_what_the_format_does_not_allow(record: dict[str, Any], reason: str, detail: str) -> None:
    assert READER.sniff(record)
    with pytest.raises(RecordError) as caught:
        READER.read(record)
    assert (caught.value.reason, caught.value.detail[: len(detail)]) == (reason, detail)


UNANSWERED: list[tuple[str, dict[str, Any], str]] = [
    ("refused", {"status": 429, "response": None}, "http_status_429"),
    ("no connection", {"status": None, "error": "APIConnectionError", "response": None}, "no_response"),
    ("left by its caller", {"cut_off": True}, "cut_off"),
]


@pytest.mark.parametrize(("change", "reason"), [case[1:] for case in UNANSWERED], ids=[case[0] for case in UNANSWERED])
def test_calls_without_an_answer_are_skipped_with_the_reason(change: dict[str, Any], reason: str) -> None:
    read = READER.read(EXCHANGE | change)
    assert (read.skipped, read.interactions) == (reason, ())


def test_exchange_of_another_api_is_read_as_that() -> None:
    """A response that goes on from another one awaits it; its parent is that one, not what the deployment states."""
    request = {"model": "support", "input": "And in Rome?", "previous_response_id": "resp_1"}
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hey"}]}
    response = {"id": "resp_2", "object": "response", "status": "completed", "model": "support-3", "output": [said]}
    (read,) = READER.read(EXCHANGE | {"id": "resp_2", "request": request, "response": response}).interactions
    assert (read.source_id, read.parent_id, read.status) == ("resp_2", "resp_1", "awaits_parent")
    assert (read.response[0]["content"], read.user, read.arm) == ("hey", "u-1", "support-3")


def test_losses_are_records_of_their_own() -> None:
    loss = {"winnow": 1, "kind": "loss", "id": "loss-1", "lost": {"queue_full": 3, "write_failed": 0, "closed": 1}}
    assert READER.read(loss).skipped_parts == {"lost_queue_full": 3, "lost_closed": 1}
    assert READER.read(loss | {"lost": {}}).skipped == "lost_nothing"


@pytest.mark.parametrize("lost", [{"<b>": 1}, {"closed": -1}, {"closed": 2_000_000_000}, {"closed": "9"}], ids=str)
def test_losses_that_no_log_writes_are_refused(lost: dict[str, object]) -> None:
    with pytest.raises(RecordError):
        READER.read({"winnow": 1, "kind": "loss", "lost": lost})


@pytest.mark.parametrize("revision", [0, 7, 1_790_842_530_000_000, 2**63 - 1])
def test_revision_may_be_a_time_in_microseconds(revision: int) -> None:
    (event,) = READER.read(VOTE | {"revision": revision}).feedback
    assert event.revision == revision


@pytest.mark.parametrize("revision", [-1, 2**63, 1e300, True, "1"])
def test_revision_that_no_table_holds_is_refused(revision: object) -> None:
    with pytest.raises(RecordError):
        READER.read(VOTE | {"revision": revision})
