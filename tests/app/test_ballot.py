"""Whatever a browser sends, only what the task asks for becomes a verdict."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ballot import LONGEST_RATIONALE, check, of_scale, read, said
from app.task import Guidelines, Task
from ingest.errors import BallotError

SCALE = Task(skip_reasons=("Broken", "Unclear"), tags=("long", "wrong"), aspects=("correct", "clear"))
CHOICE = Task(mode="choice")
EVENT_ID = "0b7b9f2c-7f1a-4c1e-9a52-0d5c8f0f2d11"


def sent(**changes: Any) -> dict[str, Any]:
    ballot = {"pair_id": "p", "event_id": EVENT_ID, "verdict": "left", "scale": 2, "elapsed_ms": 900}
    return {key: value for key, value in (ballot | changes).items() if value is not ...}


NO_BALLOT: list[tuple[str, object]] = [
    ("nothing", None),
    ("a-list", []),
    ("no-pair", sent(pair_id=...)),
    ("no-uuid", sent(event_id="1")),
    ("upper-case-uuid", sent(event_id=EVENT_ID.upper())),
    ("unknown-verdict", sent(verdict="maybe")),
    ("negative-time", sent(elapsed_ms=-1)),
    ("text-for-time", sent(elapsed_ms="900")),
    ("off-the-scale", sent(scale=8)),
    ("half-a-place", sent(scale=2.5)),
    ("unknown-field", sent(annotator="bea")),
    ("tags-no-list", sent(tags="long")),
    ("aspect-no-side", sent(aspects={"correct": "up"})),
    ("edit-of-both", sent(edited_side="both", edited_text="x")),
    ("novel", sent(rationale="x" * (LONGEST_RATIONALE + 1))),
    ("layout-with-html", sent(layout={"view": "<b>"})),
]


@pytest.mark.parametrize("value", [pytest.param(value, id=name) for name, value in NO_BALLOT])
def test_what_is_no_ballot_is_refused_and_not_quoted(value: object) -> None:
    with pytest.raises(BallotError, match="Not counted") as raised:
        read(value)
    assert "xxx" not in str(raised.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*sent(), "tags", "x"]), inner, max_size=6)
    ),
    max_leaves=8,
)


@given(JSON)
def test_any_json_is_a_ballot_or_an_error_of_ours(value: object) -> None:
    with suppress(BallotError):
        read(value)


skip = sent(verdict="skip", scale=None)
NOT_ALLOWED = [
    ("no-place", SCALE, sent(scale=None), "place on the scale"),
    ("place-without-scale", CHOICE, sent(), "place on the scale"),
    ("place-of-both-bad", SCALE, sent(verdict="both_bad", scale=4), "place on the scale"),
    ("other-side", SCALE, sent(scale=6), "other side"),
    ("tie-off-the-middle", SCALE, sent(verdict="tie", scale=3), "other side"),
    ("no-both-bad", Task(both_bad=False), sent(verdict="both_bad", scale=None), "no both bad"),
    ("skip-without-reason", SCALE, sent(verdict="skip", scale=None), "reasons"),
    ("skip-of-unknown-reason", SCALE, sent(verdict="skip", scale=None, skip_reason="Bored"), "reasons"),
    ("reason-without-skip", SCALE, sent(skip_reason="Broken"), "reasons"),
    ("reason-where-none-is-asked", CHOICE, sent(verdict="skip", scale=None, skip_reason="Broken"), "reasons"),
    ("no-rationale", Task(rationale="required"), sent(), "reason why is required"),
    ("blank-rationale", Task(rationale="required"), sent(rationale=" \n"), "reason why is required"),
    ("rationale-off", Task(rationale="off"), sent(rationale="x"), "no reason why"),
    ("unknown-tag", SCALE, sent(tags=["short"]), "tag"),
    ("unknown-aspect", SCALE, sent(aspects={"kind": "left"}), "aspect"),
    ("edit-off", Task(edit=False), sent(edited_side="left", edited_text="x"), "no editing"),
    ("edit-of-a-skip", CHOICE, skip | {"edited_side": "left", "edited_text": "x"}, "skip has no edit"),
    ("edit-without-text", SCALE, sent(edited_side="left"), "side and a text"),
    ("edit-without-side", SCALE, sent(edited_text="x"), "side and a text"),
]  # fmt: skip


@pytest.mark.parametrize(("task", "value", "says"), [pytest.param(*case, id=name) for name, *case in NOT_ALLOWED])
def test_what_the_task_does_not_ask_for_is_refused(task: Task, value: object, says: str) -> None:
    with pytest.raises(BallotError, match=says):
        check(read(value), task)


ALLOWED = [
    ("graded", SCALE, sent()),
    ("chosen", CHOICE, sent(scale=None)),
    ("tie", SCALE, sent(verdict="tie", scale=4)),
    ("both-bad", SCALE, sent(verdict="both_bad", scale=None)),
    ("skip", SCALE, sent(verdict="skip", scale=None, skip_reason="Broken")),
    ("skip-needs-no-rationale", Task(rationale="required"), sent(verdict="skip", scale=None)),
    ("improved", SCALE, sent(edited_side="right", edited_text="x")),
]


@pytest.mark.parametrize(("task", "value"), [pytest.param(*case, id=name) for name, *case in ALLOWED])
def test_what_the_task_asks_for_is_allowed(task: Task, value: object) -> None:
    check(read(value), task)


def test_each_place_on_the_scale_is_a_verdict() -> None:
    assert [of_scale(place) for place in range(1, 8)] == ["left"] * 3 + ["tie"] + ["right"] * 3


def test_what_an_event_holds_is_in_the_tasks_order() -> None:
    task = SCALE.model_copy(update={"guidelines": Guidelines(name="v1", file="g.md", text="Judge.")})  # type: ignore[arg-type]
    ballot = read(
        sent(tags=["wrong", "long", "wrong"], aspects={"clear": "tie", "correct": "left"}, rationale=" Why. ")
    )
    found = said(ballot, task, page="component", elapsed_ms=850, order="ba")
    assert (found.tags, found.aspects) == ('["long", "wrong"]', '{"correct": "left", "clear": "tie"}')
    assert (found.rationale, found.elapsed_ms, found.page, found.scale) == ("Why.", 850, "component", 2)
    assert json.loads(str(found.layout)) == {
        "order": "ba",
        "view": "formatted",
        "width": None,
        "height": None,
        "theme": None,
    }
    assert found.guidelines_version == task.guidelines_version


def test_what_was_not_said_is_null() -> None:
    found = said(read(sent(rationale="  ")), SCALE, page="buttons", elapsed_ms=0, order="ab")
    assert (found.rationale, found.tags, found.aspects, found.skip_reason, found.edited_text) == (None,) * 5
