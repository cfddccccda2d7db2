"""Lines between two commits -> rows in the lake, each key once, and what became of every line.

Writes `interactions`, `feedback`, `quarantine` and then `files`, whose row says how far a file is read. A run that is
killed between these commits leaves rows that `files` knows nothing of. The next run reads the same lines again, finds
the rows by key and place, and counts them without adding them twice.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import duckdb
import pyarrow as pa

from ingest import schema
from ingest.errors import ContractError
from ingest.lake import Lake
from ingest.positions import Position
from ingest.rows import PIECE, Entry, Origin, RowBuilder, Rows

CHUNK_BYTES: Final = 4 << 20
"""Log bytes whose records are held as Python objects; then they become Arrow rows."""

KEYS: Final = {"interactions": "interaction_id", "feedback": "feedback_id", "quarantine": "quarantine_id"}
"""Table -> key."""

_VERDICTS: Final = """
    WITH held AS (
        SELECT key.id, lake.file_id, lake.byte_offset
        FROM (SELECT DISTINCT id FROM batch) AS key JOIN {table} AS lake ON lake.{key} = key.id
    ),
    counted AS (
        SELECT *, row_number() OVER (PARTITION BY id ORDER BY nr) AS nth,
            row_number() OVER (PARTITION BY id, file_id, byte_offset ORDER BY nr) AS nth_of_line
        FROM batch
    )
    SELECT CASE
            WHEN held.id IS NULL AND nth = 1 THEN 'new'
            WHEN held.file_id = counted.file_id AND held.byte_offset = counted.byte_offset
                AND interrupted AND nth_of_line = 1 THEN 'landed'
            ELSE 'duplicate'
        END AS verdict
    FROM counted LEFT JOIN held USING (id)
    ORDER BY nr
"""


@dataclass(slots=True)
class Tally:
    """What became of one piece of one file."""

    origin: Origin
    position: Position
    read_from: int
    read_to: int = 0
    lines: int = 0
    records: int = 0
    """What the lines unfold to, counted while reading: the other numbers must add up to it."""
    interactions: int = 0
    feedback: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    stored: tuple[int, int] | None = None
    """Size and mtime of the file where it was read to its end."""

    def check(self) -> None:
        """Raise ContractError unless every record is accounted for."""
        counted = self.interactions + self.feedback + self.quarantined.total() + self.skipped.total()
        if self.records != counted:
            raise ContractError(
                f"{self.origin.path}: {self.records} records were read, but {counted} are accounted for. "
                "This is a bug in ingest: please report it with the file's format."
            )


class Batch:
    """Lines on their way into the lake."""

    def __init__(self, lake: Lake, builder: RowBuilder) -> None:
        self.lake = lake
        self.builder = builder
        self.log_bytes = 0
        """Bytes of the lines since the last commit."""
        self._chunk_bytes = 0
        self._entries: list[Entry] = []
        self._rows: list[Rows] = []
        self._tallies: dict[int, Tally] = {}
        self._interrupted: dict[tuple[str, str], bool] = {}

    def open(self, tally: Tally) -> None:
        """Begin a piece of a file."""
        self._tallies[tally.origin.piece] = tally

    def add(self, entry: Entry) -> None:
        """Take one line that was read or could not be."""
        self._entries.append(entry)
        self.log_bytes += entry.size
        self._chunk_bytes += entry.size
        if self._chunk_bytes >= CHUNK_BYTES:
            self._build()

    def commit(self) -> list[Tally]:
        """Write everything taken since the last commit, and return what became of it, one tally per piece."""
        self._build()
        tallies = {piece: tally for piece, tally in self._tallies.items() if tally.lines}
        rows = Rows.concat(self._rows)
        new = {
            "interactions": self._admit("interactions", rows.interactions, tallies),
            "feedback": self._admit("feedback", rows.feedback, tallies),
            "quarantine": self._admit("quarantine", rows.quarantine, tallies),
        }
        for tally in tallies.values():
            tally.check()
        cursors = {tally.origin.file_id: tally.read_to for tally in tallies.values()}
        for table, data in new.items():
            if data.num_rows:
                self.lake.append(table, data, cursors)
        # Last: as long as it lacks these files, the rows above are as if they had not been read.
        self.lake.append("files", self._files(list(tallies.values())), cursors)
        self._tallies, self._rows, self.log_bytes = {}, [], 0
        return list(tallies.values())

    def _build(self) -> None:
        if self._entries:
            rows = self.builder.build(self._entries)
            for piece, fewer in rows.folded.items():
                self._tallies[piece].records -= fewer
            self._rows.append(rows)
        self._entries, self._chunk_bytes = [], 0

    def _admit(self, table: str, rows: pa.Table, tallies: Mapping[int, Tally]) -> pa.Table:
        """Count every row in its piece's tally, and return the new ones with the contract's columns."""
        verdicts = self._verdicts(table, rows, tallies) if rows.num_rows else []
        reasons = rows["reason"].to_pylist() if table == "quarantine" else [""] * rows.num_rows
        for piece, reason, verdict in zip(rows[PIECE].to_pylist(), reasons, verdicts, strict=True):
            tally = tallies[piece]
            if verdict == "duplicate":
                tally.skipped["duplicate"] += 1
            elif table == "quarantine":
                tally.quarantined[reason] += 1
            elif table == "interactions":
                tally.interactions += 1
            else:
                tally.feedback += 1
        return rows.filter(pa.array([verdict == "new" for verdict in verdicts], pa.bool_())).drop([PIECE])

    def _verdicts(self, table: str, rows: pa.Table, tallies: Mapping[int, Tally]) -> list[str]:
        """Return for each row: "new", "landed" (an interrupted run added it) or "duplicate"."""
        interrupted = self._interruptions(table, list(tallies.values()))
        keys = pa.table(
            {
                "id": rows[KEYS[table]],
                "file_id": rows["file_id"],
                "byte_offset": rows["byte_offset"],
                "interrupted": pa.array([interrupted[piece] for piece in rows[PIECE].to_pylist()], pa.bool_()),
                "nr": pa.array(range(rows.num_rows), pa.int64()),
            }
        )
        with duckdb.connect() as connection:
            self.lake.view(connection, table)
            connection.register("batch", keys)
            found = connection.execute(_VERDICTS.format(table=table, key=KEYS[table])).fetchall()
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
        "ingest_time": ingest_time,
        "head": tally.position.head,
        "tail": tally.position.tail,
        "tail_bytes": tally.position.tail_bytes,
        "stored_bytes": size,
        "stored_mtime_ns": mtime_ns,
    }
