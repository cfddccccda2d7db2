"""Quarantined lines as their files hold them today.

Reads `quarantine`, `files` and the log files. A line counts as found where it stands at its old place in its own file,
under any name, plain or compressed since, and is the same by its keyed hash. What quarantine itself keeps of a line is
redacted: it is read in place of a file that is gone only where the hash proves that nothing in it was replaced.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Final

import pyarrow as pa

from ingest import labels
from ingest.decoding import Line, decode
from ingest.entries import Entry, Origin, raw_record, raw_text
from ingest.errors import RecordError, SettingsError
from ingest.globs import find
from ingest.lake import Lake
from ingest.outcomes import Ways, read_line
from ingest.positions import Position, Positions
from ingest.rows import RowBuilder
from ingest.run import unreadable
from ingest.scan import LogFile
from ingest.schema import QUARANTINE_REASONS
from ingest.settings import Settings, Source
from ingest.splitting import BOM, KEPT_BYTES

REACH: Final = 1 << 20
"""Two lines of a plain file that are further apart are looked up one by one, without reading what lies between."""

CORRUPT: Final = "corrupt_archive"
UNASKED: Final = RecordError("not_json", "No reader was asked.")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of `quarantine`, without its text."""

    quarantine_id: str
    source: str
    reason: str
    detail: str
    raw_bytes: int
    path: str
    file_id: str
    byte_offset: int
    ingest_time: int
    """Microseconds since 1970."""


@dataclass(frozen=True)
class Chosen:
    """Which rows to read again; None chooses all."""

    source: str | None = None
    reason: str | None = None
    file: str | None = None
    """Path, or glob, of the file as quarantine names it; a name alone is looked for in every folder."""

    def __contains__(self, row: Row) -> bool:
        if self.file is not None and not any(fnmatchcase(row.path, glob) for glob in (self.file, f"*/{self.file}")):
            return False
        return self.source in (None, row.source) and self.reason in (None, row.reason)


@dataclass(frozen=True)
class Place:
    """A file with quarantined lines."""

    file_id: str
    source: Source
    path: str
    """Where it was seen last, or is now."""
    position: Position
    stored: tuple[int, int] | None = None
    """Size and mtime that the lake notes for this path."""
    file: LogFile | None = None
    """The file; None of the label store, and where no file of the source is it any more."""

    def origin(self, piece: int) -> Origin:
        """Return where the rows of one of its lines come from."""
        keyed = self.source.name == labels.SOURCE
        return Origin(piece, self.source, self.file_id, self.path, self.position.head, keyed)


@dataclass(frozen=True)
class Found:
    """What there is today of one quarantined line."""

    row: Row
    place: Place | None = None
    """None where not even its file's accounts are known."""
    entry: Entry | None = None
    """What the line says to today's readers. None where it is `lost` or `waits`, and where a later run has read it:
    a torn line that was completed, the rest of an archive that was mended."""
    lost: str | None = None
    """Why the line cannot be read again: "file_gone", "line_changed", "source_removed" or "run_unfinished"."""
    waits: str | None = None
    """What the next `run` has to read first."""


@dataclass
class Quarantined:
    """The rows to read again, and what the lake knows of their files."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    """file_id -> its rows, in the order of the file."""
    places: dict[str, Place] = field(default_factory=dict)
    paths: dict[str, list[str]] = field(default_factory=dict)
    """file_id -> every path under which it was read."""


def select(lake: Lake, settings: Settings, chosen: Chosen) -> Quarantined:
    """Return what is to be read again. Raises SettingsError where `chosen` names a source or reason there is not."""
    found = Quarantined()
    sources = {source.name: source for source in settings.sources}
    with lake.database() as connection:
        lake.view(connection, "quarantine")
        lake.view(connection, "files")
        rows = connection.execute(
            """SELECT quarantine_id, source, reason, detail, raw_bytes, path, file_id, byte_offset,
                epoch_us(ingest_time)
            FROM quarantine ORDER BY file_id, byte_offset, quarantine_id"""
        ).fetchall()
        known = connection.execute(_FILES).fetchall()
    every = [Row(*row) for row in rows]
    if chosen.source is not None and chosen.source not in {*sources, *(row.source for row in every)}:
        raise SettingsError(f'No source is named "{chosen.source}". There are: {", ".join(sorted(sources))}.')
    if chosen.reason is not None and chosen.reason not in QUARANTINE_REASONS:
        raise SettingsError(f'No reason is named "{chosen.reason}". There are: {", ".join(QUARANTINE_REASONS)}.')
    for row in every:
        if row in chosen:
            found.rows.setdefault(row.file_id, []).append(row)
    for file_id, source, path, head, tail, tail_bytes, read_to, size, mtime, paths in known:
        if file_id not in found.rows:
            continue
        stated = Source(name=source, path=path) if source == labels.SOURCE else sources.get(source)
        if stated is not None:
            position = Position(file_id, head, read_to, tail, tail_bytes, committed=-1)
            stored = None if size is None else (size, mtime)
            found.places[file_id] = Place(file_id, stated, path, position, stored)
            found.paths[file_id] = paths
    return found


_FILES: Final = """
    WITH paths AS (
        SELECT source, path, stored_bytes, stored_mtime_ns FROM files
        QUALIFY row_number() OVER (PARTITION BY source, path ORDER BY ingest_time DESC, read_to DESC) = 1
    ),
    names AS (SELECT file_id, list_sort(list(DISTINCT path)) AS names FROM files GROUP BY file_id)
    SELECT f.file_id, f.source, f.path, f.head, f.tail, f.tail_bytes, f.read_to,
        p.stored_bytes, p.stored_mtime_ns, names
    FROM files AS f JOIN paths AS p USING (source, path) JOIN names USING (file_id)
    QUALIFY row_number() OVER (PARTITION BY f.file_id ORDER BY f.ingest_time DESC, f.read_to DESC) = 1
"""


class Rereading:
    """Finds the lines of one replay."""

    def __init__(self, settings: Settings, lake: Lake, builder: RowBuilder, quarantined: Quarantined) -> None:
        self._settings = settings
        self._lake = lake
        self._builder = builder
        self._quarantined = quarantined
        self._positions = Positions.load(lake, settings.root)
        self._sources = {source.name for source in settings.sources} | {labels.SOURCE}

    def lines(self) -> Iterator[Found]:
        """Yield every chosen row with what there is of it today, file by file, in the order of the file."""
        places = self._located()
        for file_id, rows in self._quarantined.rows.items():
            place = places.get(file_id)
            if place is None:
                lost = "run_unfinished" if rows[0].source in self._sources else "source_removed"
                yield from (Found(row, lost=lost) for row in rows)
            elif place.source.name == labels.SOURCE:
                yield from self._events(place, rows)
            elif place.file is None:
                yield from self._without_file(place, rows)
            else:
                yield from self._of_file(place, place.file, rows)

    def _located(self) -> dict[str, Place]:
        """Return file_id -> place, with its file where there is one: first under its old names, then under any."""
        places = dict(self._quarantined.places)
        missing = {key for key, place in places.items() if place.source.name != labels.SOURCE}
        old = ((places[key].source, Path(path)) for key in sorted(missing) for path in self._quarantined.paths[key])
        sources = {places[key].source.name: places[key].source for key in missing}
        every = ((source, path) for source in sources.values() for path in find(source.path))
        for candidates in (old, every):
            for source, path in candidates if missing else ():
                file_id, file = self._identity(source, path)
                if file is not None and file_id in missing:
                    missing.remove(file_id)
                    places[file_id] = replace(places[file_id], file=file)
        return places

    def _identity(self, source: Source, path: Path) -> tuple[str, LogFile | None]:
        try:
            file = LogFile(path)
            return (self._positions.locate(source.name, file)[0].file_id, file) if file.stored_bytes else ("", None)
        except FileNotFoundError:
            return "", None
        except OSError as error:
            raise unreadable(path, error) from error

    def _of_file(self, place: Place, file: LogFile, rows: Sequence[Row]) -> Iterator[Found]:
        ways = Ways(place.source.format)
        yield from (self._mended(row, place, file) for row in rows if row.reason == CORRUPT)
        rest = [row for row in rows if row.reason != CORRUPT]
        longest = max((row.raw_bytes for row in rest if row.reason != "oversized"), default=0)
        limit = max(self._settings.limits.line_bytes, longest)
        for row, line in zip(rest, _at(file, [row.byte_offset for row in rest], limit), strict=True):
            read_to = place.position.read_to
            if row.byte_offset > read_to or line is None or not self._same(row, place, line):
                yield Found(row, place, lost="run_unfinished" if row.byte_offset > read_to else "line_changed")
            elif line.size > row.raw_bytes and not file.is_parquet and row.byte_offset < read_to:
                yield Found(row, place)
            elif row.byte_offset == read_to and (line.size > row.raw_bytes or line.end > line.start + line.size):
                yield Found(row, place, waits="the line goes on, the next run reads it")
            else:
                yield Found(row, place, read_line(place.origin(0), line, ways))

    def _same(self, row: Row, place: Place, line: Line) -> bool:
        """Return whether the line is, or at least begins with, the one that was quarantined."""
        kept = line.raw
        if row.reason == "oversized" and line.size == len(line.raw):
            kept = kept[-min(KEPT_BYTES, line.size - 1) :]
        elif line.size > row.raw_bytes:
            kept = kept[: row.raw_bytes]
        text = partial(raw_record, line.record) if line.tabular else partial(raw_text, kept)
        # Not the line's own size: that of a row of Parquet depends on the rows that are read with it.
        entry = Entry(place.origin(0), line.start, row.raw_bytes, text, None, UNASKED)
        return self._builder.quarantine_id(entry) == row.quarantine_id

    def _mended(self, row: Row, place: Place, file: LogFile, *, successor: bool = False) -> Found:
        unread = False
        for line in file.lines(row.byte_offset, self._settings.limits.line_bytes, settled=True):
            if line.problem is not None and line.problem.reason == CORRUPT:
                problem = RecordError(CORRUPT, row.detail)
                return Found(row, place, Entry(place.origin(0), row.byte_offset, row.raw_bytes, str, None, problem))
            unread = unread or line.start >= place.position.read_to
        if not self._positions.unchanged(place.source.name, file) if successor else unread:
            return Found(row, place, waits="the file is whole now, the next run reads it")
        return Found(row, place)

    def _without_file(self, place: Place, rows: Sequence[Row]) -> Iterator[Found]:
        texts = self._texts(rows)
        ways = Ways(place.source.format)
        for row in rows:
            if row.reason == CORRUPT and (file := self._successor(row)) is not None:
                yield self._mended(row, place, file, successor=True)
                continue
            line = _whole(row, texts.get(row.quarantine_id)) if place.position.tail else None
            entry = read_line(place.origin(0), line, ways) if line is not None else None
            if entry is None or self._builder.quarantine_id(entry) != row.quarantine_id:
                yield Found(row, place, lost="file_gone")
            else:
                yield Found(row, place, entry)

    def _successor(self, row: Row) -> LogFile | None:
        """Return the Parquet file that stands where a damaged one stood: it is known by its footer, which is another.

        Not of other archives: a rotation gives their names to other logs.
        """
        try:
            file = LogFile(Path(row.path))
        except OSError:
            return None
        return file if file.is_parquet else None

    def _texts(self, rows: Sequence[Row]) -> Mapping[str, str | None]:
        with self._lake.database() as connection:
            self._lake.view(connection, "quarantine")
            keys = [row.quarantine_id for row in rows]
            connection.register("wanted", pa.table({"quarantine_id": keys}))
            found = connection.execute(
                "SELECT quarantine_id, raw FROM quarantine SEMI JOIN wanted USING (quarantine_id)"
            )
            return dict(found.fetchall())

    def _events(self, place: Place, rows: Sequence[Row]) -> Iterator[Found]:
        """Find label events in their store, where it is still the same one."""
        events = {}
        with labels.opened(self._settings.labels.url) as store:
            if store is not None and store.head == place.position.head:
                wanted = {row.byte_offset for row in rows}
                events = {event.seq: event for event in store.events(min(wanted)) if event.seq in wanted}
        for row in rows:
            event = events.get(row.byte_offset)
            if event is None:
                yield Found(row, place, lost="file_gone")
                continue
            raw = partial(str, event.raw)
            entry = Entry(place.origin(0), event.seq, len(event.raw), raw, labels.READER, event.outcome)
            same = self._builder.quarantine_id(entry) == row.quarantine_id
            yield Found(row, place, entry) if same else Found(row, place, lost="line_changed")


def _at(file: LogFile, offsets: Sequence[int], limit: int) -> Iterator[Line | None]:
    """Yield the line that begins at each of the sorted `offsets`, None where none does."""
    seeks = file.has_lines and not file.stream.is_archive
    reading: Iterator[Line] = iter(())
    line: Line | None = None
    for offset in offsets:
        if line is None or line.start > offset or (seeks and offset > line.end + REACH):
            reading = file.lines(offset, limit, settled=True)
            line = next(reading, None)
        while line is not None and line.start < offset:
            line = next(reading, None)
        yield line if line is not None and line.start == offset else None


def _whole(row: Row, raw: str | None) -> Line | None:
    """Return a line from the text that quarantine keeps, if that is a whole record; what was no UTF-8 is not in it."""
    if raw is None or "\ufffd" in raw:
        return None
    text = raw.encode()
    try:
        record = decode(text.removeprefix(BOM) if row.byte_offset == 0 else text)
    except RecordError:
        return None
    return Line(row.byte_offset, row.byte_offset + len(text), len(text), text, record=record)
