"""A verdict as it leaves the annotator's hands, and whether the task allows it.

The page's component sends one as JSON, and whoever has a browser can send anything: so every value is checked here
before it meets the store.
"""

import json
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from app.task import Task
from ingest.errors import BallotError

Verdict = Literal["left", "right", "tie", "both_bad", "skip"]
Side = Literal["left", "right"]
View = Literal["formatted", "raw", "diff"]

LONGEST_RATIONALE: Final = 4_000
LONGEST_EDIT: Final = 200_000
"""Characters."""


class Layout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the pair was drawn."""

    view: View = "formatted"
    width: Annotated[int, Meta(ge=0, le=100_000)] | None = None
    """Of the window, in CSS pixels, like height; None where nothing says it."""
    height: Annotated[int, Meta(ge=0, le=100_000)] | None = None
    theme: Literal["light", "dark"] | None = None


class Ballot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One verdict on the pair that stood on screen, with all that comes with it."""

    pair_id: str
    """Of the pair that was on screen when the key went down."""
    event_id: Annotated[str, Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
    """UUID made where the vote was cast: the same vote sent twice is one event."""
    verdict: Verdict
    elapsed_ms: Annotated[int, Meta(ge=0, le=10**12)] = 0
    """Since the pair came on screen."""
    sitting: str = ""
    """Which sitting drew the pair: after a restart of the server it is another one."""
    scale: Annotated[int, Meta(ge=1, le=7)] | None = None
    skip_reason: str | None = None
    rationale: Annotated[str, Meta(max_length=LONGEST_RATIONALE)] | None = None
    tags: list[str] = []
    aspects: dict[str, Literal["left", "right", "tie"]] = {}
    edited_side: Side | None = None
    edited_text: Annotated[str, Meta(max_length=LONGEST_EDIT)] | None = None
    layout: Layout = Layout()


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What an event holds besides its verdict; columns of `ingest.schema.LABEL_EVENT_COLUMNS`."""

    scale: int | None = None
    skip_reason: str | None = None
    rationale: str | None = None
    tags: str | None = None
    aspects: str | None = None
    edited_side: str | None = None
    edited_text: str | None = None
    elapsed_ms: int | None = None
    page: str | None = None
    layout: str | None = None
    guidelines_version: str | None = None


def read(value: object) -> Ballot:
    """Return what a browser sent as a ballot. Raises BallotError where it is none; the message quotes nothing."""
    try:
        return msgspec.convert(value, Ballot)
    except msgspec.ValidationError as error:
        raise BallotError(f"Not counted: the page sent something that is no verdict ({error}).") from error


def check(ballot: Ballot, task: Task) -> None:
    """Raise BallotError where the task does not allow the ballot."""
    skip, graded = ballot.verdict == "skip", ballot.verdict in ("left", "right", "tie")
    wanted = graded and task.mode == "scale"
    edited = ballot.edited_side is not None
    problems = {
        "this task has no both bad": ballot.verdict == "both_bad" and not task.both_bad,
        "a verdict has a place on the scale exactly where the task has a scale": wanted != (ballot.scale is not None),
        "the place on the scale is on the other side": wanted and _side(ballot.scale) != ballot.verdict,
        "a skip needs one of the task's reasons, and nothing else does": ballot.skip_reason
        not in ((task.skip_reasons or (None,)) if skip else (None,)),
        "a reason why is required": task.rationale == "required" and not skip and not (ballot.rationale or "").strip(),
        "this task asks for no reason why": task.rationale == "off" and ballot.rationale is not None,
        "a tag is none of the task's": not set(ballot.tags) <= set(task.tags),
        "an aspect is none of the task's": not set(ballot.aspects) <= set(task.aspects),
        "this task has no editing": edited and not task.edit,
        "a skip has no edit": edited and skip,
        "an edit has a side and a text": edited != (ballot.edited_text is not None),
    }
    for problem, applies in problems.items():
        if applies:
            raise BallotError(f"Not counted: {problem}.")


def said(ballot: Ballot, task: Task, *, page: str, elapsed_ms: int, order: str) -> Said:
    """Return what the event of `ballot` holds besides its verdict."""
    return Said(
        scale=ballot.scale,
        skip_reason=ballot.skip_reason,
        rationale=(ballot.rationale or "").strip() or None,
        tags=_json(sorted(set(ballot.tags), key=task.tags.index)),
        aspects=_json({name: ballot.aspects[name] for name in task.aspects if name in ballot.aspects}),
        edited_side=ballot.edited_side,
        edited_text=ballot.edited_text,
        elapsed_ms=elapsed_ms,
        page=page,
        layout=json.dumps({"order": order, **msgspec.to_builtins(ballot.layout)}),
        guidelines_version=task.guidelines_version,
    )


def of_scale(place: int) -> Verdict:
    """Return the verdict of a place on the scale: 1 to 3 left, 4 tie, 5 to 7 right."""
    return "left" if place < 4 else "right" if place > 4 else "tie"


def _side(place: int | None) -> Verdict | None:
    return None if place is None else of_scale(place)


def _json(value: list[str] | dict[str, str]) -> str | None:
    """Return JSON text; nothing said is null."""
    return json.dumps(value, ensure_ascii=False) if value else None
