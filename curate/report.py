"""The report of a snapshot: one HTML file that opens anywhere, offline, in light and in dark.

Reads what the run found in DuckDB, writes report.html; part of `python -m curate run`. There is no script in it, no
remote address and no text of any user; every value is escaped.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import duckdb

from curate import charts
from curate.candidates import Offer
from curate.counts import Counts
from curate.expectations import Finding
from curate.rules import Reason
from curate.statements import statement


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the report says beside its charts."""

    name: str
    """Of the snapshot."""
    counts: Counts
    offer: Offer
    reasons: Sequence[Reason]
    findings: Sequence[Finding]
    recipe: Mapping[str, object]
    """As it was run, every default filled in."""


def render(connection: duckdb.DuckDBPyConnection, facts: Facts) -> str:
    """Return the whole page."""
    connection.execute(statement("report.sql"))
    longer = {row["phase"]: row["share"] for row in _rows(connection, _LONGER)}
    cards = (
        _card("Every triple is accounted for", "In = curated + dropped.", _counts(facts)),
        _card("What was dropped", "By the first reason that holds.", charts.by_reason(_reason_rows(facts))),
        _card("What the preferences were read from", "", charts.by_signal(_rows(connection, _SIGNALS))),
        _card(
            "How long the responses are",
            "If chosen responses are longer as a rule, training makes a model wordy.",
            charts.lengths(_rows(connection, _LENGTHS)),
        ),
        _card(
            "Length of chosen against rejected",
            "Right of the line the chosen response is the longer one. Ratios beyond e³ are shown at the edge.",
            charts.length_ratio(_rows(connection, _RATIOS)),
        ),
        '<div class="pair">'
        + _card("How many votes a pair has", "", charts.votes(_rows(connection, _VOTES)))
        + _card("Splits", "", charts.splits([{"split": k, "rows": v} for k, v in facts.counts.by_split.items()]))
        + "</div>",
        _card("Rules", "In the order in which the first reason counts.", _rules(facts)),
        _card("The gate", "All of it held, or this page would not be here.", _gate(facts.findings)),
        _card(
            "Recipe",
            "As it was run, defaults included.",
            f"<pre>{escape(json.dumps(facts.recipe, indent=2, ensure_ascii=False))}</pre>",
        ),
    )
    return _PAGE.format(
        name=escape(facts.name),
        css=statement("report.css"),
        tiles=_tiles(facts, longer),
        cards="\n".join(cards),
    )


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Winnow: snapshot {name}</title>
<style>
{css}</style>
</head>
<body>
<main>
<h1>Snapshot {name}</h1>
<p class="quiet">What became of every preference triple. Made by <code>python -m curate run</code>.</p>
{tiles}
{cards}
</main>
</body>
</html>
"""

_LONGER = """
    SELECT phase, count(*) FILTER (chosen_chars > rejected_chars)
                  / nullif(count(*) FILTER (chosen_chars != rejected_chars), 0) AS share
    FROM phases GROUP BY phase"""
_SIGNALS = "SELECT signal, phase, count(*) AS rows FROM phases GROUP BY ALL ORDER BY signal, phase DESC"
_LENGTHS = """
    WITH sides AS (
        SELECT phase, side, floor(2 * log2(chars)) / 2 AS half_octave
        FROM (SELECT phase, 'chosen' AS side, chosen_chars AS chars FROM phases
              UNION ALL SELECT phase, 'rejected', rejected_chars FROM phases)
        WHERE chars > 0),
    bins AS (SELECT unnest(range(2 * min(half_octave)::INTEGER, (2 * max(half_octave))::INTEGER + 2)) / 2 AS half_octave
             FROM sides),
    totals AS (SELECT phase, side, count(*) AS total FROM sides GROUP BY ALL)
    SELECT phase, side, 2 ** half_octave AS low, count(s.half_octave) / any_value(total) AS share
    FROM totals CROSS JOIN bins LEFT JOIN sides s USING (phase, side, half_octave)
    GROUP BY phase, side, half_octave ORDER BY phase, side, low"""
_RATIOS = """
    WITH ratios AS (
        SELECT phase, floor(4 * greatest(-3, least(2.99, ln(chosen_chars / rejected_chars)))) / 4 AS low
        FROM phases WHERE chosen_chars > 0 AND rejected_chars > 0),
    bins AS (SELECT unnest(range(-12, 13)) / 4 AS low),
    totals AS (SELECT phase, count(*) AS total FROM ratios GROUP BY ALL)
    SELECT phase, low, count(r.low) / any_value(total) AS share
    FROM totals CROSS JOIN bins LEFT JOIN ratios r USING (phase, low)
    GROUP BY phase, low ORDER BY phase, low"""
_VOTES = """
    SELECT CASE WHEN n_votes < 5 THEN n_votes::VARCHAR ELSE '5+' END AS votes,
           CASE WHEN n_agree = n_votes THEN 'unanimous' ELSE 'contested' END AS kind, count(*) AS rows
    FROM kept GROUP BY ALL ORDER BY votes, kind"""


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    """Return the rows of an aggregate, a few dozen at most."""
    result = connection.execute(query)
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _reason_rows(facts: Facts) -> list[dict[str, Any]]:
    return [{"reason": name, "rows": reach.first} for name, reach in facts.counts.by_reason.items()]


def _tiles(facts: Facts, longer: dict[str, float | None]) -> str:
    before, after = ("–" if longer.get(phase) is None else f"{longer[phase]:.1%}" for phase in ("before", "after"))
    tiles = (
        (f"{facts.counts.triples:,}", "triples in"),
        (f"{facts.counts.curated:,}", "curated"),
        (f"{facts.counts.dropped:,}", "dropped, each with its reasons"),
        (f"{facts.offer.offered:,}", "pairs offered to annotators"),
        (f"{before} → {after}", "chosen is the longer one"),
    )
    body = "".join(f'<div class="tile"><b>{number}</b><span>{what}</span></div>' for number, what in tiles)
    return f'<div class="tiles">{body}</div>'


def _card(title: str, note: str, body: str) -> str:
    quiet = f'<p class="quiet">{escape(note)}</p>' if note else ""
    inner = f'<figure aria-label="{escape(title)}">{body}</figure>' if body.startswith("<svg") else body
    return f'<section class="card"><h2>{escape(title)}</h2>{quiet}<div class="scroll">{inner}</div></section>'


def _counts(facts: Facts) -> str:
    rows = [("triples in", facts.counts.triples, "sum")]
    rows += [(f"− {name}", reach.first, "") for name, reach in facts.counts.by_reason.items()]
    rows += [("= curated", facts.counts.curated, "sum")]
    rows += [(f"of them {split}", count, "") for split, count in facts.counts.by_split.items()]
    rows += [("undecided pairs offered to annotators", facts.offer.offered, "sum")]
    rows += [("beyond the recipe's caps, not offered", facts.offer.left_out, "")]
    body = "".join(
        f'<tr class="{kind}"><td>{escape(what)}</td><td class="number">{count:,}</td></tr>'
        for what, count, kind in rows
    )
    return f"<table>{body}</table>"


def _rules(facts: Facts) -> str:
    body = "".join(
        f"<tr><td><code>{escape(reason.id)}</code></td><td>{escape(reason.reason)}</td>"
        f'<td class="number">{facts.counts.by_reason[reason.name].first:,}</td>'
        f'<td class="number">{facts.counts.by_reason[reason.name].holds_for:,}</td></tr>'
        for reason in facts.reasons
    )
    head = '<tr><th>rule</th><th>drops a triple when</th><th class="number">first</th><th class="number">holds for</th>'
    return f"<table>{head}</tr>{body}</table>"


def _gate(findings: Sequence[Finding]) -> str:
    body = "".join(
        f"<tr><td><code>{escape(f.expectation.metric)}</code></td>"
        f'<td class="number">{escape(f.observed_text)}</td><td class="number">{escape(f.expectation.bounds)}</td>'
        f'<td class="{"ok" if f.success else "no"}">{"held" if f.success else "failed"}</td></tr>'
        for f in findings
    )
    head = '<tr><th>metric</th><th class="number">observed</th><th class="number">expected</th><th></th></tr>'
    return f"<table>{head}{body}</table>"
