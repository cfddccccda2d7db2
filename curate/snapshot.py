"""A published data set: immutable files in a folder named after their content.

Writes <curated>/<snapshot>/ with curated.parquet (`ingest.schema.CURATED`, by triple_id), dropped.parquet
(`ingest.schema.DROPPED`), decontaminated.parquet (`curate.decontaminate`), candidates.parquet
(`ingest.schema.CANDIDATE`), report.html and manifest.json, and moves the relative link <curated>/latest to it; part of
`python -m curate run`.

A snapshot's name is the start of a hash of its logical content: rows, recipe and rules, whatever wrote the files. The
same input, recipe and versions give the same bytes. Everything is written into a hidden folder beside its place and
renamed when it is whole and on disk, so nobody ever sees half a snapshot. Folders are 0700, files 0600.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from curate import column_digests, row_groups
from curate.statements import statement
from ingest.erasure.snapshots import name_successor
from ingest.errors import LakeBusyError, SettingsError
from ingest.schema import CURATED, DROPPED, SCHEMA_VERSION, canonical_json

GROUP_ROWS: Final = 4096
"""Rows of a row group, all but the last: fixed, because the bytes must not depend on how a query cuts its result."""
TABLES: Final = ("curated.parquet", "dropped.parquet", "decontaminated.parquet", "candidates.parquet")
PACKAGES: Final = ("winnow", "duckdb", "pyarrow", "great-expectations", "altair", "vl-convert-python")
STAGING: Final = ".staging-"


@contextmanager
def staging(curated: Path) -> Iterator[Path]:
    """Hold `curated` for one run and give it a private folder on the same file system, gone afterwards.

    What a killed run left there is removed. Raises LakeBusyError while another run holds it, SettingsError where the
    folder cannot be written or `latest` is something else than a link.
    """
    latest = curated / "latest"
    if latest.exists() and not latest.is_symlink():
        raise SettingsError(f"{latest} is not the link that Winnow keeps there. Move it away and run again.")
    try:
        curated.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (curated / ".lock").open("a", encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"Cannot write to {curated}: {error}. Set `curated` in winnow.toml to another.") from error
    with lock:
        os.fchmod(lock.fileno(), 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LakeBusyError(f"Another `curate run` is writing to {curated}. Wait until it ends.") from error
        for left in curated.glob(f"{STAGING}*"):
            shutil.rmtree(left)
        folder = Path(tempfile.mkdtemp(prefix=STAGING, dir=curated))  # mkdtemp makes it 0700
        try:
            yield folder
        finally:
            shutil.rmtree(folder)


def write_curated(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Write curated.parquet from tables kept, features and splits."""
    rows = connection.sql(statement("curated.sql")).to_arrow_reader(GROUP_ROWS)
    write_table(rows, CURATED, folder / "curated.parquet")


def write_dropped(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Write dropped.parquet from view dropped: by triple_id, a triple's reasons in the order in which they count."""
    rows = connection.sql(
        "SELECT triple_id, rule, reason, detail, first FROM dropped ORDER BY triple_id, ordinal"
    ).to_arrow_reader(GROUP_ROWS)
    write_table(rows, DROPPED, folder / "dropped.parquet")


def write_table(rows: pa.RecordBatchReader, schema: pa.Schema, path: Path) -> None:
    """Stream `rows`, cast to `schema`, into a Parquet file in row groups of GROUP_ROWS, and put it on disk."""
    with private(path) as file, pq.ParquetWriter(file, schema, compression="zstd", compression_level=3) as writer:
        for group in row_groups.cut(rows, GROUP_ROWS):
            writer.write_table(group.cast(schema), row_group_size=GROUP_ROWS)


@dataclass(frozen=True)
class Content:
    """What a snapshot says, whatever wrote its files."""

    digest: str
    """SHA-256, in hex: of the tables' rows in order, and of recipe and rules."""
    row_groups: dict[str, list[str]]
    """File -> SHA-256, in hex, of each GROUP_ROWS of its rows: they lead from a wrong hash to where it comes from."""


def content(folder: Path, settings: Mapping[str, object]) -> Content:
    """Hash the tables in `folder` together with `settings`, the recipe and rules that made them.

    It reads values, not bytes, so neither a compression, nor row groups, nor a version that a file mentions changes it.
    """
    groups = {name: list(column_digests.of(folder / name, GROUP_ROWS)) for name in TABLES}
    return Content(digest(groups, settings), groups)


def digest(groups: Mapping[str, Sequence[str]], settings: Mapping[str, object]) -> str:
    """Return the hash of a snapshot's content from those of its row groups and its settings."""
    found = hashlib.sha256(canonical_json({"schema": SCHEMA_VERSION, "settings": settings}))
    for name in TABLES:
        found.update(name.encode())
        found.update("".join(groups[name]).encode())
    return found.hexdigest()


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write manifest.json: `facts`, the versions of what wrote the files, and the hash of every file's bytes."""
    manifest = {
        **facts,
        "schema_version": SCHEMA_VERSION,
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "files": {
            path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": file_hash(path)}
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
    }
    write_text(folder / "manifest.json", json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a small private file and put it on disk."""
    with private(path) as file:
        file.write(text.encode("utf-8"))


def publish(folder: Path, place: Path) -> None:
    """Give the staged `folder` its place in one rename, and point `latest` to it."""
    sync_folder(folder)
    folder.rename(place)
    point_latest(place.parent, place.name)


def point_latest(curated: Path, name: str) -> None:
    """Move the link `latest` to the snapshot `name`, atomically; snapshots withdrawn by an erasure name it, too."""
    new = curated / ".latest-new"
    new.unlink(missing_ok=True)
    new.symlink_to(name)
    new.replace(curated / "latest")
    name_successor(curated, name)
    sync_folder(curated)


@contextmanager
def private(path: Path) -> Iterator[Any]:
    """Open a new file, mode 0600, and fsync it when it is whole."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Put the names in `folder` on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_hash(path: Path) -> str:
    """Return the SHA-256, in hex, of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
