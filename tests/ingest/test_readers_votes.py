"""Votes with their conversations: Open WebUI's feedback export and the raw log of FastChat's arena."""

from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.errors import RecordError
from ingest.readers.arena_log import ArenaLog
from ingest.readers.open_webui import OpenWebUI
from ingest.readers.reading import Ref

WEBUI, ARENA = OpenWebUI(), ArenaLog()


def lines(messages: Any) -> list[str]:
    return [f"{m['role']}: {m['content']}" for m in messages]


def said(key: str, parent: str | None, role: str, content: str, **fields: Any) -> dict[str, Any]:
    return {"id": key, "parentId": parent, "childrenIds": [], "role": role, "content": content} | fields


MESSAGES = [
    said("q", None, "user", "hi"),
    said("a", "q", "assistant", "hey", model="m-1", done=True, timestamp=1760000000),
    said("b", "q", "assistant", "yo", model="arena", selectedModelId="m-2", done=True),
    said("c", "q", "assistant", "", model="m-3", done=False),
    said("d", "a", "user", "more"),
]


def vote(*messages: dict[str, Any], data: Any = None, **fields: Any) -> dict[str, Any]:
    chat = {
        "history": {"currentId": "a", "messages": {m["id"]: m for m in messages}},
        "params": {"system": "Be brief."},
    }
    return {
        "id": "f",
        "user_id": "u",
        "version": 0,
        "type": "rating",
        "data": {"rating": 1, "model_id": "m-1", "comment": "", "reason": "accurate", "details": {"rating": 8}}
        | (data or {}),
        "meta": {"message_id": "a", "chat_id": "chat"},
        "snapshot": {"chat": {"id": "chat", "chat": chat}},
        "created_at": 1,
        "updated_at": 2,
    } | fields


def test_open_webui_the_rated_message_and_its_siblings() -> None:
    reading = WEBUI.read(vote(*MESSAGES))
    assert [
        (i.source_id, i.model, i.model_requested, i.parent_id, lines(i.response)) for i in reading.interactions
    ] == [
        ("a", "m-1", None, "q", ["assistant: hey"]),
        ("b", "m-2", "arena", "q", ["assistant: yo"]),
    ]
    for one in reading.interactions:
        assert lines(one.prompt) == ["system: Be brief.", "user: hi"]
        assert (one.conversation_id, one.user, one.shown) == ("chat", "u", True)
    assert reading.interactions[0].event_time == datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)
    assert [(e.source_id, e.signal, e.target, e.value, e.scale_min, e.scale_max) for e in reading.feedback] == [
        ("f", "thumb", Ref("a"), 1.0, -1.0, 1.0),
        ("f:details", "rating", Ref("a"), 8.0, 1.0, 10.0),
    ]
    assert {(e.revision, e.rater, e.rater_kind) for e in reading.feedback} == {(2_000_000, "u", "user")}
    assert reading.feedback[0].text == "accurate"
    assert reading.skipped_parts == {"unfinished": 1}


def test_open_webui_a_changed_vote_is_a_later_revision() -> None:
    events = [WEBUI.read(vote(*MESSAGES, data={"rating": r}, updated_at=u)).feedback[0] for r, u in ((1, 2), (-1, 5))]
    assert [(e.source_id, e.value, e.revision) for e in events] == [("f", 1.0, 2_000_000), ("f", -1.0, 5_000_000)]


def test_open_webui_an_answer_rewritten_in_place_is_an_edit() -> None:
    reading = WEBUI.read(vote(MESSAGES[0], MESSAGES[1] | {"originalContent": "hey!", "content": "Hello."}))
    assert [lines(i.response) for i in reading.interactions] == [["assistant: hey!"]]
    edit = reading.feedback[-1]
    assert (edit.source_id, edit.signal, edit.target, edit.text, edit.value) == (
        "a:edit",
        "edit",
        Ref("a"),
        "Hello.",
        None,
    )


def test_open_webui_without_a_snapshot_the_vote_waits_for_its_message() -> None:
    reading = WEBUI.read(vote(*MESSAGES, snapshot=None))
    assert (reading.interactions, len(reading.feedback)) == ((), 2)
    assert reading.skipped_parts == {"message_not_in_snapshot": 1}
    assert WEBUI.read(vote(*MESSAGES, type="other")).skipped == "feedback_of_another_type"
    unrated = WEBUI.read(vote(*MESSAGES, data={"rating": None, "details": None}))
    assert (len(unrated.interactions), unrated.skipped_parts) == (2, {"no_rating": 1, "unfinished": 1})


WEBUI_REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("a vote of 2", vote(*MESSAGES, data={"rating": 2}), "data.rating: expected 1 or -1"),
    ("details of 11", vote(*MESSAGES, data={"details": {"rating": 11}}), "data.details.rating: expected a number from"),
    ("unknown role", vote(said("a", None, "SECRET", "x")), "messages.a.role: expected one of"),
]


@pytest.mark.parametrize(("record", "detail"), [w[1:] for w in WEBUI_REFUSED], ids=[w[0] for w in WEBUI_REFUSED])
def test_open_webui_bad_votes_are_refused(record: dict[str, Any], detail: str) -> None:
    assert WEBUI.sniff(record)
    with pytest.raises(RecordError) as caught:
        WEBUI.read(record)
    assert detail in caught.value.detail
    assert "SECRET" not in caught.value.detail


def state(model: str | None, *texts: Any, conv: str = "c", offset: int = 0) -> dict[str, Any]:
    pairs = [["USER" if i % 2 == 0 else "ASSISTANT", text] for i, text in enumerate(texts)]
    return {"conv_id": conv, "model_name": model, "offset": offset, "messages": pairs}


def battle(left: dict[str, Any], right: dict[str, Any], kind: str = "leftvote", **fields: Any) -> dict[str, Any]:
    return {"tstamp": 1760000000, "type": kind, "models": ["", ""], "states": [left, right], "ip": "ip-1"} | fields


LEFT, RIGHT = state("m-a", "hi", "hey", conv="c-a"), state("m-b", "hi", "yo", conv="c-b")

VERDICTS = [
    ("leftvote", "choice", 0, "left"),
    ("rightvote", "choice", 1, "right"),
    ("tievote", "tie", 0, "left"),
    ("bothbad_vote", "both_bad", 0, "left"),
]


@pytest.mark.parametrize(("kind", "signal", "target", "position"), VERDICTS, ids=[v[0] for v in VERDICTS])
def test_arena_votes(kind: str, signal: str, target: int, position: str) -> None:
    reading = ARENA.read(battle(LEFT, RIGHT, kind))
    sides = reading.interactions
    assert [(s.model, s.position, lines(s.prompt), lines(s.response), s.shown) for s in sides] == [
        ("m-a", "left", ["user: hi"], ["assistant: hey"], True),
        ("m-b", "right", ["user: hi"], ["assistant: yo"], True),
    ]
    [event] = reading.feedback
    assert (event.signal, event.position, event.rater, event.rater_kind) == (signal, position, "ip-1", "user")
    assert (event.target, event.others) == (Ref(sides[target].source_id), [Ref(sides[1 - target].source_id)])
    assert event.event_time == datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)


def test_arena_what_stands_before_the_offset_is_the_templates_own() -> None:
    """Of two turns the first is shared; the conversations part with the first answers."""
    left = state("m-a", "few", "shot", "hi", "hey", "more", "ok", offset=2)
    reading = ARENA.read(battle(left, state("m-b", "hi", "yo", "more", "no")))
    assert [lines(s.prompt) for s in reading.interactions] == [["user: hi"]] * 2
    assert lines(reading.interactions[0].response) == ["assistant: hey", "user: more", "assistant: ok"]


def test_arena_a_named_battle_and_an_answer_given_anew() -> None:
    named = battle(LEFT, RIGHT, models=["<h3>Model A: m-a</h3>\n", "m-b"])
    assert [i.model for i in ARENA.read(named).interactions] == ["m-a", "m-b"]
    again = state("m-a", "hi", "hello", conv="c-a")
    ids = {ARENA.read(battle(side, RIGHT)).interactions[0].source_id for side in (LEFT, again, LEFT)}
    assert len(ids) == 2


REJECTED: list[tuple[str, dict[str, Any], str]] = [
    ("no model", battle(LEFT, RIGHT, models=[None, "m-b"]), "invalid"),
    ("half anonymous", battle(LEFT, RIGHT, models=["", "m-b"]), "invalid"),
    ("another name", battle(LEFT, RIGHT, models=["m-x", "m-b"]), "invalid"),
    ("nothing behind the offset", battle(LEFT | {"offset": 2}, RIGHT), "invalid"),
    ("no answer", battle(state("m-a", "hi"), RIGHT), "invalid"),
    ("null text", battle(state("m-a", "hi", None), RIGHT), "none_msg"),
    ("error", battle(state("m-a", "hi", "**API REQUEST ERROR** Reason: x"), RIGHT), "error"),
    ("still being written", battle(state("m-a", "hi", "he▌"), RIGHT), "unfinished"),
    ("the answer tells who it is", battle(state("m-a", "hi", "I am Vicuna."), RIGHT), "leaked_identity"),
    ("a chat", {"tstamp": 1, "type": "chat", "model": "m", "state": LEFT}, "not_a_vote"),
]


@pytest.mark.parametrize(("record", "reason"), [r[1:] for r in REJECTED], ids=[r[0] for r in REJECTED])
def test_arena_rejects_are_counted_by_name(record: dict[str, Any], reason: str) -> None:
    assert ARENA.sniff(record)
    reading = ARENA.read(record)
    assert (reading.skipped, reading.interactions, reading.feedback) == (reason, (), ())


ARENA_REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("one state", battle(LEFT, RIGHT) | {"states": [LEFT]}, "states: expected two conversations"),
    ("no pairs", battle(LEFT | {"messages": ["SECRET"]}, RIGHT), "states[0].messages: expected pairs"),
    ("two questions", battle(LEFT, state("m-b", "SECRET", "yo")), "share no first turns"),
]


@pytest.mark.parametrize(("record", "detail"), [a[1:] for a in ARENA_REFUSED], ids=[a[0] for a in ARENA_REFUSED])
def test_arena_bad_lines_are_refused(record: dict[str, Any], detail: str) -> None:
    with pytest.raises(RecordError) as caught:
        ARENA.read(record)
    assert detail in caught.value.detail
    assert "SECRET" not in caught.value.detail
