"""The body of one large file of lines -> rows, by several processes; each reads byte ranges of it.

`python -m ingest.workers` is started by a run. It reads its task, paths and numbers as one line of JSON, from stdin and
writes to stdout, for each of its ranges, one line of JSON with counts and four Arrow streams: the rows of the three
tables, and the lines that were read, for quarantine should the lake hold their ids with other contents. Nothing else
is written. The run takes the ranges in the order of the file, so that rows, counts and positions are those of one
process.

A line belongs to the range in which the one before it ends. Lines of the last range are left to the run itself, which
knows how to treat the end of a file that may grow.
"""

import gc
import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa

from ingest import redact
from ingest.decoding import Line, line_of
from ingest.entries import Block, Entry, Origin
from ingest.errors import LakeError, WinnowError
from ingest.outcomes import Tally, Ways, count, count_block, read_line, read_run, units
from ingest.positions import Position
from ingest.pseudonyms import Pseudonyms
from ingest.readers.reading import Reading
from ingest.rows import PIECE, RowBuilder, Rows
from ingest.settings import Redaction, Source
from ingest.splitting import Run, Span, runs
from ingest.streams import Stream

RANGE_BYTES: Final = 8 << 20
"""Of a file that each process reads at a time."""
LEAST_BYTES: Final = 64 << 20
"""Less that is new in a file is not worth starting processes for."""
PIPE_BYTES: Final = 1 << 20
"""What may wait between a process and the run."""
RECENT_LINES: Final = 8
"""So many last lines are kept, to recognise a file by what stands before its position."""

LINES: Final = pa.schema(
    [("offset", pa.int64()), ("size", pa.int64()), ("reader", pa.string()), ("raw", pa.large_binary())]
)
"""Lines that were read."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one range says."""

    counts: Mapping[str, Any]
    """As `_counts` makes it."""
    tables: tuple[pa.Table, pa.Table, pa.Table]
    """Interactions, feedback and quarantine."""
    lines: pa.Table
    """`LINES`."""

    def rows(self, piece: int) -> Rows:
        """Return the rows as those of a piece, whose number the process does not know."""
        return Rows(*(_of_piece(table, piece) for table in self.tables))

    def add_to(self, piece: Tally) -> None:
        """Add the counts to those of the piece, and move its position behind the range."""
        piece.lines += self.counts["lines"]
        piece.records += self.counts["records"]
        piece.skipped.update(self.counts["skipped"])
        piece.skipped_days.update({(reason, day): n for reason, day, n in self.counts["skipped_days"]})
        if self.counts["lines"]:
            position = piece.position
            position.read_to, position.tail, position.tail_bytes = self.counts["position"]


def ranges(start: int, size: int) -> list[tuple[int, int]]:
    """Return the ranges of a file from offset `start` that processes read, [] where it has too little."""
    if size - start < LEAST_BYTES:
        return []
    return list(pairwise(range(start, size, RANGE_BYTES)))


@contextmanager
def parts(
    origin: Origin, builder: RowBuilder, path: Path, limit: int, at: list[tuple[int, int]], workers: int
) -> Iterator[Iterator[Part]]:
    """Give an iterator over what the ranges `at` of the file say, in their order, by so many processes.

    It ends early where the file does. Raises LakeError where a process fails.
    """
    task = {
        "path": str(path),
        "source": origin.source.model_dump(),
        "origin": [origin.file_id, origin.path, origin.head],
        "key": str(builder.pseudonyms.path),
        "run": [builder.run_id, builder.ingest_time.isoformat()],
        "limit": limit,
        "redaction": redact.in_use().model_dump(),
    }
    with ExitStack() as stack:
        processes = [stack.enter_context(_started({**task, "ranges": at[i::workers]})) for i in range(workers)]
        yield _received(origin, processes, len(at))


@contextmanager
def _started(task: Mapping[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-m", "ingest.workers"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, pipesize=PIPE_BYTES
    ) as process:
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it has failed already, which its output will show
            process.stdin.write(json.dumps(task).encode() + b"\n")
            process.stdin.close()
        try:
            yield process
        finally:
            process.kill()  # has ended by itself, unless the run stops early


def _received(origin: Origin, processes: list[subprocess.Popen[bytes]], number: int) -> Iterator[Part]:
    for i in range(number):
        process = processes[i % len(processes)]
        assert process.stdout is not None
        head = process.stdout.readline()
        if not head.endswith(b"\n"):
            raise LakeError(
                f"A process that read {origin.path} ended with {process.wait()}. Nothing since the last commit is in "
                "the lake; run again, with limits.workers = 1 to see the error itself."
            )
        interactions, feedback, quarantine, kept = (pa.ipc.open_stream(process.stdout).read_all() for _ in range(4))
        counts = json.loads(head)
        yield Part(counts, (interactions, feedback, quarantine), kept)
        if counts["cut"]:
            return


def _of_piece(rows: pa.Table, piece: int) -> pa.Table:
    index = rows.schema.get_field_index(PIECE)
    return rows.set_column(index, rows.schema.field(index), pa.repeat(pa.scalar(piece, pa.int64()), rows.num_rows))


def main() -> None:
    """Do the task on stdin."""
    gc.set_threshold(100_000, 50, 100)  # as in `ingest.run`
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run decides when to stop
    task = json.loads(sys.stdin.readline())
    redact.use(Redaction.model_validate(task["redaction"]))
    builder = RowBuilder(task["run"][0], datetime.fromisoformat(task["run"][1]), Pseudonyms(Path(task["key"])))
    origin = Origin(0, Source.model_validate(task["source"]), *task["origin"])
    ways, stream = Ways(origin.source.format), Stream(Path(task["path"]))
    for start, end in task["ranges"]:
        _send(sys.stdout.buffer, *_read(origin, builder, ways, pieces(stream, start, end, task["limit"]), (start, end)))


def pieces(stream: Stream, start: int, end: int, limit: int) -> Iterator[Span | Run]:
    """Yield the lines that belong to a range, and what the file ends with, should it end within one."""
    begin = line_start(stream, start, end)
    if begin is None:
        return
    for piece in runs(stream.blocks(begin), begin, limit):
        if begin >= end:
            return
        yield piece.before(end) if isinstance(piece, Run) else piece
        begin = piece.end


def last_lines(run: Run) -> list[Line]:
    """Return the last lines of a run, as many as may be needed to recognise a file."""
    spans = map(run.span, range(max(0, len(run) - RECENT_LINES), len(run)))
    return [Line(span.start, span.end, span.length, span.raw) for span in spans]


def line_start(stream: Stream, start: int, end: int) -> int | None:
    """Return where the first line begins that belongs to the range, None where there is none."""
    if start == 0:
        return 0
    offset = start - 1
    for block in stream.blocks(offset):
        found = block.find(b"\n")
        if found >= 0:
            return offset + found + 1 if offset + found + 1 < end else None
        offset += len(block)
        if offset >= end:
            return None
    return None


def _read(
    origin: Origin, builder: RowBuilder, ways: Ways, found: Iterator[Span | Run], at: tuple[int, int]
) -> tuple[dict[str, Any], Rows, pa.Table]:
    """Return counts, rows and the lines that were read."""
    piece = Tally(origin, Position(origin.file_id, origin.head, at[0]), read_from=at[0])
    recent: deque[Line] = deque(maxlen=RECENT_LINES)
    entries: list[tuple[Entry, bytes]] = []
    blocks: list[Block] = []
    torn: list[Span] = []
    for unit in units(_whole(found, torn), ways, lambda: RANGE_BYTES):
        lines = [unit] if isinstance(unit, Line) else []
        if isinstance(unit, Run):
            block, lines = read_run(origin, unit, ways)
            if block is not None:
                count_block(piece, block)
                blocks.append(block)
        recent.extend(last_lines(unit) if isinstance(unit, Run) else [unit])
        for line in lines:
            if line.is_blank:
                piece.blank()
            elif count(piece, entry := read_line(origin, line, ways)):
                entries.append((entry, line.raw))
    piece.position.advance(recent)
    rows = builder.build([entry for entry, _ in entries], blocks)
    piece.records -= sum(rows.folded.values())
    log_bytes = sum(entry.size for entry, _ in entries) + sum(block.size for block in blocks)
    return _counts(piece, log_bytes, cut=bool(torn)), rows, _kept(entries, blocks)


def _whole(found: Iterator[Span | Run], torn: list[Span]) -> Iterator[Line | Run]:
    """Yield the lines that are whole; where the file has become shorter, `torn` gets what it ends with."""
    for piece in found:
        if isinstance(piece, Run):
            yield piece
        elif piece.ended:
            yield line_of(piece)
        else:
            torn.append(piece)


def _kept(entries: list[tuple[Entry, bytes]], blocks: list[Block]) -> pa.Table:
    """Return `LINES`."""
    read = [(entry, raw) for entry, raw in entries if isinstance(entry.outcome, Reading)]
    shaped = [(block, line) for block in blocks for line in block.lines]
    columns = (
        [entry.offset for entry, _ in read] + [block.run.offset(line) for block, line in shaped],
        [entry.size for entry, _ in read] + [block.run.length(line) for block, line in shaped],
        [entry.reader for entry, _ in read] + [block.reader for block, _ in shaped],
        [raw for _, raw in read] + [block.run.text(line) for block, line in shaped],
    )
    return pa.Table.from_arrays([pa.array(c, f.type) for c, f in zip(columns, LINES, strict=True)], schema=LINES)


def _counts(piece: Tally, log_bytes: int, *, cut: bool) -> dict[str, Any]:
    """Return what is counted of a range; holds numbers, reason codes, dates and hashes, and no text."""
    position = piece.position
    return {
        "lines": piece.lines,
        "records": piece.records,
        "skipped": dict(piece.skipped),
        "skipped_days": [[reason, day, n] for (reason, day), n in piece.skipped_days.items()],
        "position": [position.read_to, position.tail, position.tail_bytes],
        "log_bytes": log_bytes,
        "cut": cut,
    }


def _send(out: IO[bytes], counts: Mapping[str, Any], rows: Rows, kept: pa.Table) -> None:
    out.write(json.dumps(counts).encode() + b"\n")
    for table in (rows.interactions, rows.feedback, rows.quarantine, kept):
        with pa.ipc.new_stream(out, table.schema) as writer:
            writer.write_table(table)
    out.flush()


if __name__ == "__main__":
    try:
        main()
    except WinnowError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the run has stopped
        os._exit(1)
