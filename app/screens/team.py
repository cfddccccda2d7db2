"""The team's screen: how far the queue is, how fast it goes, how far annotators agree, what each is like."""

from typing import Final

import altair as alt
import polars as pl
import streamlit as st

from app import gold, opinions, quality
from app.meters import FEWEST, Meter, Rate
from app.screens.workspace import open_workspace
from app.store import Store
from app.tally import Annotator, annotators, queue
from ingest.errors import WinnowError
from ingest.settings import Labels

FRESH_SECONDS: Final = 10.0
"""How old the numbers of this screen may be."""
HEIGHT: Final = 240


def draw() -> None:
    """Draw the queue's numbers, and below them what the verdicts say of who gave them."""
    try:
        workspace, store = open_workspace()
        labels = workspace.labels
        with st.container(key="team"):
            _queue(store, labels)
            people = annotators(store)
            if not people:
                st.caption("Nobody has judged a pair yet.")
                return
            said = _opinions(labels.url, store)
            _plots(said)
            _meters(said, people)
    except WinnowError as error:
        st.error(str(error), icon=":material/error:")


@st.cache_resource(ttl=FRESH_SECONDS, show_spinner=False)
def _opinions(url: str, _store: Store) -> pl.DataFrame:
    return opinions.read(_store)


def _queue(store: Store, labels: Labels) -> None:
    """Say how far the queue is."""
    k = labels.annotators_per_pair
    counts, known = queue(store, k=k), gold.count(store)
    with st.container(horizontal=True):
        st.metric("Pairs in the queue", f"{counts.pairs - known:,}", border=True)
        st.metric(f"Judged by {k} of {k}" if k > 1 else "Judged", f"{counts.complete:,}", border=True)
        st.metric("On a screen now", f"{counts.leased:,}", border=True)
        st.metric("Verdicts still wanted", f"{counts.wanted:,}", border=True)
        if known or labels.gold_share:
            st.metric("Gold items", f"{known:,}", border=True)
    if labels.gold_share and not known:
        st.warning("gold_share is set, and there are no gold items: add some with `python -m app gold`.")


def _plots(said: pl.DataFrame) -> None:
    """Draw throughput and agreement."""
    left, right = st.columns(2)
    with left, st.container(border=True):
        st.markdown("**Verdicts a day**")
        st.altair_chart(_throughput(quality.by_day(said)), width="stretch")
    with right, st.container(border=True):
        st.markdown("**Agreement, by week of the last verdict**")
        weeks = [(week, found) for week, found in quality.by_week(said) if found.pairs]
        if weeks:
            st.altair_chart(_course(weeks), width="stretch")
        else:
            st.container(height=HEIGHT, border=False).caption("No pair was judged by two people yet.")
    found = quality.agreement(said.filter(pl.col("purpose") == "ask", pl.col("verdict") != "skip"))
    if not found.pairs:
        return
    with st.container(horizontal=True):
        st.metric("Pairs judged by several", f"{found.pairs:,}", border=True)
        st.metric("Same outcome", _percent(found.same), border=True)
        st.metric("Krippendorff's α, ordinal", _number(found.alpha), border=True)
        st.metric("Fleiss' κ", _number(found.fleiss), border=True)


def _throughput(days: pl.DataFrame) -> alt.Chart:
    drawn: alt.Chart = (
        alt.Chart(days)
        .mark_bar()
        .encode(
            x=alt.X("day:O", title=None, axis=alt.Axis(labelAngle=0, labelOverlap=True)),
            y=alt.Y("verdicts:Q", title=None, axis=alt.Axis(tickMinStep=1)),
            color=alt.Color("annotator:N", title=None),
            tooltip=["day:O", "annotator:N", "verdicts:Q"],
        )
        .properties(height=HEIGHT)
    )
    return drawn


def _course(weeks: list[tuple[str, quality.Agreement]]) -> alt.Chart:
    """Draw agreement over time; a value that is undefined has no point."""
    rows = [
        {"week": week, "measure": name, "value": value}
        for week, found in weeks
        for name, value in (("same outcome", found.same), ("α", found.alpha), ("Fleiss' κ", found.fleiss))
        if value is not None
    ]
    drawn: alt.Chart = (
        alt.Chart(pl.DataFrame(rows))
        .mark_line(point=True)
        .encode(
            x=alt.X("week:O", title=None, axis=alt.Axis(labelAngle=0, labelOverlap=True)),
            y=alt.Y("value:Q", title=None, scale=alt.Scale(domainMax=1)),
            color=alt.Color("measure:N", title=None),
            tooltip=["week:O", "measure:N", alt.Tooltip("value:Q", format=".2f")],
        )
        .properties(height=HEIGHT)
    )
    return drawn


def _meters(said: pl.DataFrame, people: list[Annotator]) -> None:
    """Draw a table of meters, and intervals of how often each annotator chooses left."""
    meters = quality.report(said, models=False).meters
    for meter in meters:
        if meter.flags:
            st.warning(f"{meter.annotator}: {', '.join(meter.flags)}", icon=":material/flag:")
    if meters:
        st.dataframe([_row(meter) for meter in meters], hide_index=True, width="stretch")
        st.caption(
            "Rates with their 99 % Wilson intervals. Sides are a fair coin, so left should win half of the time; below"
            f" {FEWEST} verdicts nothing is flagged. Gold counts attention checks, too."
        )
    st.dataframe(
        [
            {
                "Annotator": row.annotator, "Left": row.left, "Right": row.right, "Tie": row.tie,
                "Both bad": row.both_bad, "Skipped": row.skip, "Taken back": row.retracted, "Late": row.late,
                "Last verdict (UTC)": row.last_time[:19].replace("T", " "),
            }
            for row in people
        ],
        hide_index=True,
        width="stretch",
    )  # fmt: skip
    st.caption("Left, right, tie, both bad, skipped and late count the verdicts that stand.")


def _row(meter: Meter) -> dict[str, str | int]:
    seconds = meter.median_seconds
    return {
        "Annotator": meter.annotator,
        "Verdicts": meter.verdicts,
        "Left": _rate(meter.left),
        "Longer wins": _rate(meter.longer),
        "Gold right": _rate(meter.gold),
        "Repeats the same": _rate(meter.consistent),
        "Median time": "" if seconds is None else f"{seconds:.1f} s",
        "Flagged": ", ".join(meter.flags),
    }


def _rate(rate: Rate) -> str:
    if rate.value is None:
        return "–"
    low, high = rate.interval
    return f"{rate.value:.0%} ({low:.0%} to {high:.0%}) of {rate.of}"


def _percent(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.0%}"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"
