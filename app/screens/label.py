"""The annotator's screen: who labels, and on which page: the quick one, or the one of plain buttons.

`?page=buttons` in the address asks for the plain one. Otherwise the quick page is drawn, and where its component has
not reported after `WAIT_SECONDS` that it runs, the plain one takes its place.
"""

import time
import unicodedata
from contextlib import suppress
from typing import Any, Final

import streamlit as st

from app import task
from app.candidates import latest
from app.screens import buttons, quick
from app.screens.workspace import open_workspace
from app.sitting import Sitting
from app.store import Store
from app.voting import Desk
from ingest.errors import StoreError, WinnowError
from ingest.settings import Settings

LONGEST_NAME: Final = 64
SITTING: Final = "sitting"
BEGAN: Final = "first drawn"
GIVEN_UP: Final = "component does not run"
WAIT_SECONDS: Final = 8.0
"""A browser that has not run the component by then does not run it."""


def draw() -> None:
    """Draw the screen; an error of the workspace is said in one sentence."""
    try:
        workspace, store = open_workspace()
        if (name := _annotator()) is not None:
            _sitting(_sit_down(name, workspace, store), published=latest(workspace) is not None)
    except WinnowError as error:
        st.error(str(error), icon=":material/error:")


def _annotator() -> str | None:
    """Return who labels; ask for the name when it is not known. The address keeps it over a reload."""
    seated: Sitting | None = st.session_state.get(SITTING)
    if name := clean_name(st.query_params.get("annotator", seated.desk.annotator if seated else "")):
        if st.query_params.get("annotator") != name:
            st.query_params["annotator"] = name
        return name
    with st.container(key="sign-in", width=420), st.form("name", enter_to_submit=True):
        st.subheader("Who is labelling?", anchor=False)
        typed = st.text_input(
            "Your name", max_chars=LONGEST_NAME, placeholder="It stands beside every verdict you give"
        )
        st.caption("You will see a conversation and two responses to it. Say which one is better, or that neither is.")
        if not st.form_submit_button("Start", type="primary", width="stretch"):
            return None
    if name := clean_name(typed):
        st.query_params["annotator"] = name
        st.rerun()
    st.error("Type a name of letters, digits, spaces or punctuation first.")
    return None


def clean_name(typed: str) -> str:
    """Return the name in one form (NFC, no spaces around it); empty when it is not one printable line."""
    name = unicodedata.normalize("NFC", typed).strip()
    return name if name.isprintable() and len(name) <= LONGEST_NAME else ""


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
