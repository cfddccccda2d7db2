"""What the logs ought to hold and do not: the gap report of `python -m ingest status`.

Reads columns of the lake, never a text. A gap is one of:

    missing_window      hours without a row in which rows are usual (`ingest.rhythm`)
    missing_file        names that a run of dates, hours or numbers leaves out (`ingest.file_names`)
    quiet               nothing new for longer than is usual
    future              rows dated later than tomorrow: a clock or a unit is wrong, and they say nothing of the above
    withheld            calls whose text the source did not log: sentinels, stubs, empty bodies (`ingest.withheld`)
    empty_answer        rows whose answer says nothing
    missing_choices     a call asked for more answers than came
    unfinished          no finish reason, where the source's other rows state one: a stream that ended early
    missing_parent      a prompt whose earlier turns have not come
    orphaned_feedback   events about responses that have not come
    no_files            the source matches no file, or nothing of it was ever read
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import duckdb

from ingest.file_names import holes
from ingest.lake import Lake
from ingest.rhythm import HOUR, Rhythm, Window
from ingest.schema import MESSAGE_KEYS, messages_hash
from ingest.settings import Gaps
from ingest.withheld import REASONS

KINDS: Final = {
    "missing_window": "no rows where rows are usual",
    "missing_file": "a name is left out",
    "quiet": "silent for longer than is usual",
    "future": "dated later than tomorrow",
    "withheld": "the text was not logged",
    "empty_answer": "the answer says nothing",
    "missing_choices": "fewer answers than were asked for",
    "unfinished": "no finish reason, where others state one",
    "missing_parent": "the turns before have not come",
    "orphaned_feedback": "the response has not come",
    "no_files": "nothing was ever read",
}
"""Kind of gap -> what to tell."""

_EMPTY: Final = [
    messages_hash([dict.fromkeys(MESSAGE_KEYS) | {"role": "assistant", "content": text}]) for text in (None, "")
]


@dataclass(frozen=True)
class Gap:
    """One thing that is missing."""

    kind: str
    """A key of KINDS."""
    source: str
    count: int
    """Of windows: rows that are usual in them; of names and of records: how many."""
    start: str | None = None
    """Where it begins, so far as it has a time: of a window, the last row before it."""
    end: str | None = None
    detail: str = ""
    """Reason, name, or what else tells one gap of a kind from another."""

    def json(self) -> dict[str, Any]:
        """Return it as `status` prints it."""
        return {name: value for name, value in asdict(self).items() if value not in (None, "")}


@dataclass(frozen=True)
class Timed:
    """When rows of one source took place."""

    rows: Mapping[int, int]
    """Hour -> rows."""
    first_us: Mapping[int, int]
    """Hour -> its first row, microseconds since 1970."""
    last_us: Mapping[int, int]

    @property
    def newest(self) -> datetime:
        """Return when the last row took place."""
        return _time(self.last_us[max(self.rows)])


def ahead(now: datetime) -> int:
    """Return the time no row can reach, in microseconds since 1970: clocks and zones differ by a day at most."""
    return int((now + timedelta(days=1)).timestamp() * 1_000_000)


def timed(connection: duckdb.DuckDBPyConnection, now: datetime) -> dict[str, Timed]:
    """Return source -> its rows by hour: of interactions, or where a source has none, of feedback.

    Rows of the future are left out: one of them would stand for a source that is never silent again.
    """
    found: dict[str, list[tuple[int, int, int, int]]] = {}
    for table in ("interactions", "feedback"):
        rows = connection.execute(
            f"SELECT source, epoch_us(event_time) // 3600000000 AS hour, count(*), min(epoch_us(event_time)), "
            f"max(epoch_us(event_time)) FROM {table} WHERE epoch_us(event_time) < ? GROUP BY ALL ORDER BY source, hour",
            [ahead(now)],
        ).fetchall()
        known = set(found)
        for source, *hour in rows:
            if source not in known:
                found.setdefault(source, []).append((hour[0], hour[1], hour[2], hour[3]))
    return {
        source: Timed({h: n for h, n, _, _ in hours}, {h: a for h, _, a, _ in hours}, {h: b for h, _, _, b in hours})
        for source, hours in found.items()
    }


def find(
    lake: Lake,
    limits: Gaps,
    sources: Sequence[str],
    unread: Iterable[str],
    paths: Mapping[str, Sequence[str]],
    now: datetime,
) -> list[Gap]:
    """Return every gap, source by source in the order of KINDS.

    `unread` are the sources with bytes that no run has read: whether these are quiet cannot be said yet. `paths` are
    the names of each source's files, read or not.
    """
    with lake.database() as connection:
        for table in ("interactions", "feedback", "files"):
            lake.view(connection, table)
        clock = timed(connection, now)
        counted = [*_withheld(connection), *_counted(connection, limits, now)]
        read = {source for (source,) in connection.execute("SELECT DISTINCT source FROM files").fetchall()}
    gaps = [gap for source, seen in clock.items() for gap in _of_time(source, seen, limits, now, set(unread))]
    gaps += [
        Gap("missing_file", source, hole.count, hole.first, hole.last, hole.pattern)
        for source, names in paths.items()
        for hole in holes(names)
    ]
    gaps += [Gap("no_files", source, 0) for source in sources if source not in read and not paths.get(source)]
    order = {kind: nr for nr, kind in enumerate(KINDS)}
    return sorted([*gaps, *counted], key=lambda g: (g.source, order[g.kind], g.start or "", g.detail))


def _of_time(source: str, seen: Timed, limits: Gaps, now: datetime, unread: set[str]) -> Iterable[Gap]:
    newest = max(seen.rows)
    recent = Rhythm({hour: n for hour, n in seen.rows.items() if hour > newest - limits.days * 24})
    for window in recent.windows(limits.odds):
        yield _window("missing_window", source, window, seen)
    this_hour = int(now.timestamp()) // HOUR
    silent = recent.silence(this_hour)
    # A source whose week is not known yet is judged by its silences alone; its count of missing rows is 0.
    long = this_hour - newest > limits.quiet_factor * recent.longest_usual_silence()
    unusual = silent.log_odds >= math.log(limits.odds) if recent.is_known else len(seen.rows) > 1
    if long and unusual and source not in unread:
        usual = f"{this_hour - newest} h silent, {recent.longest_usual_silence()} h are usual"
        yield replace(_window("quiet", source, silent, seen), detail=usual)


def _window(kind: str, source: str, window: Window, seen: Timed) -> Gap:
    """Return the gap with the rows around it, so that it says exactly from when until when there is nothing."""
    before = max(hour for hour in seen.rows if hour < window.start)
    after = min((hour for hour in seen.rows if hour >= window.end), default=None)
    hours = f"{_hour(window.start)} to {_hour(window.end)}"
    start = _time(seen.last_us[before]).isoformat()
    end = None if after is None else _time(seen.first_us[after]).isoformat()
    return Gap(kind, source, round(window.expected), start, end, hours)


def _withheld(connection: duckdb.DuckDBPyConnection) -> Iterable[Gap]:
    """Return what was withheld, by day where the records state theirs."""
    reasons = ", ".join(f"'{reason}'" for reason in REASONS)
    rows = connection.execute(
        f"""
        WITH by_day AS (
            SELECT source, d.reason AS reason, d.day AS day, sum(d.count)::BIGINT AS n
            FROM (SELECT source, unnest(skipped_by_day) AS d FROM files) GROUP BY ALL
        ),
        every AS (
            SELECT source, entry.key AS reason, sum(entry.value)::BIGINT AS n
            FROM (SELECT source, unnest(map_entries(skipped_by_reason)) AS entry FROM files) GROUP BY ALL
        ),
        dated AS (SELECT source, reason, sum(n)::BIGINT AS n FROM by_day GROUP BY ALL)
        SELECT source, reason, day, n FROM by_day WHERE reason IN ({reasons})
        UNION ALL
        SELECT source, reason, NULL, every.n - coalesce(dated.n, 0) FROM every LEFT JOIN dated USING (source, reason)
        WHERE reason IN ({reasons}) AND every.n > coalesce(dated.n, 0)
        """
    ).fetchall()
    return [Gap("withheld", source, n, day, day, reason) for source, reason, day, n in rows]


def _counted(connection: duckdb.DuckDBPyConnection, limits: Gaps, now: datetime) -> Iterable[Gap]:
    """Return the counts that do not fit, by day."""
    until = int(now.timestamp() * 1_000_000) - limits.orphan_hours * HOUR * 1_000_000
    found = []
    for kind, query in _COUNTS.items():
        given = {"until": until, "ahead": ahead(now), "empty": _EMPTY}
        wanted = {name: value for name, value in given.items() if f"${name}" in query}
        for source, day, n in connection.execute(query, wanted).fetchall():
            found.append(Gap(kind, source, n, day, day))
    return found


_COUNTS: Final = {
    "future": """
        SELECT source, day, count(*) FROM (
            SELECT source, day, event_time FROM interactions UNION ALL SELECT source, day, event_time FROM feedback
        ) WHERE epoch_us(event_time) >= $ahead GROUP BY ALL
    """,
    "empty_answer": """
        SELECT source, day, count(*) FROM interactions WHERE response_hash IN $empty GROUP BY ALL
    """,
    "missing_choices": """
        SELECT source, day, sum(asked - came)::BIGINT FROM (
            SELECT source, min(day) AS day, count(DISTINCT choice_index) AS came,
                max(try_cast(json_extract_string(sampling, '$.n') AS BIGINT)) AS asked
            FROM interactions WHERE sampling LIKE '%"n":%' AND source_id IS NOT NULL GROUP BY source, source_id
        ) WHERE asked > came GROUP BY ALL
    """,
    "unfinished": """
        SELECT source, day, count(*) FROM interactions
        WHERE finish_reason IS NULL AND source IN (
            SELECT source FROM interactions GROUP BY source HAVING count(finish_reason) * 2 > count(*)
        ) GROUP BY ALL
    """,
    "missing_parent": """
        SELECT source, day, count(*) FROM interactions
        WHERE status = 'awaits_parent' AND epoch_us(ingest_time) <= $until GROUP BY ALL
    """,
    "orphaned_feedback": """
        WITH named AS (
            SELECT feedback_id, interaction_id AS ref FROM feedback
            UNION ALL SELECT feedback_id, unnest(other_ids) FROM feedback
        ),
        orphans AS (SELECT DISTINCT feedback_id FROM named ANTI JOIN interactions ON ref = interaction_id)
        SELECT source, day, count(*) FROM feedback JOIN orphans USING (feedback_id)
        WHERE NOT coalesce(retracted, false) AND epoch_us(ingest_time) <= $until GROUP BY ALL
    """,
}
"""Kind -> source, day, how many."""


def _time(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC)


def _hour(hour: int) -> str:
    return f"{datetime.fromtimestamp(hour * HOUR, UTC):%Y-%m-%dT%H:00Z}"
