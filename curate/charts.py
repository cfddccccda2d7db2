"""Charts of the report: Altair specifications that vl-convert renders to SVG text, without browser or network.

Axes and legends take the page's text colour, and the colours of marks read on white and on near-black alike.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import altair as alt
import vl_convert

Rows = Sequence[dict[str, Any]]

BEFORE: Final = "#9aa5b5"
AFTER: Final = "#3f7fe0"
CHOSEN: Final = "#2f9e77"
REJECTED: Final = "#e0793f"
WARNING: Final = "#d0586b"
PHASES: Final = alt.Scale(domain=["before", "after"], range=[BEFORE, AFTER])
SIDES: Final = alt.Scale(domain=["chosen", "rejected"], range=[CHOSEN, REJECTED])
VOTES: Final = alt.Scale(domain=["unanimous", "contested"], range=[AFTER, REJECTED])

_TEXT: Final = {"labelColor": "currentColor", "titleColor": "currentColor", "labelFontSize": 12, "titleFontSize": 12}
_CONFIG: Final = {
    "axis": {
        **_TEXT,
        "titleFontWeight": "normal",
        "titlePadding": 10,
        "gridColor": "currentColor",
        "gridOpacity": 0.12,
        "domainColor": "currentColor",
        "domainOpacity": 0.4,
        "tickColor": "currentColor",
        "tickOpacity": 0.4,
        "labelLimit": 240,
    },
    "legend": {**_TEXT, "orient": "top", "title": None, "symbolType": "square"},
    "text": {"color": "currentColor", "fontSize": 12},
    "view": {"stroke": None},
    "header": {**_TEXT, "title": None, "labelFontSize": 13},
}

_ROOM: Final = {"left": 30, "right": 12, "top": 6, "bottom": 6}
"""Pixels around a chart: the reader's font can be wider than the one that vl-convert measures labels with."""


def by_value(rows: Rows, name: str) -> str:
    """Rows of {value, phase, rows}: triples before and after, by the values of column `name`, in the rows' order."""
    base = alt.Chart(_data(rows), width=620, height=alt.Step(15)).encode(
        y=alt.Y("value:N", title=None, sort=None),
        x=alt.X("rows:Q", title="triples", axis=alt.Axis(format=",d", tickMinStep=1)),
        yOffset=alt.YOffset("phase:N", sort=["before", "after"]),
    )
    bars = base.mark_bar().encode(color=alt.Color("phase:N", scale=PHASES))
    return _svg(bars + base.mark_text(align="left", dx=4).encode(text=alt.Text("rows:Q", format=",d")), f"by-{name}")


def shares(rows: Rows) -> str:
    """Rows of {feature, phase, share, low, high}: how often chosen has more, with intervals; the line is even."""
    even = alt.Chart(_data([{"even": 0.5}])).mark_rule(strokeDash=[4, 4], opacity=0.6, color="currentColor")
    base = alt.Chart(_data(rows), width=620, height=alt.Step(13)).encode(
        y=alt.Y("feature:N", title=None, sort=None),
        yOffset=alt.YOffset("phase:N", sort=["before", "after"]),
        color=alt.Color("phase:N", scale=PHASES),
    )
    scale = alt.Scale(domain=[0, 1])
    x = alt.X("share:Q", title="share of pairs whose chosen response has more of it", scale=scale, axis=_percent())
    bars = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=None, scale=scale), x2="high:Q")
    return _svg(even.encode(x="even:Q") + bars + base.mark_point(filled=True, size=60, opacity=1).encode(x=x), "shares")


def by_reason(rows: Rows) -> str:
    """Rows of {reason, rows}: dropped triples by their first reason, in the order of the rules."""
    base = alt.Chart(_data(rows), width=620, height=alt.Step(26)).encode(
        y=alt.Y("reason:N", title=None, sort=None),
        x=alt.X("rows:Q", title="triples dropped", axis=alt.Axis(format=",d", tickMinStep=1)),
    )
    bars = base.mark_bar(color=WARNING)
    return _svg(bars + base.mark_text(align="left", dx=4).encode(text=alt.Text("rows:Q", format=",d")), "reason")


def lengths(rows: Rows) -> str:
    """Rows of {phase, side, low, high, share}: how long the responses are, in bins of half an octave."""
    chart = (
        alt.Chart(_data(rows), width=330, height=190)
        .mark_area(interpolate="step-after", opacity=0.35, line=True)
        .encode(
            x=alt.X("low:Q", title="characters", scale=alt.Scale(type="log", base=2), axis=_characters()),
            y=alt.Y("share:Q", title="share of responses", stack=None, axis=alt.Axis(format="%", tickCount=5)),
            color=alt.Color("side:N", scale=SIDES),
            column=alt.Column("phase:N", sort=["before", "after"]),
        )
    )
    return _svg(chart, "lengths")


def length_ratio(rows: Rows) -> str:
    """Rows of {phase, low, share}: natural log of chosen's over rejected's length, in bins of a quarter."""
    marked = alt.Chart(_data([{"zero": 0}])).mark_rule(strokeDash=[4, 4], opacity=0.6, color="currentColor")
    chart = (
        alt.Chart(_data(rows), width=620, height=200)
        .mark_area(interpolate="step-after", opacity=0.35, line=True)
        .encode(
            x=alt.X("low:Q", title="ln(characters of chosen / characters of rejected)"),
            y=alt.Y("share:Q", title="share of triples", stack=None, axis=alt.Axis(format="%", tickCount=5)),
            color=alt.Color("phase:N", scale=PHASES),
        )
    )
    return _svg(chart + marked.encode(x="zero:Q"), "ratio")


def votes(rows: Rows) -> str:
    """Rows of {votes, kind, rows}: curated triples by how many votes their pair has, and whether all agree."""
    chart = (
        alt.Chart(_data(rows), width=290, height=180)
        .mark_bar()
        .encode(
            x=alt.X("votes:N", title="votes on the pair", sort=None, axis=alt.Axis(labelAngle=0)),
            y=alt.Y("rows:Q", title="curated triples", axis=alt.Axis(format=",d", tickMinStep=1, tickCount=5)),
            color=alt.Color("kind:N", scale=VOTES),
        )
    )
    return _svg(chart, "votes")


def splits(rows: Rows) -> str:
    """Rows of {split, rows}: curated triples by split."""
    base = alt.Chart(_data(rows), width=290, height=180).encode(
        x=alt.X("split:N", title=None, sort=["train", "validation", "test"], axis=alt.Axis(labelAngle=0)),
        y=alt.Y("rows:Q", title="curated triples", axis=alt.Axis(format=",d", tickMinStep=1, tickCount=5)),
    )
    bars = base.mark_bar(color=AFTER)
    return _svg(bars + base.mark_text(dy=-8).encode(text=alt.Text("rows:Q", format=",d")), "splits")


def _percent() -> alt.Axis:
    return alt.Axis(format="%", tickCount=5)


def _characters() -> alt.Axis:
    """Ticks at powers of four: on a log scale more would overlap."""
    return alt.Axis(values=[4**power for power in range(12)], format=",d", grid=False)


def _data(rows: Rows) -> alt.InlineData:
    return alt.InlineData(values=list(rows))


def _svg(chart: alt.Chart | alt.LayerChart, name: str) -> str:
    """Return SVG for embedding in HTML; ids are made unique to `name`, since vl-convert counts them up per process."""
    spec = {**chart.to_dict(), "config": _CONFIG, "background": None, "padding": _ROOM}
    svg: str = vl_convert.vegalite_to_svg(spec)
    seen: dict[str, str] = {}
    return re.sub(
        r"\b(?:clip|gradient_?)\d+\b", lambda match: seen.setdefault(match[0], f"{name}-{len(seen)}"), svg
    ).replace('xmlns:xlink="http://www.w3.org/1999/xlink" ', "")
