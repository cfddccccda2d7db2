"""The team's screen: how far the queue is, and who did how much."""

import streamlit as st

from app.screens.workspace import open_workspace
from app.tally import annotators, queue
from ingest.errors import WinnowError


def draw() -> None:
    """Draw the queue's numbers and one row per annotator."""
    try:
        workspace, store = open_workspace()
        k = workspace.labels.annotators_per_pair
        counts = queue(store, k=k)
        people = annotators(store)
    except WinnowError as error:
        st.error(str(error), icon=":material/error:")
        return
    with st.container(key="team"):
        with st.container(horizontal=True):
            st.metric("Pairs in the queue", f"{counts.pairs:,}", border=True)
            st.metric(f"Judged by {k} of {k}" if k > 1 else "Judged", f"{counts.complete:,}", border=True)
            st.metric("On a screen now", f"{counts.leased:,}", border=True)
            st.metric("Verdicts still wanted", f"{counts.wanted:,}", border=True)
        if not people:
            st.caption("Nobody has judged a pair yet.")
            return
        st.dataframe(
            [
                {
                    "Annotator": row.annotator,
                    "Left": row.left,
                    "Right": row.right,
                    "Tie": row.tie,
                    "Both bad": row.both_bad,
                    "Skipped": row.skip,
                    "Taken back": row.retracted,
                    "Late": row.late,
                    "Last verdict (UTC)": row.last_time[:19].replace("T", " "),
                }
                for row in people
            ],
            hide_index=True,
            width="stretch",
        )
        st.caption("Left, right, tie, both bad, skipped and late count the verdicts that stand.")
