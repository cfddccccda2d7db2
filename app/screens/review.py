"""The adjudicator's screen: pairs on which annotators disagree, judged blind; then what the others said."""

import json
from typing import Final

import streamlit as st

from app import task, views
from app.reviews import Opinion, ReviewDesk
from app.screens import access, buttons
from app.screens.workspace import open_workspace
from app.sitting import GRADES, SAID, Sitting
from app.store import Store
from app.voting import Showing
from ingest.errors import WinnowError
from ingest.settings import Settings

SITTING: Final = "review"
JUDGED: Final = "reviewed"
"""The pair whose votes are shown, until the adjudicator goes on."""
ON_SCREEN: Final = "under review"


def draw(name: str | None) -> None:
    """Draw the pair with the lowest agreement, or the votes on the one just judged."""
    try:
        workspace, store = open_workspace()
        if (name := name or access.typed_name("Who is reviewing?")) is not None:
            _sit(_sitting(name, workspace, store))
    except WinnowError as error:
        st.error(str(error), icon=":material/error:")


def _sitting(name: str, workspace: Settings, store: Store) -> Sitting:
    """Return this session's sitting at the review queue."""
    asked = task.load(workspace.labels.file)
    seated: Sitting | None = st.session_state.get(SITTING)
    if seated and (seated.desk.annotator, seated.desk.labels, seated.task) == (name, workspace.labels, asked):
        return seated
    sitting = Sitting(ReviewDesk(store, name, workspace.labels), asked)
    st.session_state[SITTING] = sitting
    for key in (JUDGED, ON_SCREEN):
        st.session_state.pop(key, None)
    return sitting


def _sit(sitting: Sitting) -> None:
    """Draw one of the two steps: a blind verdict, then the votes."""
    shown: Showing | None = st.session_state.get(ON_SCREEN)
    if shown and sitting.showing is None and (event := sitting.desk.find(shown.event_id)) and event.verdict != "skip":
        _votes(sitting, shown, event.event_id)
        return
    showing = sitting.ensure()
    st.session_state[ON_SCREEN] = showing
    if showing is None:
        with st.container(key="nothing-left"):
            st.subheader("Nothing to review", anchor=False)
            st.write("No pair has verdicts that disagree and that you did not judge yourself.")
    buttons.draw(sitting)
    sitting.drawn()


def _votes(sitting: Sitting, showing: Showing, event_id: str) -> None:
    """Show what the others said beside one's own verdict, which can still be changed."""
    desk = sitting.desk
    event = desk.find(event_id)
    if not isinstance(desk, ReviewDesk) or event is None:
        return
    mine = Opinion(str(event.verdict), event.scale, event.rationale, event.tags)
    st.html(views.pair(views.parts(showing.prompt, showing.left, showing.right, sitting.view)))
    with st.container(key="votes"):
        others = enumerate(desk.opinions(showing), start=1)
        st.html(_line("Your verdict", mine) + "".join(_line(f"Annotator {n}", said) for n, said in others))
    with st.container(horizontal=True, key="after"):
        st.button("Next pair", type="primary", shortcut="Enter", on_click=_go_on)
        st.button("Change my verdict", shortcut="U", on_click=sitting.undo, args=(event_id,))


def _go_on() -> None:
    st.session_state.pop(ON_SCREEN, None)


def _line(who: str, opinion: Opinion) -> str:
    """Return an opinion as one line of HTML."""
    scale = opinion.scale
    graded = scale is not None and opinion.verdict in ("left", "right")
    words = f"{opinion.verdict} is {GRADES[min(scale or 4, 8 - (scale or 4))]}" if graded else SAID[opinion.verdict]
    more = "; ".join([*json.loads(opinion.tags or "[]"), opinion.rationale or ""]).strip("; ")
    return (
        f'<div class="vote"><b>{views.plain(who)}</b><span class="said {views.plain(opinion.verdict)}">'
        f"{views.plain(words)}</span><span>{views.plain(more)}</span></div>"
    )
