"""Whether a published snapshot is what its manifest says: every file's bytes, every row's values, every count.

Reads <curated>/<snapshot>/ and prints what differs: the file, and of a table the row group; ends with 15 where anything
does.

    python -m curate verify [SNAPSHOT]
"""

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from curate import column_digests, snapshot
from curate.published import Snapshot, connect


@dataclass(frozen=True)
class Difference:
    """One thing that is not as the manifest says."""

    file: str
    kind: str
    """missing, unexpected, bytes, unreadable, rows, count or manifest."""
    detail: str


@dataclass(frozen=True)
class Verified:
    """What was looked at, and what is wrong."""

    snapshot: str
    files: int
    bytes: int
    row_groups: int
    differences: tuple[Difference, ...]


def verify(published: Snapshot) -> Verified:
    """Hash everything again, of bytes and of content, and count the rows."""
    told, folder = published.manifest, published.folder
    differences = list(_bytes(published))
    with connect() as connection:
        groups: dict[str, list[str]] = {}
        for name in snapshot.TABLES:
            if (folder / name).is_file():
                groups[name], found = _rows(published, name)
                differences += found
        differences += _manifest(published, groups)
        if not differences:
            differences += _counts(connection, published)
    return Verified(
        snapshot=published.name,
        files=len(told["files"]),
        bytes=sum(file["bytes"] for file in told["files"].values()),
        row_groups=sum(len(hashes) for hashes in told["row_groups"].values()),
        differences=tuple(differences),
    )


def _bytes(published: Snapshot) -> Iterator[Difference]:
    """Yield files that are missing, that nobody published, and whose bytes differ."""
    told, folder = published.manifest["files"], published.folder.resolve()
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    for name in sorted(there - told.keys() - {"manifest.json"}):
        yield Difference(name, "unexpected", "the manifest does not know it")
    for name, file in told.items():
        if name not in there:
            yield Difference(name, "missing", f"{file['bytes']:,} bytes were published")
        elif (size := (folder / name).stat().st_size) != file["bytes"]:
            yield Difference(name, "bytes", f"{size:,} bytes, {file['bytes']:,} were published")
        elif snapshot.file_hash(folder / name) != file["sha256"]:
            yield Difference(name, "bytes", f"{size:,} bytes as published, but not the same ones")


def _rows(published: Snapshot, name: str) -> tuple[list[str], list[Difference]]:
    """Return the hashes of a table's row groups, and which of them differ or cannot be read."""
    told: list[str] = published.manifest["row_groups"].get(name, [])
    try:
        found = list(column_digests.of(published.folder / name, snapshot.GROUP_ROWS))
    except (pa.ArrowException, OSError) as error:
        broken = [Difference(name, "unreadable", where) for where in _unreadable(published, name)]
        return [], broken or [Difference(name, "unreadable", str(error).splitlines()[0])]
    size = snapshot.GROUP_ROWS
    wrong = [
        Difference(name, "rows", f"row group {n}: rows {n * size:,} to {(n + 1) * size - 1:,} hold other values")
        for n, (hashed, hash_told) in enumerate(zip(found, told, strict=False))
        if hashed != hash_told
    ]
    if len(found) != len(told):
        wrong.append(Difference(name, "rows", f"{len(found):,} row groups, {len(told):,} were published"))
    return found, wrong


def _unreadable(published: Snapshot, name: str) -> Iterator[str]:
    """Yield which row groups of a damaged file cannot be read."""
    try:
        parquet = pq.ParquetFile(published.folder / name)
    except (pa.ArrowException, OSError) as error:
        yield f"no Parquet file: {str(error).splitlines()[0]}"
        return
    for number in range(parquet.num_row_groups):
        try:
            parquet.read_row_group(number).validate(full=True)
        except (pa.ArrowException, OSError) as error:
            yield f"row group {number}: {str(error).splitlines()[0]}"


def _manifest(published: Snapshot, groups: dict[str, list[str]]) -> Iterator[Difference]:
    """Yield what the manifest says of the content and is not so: its hash covers recipe, rules and row groups."""
    told = published.manifest
    if groups == told["row_groups"] and snapshot.digest(groups, published.settings) != told["content_hash"]:
        detail = "content_hash is not that of the recipe, the rules, the evaluation sets and the rows"
        yield Difference("manifest.json", "manifest", detail)
    if told["snapshot"] != told["content_hash"][:12] or published.folder.resolve().name != told["snapshot"]:
        detail = f"{published.folder.resolve().name} is called {told['snapshot']}, content_hash {told['content_hash']}"
        yield Difference("manifest.json", "manifest", detail)


def _counts(connection: duckdb.DuckDBPyConnection, published: Snapshot) -> Iterator[Difference]:
    """Yield counts of the manifest that the files do not have, or that do not add up."""
    told, files = published.manifest["counts"], {"curated": str(published.folder / "curated.parquet")}
    by_split = dict(
        connection.execute("SELECT split, count(*) FROM read_parquet($curated) GROUP BY 1", files).fetchall()
    )
    by_rule = dict(
        connection.execute(
            "SELECT split_part(rule, '@', 1), count(*) FROM read_parquet($dropped) WHERE first GROUP BY 1",
            {"dropped": str(published.folder / "dropped.parquet")},
        ).fetchall()
    )
    first = {name: reach["first"] for name, reach in told["by_reason"].items() if reach["first"]}
    pairs = (
        ("by_reason", first, by_rule),
        ("by_split", {name: rows for name, rows in told["by_split"].items() if rows}, by_split),
        ("curated", told["curated"], sum(by_split.values())),
        ("dropped", told["dropped"], sum(by_rule.values())),
        ("triples", told["triples"], sum(by_split.values()) + sum(by_rule.values())),
    )
    for name, said, counted in pairs:
        if said != counted:
            yield Difference("manifest.json", "count", f"counts.{name} is {said}, the files hold {counted}")
