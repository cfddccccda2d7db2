"""The training screen: every run's curves, live while it runs, its results, and the labels it doubts."""

from pathlib import Path
from typing import Final

import altair as alt
import polars as pl
import streamlit as st

from app import runs, views
from app.runs import Run
from ingest import settings
from ingest.errors import WinnowError

EVERY_SECONDS: Final = 2.0
CURVES: Final = {
    "Loss": ("loss", "eval_loss"),
    "Accuracy": ("rewards/accuracies", "eval_rewards/accuracies"),
    "Margin": ("rewards/margins", "eval_rewards/margins"),
    "Log-probability": ("logps/chosen", "logps/rejected", "eval_logps/chosen", "eval_logps/rejected"),
}
"""Plot -> metrics of metrics.jsonl."""
LISTED: Final = (
    "data",
    "model",
    "loss",
    "beta",
    "learning_rate",
    "epochs",
    "batch_size",
    "gradient_accumulation",
    "seed",
)


def draw() -> None:
    """Draw the runs of the workspace."""
    try:
        root = settings.load().train.output
    except WinnowError as error:
        st.error(str(error), icon=":material/error:")
        return
    with st.container(key="training"):
        folders = runs.folders(root)
        if not folders:
            st.caption("No training run yet: `python -m train.dpo --data data/curated/latest/curated.parquet`.")
            return
        name = st.selectbox("Run", [folder.name for folder in folders])
        folder = next(folder for folder in folders if folder.name == name)
        running = not runs.read(folder).finished
        st.fragment(_live, run_every=EVERY_SECONDS if running else None)(folder, running)


def _live(folder: Path, running: bool) -> None:
    """Draw what changes while the run goes on; when it has ended, the whole page once more."""
    run = runs.read(folder)
    if running and run.finished:
        st.rerun()
    _state(run)
    _curves(runs.metrics(folder))
    if run.finished:
        _results(run)
        _suspects(runs.suspects(folder))
    with st.expander("Options"):
        st.dataframe(
            [{"Option": key, "Value": str(run.config[key])} for key in sorted(run.config, key=_listed)],
            hide_index=True, width="stretch",
        )  # fmt: skip


def _listed(key: str) -> tuple[int, str]:
    return (LISTED.index(key) if key in LISTED else len(LISTED), key)


def _state(run: Run) -> None:
    """Say how far the run is."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.metric("State", run.state, border=True)
        st.metric("Step", f"{run.step:,} of {run.steps:,}", border=True)
        for when, words in (("before", "Held out, before"), ("after", "Held out, after")):
            if found := run.results.get(when):
                st.metric(f"{words}: accuracy", f"{found['accuracy']:.1%}", border=True)
                st.metric(f"{words}: loss", f"{found['loss']:.4f}", border=True)
    st.progress(min(run.step / max(run.steps, 1), 1.0))
    st.caption(f"Updated {run.updated[:19].replace('T', ' ')} UTC")


def _curves(metrics: pl.DataFrame) -> None:
    """Draw the curves that have points, two side by side."""
    drawn = {
        title: some for title, names in CURVES.items() if (some := metrics.filter(pl.col("metric").is_in(names))).height
    }
    columns = st.columns(2)
    for place, (title, some) in enumerate(drawn.items()):
        with columns[place % 2], st.container(border=True):
            st.markdown(f"**{title}**")
            st.altair_chart(_curve(some), width="stretch", key=f"curve-{title}")


def _curve(some: pl.DataFrame) -> alt.Chart:
    drawn: alt.Chart = (
        alt.Chart(some)
        .mark_line(point=some.height < 60)
        .encode(
            x=alt.X("step:Q", title="step", axis=alt.Axis(tickMinStep=1)),
            y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False)),
            color=alt.Color("metric:N", title=None, legend=alt.Legend(orient="top", labelLimit=0)),
            tooltip=["step:Q", "metric:N", alt.Tooltip("value:Q", format=".4f")],
        )
        .properties(height=260)
    )
    return drawn


def _results(run: Run) -> None:
    """Draw what the run says of itself at its end."""
    before, after = run.results.get("before", {}), run.results.get("after", {})
    rows = [{"Held out": key, "Before": _shown(before.get(key)), "After": _shown(after[key])} for key in sorted(after)]
    if rows:
        with st.expander("Results"):
            st.dataframe(rows, hide_index=True, width="stretch")


def _shown(value: object) -> str:
    if isinstance(value, list):
        return " to ".join(_shown(each) for each in value)
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _suspects(flips: pl.DataFrame) -> None:
    """List the pairs whose label the trained policy doubts; each can be read."""
    st.markdown("**Suspected flips**")
    if not flips.height:
        st.caption("None: the policy agrees with every label, or not one is clear enough to doubt.")
        return
    table = flips.select("triple_id", "split", "probability", "margin")
    event = st.dataframe(
        table, hide_index=True, width="stretch", height=240, on_select="rerun", selection_mode="single-row", key="flips"
    )
    st.caption("P(chosen is preferred) by the trained policy, lowest first. Chosen is drawn on the left.")
    places = event.selection.rows
    if places and "prompt" in flips.columns and (row := flips.row(places[0], named=True))["prompt"]:
        st.html(views.pair(views.parts(row["prompt"], row["chosen"], row["rejected"], "formatted")))
