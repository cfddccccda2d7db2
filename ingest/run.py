"""One ingest run: log files and label events in, rows of the lake and triples out.

Reads what winnow.toml names and writes the lake; `python -m ingest run`. Safe to run again at any time: what was read
before is not read again, and no key is in the lake twice.
"""

import gc
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest import consent, labels, pairing, redact, scan, threads, workers
from ingest.batch import Batch
from ingest.decoding import Line
from ingest.entries import Entry, Origin
from ingest.errors import LakeError, SettingsError
from ingest.globs import find
from ingest.lake import Lake
from ingest.outcomes import Tally, Ways, count, count_block, read_line, read_run, units
from ingest.positions import Position, Positions
from ingest.pseudonyms import Pseudonyms
from ingest.readers import registry
from ingest.rows import RowBuilder
from ingest.scan import LogFile
from ingest.settings import Settings, Source
from ingest.splitting import Run
from ingest.stop import Stop
from ingest.subjects import Subjects

if TYPE_CHECKING:
    from ingest.erase import Erasure

Progress = Callable[[str, int], None]
"""Called with what is being read, and how many stored bytes of all files are done."""


@dataclass
class Summary:
    """What one run did."""

    run_id: str
    files: int = 0
    """Files that the sources' globs match, read or unchanged, and the label store."""
    unmatched: list[str] = field(default_factory=list)
    """Sources whose glob matches no file."""
    tallies: list[Tally] = field(default_factory=list)
    """One per piece of a file that was read."""
    pending: dict[str, int] = field(default_factory=dict)
    """Path -> bytes at its end that wait for the rest of their line."""
    completed: int = 0
    """Interactions whose parent came, so that their prompt is whole now."""
    awaiting_parent: int = 0
    """Interactions whose parent has not come: their prompt is not whole, and they are part of no triple."""
    paired: pairing.Pairing | None = None
    """What pairing gave; None where the run was stopped before it."""
    changes_at: float | None = None
    """When time alone changes what a run finds, in seconds since 1970: a pending file settles, an orphan is overdue."""
    stopped: str | None = None
    """Why the run left work for the next one: "max_seconds" or a signal's name; None where it did all there was."""
    withdrawn: int = 0
    """Responses of earlier runs whose user took their consent back."""
    consent: dict[str, Any] = field(default_factory=dict)
    """New responses by consent (`ingest.consent.counts`)."""
    erasure: "Erasure | None" = None
    """What was erased besides: an interrupted erasure, or rows that turned out to belong to an erased user."""
    seconds: float = 0.0

    def totals(self) -> dict[str, int]:
        """Return the counts over all files; records = interactions + feedback + quarantined + skipped."""
        return {
            "lines": sum(t.lines for t in self.tallies),
            "records": sum(t.records for t in self.tallies),
            "interactions": sum(t.interactions for t in self.tallies),
            "feedback": sum(t.feedback for t in self.tallies),
            "quarantined": self.quarantined().total(),
            "skipped": self.skipped().total(),
        }

    def note_change(self, time: float) -> None:
        """Note that time alone changes what a run finds, at `time`."""
        self.changes_at = min(time, self.changes_at or time)

    def redactions(self) -> Counter[str]:
        """Return kind -> places that were redacted in the rows of this run."""
        return sum((t.redactions for t in self.tallies), Counter())

    def quarantined(self) -> Counter[str]:
        """Return reason -> quarantined lines."""
        return sum((t.quarantined for t in self.tallies), Counter())

    def skipped(self) -> Counter[str]:
        """Return reason -> skipped records."""
        return sum((t.skipped for t in self.tallies), Counter())


def run(
    settings: Settings,
    progress: Progress = lambda _name, _bytes: None,
    stop: Stop | None = None,
    finished: Callable[[Summary], None] = lambda _summary: None,
) -> Summary:
    """Ingest everything new, or as much as `stop` leaves time for. Raises SettingsError, LakeError or StoreError.

    A run that did all there was calls `finished` while it still holds the lake. One that is stopped, or killed at any
    point, leaves a lake that the next run completes.
    """
    stop = stop or Stop()
    begun = time.monotonic()
    now = datetime.now(UTC)
    run_id = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    lake = Lake(settings.lake)
    for source in settings.sources:
        if source.name == labels.SOURCE:
            raise SettingsError(f'The source name "{labels.SOURCE}" is taken by the labelling app. Choose another.')
        if source.format != "auto":
            registry.get(source.format)
    redact.use(settings.redaction)
    with lake.locked(run_id), stop.listening(), _few_collections():
        pseudonyms = Pseudonyms(settings.pseudonym_key)
        builder, subjects = RowBuilder(run_id, now, pseudonyms), Subjects(settings.subjects, pseudonyms)
        batch, positions = Batch(lake, builder, subjects), Positions.load(lake, settings.root)
        reading = _Ingestion(settings, batch, positions, Summary(run_id), progress, stop)
        for source in settings.sources:
            reading.read_source(source)
        if not reading.stopping():
            reading.read_labels()
        reading.commit()
        summary = reading.summary
        if subjects.pending:
            from ingest import erase  # what few runs need, at the cost of none

            summary.erasure = erase.complete(settings, lake, subjects, run_id)
        if not reading.stopping():
            summary.completed, summary.awaiting_parent = threads.complete(lake)
            summary.withdrawn = consent.apply(lake, settings.consent, subjects.withdrawals)
            summary.consent = consent.counts(lake, settings.consent, run_id)
            summary.paired = pairing.build(lake, run_id, settings.pairing)
            if summary.paired.overdue_at is not None:
                summary.note_change(summary.paired.overdue_at)
        summary.stopped = stop.reason
        if not summary.stopped and not subjects.pending:
            finished(summary)
    summary.seconds = round(time.monotonic() - begun, 3)
    return summary


@contextmanager
def _few_collections() -> Iterator[None]:
    """Let the garbage collector look at new objects less often: rows are many, and never part of a cycle."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@dataclass
class _Ingestion:
    """The reading half of one run."""

    settings: Settings
    batch: Batch
    positions: Positions
    summary: Summary
    progress: Progress
    stop: Stop
    done_bytes: int = 0
    pieces: int = 0
    progressed: bool = False
    """Whether anything new was read."""

    def stopping(self) -> bool:
        """Return whether to leave the work that is next to another run."""
        return self.stop.due(progressed=self.progressed)

    def read_source(self, source: Source) -> None:
        """Read what is new in the files of `source`."""
        paths = find(source.path)
        if not paths:
            self.summary.unmatched.append(source.name)
        for path in paths:
            try:
                file = LogFile(path)
                if file.stored_bytes and not self.positions.unchanged(source.name, file):
                    if self.stopping():
                        return
                    self._read_file(source, file)
            except FileNotFoundError:  # renamed by a rotation since the glob: the next run reads it by its new name
                continue
            except OSError as error:
                raise unreadable(path, error) from error
            self.summary.files += 1
            self.done_bytes += file.stored_bytes
            self.progress(scan.name_of(path).rsplit("/", 1)[-1], self.done_bytes)

    def _read_file(self, source: Source, file: LogFile) -> None:
        position, start = self.positions.locate(source.name, file)
        age = time.time() - file.mtime_ns / 1e9
        limits = self.settings.limits
        ways = Ways(source.format)
        piece = self._piece(source, file, position, start)
        if at := workers.ranges(start, file.stored_bytes) if limits.workers > 1 and file.is_lines() else []:
            piece, stopped = self._read_body(source, file, piece, at)
            if stopped:
                return
            start = max(start, position.read_to)
        recent: deque[Line] = deque(maxlen=workers.RECENT_LINES)
        committed = False
        pieces = file.pieces(start, limits.line_bytes, settled=age >= limits.settle_seconds)
        for unit in units(pieces, ways, lambda: limits.commit_bytes - self.batch.log_bytes):
            if committed and self.stopping():
                file.complete = False  # these lines are not taken, though they may be the last ones
                break
            committed = False
            recent.extend(workers.last_lines(unit) if isinstance(unit, Run) else [unit])
            self._take(piece, unit, ways)
            if self.batch.log_bytes >= limits.commit_bytes:
                _close(piece, recent, file)
                self.commit()
                committed = self.progressed = True
                piece = self._piece(source, file, position, position.read_to)
                self.progress(file.name.rsplit("/", 1)[-1], self.done_bytes + file.stream.stored_read)
        if file.pending:
            self.summary.pending[file.name] = file.pending
            settles = file.mtime_ns / 1e9 + limits.settle_seconds
            self.summary.note_change(settles)
        _close(piece, recent, file)
        self.progressed = self.progressed or piece.lines > 0

    def _read_body(self, source: Source, file: LogFile, piece: Tally, at: list[tuple[int, int]]) -> tuple[Tally, bool]:
        """Read the ranges `at` of the file in several processes; return the open piece, and whether to stop there."""
        limits, position = self.settings.limits, piece.position
        with workers.parts(
            piece.origin, self.batch.builder, file.path, limits.line_bytes, at, min(limits.workers, len(at))
        ) as parts:
            for part in parts:
                part.add_to(piece)
                self.batch.take(piece.origin, part.rows(piece.origin.piece), part.lines, part.counts["log_bytes"])
                if self.batch.log_bytes >= limits.commit_bytes:
                    _close(piece, deque(), file)
                    self.commit()
                    self.progressed = True
                    piece = self._piece(source, file, position, position.read_to)
                    self.progress(file.name.rsplit("/", 1)[-1], self.done_bytes + position.read_to)
                    if self.stopping():
                        return piece, True
        return piece, False

    def _piece(self, source: Source, file: LogFile, position: Position, start: int) -> Tally:
        """Open the next piece of a file."""
        return self._open(Origin(self._next(), source, position.file_id, file.name, position.head), position, start)

    def _take(self, piece: Tally, unit: Line | Run, ways: Ways) -> None:
        """Count lines, and hand what is to be stored of them to the batch."""
        lines = [unit] if isinstance(unit, Line) else []
        if isinstance(unit, Run):
            block, lines = read_run(piece.origin, unit, ways)
            if block is not None:
                count_block(piece, block)
                self.batch.add_block(block)
        for line in lines:
            if line.is_blank:
                piece.blank()
            else:
                self._add(piece, read_line(piece.origin, line, ways))

    def _add(self, piece: Tally, entry: Entry) -> None:
        if count(piece, entry):
            self.batch.add(entry)

    def read_labels(self) -> None:
        """Read what annotators said since the last run."""
        with labels.opened(self.settings.labels.url) as store:
            if store is None:
                return
            self.summary.files += 1
            source = Source(name=labels.SOURCE, path=store.path)
            position = self.positions.of_head(source.name, store.head)
            origin = Origin(self._next(), source, position.file_id, store.path, position.head, keyed=True)
            piece = self._open(origin, position, position.read_to)
            for event in store.events(position.read_to):
                raw = partial(str, event.raw)
                self._add(piece, Entry(origin, event.seq, len(event.raw), raw, labels.READER, event.outcome))
                position.advance_rows(event.seq + 1)
            piece.read_to = position.read_to

    def commit(self) -> None:
        """Write what was read, and keep the counts."""
        self.summary.tallies += self.batch.commit()

    def _next(self) -> int:
        self.pieces += 1
        return self.pieces

    def _open(self, origin: Origin, position: Position, start: int) -> Tally:
        tally = Tally(origin, position, read_from=start)
        self.batch.open(tally)
        return tally


def _close(piece: Tally, recent: deque[Line], file: LogFile) -> None:
    """Move the file's position behind what was read."""
    if recent and file.is_parquet:
        piece.position.advance_rows(recent[-1].end)
    else:
        piece.position.advance(recent)
    recent.clear()
    piece.read_to = piece.position.read_to
    piece.stored = (file.stored_bytes, file.mtime_ns) if file.complete else None


def unreadable(path: Path, error: OSError) -> LakeError:
    """Return the error for a log file that the system does not let us read."""
    return LakeError(f"Cannot read {scan.name_of(path)}: {error.strerror}. Make it readable, or narrow the glob.")
