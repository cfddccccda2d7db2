"""Draws the training curve of a run: metrics.jsonl -> curve.svg and curve.png."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import altair as alt
import vl_convert

PANELS: Final = {
    "loss": ("loss", "mean of the run's loss over pairs"),
    "rewards/accuracies": ("preference accuracy", "share of pairs with margin > 0"),
    "rewards/margins": ("margin", "mean beta * (A - B), nats"),
    "logps/chosen": ("log-probability of chosen", "mean log pi(chosen | x), nats"),
}
"""Metric -> title and axis of its panel. Falling chosen log-probabilities show a policy that drifts."""


def draw_curve(metrics: Path, folder: Path) -> None:
    """Write curve.svg and curve.png into `folder`: one panel for each of PANELS, training and validation over steps."""
    points = list(_points(metrics))
    panels = [_panel([p for p in points if p["metric"] == metric], *PANELS[metric]) for metric in PANELS]
    specification = alt.vconcat(alt.hconcat(*panels[:2]), alt.hconcat(*panels[2:])).to_json()
    (folder / "curve.svg").write_text(vl_convert.vegalite_to_svg(specification), encoding="utf-8")
    (folder / "curve.png").write_bytes(vl_convert.vegalite_to_png(specification, scale=2))


def _points(metrics: Path) -> Iterator[dict[str, object]]:
    """Yield one point per step, metric and set."""
    for line in metrics.read_text(encoding="utf-8").splitlines():
        log = json.loads(line)
        for metric in PANELS:
            for name, pairs in ((metric, "training"), (f"eval_{metric}", "validation")):
                if name in log:
                    yield {"step": log["step"], "metric": metric, "value": log[name], "pairs": pairs}


def _panel(points: list[dict[str, object]], title: str, axis: str) -> alt.Chart:
    """Return one panel; the validation points carry a mark, since there are few of them."""
    chart: alt.Chart = (
        alt.Chart(alt.Data(values=points), title=title, width=320, height=180)
        .mark_line(point=True, strokeWidth=1.5)
        .encode(
            x=alt.X("step:Q", title="optimiser step"),
            y=alt.Y("value:Q", title=axis, scale=alt.Scale(zero=False)),
            color=alt.Color(
                "pairs:N", title=None, scale=alt.Scale(domain=["training", "validation"], range=["#4c78a8", "#e45756"])
            ),
        )
    )
    return chart
