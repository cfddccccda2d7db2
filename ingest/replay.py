"""Reads quarantined records again: after a reader was fixed, a format forced, a limit raised, a file mended.

    python -m ingest replay [--source NAME] [--reason REASON] [--file GLOB] [--dry-run]

Reads `quarantine` and the log files, writes the lake. What reads now leaves quarantine, and its rows land with their
own file_id and byte_offset; what still fails stays, with today's reason. Chosen = read + still quarantined + not
reachable.

Exactly once. The rows land first and are recognised by key and place, as after a killed run. Then a note, which holds
no text, says what is to change in `quarantine` and in the accounts of `files`; from there on a killed replay is
completed by the next one. A replay's row of `files` holds differences: with it, records = interactions + feedback +
quarantined + skipped over the life of the lake.
"""

import json
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa
from msgspec import structs

from ingest import pairing, redact, schema, threads
from ingest.batch import ID_CONFLICT, Batch
from ingest.lake import Lake
from ingest.outcomes import Tally, count
from ingest.pseudonyms import Pseudonyms
from ingest.readers.reading import Reading
from ingest.rereading import Chosen, Found, Place, Rereading, Row, select
from ingest.rows import UNFIT_VALUE, RowBuilder
from ingest.settings import Settings
from ingest.subjects import Subjects

NOTE: Final = ".replay.json"
"""In the lake's folder, while a replay's rows have landed and its accounts have not."""


@dataclass
class Replayed:
    """What one replay did, or would do."""

    run_id: str
    dry_run: bool
    before: int = 0
    """Rows of `quarantine` that were chosen; equal to the sum of the next three."""
    read: Counter[str] = field(default_factory=Counter)
    """Reason under which they were quarantined -> rows that left quarantine."""
    still: Counter[str] = field(default_factory=Counter)
    """Today's reason -> rows that stay."""
    lost: Counter[str] = field(default_factory=Counter)
    """Why their line cannot be read again -> rows that stay as they are."""
    changed: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(reason before, reason now) -> rows that stay for another reason."""
    waits: Counter[str] = field(default_factory=Counter)
    """Of `still`, what the next run has to read first -> rows."""
    interactions: int = 0
    feedback: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """What became of one quarantined row whose file is known."""

    row: Row
    place: Place
    reason: str | None
    """Today's reason; None where the row leaves quarantine."""
    detail: str = ""
    reader: str | None = None
    interactions: int = 0
    feedback: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    is_line: bool = True
    """Whether the accounts go on counting it as a line; false where the run that read its rest counted it again."""

    @property
    def changes(self) -> bool:
        """Return whether anything is to be written."""
        same = (self.reason, self.detail) == (self.row.reason, self.row.detail)
        return not same or bool(self.interactions or self.feedback or self.skipped)


def replay(
    settings: Settings, chosen: Chosen, *, dry_run: bool = False, progress: Callable[[int, int], None] | None = None
) -> Replayed:
    """Read again what is `chosen`; `progress` is told how many rows of how many are done.

    Raises SettingsError, LakeError, LakeBusyError or StoreError. One that is killed is completed by the next.
    """
    begun, now = time.monotonic(), datetime.now(UTC)
    done = Replayed(f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}", dry_run)
    lake = Lake(settings.lake)
    redact.use(settings.redaction)
    with lake.locked(done.run_id):
        if not dry_run:
            complete(lake)
        quarantined = select(lake, settings, chosen)
        done.before = sum(map(len, quarantined.rows.values()))
        pseudonyms = Pseudonyms(settings.pseudonym_key)
        builder = RowBuilder(done.run_id, now, pseudonyms)
        batch = Batch(lake, builder, Subjects(settings.subjects, pseudonyms))
        replaying = _Replay(batch, done, settings.limits.commit_bytes)
        for number, found in enumerate(Rereading(settings, lake, builder, quarantined).lines(), 1):
            replaying.take(found)
            if progress is not None:
                progress(number, done.before)
        replaying.commit()
        if not dry_run:  # also where nothing landed: a replay that was killed may have left this to do
            threads.complete(lake)
            pairing.build(lake, done.run_id, settings.pairing)
    done.seconds = round(time.monotonic() - begun, 3)
    return done


class _Replay:
    """The lines between two commits."""

    def __init__(self, batch: Batch, done: Replayed, commit_bytes: int) -> None:
        self.batch = batch
        self._lake = batch.lake
        self._commit_bytes = commit_bytes
        self._done = done
        self._commits = 0
        self._settled: list[Outcome] = []
        self._read: list[tuple[Found, Place, Tally]] = []

    def take(self, found: Found) -> None:
        """Take one row that was looked up."""
        if found.lost is not None:
            self._done.lost[found.lost] += 1
            return
        row, place = found.row, found.place
        assert place is not None, "only a lost line has no place"
        if found.waits is not None:
            self._done.waits[found.waits] += 1
            self._settled.append(Outcome(row, place, row.reason, row.detail))
        elif found.entry is None:
            self._settled.append(Outcome(row, place, None, is_line=False))
        else:
            if self.batch.log_bytes >= self._commit_bytes:
                self.commit()
            tally = Tally(place.origin(len(self._read) + 1), place.position, read_from=row.byte_offset)
            self.batch.open(tally)
            self._read.append((found, place, tally))
            entry = structs.replace(found.entry, origin=tally.origin)
            if count(tally, entry):
                self.batch.add(entry)

    def commit(self) -> None:
        """Write what was taken since the last commit, and count it."""
        _, new = self.batch.admit()
        landed = self._landed_before()
        outcomes = self._settled + [
            _outcome(found, place, tally, landed.get((place.file_id, found.row.byte_offset), Counter()))
            for found, place, tally in self._read
        ]
        self._settled, self._read = [], []
        for outcome in outcomes:
            _add(self._done, outcome)
        changing = [outcome for outcome in outcomes if outcome.changes]
        if not changing or self._done.dry_run:
            return
        self.batch.subjects.save(self._done.run_id)
        for table in ("interactions", "feedback"):
            if new[table].num_rows:
                self._lake.append(table, new[table], {})
        self._commits += 1
        _write_note(self._lake, self._note(changing))
        complete(self._lake)

    def _landed_before(self) -> dict[tuple[str, int], Counter[str]]:
        """Return the rows that lines with a conflict gave when they were quarantined: those are accounted for."""
        lines = [(f.row, place) for f, place, _ in self._read if f.row.reason == ID_CONFLICT.reason]
        if not lines:
            return {}
        wanted = pa.table(
            {
                "file_id": [place.file_id for _, place in lines],
                "byte_offset": [row.byte_offset for row, _ in lines],
                "until": pa.array([row.ingest_time for row, _ in lines], schema.TIME),
            }
        )
        found: dict[tuple[str, int], Counter[str]] = {}
        with self._lake.database() as connection:
            connection.register("wanted", wanted)
            for table in ("interactions", "feedback"):
                self._lake.view(connection, table)
                rows = connection.execute(
                    f"SELECT file_id, byte_offset, count(*) FROM {table} JOIN wanted USING (file_id, byte_offset) "
                    "WHERE ingest_time <= until GROUP BY ALL"
                )
                for file_id, offset, n in rows.fetchall():
                    found.setdefault((file_id, offset), Counter())[table] = n
        return found

    def _note(self, changing: Sequence[Outcome]) -> dict[str, Any]:
        """Return what is still to be written once the rows have landed: ids, reasons and counts, no text of a log."""
        time_us = int(self.batch.builder.ingest_time.timestamp() * 1_000_000)
        by_file: dict[str, list[Outcome]] = {}
        for outcome in changing:
            by_file.setdefault(outcome.place.file_id, []).append(outcome)
        return {
            "id": f"replay:{self._done.run_id}:{self._commits}",
            "run_id": self._done.run_id,
            "ingest_time": time_us,
            "files": [_differences(outcomes, self._done.run_id, time_us) for outcomes in by_file.values()],
            "gone": [outcome.row.quarantine_id for outcome in changing if outcome.reason is None],
            "changed": {
                outcome.row.quarantine_id: [outcome.reason, outcome.detail, outcome.reader]
                for outcome in changing
                if outcome.reason is not None
            },
        }


def _outcome(found: Found, place: Place, tally: Tally, landed: Counter[str]) -> Outcome:
    """Return what became of a line that was read; `landed` are its rows that were accounted for before."""
    assert found.entry is not None, "what no reader was asked about is settled"
    reason = next(iter(tally.quarantined), None)
    said = found.entry.outcome
    interactions, feedback = tally.interactions - landed["interactions"], tally.feedback - landed["feedback"]
    skipped = Counter(tally.skipped)
    if found.row.reason == ID_CONFLICT.reason:
        # The line's duplicates were counted when it was quarantined; only if nothing landed is the conflict one, too.
        skipped = Counter() if reason or interactions or feedback else Counter(duplicate=1)
    elif found.row.detail == UNFIT_VALUE.detail and isinstance(said, Reading):
        skipped -= Counter(said.skipped_parts)  # counted, too
    if isinstance(said, Reading):
        detail = ID_CONFLICT.detail if reason == ID_CONFLICT.reason else UNFIT_VALUE.detail
    else:
        detail = said.detail
    return Outcome(found.row, place, reason, detail, found.entry.reader, interactions, feedback, skipped)


def _add(done: Replayed, outcome: Outcome) -> None:
    before = outcome.row.reason
    if outcome.reason is None:
        done.read[before] += 1
    else:
        done.still[outcome.reason] += 1
        if outcome.reason != before:
            done.changed[before, outcome.reason] += 1
    done.interactions += outcome.interactions
    done.feedback += outcome.feedback
    done.skipped.update(outcome.skipped)


def _differences(outcomes: Sequence[Outcome], run_id: str, time_us: int) -> dict[str, Any]:
    """Return the row of `files` that makes the accounts of one file right; its position stays where it is."""
    place = outcomes[0].place
    position = place.position
    quarantined: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    for outcome in outcomes:
        quarantined[outcome.row.reason] -= 1
        if outcome.reason is not None:
            quarantined[outcome.reason] += 1
        skipped.update(outcome.skipped)
    rows = {name: sum(getattr(outcome, name) for outcome in outcomes) for name in ("interactions", "feedback")}
    size, mtime_ns = place.stored or (None, None)
    return {
        "file_id": place.file_id,
        "source": place.source.name,
        "path": place.path,
        "run_id": run_id,
        "read_from": position.read_to,
        "read_to": position.read_to,
        "lines": -sum(not outcome.is_line for outcome in outcomes),
        "records": sum(rows.values()) + sum(quarantined.values()) + skipped.total(),
        **rows,
        "quarantined": sum(quarantined.values()),
        "skipped": skipped.total(),
        "skipped_by_reason": sorted(skipped.items()),
        "quarantined_by_reason": sorted((reason, n) for reason, n in quarantined.items() if n),
        "skipped_by_day": [],
        "ingest_time": time_us,
        "head": position.head,
        "tail": position.tail,
        "tail_bytes": position.tail_bytes,
        "stored_bytes": size,
        "stored_mtime_ns": mtime_ns,
    }


def _write_note(lake: Lake, note: Mapping[str, Any]) -> None:
    """Write the note so that a kill leaves all of it or nothing."""
    path = lake.path / NOTE
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        temporary.chmod(0o600)
        json.dump(note, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def complete(lake: Lake) -> None:
    """Do what a note of this replay, or of one that was killed, says; each step of it can be done twice."""
    path = lake.path / NOTE
    if not path.exists():
        return
    note = json.loads(path.read_text(encoding="utf-8"))
    if lake.cursor("files", note["id"]) == 0:
        for row in note["files"]:
            for name in ("skipped_by_reason", "quarantined_by_reason"):
                row[name] = [tuple(pair) for pair in row[name]]
        lake.append("files", pa.Table.from_pylist(note["files"], schema=schema.FILE), {note["id"]: 1})
    lake.delete("quarantine", note["gone"])
    if note["changed"]:
        lake.replace("quarantine", _changed(lake, note))
    path.unlink()


def _changed(lake: Lake, note: Mapping[str, Any]) -> pa.Table:
    """Return the rows that stay, with today's reason."""
    with lake.database() as connection:
        lake.view(connection, "quarantine")
        connection.register("changed", pa.table({"quarantine_id": list(note["changed"])}))
        found = connection.sql("SELECT * FROM quarantine SEMI JOIN changed USING (quarantine_id)")
        rows = found.to_arrow_table().cast(schema.QUARANTINE).to_pylist()
    for row in rows:
        row["reason"], row["detail"], row["reader"] = note["changed"][row["quarantine_id"]]
        row |= {"run_id": note["run_id"], "ingest_time": note["ingest_time"]}
    return pa.Table.from_pylist(rows, schema=schema.QUARANTINE)
