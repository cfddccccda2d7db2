"""Lines between two commits -> rows in the lake, each key once, and what became of every line.

Writes `interactions`, `feedback`, `quarantine` and then `files`, whose row says how far a file is read. A run that is
killed between these commits leaves rows that `files` knows nothing of. The next run reads the same lines again, finds
the rows by key and place, and counts them without adding them twice.

The first record of a key is kept. A later one that says the same is a duplicate, one that does not goes to quarantine.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final

import numpy as np
import pyarrow as pa
from msgspec import structs

from ingest import schema
from ingest.entries import Block, Entry, Origin, raw_text
from ingest.errors import RecordError
from ingest.keys import Keys
from ingest.lake import Lake
from ingest.outcomes import Tally
from ingest.readers.reading import Reading
from ingest.rows import PIECE, RowBuilder, Rows
from ingest.served import Served
from ingest.subjects import REASON, Subjects

_SAID: Final = Served.of([], [])
"""In place of what a block said once its rows are made: it need not be held."""

Line = tuple[int, int]
"""Piece and offset in its file."""

CHUNK_BYTES: Final = 8 << 20
"""Log bytes whose records are held as Python objects; then they become Arrow rows."""

KEYS: Final = {"interactions": "interaction_id", "feedback": "feedback_id", "quarantine": "quarantine_id"}
"""Table -> key."""

ID_CONFLICT: Final = RecordError("id_conflict", "An id of this record stands for another content in the lake.")

_COUNTED: Final = {"interactions": [PIECE], "feedback": [PIECE], "quarantine": [PIECE, "reason"]}
"""Table -> columns by which its rows are counted, beside `redactions`."""

CONTENT: Final = {
    "interactions": ("prompt_hash", "response_hash", "status", "placeholders"),
    "feedback": ("signal", "interaction_id", "other_ids", "value", "text", "placeholders", "retracted"),
    "quarantine": ("reason",),
}
"""Table -> columns by which two records of one key are told apart."""

_SAME: Final = {
    # A prompt that awaited its parent is another one as soon as it is whole, and placeholders then have other numbers.
    "interactions": """(first.response_hash = row.response_hash
            OR (first.status <> row.status AND cardinality(row.placeholders) > 0
                AND list_has_all(map_values(first.placeholders), map_values(row.placeholders))))
        AND (first.prompt_hash = row.prompt_hash OR first.status = 'awaits_parent' OR row.status = 'awaits_parent')
        AND (first.placeholders = row.placeholders OR first.status <> row.status)""",
    "feedback": " AND ".join(f"first.{name} IS NOT DISTINCT FROM row.{name}" for name in CONTENT["feedback"]),
    "quarantine": "true",
}
"""Table -> whether two records of one key say the same."""

_VERDICTS: Final = """
    WITH held AS (
        SELECT key.id, {columns}, lake.file_id, lake.byte_offset
        FROM (SELECT DISTINCT id FROM batch) AS key JOIN {table} AS lake ON lake.{key} = key.id
    ),
    counted AS (
        SELECT *, row_number() OVER (PARTITION BY id ORDER BY nr) AS nth,
            row_number() OVER (PARTITION BY id, file_id, byte_offset ORDER BY nr) AS nth_of_line
        FROM batch
    ),
    first AS (
        SELECT id, {columns}, file_id, byte_offset, true AS held FROM held AS lake
        UNION ALL
        SELECT id, {columns}, NULL, NULL, false FROM counted AS lake WHERE nth = 1 AND id NOT IN (SELECT id FROM held)
    )
    SELECT CASE
            WHEN NOT first.held AND nth = 1 THEN 'new'
            WHEN first.file_id = row.file_id AND first.byte_offset = row.byte_offset
                AND interrupted AND nth_of_line = 1 THEN 'landed'
            WHEN {same} THEN 'duplicate'
            ELSE 'conflict'
        END AS verdict
    FROM counted AS row JOIN first USING (id)
    ORDER BY nr
"""


@dataclass
class Conflicts:
    """Records whose id stands for another content already."""

    records: Counter[Line] = field(default_factory=Counter)
    """Line -> its records that conflict."""
    _keys: set[tuple[Line, str]] = field(default_factory=set)

    def add(self, line: Line, key: str) -> None:
        """Note one record."""
        self.records[line] += 1
        self._keys.add((line, key))

    def without(self, feedback: pa.Table) -> pa.Table:
        """Return the feedback less what conflicts, too: events about a conflicting response of their own line."""
        if not self._keys:
            return feedback
        names = (PIECE, "byte_offset", "interaction_id", "other_ids")
        kept = []
        for piece, offset, target, others in zip(*(feedback[name].to_pylist() for name in names), strict=True):
            line = (piece, offset)
            kept.append(not any((line, key) in self._keys for key in (target, *others)))
            if not kept[-1]:
                self.records[line] += 1
        return feedback.filter(pa.array(kept, pa.bool_()))


class Batch:
    """Lines on their way into the lake."""

    def __init__(self, lake: Lake, builder: RowBuilder, subjects: Subjects) -> None:
        self.lake = lake
        self.builder = builder
        self.subjects = subjects
        self.log_bytes = 0
        """Bytes of the lines since the last commit."""
        self._chunk_bytes = 0
        self._entries: list[Entry] = []
        self._blocks: list[Block] = []
        self._read: list[Entry] = []
        """The lines that were read, as they go to quarantine should the lake hold their ids with other contents."""
        self._read_at_once: list[Block] = []
        """The same of blocks."""
        self._read_elsewhere: list[tuple[Origin, pa.Table]] = []
        """The same of other processes, as `ingest.workers.LINES`."""
        self._rows: list[Rows] = []
        self._tallies: dict[int, Tally] = {}
        self._interrupted: dict[tuple[str, str], bool] = {}
        self._keys: dict[str, Keys] = {}

    def open(self, tally: Tally) -> None:
        """Begin a piece of a file."""
        self._tallies[tally.origin.piece] = tally

    def add(self, entry: Entry) -> None:
        """Take one line that was read or could not be."""
        self._entries.append(entry)
        self._grow(entry.size)

    def add_block(self, block: Block) -> None:
        """Take lines that were read at once."""
        self._blocks.append(block)
        self._grow(block.size)

    def _grow(self, size: int) -> None:
        self.log_bytes += size
        self._chunk_bytes += size
        if self._chunk_bytes >= CHUNK_BYTES:
            self._build()

    def take(self, origin: Origin, rows: Rows, lines: pa.Table, log_bytes: int) -> None:
        """Take what another process has read; `lines` are its lines as `ingest.workers.LINES`."""
        self._build()
        self._rows.append(rows)
        self._read_elsewhere.append((origin, lines))
        self.log_bytes += log_bytes

    def commit(self) -> list[Tally]:
        """Write everything taken since the last commit, and return what became of it, one tally per piece."""
        tallies, new = self.admit()
        self.subjects.save(self.builder.run_id)
        cursors = {tally.origin.file_id: tally.read_to for tally in tallies}
        for table, data in new.items():
            if data.num_rows:
                self.lake.append(table, data, cursors)
        # Last: as long as it lacks these files, the rows above are as if they had not been read.
        self.lake.append("files", self._files(tallies), cursors)
        return tallies

    def admit(self) -> tuple[list[Tally], dict[str, pa.Table]]:
        """Begin anew; return what became of everything taken since, and of each table the rows it does not hold yet."""
        self._build()
        # A file that was only touched, or renamed, is noted too: else it would be unpacked again by every run.
        tallies = {piece: tally for piece, tally in self._tallies.items() if tally.lines or tally.stored}
        rows = Rows.concat(self._rows)
        conflicts = Conflicts()
        served = _without(rows.interactions, self.subjects.interactions(rows.interactions), tallies)
        interactions = self._admit("interactions", served, tallies, conflicts)
        events = conflicts.without(_without(rows.feedback, self.subjects.feedback(rows.feedback), tallies))
        feedback = self._admit("feedback", events, tallies, conflicts)
        quarantine = pa.concat_tables([rows.quarantine, self._conflicting(conflicts, tallies)])
        quarantine = _without(quarantine, self.subjects.quarantine(quarantine), tallies)
        new = {
            "interactions": interactions,
            "feedback": feedback,
            "quarantine": self._admit("quarantine", quarantine, tallies, conflicts),
        }
        for tally in tallies.values():
            tally.check()
        self._tallies, self._rows, self.log_bytes = {}, [], 0
        self._read, self._read_at_once, self._read_elsewhere = [], [], []
        return list(tallies.values()), new

    def _build(self) -> None:
        if self._entries or self._blocks:
            rows = self.builder.build(self._entries, self._blocks)
            for piece, fewer in rows.folded.items():
                self._tallies[piece].records -= fewer
            self._rows.append(rows)
            read = [entry for entry in self._entries if isinstance(entry.outcome, Reading)]
            for entry in read:
                entry.outcome = ID_CONFLICT  # its rows are made: what was read need not be held
            self._read += read
            self._read_at_once += [structs.replace(block, served=_SAID) for block in self._blocks]
        self._entries, self._blocks, self._chunk_bytes = [], [], 0

    def _conflicting(self, conflicts: "Conflicts", tallies: Mapping[int, Tally]) -> pa.Table:
        """Return the quarantine rows of the lines that hold conflicting records: one a line, counted as one record."""
        for (piece, _), records in conflicts.records.items():
            tallies[piece].records -= records - 1
        lines = {(e.origin.piece, e.offset): e for e in self._read if (e.origin.piece, e.offset) in conflicts.records}
        for block in self._read_at_once if conflicts.records else ():
            for line in block.lines:
                if (place := (block.origin.piece, block.run.offset(line))) in conflicts.records:
                    raw, size = partial(raw_text, block.run.text(line)), block.run.length(line)
                    lines[place] = Entry(block.origin, place[1], size, raw, block.reader, ID_CONFLICT)
        for origin, read in self._read_elsewhere if conflicts.records else ():
            for row, offset in enumerate(read["offset"].to_pylist()):
                if (origin.piece, offset) in conflicts.records:
                    size, reader, raw = (read[name][row].as_py() for name in ("size", "reader", "raw"))
                    entry = Entry(origin, offset, size, partial(raw_text, raw), reader, ID_CONFLICT)
                    lines[origin.piece, offset] = entry
        return self.builder.build([lines[line] for line in sorted(lines)]).quarantine

    def _admit(self, table: str, rows: pa.Table, tallies: Mapping[int, Tally], conflicts: "Conflicts") -> pa.Table:
        """Count every row in its piece's tally, and return the new ones with the contract's columns."""
        if not rows.num_rows:
            return rows.drop([PIECE])
        if table not in self._keys:
            self._keys[table] = Keys.of_files(self.lake.files(table), KEYS[table])
        interrupted = self._interruptions(table, list(tallies.values()))
        new = self._keys[table].are_new(rows[KEYS[table]])
        if new.all():
            _count(table, rows, tallies)
        else:
            counted, doubt = new.copy(), ~new
            doubtful = rows.filter(pa.array(doubt))
            verdicts = self._verdicts(table, doubtful, interrupted)
            new[doubt] = [verdict == "new" for verdict in verdicts]
            counted[doubt] = [verdict in ("new", "landed") for verdict in verdicts]
            _count_known(doubtful.select([PIECE, "byte_offset", KEYS[table]]), verdicts, tallies, conflicts)
            _count(table, rows.select([*_COUNTED[table], "redactions"]).filter(pa.array(counted)), tallies)
            rows = rows.filter(pa.array(new))
        self._keys[table].add(rows[KEYS[table]])
        return rows.drop([PIECE])

    def _verdicts(self, table: str, rows: pa.Table, interrupted: Mapping[int, bool]) -> list[str]:
        """Return for each row: "new", "landed" (an interrupted run added it), "duplicate" or "conflict".

        `rows` are all rows of the batch that have their keys.
        """
        keys = pa.table(
            {
                "id": rows[KEYS[table]],
                "file_id": rows["file_id"],
                "byte_offset": rows["byte_offset"],
                "interrupted": pa.array([interrupted[piece] for piece in rows[PIECE].to_pylist()], pa.bool_()),
                "nr": pa.array(range(rows.num_rows), pa.int64()),
                **{name: rows[name] for name in CONTENT[table]},
            }
        )
        with self.lake.database() as connection:
            self.lake.view(connection, table)
            connection.register("batch", keys)
            columns = ", ".join(f"lake.{name}" for name in CONTENT[table])
            query = _VERDICTS.format(table=table, key=KEYS[table], columns=columns, same=_SAME[table])
            found = connection.execute(query).fetchall()
        return [verdict for (verdict,) in found]

    def _interruptions(self, table: str, tallies: Sequence[Tally]) -> dict[int, bool]:
        """Return for each piece whether, when the run began, `table` was ahead of `files` in its file."""
        unseen = {t.origin.file_id: t for t in tallies if (table, t.origin.file_id) not in self._interrupted}
        for file_id, cursor in self.lake.cursors(table, list(unseen)).items():
            self._interrupted[table, file_id] = cursor > unseen[file_id].position.committed
        return {t.origin.piece: self._interrupted[table, t.origin.file_id] for t in tallies}

    def _files(self, tallies: Sequence[Tally]) -> pa.Table:
        rows = [_file_row(tally, self.builder.run_id, self.builder.ingest_time) for tally in tallies]
        return pa.Table.from_pylist(rows, schema=schema.FILE)


def _without(rows: pa.Table, erased: Sequence[bool], tallies: Mapping[int, Tally]) -> pa.Table:
    """Return the rows less those of users who were erased, which are counted as skipped."""
    if not any(erased):
        return rows
    for piece, gone in zip(rows[PIECE].to_pylist(), erased, strict=True):
        if gone:
            tallies[piece].skipped[REASON] += 1
    return rows.filter(pa.array([not gone for gone in erased], pa.bool_()))


def _count(table: str, rows: pa.Table, tallies: Mapping[int, Tally]) -> None:
    """Count rows that the table has, or gets, in the tallies of their pieces."""
    for group in rows.group_by(_COUNTED[table]).aggregate([([], "count_all")]).to_pylist():
        tally, number = tallies[group[PIECE]], group["count_all"]
        if table == "quarantine":
            tally.quarantined[group["reason"]] += number
        elif table == "interactions":
            tally.interactions += number
        else:
            tally.feedback += number
    for batch in rows.select([PIECE, "redactions"]).to_batches():
        some = batch.take(pa.array(np.flatnonzero(np.diff(batch.column(1).offsets))))  # most hold nothing
        for piece, redactions in zip(*(column.to_pylist() for column in some.columns), strict=True):
            tallies[piece].redactions.update(dict(redactions or ()))


def _count_known(rows: pa.Table, verdicts: Sequence[str], tallies: Mapping[int, Tally], conflicts: Conflicts) -> None:
    """Count duplicates and note conflicts; columns of `rows`: piece, byte_offset and the key."""
    for piece, offset, key, verdict in zip(*(column.to_pylist() for column in rows.columns), verdicts, strict=True):
        if verdict == "conflict":
            conflicts.add((piece, offset), key)
        elif verdict == "duplicate":
            tallies[piece].skipped["duplicate"] += 1


def _file_row(tally: Tally, run_id: str, ingest_time: datetime) -> dict[str, object]:
    size, mtime_ns = tally.stored or (None, None)
    return {
        "file_id": tally.origin.file_id,
        "source": tally.origin.source.name,
        "path": tally.origin.path,
        "run_id": run_id,
        "read_from": tally.read_from,
        "read_to": tally.read_to,
        "lines": tally.lines,
        "records": tally.records,
        "interactions": tally.interactions,
        "feedback": tally.feedback,
        "quarantined": tally.quarantined.total(),
        "skipped": tally.skipped.total(),
        "skipped_by_reason": sorted(tally.skipped.items()),
        "quarantined_by_reason": sorted(tally.quarantined.items()),
        "skipped_by_day": [
            {"reason": reason, "day": day, "count": count}
            for (reason, day), count in sorted(tally.skipped_days.items())
        ],
        "ingest_time": ingest_time,
        "head": tally.position.head,
        "tail": tally.position.tail,
        "tail_bytes": tally.position.tail_bytes,
        "stored_bytes": size,
        "stored_mtime_ns": mtime_ns,
    }
