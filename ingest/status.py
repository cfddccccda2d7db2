"""What all runs so far have read, what waits, and what is missing: `python -m ingest status`.

Reads the lake's accounts, its columns of time, and the names and sizes of log files; writes nothing.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ingest import consent, gaps, labels
from ingest.account import COUNTS, reason_lines
from ingest.globs import find
from ingest.lake import Lake
from ingest.positions import Positions
from ingest.rhythm import DAY
from ingest.run import unreadable
from ingest.scan import LogFile, name_of
from ingest.settings import Settings

SHOWN_GAPS: Final = 40
"""More of them are in the JSON only."""
SHOWN_DAYS: Final = 28
BARS: Final = "▁▂▃▄▅▆▇█"
NONE: Final = "·"
"""A day without rows."""

_BY_SOURCE: Final = """
    SELECT source, count(DISTINCT file_id) AS files, sum(lines)::BIGINT AS lines, sum(records)::BIGINT AS records,
        sum(interactions)::BIGINT AS interactions, sum(feedback)::BIGINT AS feedback,
        sum(quarantined)::BIGINT AS quarantined, sum(skipped)::BIGINT AS skipped,
        max_by(run_id, ingest_time) AS run_id, epoch(max(ingest_time))::DOUBLE AS run_time
    FROM files GROUP BY source ORDER BY source
"""
_BY_REASON: Final = """
    SELECT source, reason, sum(entries[reason])::BIGINT
    FROM (SELECT source, {column} AS entries, unnest(map_keys({column})) AS reason FROM files)
    GROUP BY source, reason HAVING sum(entries[reason]) <> 0 ORDER BY source, reason
"""


@dataclass(frozen=True)
class Stored:
    """One log file as it is now."""

    source: str
    path: str
    changed: float
    """When it was last written, seconds since 1970."""
    unread: int
    """Its stored bytes that no run has read: of a plain file those behind its position, else all of it."""


def workspace_status(settings: Settings, lake: Lake, now: datetime) -> dict[str, Any]:
    """Return the counts of all runs so far by source, how old the newest rows are, what is unread, and every gap."""
    files = list(_stored(settings, lake))
    names = [source.name for source in settings.sources]
    with lake.database() as connection:
        for table in ("files", "interactions", "feedback"):
            lake.view(connection, table)
        found = connection.execute(_BY_SOURCE)
        columns = [column[0] for column in found.description]
        rows = {row[0]: dict(zip(columns[1:], row[1:], strict=True)) for row in found.fetchall()}
        reasons = {
            name: connection.execute(_BY_REASON.format(column=name)).fetchall()
            for name in ("quarantined_by_reason", "skipped_by_reason")
        }
        clock = gaps.timed(connection, now)
    nothing = dict.fromkeys(("files", *COUNTS), 0) | {"run_id": None, "run_time": None}
    sources = {name: _source(rows.get(name, nothing), now) for name in [*names, *sorted(rows.keys() - set(names))]}
    for name, counts in reasons.items():
        for source, reason, count in counts:
            sources[source][name][reason] = count
    for name in sources:
        sources[name] |= _freshness(clock.get(name), [file for file in files if file.source == name], now)
    missing = gaps.find(
        lake,
        settings.gaps,
        names,
        {file.source for file in files if file.unread},
        {name: [file.path for file in files if file.source == name] for name in names},
        now,
    )
    return {
        "lake": str(lake.path),
        "sources": sources,
        "consent": consent.counts(lake, settings.consent),
        "pending_bytes": {file.path: file.unread for file in files if file.unread},
        "gaps": [gap.json() for gap in missing],
    }


def _source(row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    last = None
    if row["run_id"] is not None:
        moment = datetime.fromtimestamp(row["run_time"], UTC)
        last = {"run_id": row["run_id"], "time": moment.isoformat(), "age_seconds": _age(now, moment)}
    counts = {name: row[name] for name in ("files", *COUNTS)}
    return {**counts, "quarantined_by_reason": {}, "skipped_by_reason": {}, "last_new": last}


def _freshness(seen: gaps.Timed | None, files: Sequence[Stored], now: datetime) -> dict[str, Any]:
    unread = [file for file in files if file.unread]
    oldest = min(unread, key=lambda file: file.changed, default=None)
    newest_file = max(files, key=lambda file: file.changed, default=None)
    found: dict[str, Any] = {
        "newest_event": None,
        "lag_seconds": None,
        "newest_file": None if newest_file is None else _file(newest_file, now),
        "unread": {
            "files": len(unread),
            "bytes": sum(file.unread for file in unread),
            "oldest": None if oldest is None else _file(oldest, now),
        },
        "rows_per_day": {},
    }
    if seen is not None:
        days: Counter[int] = Counter()
        for hour, rows in seen.rows.items():
            days[hour // DAY] += rows
        found["newest_event"], found["lag_seconds"] = seen.newest.isoformat(), _age(now, seen.newest)
        newest = max(days)
        shown = range(max(min(days), newest - SHOWN_DAYS + 1), newest + 1)
        found["rows_per_day"] = {_day(day): days[day] for day in shown}
    return found


def _file(file: Stored, now: datetime) -> dict[str, Any]:
    return {"path": file.path, "age_seconds": max(0, round(now.timestamp() - file.changed))}


def _stored(settings: Settings, lake: Lake) -> Iterable[Stored]:
    positions = Positions.load(lake, settings.root)
    for source in settings.sources:
        for path in find(source.path):
            try:
                file, unread = LogFile(path), 0
                if file.stored_bytes and not positions.unchanged(source.name, file):
                    plain = not (file.is_parquet or file.stream.is_archive)
                    read_to = positions.locate(source.name, file)[1] if plain else 0
                    unread = file.stored_bytes - read_to
            except FileNotFoundError:  # renamed by a rotation since the glob
                continue
            except OSError as error:
                raise unreadable(path, error) from error
            yield Stored(source.name, name_of(path), file.mtime_ns / 1e9, unread)


def _age(now: datetime, moment: datetime) -> int:
    return max(0, round((now - moment).total_seconds()))


def _day(day: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).date().isoformat()


def tables(status: Mapping[str, Any]) -> Group:
    """Return the status as it is read on a terminal: accounts, freshness, gaps."""
    return Group(_accounts(status), _times(status), _gaps(status["gaps"]))


def _accounts(status: Mapping[str, Any]) -> Table:
    notes = [consent.sentence(status["consent"])]
    notes += [
        f"{source}: {line}"
        for source, counts in status["sources"].items()
        for line in reason_lines(quarantined=counts["quarantined_by_reason"], skipped=counts["skipped_by_reason"])
    ]
    table = _table(f"lake {status['lake']}", "\n".join(notes))
    table.add_column("source", no_wrap=True)
    for name in ("files", *COUNTS):
        table.add_column(name, justify="right", no_wrap=True)
    for source, counts in status["sources"].items():
        table.add_row(Text(source), *(f"{counts[name]:,}" for name in ("files", *COUNTS)))
    return table


def _times(status: Mapping[str, Any]) -> Table:
    caption = f"One bar is a day, the last that of the newest row; {NONE} is a day without; each source has its scale."
    table = _table("how far behind", caption)
    for name in ("source", "newest row", "newest file", "last new rows", "unread", "oldest unread"):
        table.add_column(name, justify="left" if name == "source" else "right", no_wrap=True)
    table.add_column("rows per day", no_wrap=True)
    for source, entry in status["sources"].items():
        unread, last = entry["unread"], entry["last_new"]
        ages = (
            entry["lag_seconds"],
            (entry["newest_file"] or {}).get("age_seconds"),
            (last or {}).get("age_seconds"),
        )
        waits = f"{unread['bytes']:,} B in {unread['files']}" if unread["files"] else "nothing"
        oldest = (unread["oldest"] or {}).get("age_seconds")
        if source == labels.SOURCE:
            waits = ""
        table.add_row(
            Text(source), *map(ago, ages), waits, ago(oldest) if unread["files"] else "",
            sparkline(list(entry["rows_per_day"].values())),
        )  # fmt: skip
    return table


def _gaps(found: Sequence[Mapping[str, Any]]) -> Table:
    """Return one row per gap; days of one kind and reason are one row."""
    rows: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for gap in found:
        parts = (gap["source"], gap["kind"], gap.get("detail", ""))
        by_day = gap["kind"] not in ("missing_window", "missing_file", "quiet")
        rows.setdefault(parts if by_day else (*parts, gap.get("start", "")), []).append(gap)
    more = len(rows) - SHOWN_GAPS
    table = _table("gaps", f"{more} more are in the JSON" if more > 0 else "" if rows else "none")
    table.add_column("source", no_wrap=True)
    table.add_column("what is missing", no_wrap=True)
    table.add_column("how much", justify="right", no_wrap=True)
    for name in ("from", "until"):
        table.add_column(name, no_wrap=True)
    table.add_column("where")
    for (source, kind, detail, *_), several in list(rows.items())[:SHOWN_GAPS]:
        starts = [gap["start"] for gap in several if "start" in gap]
        ends = [gap["end"] for gap in several if "end" in gap]
        count = sum(gap["count"] for gap in several)
        amount = f"about {count:,} rows" if kind in ("missing_window", "quiet") else f"{count:,}"
        table.add_row(
            Text(source), gaps.KINDS[kind], amount if count else "",
            _short(min(starts, default="")), _short(max(ends, default="")), Text(detail),
        )  # fmt: skip
    return table


def _table(title: str, caption: str) -> Table:
    return Table(
        title=Text(title), caption=Text(caption), title_justify="left", caption_justify="left", box=SIMPLE_HEAD,
        min_width=60,
    )  # fmt: skip


def _short(moment: str) -> str:
    """Return a time to the second, without its zone: all are UTC."""
    return moment[:19].replace("T", " ")


def sparkline(counts: Sequence[int]) -> str:
    """Return one bar per count, as high as its share of the greatest."""
    most = max(counts, default=0)
    return "".join(BARS[min(7, count * 8 // most)] if count else NONE for count in counts)


def ago(seconds: int | None) -> str:
    """Return an age in its two greatest units: "3 d 4 h"."""
    if seconds is None:
        return "never"
    minutes = seconds // 60
    if minutes < 1:
        return f"{seconds} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 60 * 48:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes // 60 % 24} h"
