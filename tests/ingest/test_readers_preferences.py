"""Preference data sets: HH-RLHF, TRL rows, battles."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ingest.errors import RecordError
from ingest.readers.battles import Battles
from ingest.readers.hh_rlhf import HHRLHF, render
from ingest.readers.reading import Feedback, Interaction
from ingest.readers.trl_preference import TRLPreference, shared_text
from ingest.schema import content_id


def text(role: str, content: str) -> dict[str, str | None]:
    return {"role": role, "content": content, "tool_calls": None, "tool_call_id": None, "name": None}


def user(content: str) -> dict[str, str | None]:
    return text("user", content)


def bot(content: str) -> dict[str, str | None]:
    return text("assistant", content)


def say(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def parts(reader: Any, record: dict[str, Any]) -> tuple[Interaction, Interaction, Feedback]:
    """Return the target, the other and the event; the event must be about them."""
    assert reader.sniff(record)
    reading = reader.read(record)
    target, other = reading.interactions
    [event] = reading.feedback
    assert event.target.source_id == target.source_id
    assert [ref.source_id for ref in event.others] == [other.source_id]
    assert target.prompt == other.prompt
    return target, other, event


HH: list[tuple[str, str, str, list[Any], list[Any], list[Any]]] = [
    ("one turn", "\n\nHuman: q\n\nAssistant: a", "\n\nHuman: q\n\nAssistant: b", [user("q")], [bot("a")], [bot("b")]),
    (
        "white space is kept",
        "\n\nHuman: q \n\nAssistant:  a\n",
        "\n\nHuman: q \n\nAssistant: ",
        [user("q ")],
        [bot(" a\n")],
        [bot("")],
    ),
    (
        "histories part early",
        "\n\nHuman: q\n\nAssistant: a\n\nHuman: r\n\nAssistant: b",
        "\n\nHuman: q\n\nAssistant: c",
        [user("q")],
        [bot("a"), user("r"), bot("b")],
        [bot("c")],
    ),
    (
        "shared last words of the assistant are part of both responses",
        "\n\nHuman: q\n\nAssistant: a\n\nAssistant: b",
        "\n\nHuman: q\n\nAssistant: a\n\nAssistant: c",
        [user("q")],
        [bot("a"), bot("b")],
        [bot("a"), bot("c")],
    ),
    (
        "other uses of the words are text",
        "\n\nHuman: q\nHuman: x\n\nAssistant: a  Human: y",
        "\n\nHuman: q\nHuman: x\n\nAssistant: \n\nHuman:z",
        [user("q\nHuman: x")],
        [bot("a  Human: y")],
        [bot("\n\nHuman:z")],
    ),
]


@pytest.mark.parametrize(("chosen", "rejected", "prompt", "a", "b"), [h[1:] for h in HH], ids=[h[0] for h in HH])
def test_hh_rlhf(chosen: str, rejected: str, prompt: list[Any], a: list[Any], b: list[Any]) -> None:
    record = {"chosen": chosen, "rejected": rejected}
    target, other, event = parts(HHRLHF(), record)
    assert (target.prompt, target.response, other.response) == (prompt, a, b)
    assert (render(target.prompt + target.response), render(other.prompt + other.response)) == (chosen, rejected)
    assert (event.signal, event.value, event.rater_kind) == ("choice", None, None)
    assert target.source_id == content_id([prompt, a, None])


SPEECH = st.text(st.sampled_from("ab \n:HumanAssist")).filter(lambda t: "\n\nHuman: " not in t)
TRANSCRIPTS = st.lists(st.tuples(st.sampled_from(["Human", "Assistant"]), SPEECH), max_size=4)


@given(SPEECH, TRANSCRIPTS, TRANSCRIPTS)
def test_hh_rlhf_gives_every_transcript_back(
    question: str, one: list[tuple[str, str]], two: list[tuple[str, str]]
) -> None:
    start = f"\n\nHuman: {question}"
    chosen, rejected = (start + "".join(f"\n\n{who}: {said}" for who, said in turns) for turns in (one, two))
    try:
        target, other, _ = parts(HHRLHF(), {"chosen": chosen, "rejected": rejected})
    except RecordError:
        assume(False)
    assert render(target.prompt + target.response) == chosen
    assert render(other.prompt + other.response) == rejected
    assert target.prompt[-1]["role"] == "user"
    assert target.response
    assert other.response


TOOL = {"type": "function", "function": {"name": "f"}}
TRL: list[tuple[str, dict[str, Any], list[Any], list[Any], list[Any]]] = [
    ("explicit, standard", {"prompt": "q", "chosen": "a", "rejected": "b"}, [user("q")], [bot("a")], [bot("b")]),
    (
        "implicit, standard",
        {"chosen": "The sky is blue.", "rejected": "The sky is green."},
        [user("The sky is")],
        [bot(" blue.")],
        [bot(" green.")],
    ),
    (
        "explicit, conversational",
        {"prompt": [say("user", "q")], "chosen": [say("assistant", "a")], "rejected": [say("assistant", "b")]},
        [user("q")],
        [bot("a")],
        [bot("b")],
    ),
    (
        "implicit, conversational",
        {
            "chosen": [say("system", "s"), say("user", "q"), say("assistant", "a")],
            "rejected": [say("system", "s"), say("user", "q"), say("assistant", "b")],
        },
        [text("system", "s"), user("q")],
        [bot("a")],
        [bot("b")],
    ),
    (
        "explicit, and repeated in both sides",
        {
            "prompt": [say("user", "q")],
            "chosen": [say("user", "q"), say("assistant", "a")],
            "rejected": [say("user", "q"), say("assistant", "b")],
        },
        [user("q")],
        [bot("a")],
        [bot("b")],
    ),
    (
        "text prompt beside conversations",
        {
            "prompt": "q",
            "chosen": [say("user", "q"), say("assistant", "a")],
            "rejected": [say("user", "q"), say("assistant", "b")],
        },
        [user("q")],
        [bot("a")],
        [bot("b")],
    ),
    (
        "conversational prompt beside texts",
        {"prompt": [say("user", "q")], "chosen": "a", "rejected": "b"},
        [user("q")],
        [bot("a")],
        [bot("b")],
    ),
    (
        "an empty side",
        {"prompt": "q", "chosen": "", "rejected": "b"},
        [user("q")],
        [bot("")],
        [bot("b")],
    ),
]


@pytest.mark.parametrize(("record", "prompt", "a", "b"), [t[1:] for t in TRL], ids=[t[0] for t in TRL])
def test_trl(record: dict[str, Any], prompt: list[Any], a: list[Any], b: list[Any]) -> None:
    target, other, event = parts(TRLPreference(), record)
    assert (target.prompt, target.response, other.response) == (prompt, a, b)
    assert (event.signal, event.value) == ("choice", None)


def test_trl_ids_tools_and_models() -> None:
    record = {"prompt": "q", "chosen": "a", "rejected": "b", "id": 7, "tools": [TOOL], "chosen_model": "m"}
    target, other, event = parts(TRLPreference(), record)
    assert event.source_id == "7"
    assert target.tools == other.tools == '[{"type":"function","function":{"name":"f"}}]'
    assert (target.model, other.model) == ("m", None)
    assert parts(TRLPreference(), record | {"tools": target.tools})[0].tools == target.tools


IMPLICIT = [
    ("the sky", "The sky is blue.", "The sky is green."),
    ("within a word", "It is blue.", "It is black."),
    ("one begins the other", "a b", "a b c"),
    ("equal", "abc", "abc"),
    ("two spaces", "a  b", "a  c"),
]


def test_the_implicit_prompt_ends_where_trl_ends_it() -> None:
    """The oracle is trl.data_utils.extract_prompt itself."""
    from trl.data_utils import extract_prompt

    for name, chosen, rejected in IMPLICIT:
        expected = extract_prompt({"chosen": chosen, "rejected": rejected})
        end = shared_text(chosen, rejected)
        found = {"prompt": chosen[:end], "chosen": chosen[end:], "rejected": rejected[end:]}
        assert found == expected, name


BATTLE = {"prompt": "q", "model_a": "m1", "model_b": "m2", "response_a": "A", "response_b": "B"}
TULU = {"prompt": "q", "model_a": "m1", "model_b": "m2", "completion_a": "A", "completion_b": "B", "evaluator": "yo"}
ARENA = {
    "model_a": "m1",
    "model_b": "m2",
    "conversation_a": [say("user", "q"), say("assistant", "A"), say("user", "r"), say("assistant", "A2")],
    "conversation_b": [say("user", "q"), say("assistant", "B"), say("user", "r"), say("assistant", "B2")],
    "judge": "arena_user_1",
    "tstamp": 1760000000.5,
}

VERDICTS: list[tuple[dict[str, Any], str, str, str, float | None]] = [
    # record, verdict, signal, model of the target, value
    (BATTLE, "model_a", "choice", "m1", None),
    (BATTLE, "response_b", "choice", "m2", None),
    (BATTLE, "b", "choice", "m2", None),
    (BATTLE, "tie", "tie", "m1", None),
    (BATTLE, "both_bad", "both_bad", "m1", None),
    (TULU, "a-is-better", "choice", "m1", 1.0),
    (TULU, "a-is-slightly-better", "choice", "m1", 0.5),
    (TULU, "b-is-slightly-better", "choice", "m2", 0.5),
    (TULU, "b-is-better", "choice", "m2", 1.0),
    (TULU, "tie", "tie", "m1", None),
    (ARENA, "model_b", "choice", "m2", None),
    (ARENA, "tie (bothbad)", "both_bad", "m1", None),
]


@pytest.mark.parametrize(("record", "verdict", "signal", "model", "value"), VERDICTS)
def test_verdicts(record: dict[str, Any], verdict: str, signal: str, model: str, value: float | None) -> None:
    column = "preference" if record is TULU else "winner"
    target, other, event = parts(Battles(), record | {column: verdict})
    assert (event.signal, target.model, event.value) == (signal, model, value)
    assert (event.scale_min, event.scale_max) == ((None, None) if value is None else (0.0, 1.0))
    assert {target.model, other.model} == {"m1", "m2"}
    assert target.prompt == [user("q")]


def test_a_battle_of_conversations() -> None:
    target, other, event = parts(Battles(), ARENA | {"winner": "model_b", "id": "b-9"})
    assert target.response == [bot("B"), user("r"), bot("B2")]
    assert other.response == [bot("A"), user("r"), bot("A2")]
    assert (event.source_id, event.rater_kind, event.rater, event.position) == ("b-9", "user", "arena_user_1", "right")
    assert event.event_time == datetime(2025, 10, 9, 8, 53, 20, 500000, tzinfo=UTC)


TIMES = [
    ("no zone", "2023-05-19 13:11:45", None),
    ("zone", "2023-05-19T13:11:45+02:00", datetime(2023, 5, 19, 11, 11, 45, tzinfo=UTC)),
    ("unix", 1760000000, datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)),
    (
        "of a table",
        datetime(2023, 5, 19, 13, 11, 45, tzinfo=UTC),
        datetime(2023, 5, 19, 13, 11, 45, tzinfo=UTC),
    ),
    ("none", None, None),
]


@pytest.mark.parametrize(("stamp", "expected"), [t[1:] for t in TIMES], ids=[t[0] for t in TIMES])
def test_times_of_battles(stamp: object, expected: datetime | None) -> None:
    _, _, event = parts(Battles(), TULU | {"preference": "tie", "timestamp": stamp})
    assert (event.event_time, event.rater_kind, event.rater, event.position) == (expected, "annotator", "yo", None)


def test_the_same_response_judged_twice_is_one_interaction_in_either_order() -> None:
    swapped = {"model_a": "m2", "model_b": "m1", "completion_a": "B", "completion_b": "A"}
    first = parts(Battles(), TULU | {"preference": "a-is-better", "id": "1"})
    second = parts(Battles(), TULU | swapped | {"preference": "b-is-better", "id": "2"})
    assert [i.source_id for i in first[:2]] == [i.source_id for i in second[:2]]
    assert (first[2].source_id, second[2].source_id) == ("1", "2")


def test_three_judges_of_one_question_are_three_votes() -> None:
    question = ARENA | {"question_id": 81, "turn": 1, "winner": "model_a"}
    votes = [parts(Battles(), question | {"judge": judge})[2] for judge in ("expert_1", "expert_2", "expert_3")]
    assert len({vote.source_id for vote in votes}) == 3


def test_a_record_without_an_id_is_known_by_its_content() -> None:
    ids = {parts(Battles(), BATTLE | {"winner": w})[2].source_id for w in ("a", "model_a", "tie")}
    assert len(ids) == 3
    assert parts(Battles(), BATTLE | {"winner": "a"})[2].source_id in ids


BAD: list[tuple[str, Any, dict[str, Any], str, str]] = [
    ("hh: number", HHRLHF(), {"chosen": 7, "rejected": ""}, "wrong_type", "chosen: expected text, got a number"),
    ("hh: no marker", HHRLHF(), {"chosen": "q", "rejected": "q"}, "bad_value", "chosen: expected a transcript"),
    (
        "hh: nothing shared",
        HHRLHF(),
        {"chosen": "\n\nHuman: a\n\nAssistant: x", "rejected": "\n\nHuman: b\n\nAssistant: x"},
        "bad_value",
        "the two conversations share no first turns",
    ),
    (
        "hh: no response",
        HHRLHF(),
        {"chosen": "\n\nHuman: a", "rejected": "\n\nHuman: a\n\nAssistant: x"},
        "bad_value",
        "one of the two conversations ends before a response",
    ),
    ("trl: no rejected", TRLPreference(), {"prompt": "q", "chosen": "a"}, "missing_field", "rejected: "),
    (
        "trl: mixed",
        TRLPreference(),
        {"chosen": "a", "rejected": []},
        "wrong_type",
        "rejected: expected text, got a list",
    ),
    ("trl: prompt", TRLPreference(), {"prompt": 3, "chosen": "a", "rejected": "b"}, "wrong_type", "prompt: "),
    (
        "trl: nothing shared",
        TRLPreference(),
        {"chosen": "a", "rejected": "b"},
        "bad_value",
        "chosen: expected a beginn",
    ),
    ("trl: empty side", TRLPreference(), {"chosen": [], "rejected": []}, "bad_value", "chosen: expected at least one"),
    (
        "trl: a side is the prompt",
        TRLPreference(),
        {
            "prompt": [say("user", "q")],
            "chosen": [say("user", "q")],
            "rejected": [say("user", "q"), say("assistant", "b")],
        },
        "bad_value",
        "chosen: expected an assistant's turns after the prompt",
    ),
    (
        "trl: one side repeats the prompt",
        TRLPreference(),
        {
            "prompt": [say("user", "q")],
            "chosen": [say("assistant", "a")],
            "rejected": [say("user", "q"), say("assistant", "b")],
        },
        "bad_value",
        "rejected: expected an assistant's turns after the prompt",
    ),
    (
        "trl: no prompt field, and a user's turn where the answer should be",
        TRLPreference(),
        {"chosen": [say("user", "q"), say("user", "r")], "rejected": [say("user", "q"), say("assistant", "b")]},
        "bad_value",
        "chosen: expected an assistant's turns after the prompt",
    ),
    (
        "trl: another prompt",
        TRLPreference(),
        {
            "prompt": "p",
            "chosen": [say("user", "q"), say("assistant", "a")],
            "rejected": [say("user", "q"), say("assistant", "b")],
        },
        "bad_value",
        "prompt: expected the first user turn",
    ),
    ("battle: verdict", Battles(), BATTLE | {"winner": "me"}, "bad_value", "winner: expected one of a, "),
    ("battle: no verdict", Battles(), BATTLE | {"winner": None}, "missing_field", "winner: "),
    ("battle: no response", Battles(), BATTLE | {"winner": "a", "response_b": None}, "missing_field", "response_b: "),
    ("battle: time", Battles(), TULU | {"preference": "tie", "timestamp": "noon"}, "bad_value", "timestamp: "),
]


@pytest.mark.parametrize(("reader", "record", "reason", "detail"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_what_the_formats_do_not_allow(reader: Any, record: dict[str, Any], reason: str, detail: str) -> None:
    with pytest.raises(RecordError) as caught:
        reader.read(record)
    assert (caught.value.reason, caught.value.detail[: len(detail)]) == (reason, detail)
