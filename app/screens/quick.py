"""The quick page: a component that has the next pair drawn before it is asked for, and shows it at the press of a key.

Its JavaScript and CSS are app/component/*.js and *.css, sent with the page; what it is sent is `app.payload`. Where it
does not report within some seconds that it runs, `app.screens.label` draws the page of buttons instead.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import streamlit as st

from app import payload
from app.payload import Draft, Drawings
from app.sitting import Sitting
from ingest.errors import StoreError

FOLDER: Final = Path(__file__).parents[1] / "component"
SCRIPTS: Final = ("elements.js", "stage.js", "forms.js", "panels.js", "bars.js", "keys.js", "desk.js")
"""In the order in which they use each other; they are one module in the browser."""

COMPONENT: Final = "quick"
"""Key of the component, and of its values, in the session's state."""
READY: Final = "component runs"
DRAWINGS: Final = "drawings"
DRAFT: Final = "draft"
HISTORY: Final = "history is open"
SENT: Final = "data of the component"

_mount = st.components.v2.component(
    "winnow_labelling",
    html='<div class="desk"></div>',
    css=(FOLDER / "desk.css").read_text(encoding="utf-8"),
    js="\n".join((FOLDER / name).read_text(encoding="utf-8") for name in SCRIPTS),
    isolate_styles=False,  # pairs look the same on both pages: label.css draws them
)


def draw(sitting: Sitting, *, empty: str) -> None:
    """Draw the page, which says `empty` without a pair; what the browser sends is handled before it is drawn again."""
    state: Any = st.session_state
    drawings = state.setdefault(DRAWINGS, Drawings())
    try:
        past = sitting.desk.history(payload.PAST) if state.get(HISTORY) else None
        state[SENT] = payload.build(sitting, drawings, past=past, draft=state.get(DRAFT), empty=empty)
    except StoreError:
        if SENT not in state:
            raise
        # The page stays as it was, and says what became of the vote: a screen of errors would take it away.
        state[SENT] = state[SENT] | {"answer": payload.answer(sitting)}
    _mount(
        key=COMPONENT,
        data=state[SENT],
        on_ready_change=lambda: state.update({READY: True}),
        on_vote_change=lambda: sitting.cast(_sent("vote")),
        on_undo_change=lambda: _undo(sitting, _sent("undo")),
        on_view_change=lambda: _view(sitting, _sent("view")),
        on_draft_change=lambda: _draft(_sent("draft")),
        on_history_change=lambda: state.update({HISTORY: bool(_sent("history"))}),
    )


def _sent(event: str) -> Any:
    """Return what the component sent as `event`."""
    return st.session_state[COMPONENT][event]


def _undo(sitting: Sitting, sent: object) -> None:
    if isinstance(sent, Mapping) and isinstance(sent.get("elapsed_ms"), int):
        sitting.undo(str(sent.get("event_id")), sent["elapsed_ms"])


def _view(sitting: Sitting, sent: object) -> None:
    if sent in ("formatted", "raw", "diff"):
        sitting.view = sent


def _draft(sent: object) -> None:
    """Keep what is being written, so that what it changes can be shown."""
    if isinstance(sent, Mapping) and all(isinstance(sent.get(key), str) for key in ("pair_id", "side", "text")):
        st.session_state[DRAFT] = Draft(sent["pair_id"], "left" if sent["side"] == "left" else "right", sent["text"])
