"""The data's screen: which pairs are in the queue and why, each to be read, and to be made a gold item."""

from typing import Any, Final

import streamlit as st

from app import gold, queue_rows, views
from app.queue_rows import Row
from app.screens.workspace import open_workspace
from app.store import Store
from ingest.errors import WinnowError

MOST: Final = 200
"""Pairs that the table lists."""
ANSWERS: Final = {"Left is better": "a", "Tie": "tie", "Both bad": "both_bad", "Right is better": "b"}
ALL, ASKED, KNOWN = "All", "In the queue", "Gold items"


def draw(name: str | None) -> None:
    """Draw what is in the queue; `name` is who marks gold items."""
    try:
        _, store = open_workspace()
        with st.container(key="data"):
            _draw(store, name or "admin")
    except WinnowError as error:
        st.error(str(error), icon=":material/error:")


def _draw(store: Store, name: str) -> None:
    shares = queue_rows.shares(store)
    if not shares:
        st.caption("The queue is empty: `python -m curate run` finds pairs to judge.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        which = st.segmented_control("Pairs", [ASKED, KNOWN], default=ASKED, width="content")
        why = st.selectbox("Why", [ALL, *sorted({share.why for share in shares})])
        source = st.selectbox("Source", [ALL, *sorted({share.source for share in shares})])
        text = st.text_input("Prompt holds")
    rows = queue_rows.rows(
        store, MOST, known=which == KNOWN, why=None if why == ALL else why,
        source=None if source == ALL else source, text=text,
    )  # fmt: skip
    chosen: Any = st.dataframe(
        [_line(row) for row in rows],
        hide_index=True, width="stretch", height=280, on_select="rerun", selection_mode="single-row", key="pairs",
        column_config={"Question": st.column_config.TextColumn(width="large")},
    )  # fmt: skip
    st.caption(f"The {MOST} pairs of highest priority at most. Choose one to read it.")
    with st.expander("How many pairs, and why"):
        st.dataframe(
            [{"Why": share.why, "Source": share.source, "Pairs": share.pairs} for share in shares],
            hide_index=True, width="content",
        )  # fmt: skip
    if (places := chosen.selection.rows) and places[0] < len(rows):
        _read(store, rows[places[0]], name)


def _line(row: Row) -> dict[str, object]:
    return {
        "Priority": row.priority,
        "Why": row.why or "",
        "Source": row.source or "",
        "Opinions": row.opinions,
        "Wanted": row.wanted,
        "Gold": row.answer or "",
        "Question": row.question,
    }


def _read(store: Store, row: Row, name: str) -> None:
    """Draw one pair, response a on the left, and what makes it a gold item."""
    found = queue_rows.pair(store, row.pair_id)
    st.html(views.pair(views.parts(found.prompt, found.response_a, found.response_b, "formatted")))
    if row.answer:
        said = next(words for words, answer in ANSWERS.items() if answer == row.answer)
        st.caption(f"A gold item: {said.lower()}.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        answer = st.segmented_control("Its answer is known", list(ANSWERS), key=f"answer-{row.pair_id}")
        if st.button("Make it a gold item", disabled=answer is None, key=f"gold-{row.pair_id}") and answer:
            gold.mark(store, row.pair_id, ANSWERS[answer], name)
            st.rerun()
