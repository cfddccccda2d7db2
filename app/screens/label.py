"""The annotator's screen: who labels, and on which page: the quick one, or the one of plain buttons.

`?page=buttons` in the address asks for the plain one. Otherwise the quick page is drawn, and where its component has
not reported after `WAIT_SECONDS` that it runs, the plain one takes its place.
"""

import time
from contextlib import suppress
from typing import Any, Final

import streamlit as st

from app import task
from app.candidates import latest
from app.screens import access, buttons, quick
from app.screens.workspace import open_workspace
from app.sitting import Sitting
from app.store import Store
from app.voting import Desk
from ingest.errors import StoreError, WinnowError
from ingest.settings import Settings

SITTING: Final = "sitting"
BEGAN: Final = "first drawn"
GIVEN_UP: Final = "component does not run"
WAIT_SECONDS: Final = 8.0
"""A browser that has not run the component by then does not run it."""


def draw(name: str | None = None) -> None:
    """Draw the screen for `name`, who says so first when it is None; an error is said in one sentence."""
    try:
        workspace, store = open_workspace()
        if (name := name or access.typed_name("Who is labelling?")) is not None:
            _sitting(_sit_down(name, workspace, store), published=latest(workspace) is not None)
    except WinnowError as error:
        st.error(str(error), icon=":material/error:")


def _sit_down(name: str, workspace: Settings, store: Store) -> Sitting:
    """Return this browser session's sitting, a new one when somebody else sits down or something else is asked."""
    asked = task.load(workspace.labels.file)
    seated: Sitting | None = st.session_state.get(SITTING)
    if seated and (seated.desk.annotator, seated.desk.labels, seated.task) == (name, workspace.labels, asked):
        return seated
    sitting = Sitting(Desk(store, name, workspace.labels), asked)
    st.session_state[SITTING] = sitting
    return sitting


def _sitting(sitting: Sitting, *, published: bool) -> None:
    """Draw the page that this browser can run, with the pair on screen."""
    plain = st.query_params.get("page") == "buttons" or GIVEN_UP in st.session_state
    sitting.page = "buttons" if plain else "component"
    showing = sitting.ensure()
    if showing is None and plain:
        _nothing_left(published)
    if plain:
        buttons.draw(sitting)
    else:
        quick.draw(sitting, empty=" \n".join(_words(published)))
        if quick.READY not in st.session_state:
            _await_component()
    sitting.drawn()
    st.fragment(_alive, run_every=sitting.desk.labels.lease_seconds / 3)(sitting)


def _alive(sitting: Sitting) -> None:
    """Renew the leases while the page is open. An error shows at the next press, which needs the store too."""
    with suppress(StoreError):
        sitting.alive()


@st.fragment(run_every=2.0)
def _await_component() -> None:
    """Look whether the component runs, and give it up when it does not."""
    state: Any = st.session_state
    if quick.READY in state:
        st.rerun()
    if time.monotonic() - state.setdefault(BEGAN, time.monotonic()) > WAIT_SECONDS:
        state[GIVEN_UP] = True
        st.rerun()


def _words(published: bool) -> tuple[str, str]:
    """Return what a screen without a pair says."""
    if not published:
        return "No pairs yet", "No pairs to judge have been published in this workspace."
    return "Nothing left to judge", "Every pair has all its verdicts, or is with another annotator at the moment."


def _nothing_left(published: bool) -> None:
    title, text = _words(published)
    with st.container(key="nothing-left"):
        st.subheader(title, anchor=False)
        st.write(text)
        st.caption("`python -m curate run` brings new pairs. This page finds them when it is loaded again.")
