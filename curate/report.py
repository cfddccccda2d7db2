"""The report of a snapshot: one HTML file that opens anywhere, offline, in light and in dark.

Reads what the run found in DuckDB, writes report.html; part of `python -m curate run`. There is no script in it and no
remote address; of what users said, the questions of the largest clusters stand in it (`curate.closer_look`). Every
value is escaped.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import duckdb

from curate import charts, closer_look
from curate.balance import Balance
from curate.candidates import Offer
from curate.closer_look import Cluster, Suspect
from curate.counts import Counts
from curate.expectations import Finding
from curate.measures import Measures
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
    measures: Measures
    recipe: Mapping[str, object]
    """As it was run, every default filled in."""
    balanced: Balance | None = None


def render(connection: duckdb.DuckDBPyConnection, curated: Path, facts: Facts) -> str:
    """Return the whole page about the staged file `curated`; reads table phases (`curate.measures`)."""
    measures = facts.measures
    columns = {"signal": "What the preferences were read from", "source": "Where they come from"}
    columns |= {"model": "Which model gave the chosen response", "language": "Language of the chosen response"}
    columns |= {"week": "Week of the last vote"}
    cards = (
        _card("Every triple is accounted for", "In = curated + dropped.", _counts(facts)),
        _card("What was dropped", "By the first reason that holds.", charts.by_reason(_reason_rows(facts))),
        *(
            _card(title, "", charts.by_value(measures.columns[column], column))
            for column, title in columns.items()
            if len(measures.values(column)) > 1
        ),
        _same_for_all(measures),
        _card(
            "What the chosen response has more of",
            "Of the pairs whose responses differ in it. Right of the line a model learns to do more of it, whatever is "
            "asked. Lines are 95 % intervals.",
            charts.shares(_shares(measures)) + _share_table(measures),
        ),
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
        _costs(facts.balanced) if facts.balanced else "",
        '<div class="pair">'
        + _card(
            "How many votes a pair has",
            f"{measures.agree:,} of {measures.votes:,} votes prefer the chosen response.",
            charts.votes(_rows(connection, _VOTES)),
        )
        + _card("Splits", "", charts.splits([{"split": k, "rows": v} for k, v in facts.counts.by_split.items()]))
        + "</div>",
        _clusters(closer_look.clusters(connection, curated)),
        _suspects(closer_look.suspects(connection, curated)),
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
        tiles=_tiles(facts),
        cards="\n".join(filter(None, cards)),
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


def _same_for_all(measures: Measures) -> str:
    """Return a line for each column of which all triples have one value: no chart would say more."""
    same = [(column, *measures.values(column)) for column in measures.columns if len(measures.values(column)) == 1]
    rows = "".join(f"<tr><td>{escape(column)}</td><td>{escape(value)}</td></tr>" for column, value in same)
    return _card("The same for all triples", "", f"<table>{rows}</table>") if same else ""


def _shares(measures: Measures) -> list[dict[str, Any]]:
    return [
        {
            "feature": one.feature,
            "phase": one.phase,
            "share": one.share,
            "low": one.interval[0],
            "high": one.interval[1],
        }
        for one in measures.shares
        if one.interval
    ]


def _share_table(measures: Measures) -> str:
    rows = []
    for one in measures.shares:
        if one.phase == "before" and one.triples:
            cells = [one.feature, f"{one.triples:,}", _percent(one.share)]
            after = next(s for s in measures.shares if (s.feature, s.phase) == (one.feature, "after"))
            rows.append([*cells, f"{after.triples:,}", _percent(after.share), _percent(after.weighted)])
    head = ("", "differ before", "chosen more", "differ after", "chosen more", "by weight")
    return _table(head, rows)


def _costs(balanced: Balance) -> str:
    rows = [[f"caps.{column}", "", "", "", f"{dropped:,}", ""] for column, dropped in balanced.caps.items()]
    for met in balanced.targets:
        ends = ["–" if value is None else f"{value:.3f}" for value in (met.before, met.after)]
        rows.append([met.name, f"{met.goal:g}", *ends, f"{met.rows_cost:,}", f"{met.effective_cost:,.1f}"])
    note = (
        f"{balanced.kept:,} of {balanced.rows:,} triples kept; effective sample size "
        f"{balanced.effective_before:,.1f} before, {balanced.effective:,.1f} after."
    )
    head = ("target", "goal", "before", "after", "costs triples", "costs effective size")
    return _card("What balance cost", note, _table(head, rows))


def _clusters(found: Sequence[Cluster]) -> str:
    """Return the largest clusters, with the questions of two prompts of each."""
    if not found:
        return _card("Clusters of prompts", "No two curated prompts are alike.", "")
    rows = "".join(
        f"<tr><td>{''.join(f'<p>{escape(said)}</p>' for said in one.examples)}</td><td>{escape(one.split)}</td>"
        f'<td class="number">{one.prompts:,}</td><td class="number">{one.triples:,}</td></tr>'
        for one in found
    )
    numbers = '<th class="number">prompts</th><th class="number">triples</th>'
    head = f"<tr><th>two of its questions</th><th>split</th>{numbers}</tr>"
    note = "Prompts that are alike are in one split. The largest clusters, questions as the lake holds them, redacted."
    return _card("Clusters of prompts", note, f'<table class="texts">{head}{rows}</table>')


def _suspects(found: Sequence[Suspect]) -> str:
    """Return the rows to look at first; by id, so that nothing of a text is here."""
    if not found:
        return _card("Rows to look at", "No votes disagree, and no lengths are very unequal.", "")
    rows = "".join(f"<tr><td><code>{escape(one.triple_id)}</code></td><td>{escape(one.why)}</td></tr>" for one in found)
    note = (
        "Where votes disagree most, and where lengths are most unequal; `python -m ingest explain` says more of each."
    )
    return _card("Rows to look at", note, f"<table>{rows}</table>")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first column is text, the others numbers."""
    top = "".join(
        f"<th{' class=' + chr(34) + 'number' + chr(34) if n else ''}>{escape(name)}</th>" for n, name in enumerate(head)
    )
    body = "".join(
        f"<tr><td>{escape(row[0])}</td>"
        + "".join(f'<td class="number">{escape(cell)}</td>' for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _tiles(facts: Facts) -> str:
    before, after = (_percent(facts.measures.share("length", phase)) for phase in ("before", "after"))
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
    inner = re.sub(r"(<svg.*?</svg>)", rf'<figure aria-label="{escape(title)}">\1</figure>', body, flags=re.DOTALL)
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
