"""What the labelling page's component is sent: everything to draw, ready drawn, and nothing that would break the blind.

Text of prompts and responses comes as HTML of `app.views`, which the component puts into the page as it is; beside it,
where the task lets annotators improve a response, as the plain text to begin from. Everything else is put in as text.
Model names and interaction ids are not sent.
"""

from dataclasses import dataclass, field
from typing import Final

from app import views
from app.ballot import View
from app.sitting import MINIMUM_LOOK_SECONDS, Sitting, in_words
from app.voting import Past, Showing

PAST: Final = 50
"""Verdicts that the history shows."""
EXCERPT: Final = 90
"""Characters of a question in it."""

Json = dict[str, object]


@dataclass
class Draft:
    """An improvement that an annotator is writing."""

    pair_id: str
    side: str
    text: str


@dataclass
class Drawings:
    """Draws pairs, each once for every view; remembers those on screen and in waiting."""

    _drawn: dict[tuple[str, View], Json] = field(default_factory=dict)

    def of(self, showing: Showing | None, view: View, *, with_text: bool) -> Json | None:
        """Return a pair as the component draws it."""
        if showing is None:
            return None
        key = showing.pair_id, view
        if key not in self._drawn:
            drawn = views.parts(showing.prompt, showing.left, showing.right, view)
            self._drawn[key] = {"pair_id": showing.pair_id} | vars(drawn)
        text = {"texts": {"left": last_text(showing, "left"), "right": last_text(showing, "right")}}
        return self._drawn[key] | (text if with_text else {})

    def forget_others(self, *showings: Showing | None) -> None:
        """Forget every pair but these."""
        kept = {showing.pair_id for showing in showings if showing}
        self._drawn = {key: drawn for key, drawn in self._drawn.items() if key[0] in kept}


def last_text(showing: Showing, side: str) -> str:
    """Return the text of a response that an annotator can improve: its last message's."""
    messages = showing.left if side == "left" else showing.right
    return messages[-1]["content"] or "" if messages else ""


def task(sitting: Sitting) -> Json:
    """Return what the component needs to know of the task."""
    asked = sitting.task.model_dump(mode="json", exclude={"guidelines"})
    if guidelines := sitting.task.guidelines:
        asked["guidelines"] = {"version": guidelines.version, "html": views.markdown(guidelines.text)}
    return asked | {"look_ms": round(1_000 * MINIMUM_LOOK_SECONDS)}


def build(sitting: Sitting, drawings: Drawings, *, past: list[Past] | None, draft: Draft | None, empty: str) -> Json:
    """Return the whole of what is sent at one drawing of the page."""
    drawings.forget_others(sitting.showing, sitting.following)
    progress, last = sitting.progress()
    editable = sitting.task.edit
    return {
        "sitting": sitting.name,
        "annotator": sitting.desk.annotator,
        "task": task(sitting),
        "view": sitting.view,
        "current": drawings.of(sitting.showing, sitting.view, with_text=editable),
        "following": drawings.of(sitting.following, sitting.view, with_text=editable),
        "answer": answer(sitting),
        "progress": vars(progress),
        "last": last and {"event_id": last.event_id, "words": in_words(last)},
        "history": None if past is None else [line(each) for each in past],
        "empty": empty,
        "draft": _draft(sitting.showing, draft),
    }


def answer(sitting: Sitting) -> Json | None:
    """Return what became of the last press, with a number that tells it from the same said before."""
    return {"number": sitting.answers, **vars(sitting.notice)} if sitting.notice else None


def line(past: Past) -> Json:
    """Return a verdict as the history shows it."""
    question = next((m["content"] for m in reversed(past.prompt) if m["role"] == "user" and m["content"]), "")
    excerpt = " ".join(question.split())
    return {
        "event_id": past.event.event_id,
        "time": past.event.event_time[:16].replace("T", " "),
        "question": excerpt if len(excerpt) <= EXCERPT else f"{excerpt[: EXCERPT - 1]}…",
        "words": in_words(past.event),
        "more": past.event.rationale or past.event.skip_reason or "",
        "stands": past.stands,
    }


def _draft(showing: Showing | None, draft: Draft | None) -> Json | None:
    """Return what an improvement changes, while its pair is on screen."""
    if showing is None or draft is None or draft.pair_id != showing.pair_id:
        return None
    return {
        "pair_id": draft.pair_id,
        "side": draft.side,
        "html": views.edit(last_text(showing, draft.side), draft.text),
    }
