"""The page of plain buttons: the same task without the component, for a browser in which that does not run.

Every verdict is one rerun of the script. A button's key holds the pair, or the verdict to take back, so that a press
belongs to what was on screen. What comes with a verdict is written into the form above the buttons first.
"""

from typing import Any, Final

import streamlit as st

from app import payload, views
from app.ballot import LONGEST_EDIT, LONGEST_RATIONALE, Verdict, View, of_scale
from app.sitting import GRADES, Sitting, in_words
from app.store import Event
from app.task import Task
from app.voting import Progress, Showing

CHOICE: Final[tuple[tuple[Verdict, str, str], ...]] = (
    ("left", "Left is better", "Left"),
    ("tie", "Tie", "T"),
    ("right", "Right is better", "Right"),
)
"""Verdict, what its button says, its key. Streamlit keeps C and R for itself."""


def draw(sitting: Sitting) -> None:
    """Draw the pair on screen and everything to judge it with."""
    showing = sitting.showing
    progress, last = sitting.progress()
    _header(sitting, progress)
    if showing is not None:
        st.html(views.pair(views.parts(showing.prompt, showing.left, showing.right, sitting.view)))
        _details(sitting.task, showing)
        _verdicts(sitting, showing)
    _tools(sitting, showing, last)


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


def _details(task: Task, showing: Showing) -> None:
    """Draw the form of what comes with a verdict; its fields are empty again for the next pair."""
    if not (task.aspects or task.tags or task.edit or task.skip_reasons or task.rationale != "off"):
        return
    with st.expander("Why, tags, aspects, an improved text", expanded=task.rationale == "required"):
        for name in task.aspects:
            st.segmented_control(name, ["left", "tie", "right"], key=_key("aspect", name, showing))
        if task.tags:
            st.pills("Tags", task.tags, selection_mode="multi", key=_key("tags", "", showing))
        if task.skip_reasons:
            st.selectbox("Reason of a skip", task.skip_reasons, index=None, key=_key("skip", "", showing))
        if task.rationale != "off":
            st.text_area("Why", max_chars=LONGEST_RATIONALE, height=68, key=_key("why", "", showing))
        if task.edit:
            side = st.segmented_control("Improve", ["left", "right"], key=_key("edit", "", showing))
            if side:
                before = payload.last_text(showing, side)
                key = _key("text", side, showing)
                text = st.text_area("Improved text", before, max_chars=LONGEST_EDIT, height=240, key=key)
                st.html(views.edit(before, text))


def _key(field: str, name: str, showing: Showing) -> str:
    return f"{field}-{name}-{showing.event_id}"


def _verdicts(sitting: Sitting, showing: Showing) -> None:
    """Draw one button for every verdict that the task has."""
    buttons: list[tuple[Verdict, int | None, str, str]] = (
        [(of_scale(place), place, _words(place), str(place)) for place in range(1, 8)]
        if sitting.task.mode == "scale"
        else [(verdict, None, words, key) for verdict, words, key in CHOICE]
    )
    if sitting.task.both_bad:
        buttons.append(("both_bad", None, "Both bad", "B"))
    buttons.append(("skip", None, "Skip", "S"))
    with st.container(key="verdicts"):
        for column, (verdict, place, words, key) in zip(st.columns(len(buttons)), buttons, strict=True):
            column.button(
                words,
                key=f"{verdict}-{place}-{showing.pair_id}-{showing.event_id}",
                shortcut=key,
                width="stretch",
                type="primary" if verdict in {"left", "right"} else "secondary",
                on_click=_press,
                args=(sitting, showing, verdict, place),
            )


def _words(place: int) -> str:
    if place == 4:
        return "Tie"
    return f"{'Left' if place < 4 else 'Right'} {GRADES[min(place, 8 - place)]}"


def _press(sitting: Sitting, showing: Showing, verdict: Verdict, place: int | None) -> None:
    """Give the verdict, with what the form says now."""
    state: Any = st.session_state
    skip = verdict == "skip"
    aspects = {name: state.get(_key("aspect", name, showing)) for name in sitting.task.aspects}
    side = None if skip else state.get(_key("edit", "", showing))
    text = state.get(_key("text", side, showing)) if side else None
    improved = side is not None and text and text != payload.last_text(showing, side)
    sitting.press(
        showing.pair_id,
        verdict,
        place,
        skip_reason=state.get(_key("skip", "", showing)) if skip else None,
        rationale=state.get(_key("why", "", showing)) or None,
        tags=list(state.get(_key("tags", "", showing)) or []),
        aspects={name: chosen for name, chosen in aspects.items() if chosen},
        edited_side=side if improved else None,
        edited_text=text if improved else None,
    )


def _tools(sitting: Sitting, showing: Showing | None, last: Event | None) -> None:
    """Draw undo, the views, guidelines and history, and what became of the last press."""
    with st.container(horizontal=True, vertical_alignment="center", key="tools"):
        if last:
            st.button(
                f"Undo ({in_words(last)})", key=f"undo-{last.event_id}", shortcut="U", type="tertiary",
                icon=":material/undo:", on_click=sitting.undo, args=(last.event_id,),
            )  # fmt: skip
        if showing:
            _view(sitting, "raw", "Raw view", "V", ":material/code:")
            _view(sitting, "diff", "Differences", "D", ":material/difference:")
        if guidelines := sitting.task.guidelines:
            with st.popover("Guidelines", type="tertiary"):
                st.caption(guidelines.version)
                st.html(views.markdown(guidelines.text))
        with st.popover("History", type="tertiary"):
            _history(sitting)
        if notice := sitting.notice:
            st.html(f'<span class="notice {notice.kind}">{views.plain(notice.text)}</span>', width="stretch")


def _view(sitting: Sitting, view: View, words: str, key: str, icon: str) -> None:
    """Draw the button that turns a view on, or off again."""
    on = sitting.view == view
    st.button(
        "Formatted view" if on else words, key=f"view-{view}", shortcut=key, type="tertiary", icon=icon,
        on_click=setattr, args=(sitting, "view", "formatted" if on else view),
    )  # fmt: skip


def _history(sitting: Sitting) -> None:
    """List the newest verdicts of one's own; each that stands can be taken back."""
    for past in sitting.desk.history(payload.PAST):
        line = payload.line(past)
        gone = "" if past.stands else " · taken back"
        words = f"{line['time']} · {line['words']}{gone} · {line['question']}"
        st.html(f'<div class="past">{views.plain(words)}</div>')
        if past.stands:
            event_id = past.event.event_id
            st.button("Take back", key=f"back-{event_id}", on_click=sitting.undo, args=(event_id,), type="tertiary")
