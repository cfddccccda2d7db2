"""The accounting of ingest: what a run did and what the workspace holds, as JSON and as tables.

Reads the lake's `files`; the equation records = interactions + feedback + quarantined + skipped is printed with it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from ingest.outcomes import Tally
from ingest.pairing import Pairing
from ingest.run import Summary

if TYPE_CHECKING:
    from ingest.replay import Replayed  # runs need none of replay

COUNTS: Final = ("lines", "records", "interactions", "feedback", "quarantined", "skipped")
SHOWN_FILES: Final = 40
"""More files than that are one row of the table."""

_PAIRING_COUNTS: Final = ("no_pair", "no_pair_by_reason", "comparisons_left_out", "suspicious_events")


def summary_json(summary: Summary) -> dict[str, Any]:
    """Return what `python -m ingest run` prints on stdout."""
    return {
        "run_id": summary.run_id,
        "complete": summary.stopped is None,
        "stopped_by": summary.stopped,
        "files": summary.files,
        "sources_without_files": summary.unmatched,
        **summary.totals(),
        "quarantined_by_reason": dict(sorted(summary.quarantined().items())),
        "skipped_by_reason": dict(sorted(summary.skipped().items())),
        "redactions": dict(sorted(summary.redactions().items())),
        "pending_bytes": sum(summary.pending.values()),
        "awaiting_parent": None if summary.paired is None else summary.awaiting_parent,
        **_pairing_json(summary.paired),
        "consent": None if summary.paired is None else {**summary.consent, "withdrawn": summary.withdrawn},
        **({"erasure": summary.erasure.summary()} if summary.erasure else {}),
        "seconds": summary.seconds,
    }


def idle_summary(summary: Summary) -> dict[str, Any]:
    """Return what a run right after this complete one prints, as long as nothing new comes."""
    assert summary.paired is not None, "a complete run has paired"
    idle = replace(
        summary,
        tallies=[],
        completed=0,
        paired=replace(summary.paired, new=0, removed=0),
        consent={"allowed": 0, "not_allowed": 0, "unknown": 0, "by_value": {}},
        withdrawn=0,
        erasure=None,
        seconds=0.0,
    )
    return summary_json(idle)


def _pairing_json(found: Pairing | None) -> dict[str, Any]:
    """Return what the lake holds after pairing, null where the run was stopped before it."""
    if found is None:
        return dict.fromkeys(("triples", "unpaired", "events", "orphans", "overdue_orphans", *_PAIRING_COUNTS))
    return {
        "triples": {
            "total": found.total,
            "new": found.new,
            "removed": found.removed,
            "by_signal": found.by_signal,
            "contradicted": found.contradicted,
        },
        "unpaired": {"total": found.unpaired_total},
        "events": {
            "total": found.events,
            "paired": found.paired,
            "unpaired": found.unpaired,
            "superseded": found.superseded,
        },
        "orphans": found.orphans,
        "overdue_orphans": found.overdue,
        "no_pair": found.no_pair,
        "no_pair_by_reason": found.no_pair_reasons,
        "comparisons_left_out": found.left_out,
        "suspicious_events": found.suspicious,
    }


def summary_table(summary: Summary) -> Table:
    """Return one row per file that had something new, and the totals, which must add up."""
    totals = summary.totals()
    sides = " + ".join(str(totals[name]) for name in COUNTS[2:])
    reasons = reason_lines(quarantined=summary.quarantined(), skipped=summary.skipped(), redacted=summary.redactions())
    equation = f"records = interactions + feedback + quarantined + skipped: {totals['records']} = {sides}"
    table = Table(
        title=Text(f"ingest run {summary.run_id}"),
        caption=Text("\n".join([equation, *reasons])),
        caption_justify="left",
        box=SIMPLE_HEAD,
        show_footer=True,
    )
    # A narrow terminal folds names and headers; a count is never cut.
    table.add_column("file", footer="total", overflow="fold", min_width=8)
    columns = {name: totals[name] for name in COUNTS} | {"pending bytes": sum(summary.pending.values())}
    for name, count in columns.items():
        table.add_column(name, footer=str(count), justify="right", overflow="fold", min_width=len(str(count)))
    by_path: dict[str, list[Tally]] = {path: [] for path in summary.pending}
    for tally in summary.tallies:
        by_path.setdefault(tally.origin.path, []).append(tally)
    for path in sorted(by_path)[:SHOWN_FILES]:
        _add_row(table, path.rsplit("/", 1)[-1], by_path[path], summary.pending.get(path, 0))
    if rest := sorted(by_path)[SHOWN_FILES:]:
        tallies = [tally for path in rest for tally in by_path[path]]
        _add_row(table, f"{len(rest)} more files", tallies, sum(summary.pending.get(path, 0) for path in rest))
    return table


def _add_row(table: Table, name: str, tallies: list[Tally], pending: int) -> None:
    counts = Summary("", tallies=tallies).totals()
    table.add_row(Text(name), *(str(counts[column]) for column in COUNTS), str(pending))


def reason_lines(**kinds: Mapping[str, int]) -> list[str]:
    """Return one line per kind that is there: "quarantined: not_json 3, torn 1"."""
    return [
        f"{kind}: " + ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()))
        for kind, counts in kinds.items()
        if counts
    ]


def replay_json(done: "Replayed") -> dict[str, Any]:
    """Return what `python -m ingest replay` prints on stdout."""
    return {
        "run_id": done.run_id,
        "dry_run": done.dry_run,
        "chosen": done.before,
        "read": done.read.total(),
        "still_quarantined": done.still.total(),
        "not_reachable": done.lost.total(),
        "read_by_reason": dict(sorted(done.read.items())),
        "still_quarantined_by_reason": dict(sorted(done.still.items())),
        "not_reachable_by_reason": dict(sorted(done.lost.items())),
        "changed": [{"from": old, "to": new, "count": n} for (old, new), n in sorted(done.changed.items())],
        "waits_for_a_run": done.waits.total(),
        "interactions": done.interactions,
        "feedback": done.feedback,
        "skipped_by_reason": dict(sorted(done.skipped.items())),
        "seconds": done.seconds,
    }


def replay_table(done: "Replayed") -> Table:
    """Return one row per reason, and the totals, which must add up."""
    sides = f"{done.read.total()} + {done.still.total()} + {done.lost.total()}"
    notes = [f"chosen = read + still quarantined + not reachable: {done.before} = {sides}"]
    notes += [f"now rows: {done.interactions} interactions, {done.feedback} feedback"] if done.read else []
    notes += reason_lines(skipped=done.skipped)
    notes += [f"not reachable: {LOST[reason]} {n}" for reason, n in sorted(done.lost.items())]
    notes += [f"waits: {what} {n}" for what, n in sorted(done.waits.items())]
    notes += [f"quarantined as {old}, now {new}: {n}" for (old, new), n in sorted(done.changed.items())]
    table = Table(
        title=Text(f"replay {done.run_id}{' (dry run: nothing is written)' if done.dry_run else ''}"),
        min_width=100,
        caption=Text("\n".join(notes)),
        caption_justify="left",
        box=SIMPLE_HEAD,
        show_footer=True,
    )
    table.add_column("reason", footer="total", no_wrap=True)
    for name, counts in (("read", done.read), ("still quarantined", done.still)):
        table.add_column(name, footer=str(counts.total()), justify="right", no_wrap=True)
    for reason in sorted({*done.read, *done.still}):
        table.add_row(reason, str(done.read[reason]), str(done.still[reason]))
    return table


LOST: Final = {
    "file_gone": "no file of the source holds the line any more, and quarantine keeps it redacted",
    "line_changed": "another line stands at its place",
    "source_removed": "winnow.toml has no such source any more",
    "run_unfinished": "a run was killed while it read the file: the next run comes first",
}
"""Why a line cannot be read again -> what to tell."""
