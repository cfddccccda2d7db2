"""The annotator's screen: a conversation, two responses side by side, and one key for each verdict."""

import unicodedata
from typing import Final

import streamlit as st

from app import views
from app.candidates import latest
from app.screens.workspace import open_workspace
from app.sitting import SAID, Sitting
from app.store import Store
from app.voting import Desk, Progress, Showing
from ingest.errors import WinnowError
from ingest.settings import Settings

BUTTONS: Final = (
    ("left", "Left is better", "Left"),
    ("tie", "Tie", "T"),
    ("both_bad", "Both bad", "B"),
    ("skip", "Skip", "S"),
    ("right", "Right is better", "Right"),
)
"""Verdict, what its button says, its key. Streamlit keeps C and R for itself."""

LONGEST_NAME: Final = 64
SITTING: Final = "sitting"
RAW: Final = "raw"


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
    """Return this browser session's sitting, a new one when somebody else sits down."""
    sitting = st.session_state.get(SITTING)
    if sitting is None or sitting.desk.annotator != name or sitting.desk.labels != workspace.labels:
        sitting = Sitting(Desk(store, name, workspace.labels))
        st.session_state[SITTING] = sitting
    return sitting


def _sitting(sitting: Sitting, *, published: bool) -> None:
    """Draw the pair on screen and everything to judge it with."""
    showing = sitting.ensure()
    _header(sitting, sitting.desk.progress())
    if showing is None:
        with st.container(key="nothing-left"):
            st.subheader("Nothing left to judge" if published else "No pairs yet", anchor=False)
            st.write(
                "Every pair has all its verdicts, or is with another annotator at the moment."
                if published
                else "No pairs to judge have been published in this workspace."
            )
            st.caption("`python -m curate run` brings new pairs. This page finds them when it is loaded again.")
    else:
        as_raw = st.session_state.get(RAW, False)
        st.html(views.pair(showing.prompt, showing.left, showing.right, as_raw=as_raw))
    _keys(sitting, showing)
    sitting.drawn()


def _header(sitting: Sitting, progress: Progress) -> None:
    """Say who labels and how far they are."""
    with st.container(horizontal=True, vertical_alignment="center", key="header"):
        st.html(
            f'<span class="annotator">{views.plain(sitting.desk.annotator)}</span>'
            f'<span class="count"><b>{progress.done}</b> done</span>'
            f'<span class="count"><b>{progress.left}</b> left</span>'
            f'<span class="count"><b>{progress.skipped}</b> skipped</span>',
            width="content",
        )
        judged = progress.done + progress.skipped
        st.progress(judged / max(judged + progress.left, 1), width="stretch")


def _keys(sitting: Sitting, showing: Showing | None) -> None:
    """Draw the verdict buttons, each with its key; below them undo, the raw view, and what became of the last press.

    A button's key holds the pair, or the verdict to take back, so that a press belongs to what was on screen.
    """
    with st.container(key="verdicts"):
        for column, (verdict, label, key) in zip(st.columns([3, 2, 2, 2, 3]), BUTTONS, strict=True):
            if showing:
                column.button(
                    label,
                    key=f"{verdict}-{showing.pair_id}-{showing.event_id}",
                    shortcut=key,
                    width="stretch",
                    type="primary" if verdict in {"left", "right"} else "secondary",
                    on_click=sitting.press,
                    args=(showing.pair_id, verdict),
                )
    with st.container(horizontal=True, vertical_alignment="center", key="tools"):
        if last := sitting.desk.last_verdict():
            st.button(
                f"Undo ({SAID[str(last.verdict)]})",
                key=f"undo-{last.event_id}",
                shortcut="U",
                type="tertiary",
                icon=":material/undo:",
                on_click=sitting.undo,
                args=(last.event_id,),
            )
        if showing:
            raw = st.session_state.get(RAW, False)
            st.button(
                "Formatted view" if raw else "Raw view",
                key="raw-view",
                shortcut="V",
                type="tertiary",
                icon=":material/code:",
                on_click=st.session_state.update,
                args=({RAW: not raw},),
            )
        if notice := sitting.notice:
            st.html(f'<span class="notice {notice.kind}">{views.plain(notice.text)}</span>', width="stretch")
