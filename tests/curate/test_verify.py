"""`curate verify` finds every way in which a snapshot can differ from what was published, and says where."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from curate import published
from curate.verify import Verified, verify
from ingest.errors import SnapshotError

from .conftest import make_triple, make_workspace, varied


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of 4,200 curated rows, in row groups of 4,096 and 104, and one dropped row."""
    rows = [*varied(4200), make_triple("Empty?", chosen=" ")]
    return make_workspace(tmp_path_factory.mktemp("verify"), rows).curate().folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / made.name))


def look(folder: Path) -> Verified:
    return verify(published.find(folder, None))


def kinds(found: Verified) -> list[tuple[str, str]]:
    return [(difference.file, difference.kind) for difference in found.differences]


def rewrite(file: Path, change: Callable[[pa.Table], pa.Table], **options: Any) -> None:
    table = change(pq.read_table(file))
    pq.write_table(table, file, row_group_size=4096, **options)


def edit(folder: Path, keys: Sequence[str], value: object) -> None:
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text(encoding="utf-8"))
    place = manifest
    for key in keys[:-1]:
        place = place[key]
    assert place[keys[-1]] != value
    place[keys[-1]] = value
    file.write_text(json.dumps(manifest), encoding="utf-8")


def test_what_was_published(made: Path) -> None:
    """Two row groups curated, one dropped; no candidates and nothing of an evaluation set."""
    found = look(made)
    assert found.differences == ()
    assert found.row_groups == 3
    assert found.files == len(list(made.rglob("*.*"))) - 1, "all but the manifest itself"
    assert found.bytes == sum(file.stat().st_size for file in made.rglob("*.*") if file.name != "manifest.json")


def test_one_changed_value_names_its_row_group(copy: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        weights = table["weight"].to_pylist()
        weights[4150] = 2.0
        return table.set_column(table.schema.get_field_index("weight"), "weight", pa.array(weights, pa.float64()))

    rewrite(copy / "curated.parquet", change, compression="zstd")
    found = look(copy)
    assert ("curated.parquet", "rows") in kinds(found)
    details = [difference.detail for difference in found.differences if difference.kind == "rows"]
    assert details == ["row group 1: rows 4,096 to 8,191 hold other values"]


def test_the_same_rows_in_other_bytes(copy: Path) -> None:
    rewrite(copy / "curated.parquet", lambda table: table, compression="snappy")
    assert kinds(look(copy)) == [("curated.parquet", "bytes")]


def test_rows_in_another_order(copy: Path) -> None:
    rewrite(copy / "curated.parquet", lambda table: table.take(pc.sort_indices(table, [("prompt_hash", "ascending")])))
    assert kinds(look(copy))[1:] == [("curated.parquet", "rows")] * 2


def test_a_lost_row(copy: Path) -> None:
    rewrite(copy / "dropped.parquet", lambda table: table.slice(1))
    found = look(copy)
    assert kinds(found) == [("dropped.parquet", "bytes"), ("dropped.parquet", "rows")]
    assert found.differences[1].detail == "0 row groups, 1 were published"


@pytest.mark.parametrize("place", [0.3, 0.6])
def test_damaged_bytes_of_the_same_length(copy: Path, place: float) -> None:
    content = bytearray((copy / "curated.parquet").read_bytes())
    at = int(len(content) * place)
    content[at : at + 64] = bytes(255 - byte for byte in content[at : at + 64])
    (copy / "curated.parquet").write_bytes(bytes(content))
    found = look(copy)
    assert ("curated.parquet", "bytes") in kinds(found)
    assert {"rows", "unreadable"} & {kind for _, kind in kinds(found)}
    where = [difference.detail for difference in found.differences if difference.kind != "bytes"]
    assert where[0].startswith("row group 0: ")


def test_a_cut_file(copy: Path) -> None:
    content = (copy / "curated.parquet").read_bytes()
    (copy / "curated.parquet").write_bytes(content[:-100])
    found = look(copy)
    assert kinds(found) == [("curated.parquet", "bytes"), ("curated.parquet", "unreadable")]
    assert found.differences[1].detail.startswith("no Parquet file: ")


def test_files_that_are_missing_or_too_many(copy: Path) -> None:
    (copy / "report.html").unlink()
    (copy / "notes.txt").write_text("mine")
    assert kinds(look(copy)) == [("notes.txt", "unexpected"), ("report.html", "missing")]


@pytest.mark.parametrize(
    ("keys", "value", "expected"),
    [
        (("recipe", "split", "seed"), 7, ("manifest", "content_hash is not that of the recipe")),
        (("counts", "curated"), 4199, ("count", "counts.curated is 4199, the files hold 4200")),
        (("counts", "by_reason", "empty_side", "first"), 0, ("count", "counts.by_reason is {}, the files hold")),
        (("snapshot",), "0123456789ab", ("manifest", "is called 0123456789ab")),
    ],
    ids=["the recipe", "a count", "a reason's count", "the name"],
)
def test_a_changed_manifest(copy: Path, keys: Sequence[str], value: object, expected: tuple[str, str]) -> None:
    edit(copy, keys, value)
    (difference,) = look(copy).differences
    assert (difference.file, difference.kind) == ("manifest.json", expected[0])
    assert expected[1] in difference.detail


def test_what_is_no_snapshot(tmp_path: Path, copy: Path) -> None:
    with pytest.raises(SnapshotError, match="is no snapshot"):
        published.find(tmp_path / "nowhere", None)
    (copy / "manifest.json").write_text("{")
    with pytest.raises(SnapshotError, match="is not JSON"):
        published.find(copy, None)
    (copy / "manifest.json").write_text('{"snapshot": "a"}')
    with pytest.raises(SnapshotError, match="lacks schema_version, content_hash, counts"):
        published.find(copy, None)


def test_a_snapshot_of_another_schema(copy: Path) -> None:
    """It is not damaged: this version cannot tell what its rows hashed to."""
    edit(copy, ("schema_version",), 1)
    with pytest.raises(SnapshotError, match="is of schema 1, and this version of Winnow knows"):
        published.find(copy, None)


def test_a_withdrawn_snapshot(copy: Path) -> None:
    file = copy / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "superseded": {"by": "0123456789ab"}}))
    with pytest.raises(SnapshotError, match=r"withdrawn by an erasure.*0123456789ab"):
        published.find(copy, None)
