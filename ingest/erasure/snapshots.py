"""Withdrawing published snapshots that hold an erased user's rows.

Reads <curated>/<snapshot>/, whose files never change. A snapshot that holds rows of the user is withdrawn whole: its
manifest stays, says under `superseded` why, when and how many rows, and names its successor as soon as the next
`python -m curate run` publishes one; its other files are deleted, and `latest` points to it no longer. Training runs
that read such a snapshot are named, because their models were made from it; they are not changed.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingest.erasure.proof import leaves
from ingest.errors import ContractError, LakeBusyError
from ingest.lake import Lake
from ingest.subjects import Subjects

MANIFEST: Final = "manifest.json"
TEXTS: Final = {
    "curated.parquet": ("prompt", "chosen", "rejected", "tools"),
    "candidates.parquet": ("prompt", "response_a", "response_b"),
}
"""File -> columns that hold what somebody said."""
BATCH_ROWS: Final = 1024
SPLITS: Final = "splits.parquet"
"""Which prompt group went where, over all snapshots (`curate.split` writes it)."""
SKETCHES: Final = ".sketches.parquet"
"""Sketches of the last curation's texts (`curate.sketches` writes it)."""


@dataclass(frozen=True)
class Holding:
    """A snapshot that holds rows of erased users."""

    folder: Path
    rows: dict[str, int]
    """File -> rows of theirs."""
    texts: set[str] = field(repr=False)
    """What these rows say."""


@dataclass(frozen=True)
class TrainingRun:
    """A training run that read a snapshot which was withdrawn."""

    run: str
    """Its folder."""
    snapshot: str
    rows: int | None
    """Rows of erased users in curated.parquet."""


@contextmanager
def locked(curated: Path) -> Iterator[None]:
    """Hold `curated` as `curate run` does, and remove what a killed one left. Raises LakeBusyError while one runs."""
    if not curated.is_dir():
        yield
        return
    with os.fdopen(os.open(curated / ".lock", os.O_RDWR | os.O_CREAT, 0o600), "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LakeBusyError(
                f"A `curate run` is writing to {curated}. Wait until it ends, and run again."
            ) from error
        for left in curated.glob(".staging-*"):
            shutil.rmtree(left)
        yield


def find(curated: Path, subjects: Subjects) -> list[Holding]:
    """Return the snapshots that hold rows of erased users, with how many."""
    found = []
    for folder in _snapshots(curated):
        rows, texts = {}, set[str]()
        for name in TEXTS:
            if (folder / name).is_file():
                rows[name] = _theirs(folder / name, subjects, texts)
        if any(rows.values()):
            found.append(Holding(folder, rows, texts))
    return found


def _theirs(file: Path, subjects: Subjects, texts: set[str]) -> int:
    """Count the rows of erased users in a file, and add to `texts` what they say."""
    erased, count = subjects.erased, 0
    columns = ("chosen_interaction_id", "rejected_interaction_id", "interaction_a", "interaction_b")
    parquet = pq.ParquetFile(file)
    names = parquet.schema_arrow.names
    for batch in parquet.iter_batches(BATCH_ROWS):
        shown = zip(*(batch[name].to_pylist() for name in columns if name in names), strict=True)
        users = batch["user_ids"].to_pylist() if "user_ids" in names else [[]] * batch.num_rows
        mask = [
            not erased.users.isdisjoint(of or ())
            or any(key is not None and subjects.response(key) in erased.responses for key in keys)
            for of, keys in zip(users, shown, strict=True)
        ]
        if any(mask):
            rows = batch.filter(pa.array(mask))
            arrays = (leaf for name in TEXTS[file.name] for leaf in leaves(rows[name], but="role"))
            texts.update(text for array in arrays for text in array.to_pylist() if text)
            count += sum(mask)
    return count


def withdraw(curated: Path, folder: Path, rows: Mapping[str, int], erasure: str) -> None:
    """Delete the files of a snapshot and note so in its manifest; what a kill left half done is completed."""
    manifest = _manifest(folder)
    if "superseded" not in manifest:
        why = {"by": None, "reason": "erasure", "erasure": erasure, "rows": dict(rows)}
        time = datetime.now(UTC).isoformat(timespec="seconds")
        _write(folder / MANIFEST, {**manifest, "superseded": {**why, "time": time}})
    latest = curated / "latest"
    if latest.is_symlink() and latest.readlink().name == folder.name:
        latest.unlink()
    for path in folder.iterdir():
        if path.name != MANIFEST:
            path.unlink()


def complete(curated: Path, erasure: str) -> None:
    """Withdraw whole what an interrupted erasure has begun to withdraw."""
    for folder in _snapshots(curated):
        if is_withdrawn(folder):
            withdraw(curated, folder, {}, erasure)


def name_successor(curated: Path, name: str) -> None:
    """Write into the manifests of withdrawn snapshots without a successor that it is `name`."""
    for folder in _snapshots(curated):
        manifest = _manifest(folder)
        if manifest.get("superseded", {"by": ""})["by"] is None:
            _write(folder / MANIFEST, {**manifest, "superseded": {**manifest["superseded"], "by": name}})


def forget_splits(curated: Path, lake: Lake) -> None:
    """Take out of <curated>/splits.parquet every prompt group of which the lake has no triple any more, in one rename.

    It holds hashes of prompts' beginnings: whoever guesses one could tell by it that it was asked.
    """
    path = curated / SPLITS
    for left in curated.glob(f".{SPLITS}-*"):  # of a killed run
        left.unlink()
    if not path.is_file():
        return
    known = pq.read_table(path)
    with lake.database() as connection:
        lake.view(connection, "triples")
        groups = connection.sql("SELECT DISTINCT prompt_group FROM triples").to_arrow_table()["prompt_group"]
    kept = known.filter(pc.is_in(known["prompt_group"], value_set=groups.combine_chunks()))
    if kept.num_rows == known.num_rows:
        return
    new = path.with_name(f".{SPLITS}-erased")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        pq.write_table(kept, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def forget_sketches(curated: Path) -> None:
    """Delete the sketches of texts: the next curation makes them anew, of what is left."""
    for path in curated.glob(f"{SKETCHES}*"):
        path.unlink()


def is_withdrawn(folder: Path) -> bool:
    """Return whether the snapshot was withdrawn."""
    return "superseded" in _manifest(folder)


def trained_on(curated: Path, runs: Path) -> list[TrainingRun]:
    """Return the training runs that read a file of a withdrawn snapshot, by the hash in their manifests."""
    withdrawn = {}
    for folder in _snapshots(curated):
        manifest = _manifest(folder)
        if "superseded" in manifest:
            digest = manifest.get("files", {}).get("curated.parquet", {}).get("sha256")
            withdrawn[digest] = (folder.name, manifest["superseded"]["rows"].get("curated.parquet"))
    found = []
    for path in sorted(runs.glob(f"*/{MANIFEST}")):
        read = {str(data.get("sha256")) for data in _manifest(path.parent).get("data", {}).values()}
        found += [TrainingRun(str(path.parent), *withdrawn[digest]) for digest in sorted(read & set(withdrawn))]
    return found


def _snapshots(curated: Path) -> list[Path]:
    """Return the folders of all snapshots, withdrawn ones too."""
    return sorted(path.parent for path in curated.glob(f"*/{MANIFEST}") if not path.parent.is_symlink())


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        value = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ContractError(
            f"{folder / MANIFEST} cannot be read: {error}. Restore it, or delete the folder."
        ) from error
    if not isinstance(value, dict):
        raise ContractError(f"{folder / MANIFEST} is no JSON object. Restore it, or delete the folder.")
    return value


def _write(path: Path, value: Mapping[str, object]) -> None:
    """Replace a manifest by a private file that is on disk before it has the name."""
    new = path.with_name(f".{path.name}-new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
