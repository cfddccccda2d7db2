"""A snapshot's triples in a format that others train from, as JSON lines.

Reads <snapshot>/curated.parquet, a batch at a time, and writes a new file, mode 0600. Every record is read back with
Winnow's own reader of the format and compared: a triple that would come back as anything else is left out, and counted
by reason, never changed.

    python -m curate export --format trl|openai|kto|sharegpt|hh --out FILE [--split train] [SNAPSHOT]
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import snapshot
from curate.export_formats import FORMATS, Inexpressible, Record, Said
from curate.published import Snapshot
from ingest.errors import ContractError, RecordError, SettingsError
from ingest.readers import registry
from ingest.readers.reading import Reader
from ingest.schema import Message

BATCH_ROWS: Final = 256
COLUMNS: Final = ("prompt", "chosen", "rejected", "tools", "split", "weight")


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written. triples = exported + left out."""

    snapshot: str
    format: str
    file: str
    triples: int
    """Of the split."""
    exported: int
    records: int
    """Lines of the file: for kto two of each triple."""
    left_out: dict[str, int]
    """Key of `curate.export_formats.REASONS` -> triples."""
    weighted: int
    """Exported triples of another weight than 1, which no format has a place for."""


def export(published: Snapshot, name: str, out: Path, split: str | None = None) -> Exported:
    """Write the triples of a split, or all of them, to the new file `out`.

    Raises SettingsError for an unknown format or split and where `out` cannot be made, ContractError where the format
    can express no triple at all; then there is no file.
    """
    if name not in FORMATS:
        raise SettingsError(f'No format is called "{name}". There are {", ".join(FORMATS)}.')
    if split is not None and split not in published.manifest["counts"]["by_split"]:
        raise SettingsError(f'No split is called "{split}". There are train, validation and test.')
    if out.exists():
        raise SettingsError(f"{out} exists already. Name a new file, or remove it.")
    part = out.with_name(f".{out.name}.part")
    part.unlink(missing_ok=True)
    try:
        with snapshot.private(part) as file:
            counts = _write(published, name, split, file)
        if not counts["exported"]:
            reasons = ", ".join(f"{n:,} {reason}" for reason, n in sorted(_left_out(counts).items())) or "there is none"
            raise ContractError(f"{name} can express none of the {counts['triples']:,} triples: {reasons}.")
        part.rename(out)
    except OSError as error:
        raise SettingsError(f"{out} cannot be written: {error.strerror}. Name a file in a folder of yours.") from error
    finally:
        part.unlink(missing_ok=True)
    snapshot.sync_folder(out.parent)
    return Exported(
        snapshot=published.name,
        format=name,
        file=str(out),
        left_out=_left_out(counts),
        **{key: counts[key] for key in ("triples", "exported", "records", "weighted")},
    )


def _write(published: Snapshot, name: str, split: str | None, file: Any) -> Counter[str]:
    """Write every triple that the format can express; count the rest as `left_out:reason`."""
    write, reader = FORMATS[name][0], registry.get(FORMATS[name][1])
    counts: Counter[str] = Counter()
    for said, weight in _triples(published, split):
        counts["triples"] += 1
        try:
            records = write(said)
            if not comes_back(said, records, reader):
                raise Inexpressible("read_otherwise")
        except Inexpressible as refused:
            counts[f"left_out:{refused}"] += 1
            continue
        file.write("".join(f"{json.dumps(record, ensure_ascii=False)}\n" for record in records).encode("utf-8"))
        counts["exported"] += 1
        counts["records"] += len(records)
        counts["weighted"] += weight != 1
    return counts


def _left_out(counts: Counter[str]) -> dict[str, int]:
    return {key.split(":")[1]: count for key, count in sorted(counts.items()) if key.startswith("left_out:")}


def _triples(published: Snapshot, split: str | None) -> Iterator[tuple[Said, float]]:
    """Yield what is exported of each triple, in the snapshot's order, and its weight."""
    with pq.ParquetFile(published.folder / "curated.parquet") as parquet:
        for batch in parquet.iter_batches(BATCH_ROWS, columns=list(COLUMNS)):
            wanted = batch if split is None else batch.filter(pc.equal(batch["split"], split))
            for row in wanted.to_pylist():
                yield Said(row["prompt"], row["chosen"], row["rejected"], row["tools"]), row["weight"]


def comes_back(said: Said, records: Sequence[Record], reader: Reader) -> bool:
    """Return whether a reader of the format finds in `records` what was said, and nothing else."""
    found: list[tuple[object, ...]] = []
    for record in records:
        try:
            reading = reader.read(json.loads(json.dumps(record)))
        except RecordError:
            return False
        values = [event.value for event in reading.feedback]
        found += [(_key(one.prompt), _key(one.response), _parsed(one.tools)) for one in reading.interactions]
        if len(records) == 2 and values != [1.0 if record is records[0] else -1.0]:  # kto: up, then down
            return False
    expected = [(_key(said.prompt), _key(side), _parsed(said.tools)) for side in (said.chosen, said.rejected)]
    return found == expected


def _key(messages: Sequence[Message]) -> list[tuple[object, ...]]:
    """Return messages such that equal ones say the same; calls are compared as values, however their JSON is spaced."""
    return [(m["role"], m["content"], _parsed(m["tool_calls"]), m["tool_call_id"], m["name"]) for m in messages]


def _parsed(text: str | None) -> object:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text
