"""Published snapshots: private, whole, named after their content, the same bytes for the same input."""

import fcntl
import hashlib
import json
import random
import stat
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import snapshot
from curate.recipe import Recipe, Split
from ingest.errors import LakeBusyError, LakeError, SettingsError
from ingest.schema import CANDIDATE, CURATED, DROPPED

from .conftest import Workspace, make_interaction, make_triple, make_workspace, varied

FILES = [
    "README.md",
    "candidates.parquet",
    "curated.parquet",
    "decontaminated.parquet",
    "dropped.parquet",
    "gate-curated.html",
    "gate-lake.html",
    "manifest.json",
    "report.html",
]
TRIPLES = [
    *varied(60),
    make_triple("Sixty-first?", chosen=" "),
    make_triple(),
    make_triple(chosen="no", rejected="yes"),
]
INTERACTIONS = [make_interaction(str(n), said) for n, said in enumerate(("yes", "no", "perhaps"))]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace that was curated once."""
    made = make_workspace(tmp_path_factory.mktemp("snapshot"), TRIPLES)
    made.put("interactions", INTERACTIONS)
    made.curate()
    return made


@pytest.fixture(scope="module")
def latest(workspace: Workspace) -> Path:
    return workspace.settings.curated / "latest"


def test_files_keep_their_contracts(latest: Path) -> None:
    assert sorted(path.name for path in latest.iterdir()) == FILES
    for name, schema in (("curated", CURATED), ("dropped", DROPPED), ("candidates", CANDIDATE)):
        assert pq.read_schema(latest / f"{name}.parquet").equals(schema), name
    ids = pq.read_table(latest / "curated.parquet").column("triple_id").to_pylist()
    assert ids == sorted(ids)


def test_files_are_private(latest: Path) -> None:
    for path in (latest.parent, latest.resolve()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in (*latest.iterdir(), latest.parent / ".lock"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


def test_latest_is_a_relative_link(latest: Path) -> None:
    assert str(latest.readlink()) == latest.resolve().name
    assert sorted(path.name for path in latest.parent.iterdir()) == sorted(
        [".lock", ".sketches.parquet", "latest", "splits.parquet", latest.resolve().name]
    )


def test_manifest(latest: Path) -> None:
    """63 triples in: one is empty, two contradict each other, 60 stand."""
    manifest = json.loads((latest / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["snapshot"] == latest.resolve().name == manifest["content_hash"][:12]
    counts = manifest["counts"]
    assert (counts["triples"], counts["curated"], counts["dropped"]) == (63, 60, 3)
    assert {name: reach["first"] for name, reach in counts["by_reason"].items() if reach["first"]} == {
        "empty_side": 1,
        "contradiction_tied": 2,
    }
    assert sum(counts["by_split"].values()) == 60
    assert manifest["candidates"] == {"offered": 3, "left_out": 0}
    assert manifest["lake"] == {"triples": 1, "interactions": 1, "feedback": None}
    assert manifest["recipe"]["params"]["too_long"] == {"max_chars": 32768}
    assert [rule["id"] for rule in manifest["rules"]][:2] == ["empty_side@v1", "identical_pair@v1"]
    for name, told in manifest["files"].items():
        content = (latest / name).read_bytes()
        assert told == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert sorted([*manifest["files"], "manifest.json"]) == FILES


def test_dropped_says_why(latest: Path) -> None:
    rows = pq.read_table(latest / "dropped.parquet").to_pylist()
    assert sorted((row["rule"], row["detail"], row["first"]) for row in rows) == [
        ("contradiction_tied@v2", "1 for, 1 against", True),
        ("contradiction_tied@v2", "1 for, 1 against", True),
        ("empty_side@v1", "chosen is empty", True),
    ]
    assert rows[0]["reason"].endswith(".")


def test_same_input_in_any_order_gives_the_same_bytes(workspace: Workspace, latest: Path, tmp_path: Path) -> None:
    other = make_workspace(tmp_path, random.Random(3).sample(TRIPLES, len(TRIPLES)))
    other.put("interactions", INTERACTIONS[::-1])
    done = other.curate()
    assert done.folder.name == latest.resolve().name
    for name in FILES:
        assert (done.folder / name).read_bytes() == (latest / name).read_bytes(), name


def test_second_run_publishes_nothing_and_repairs_latest(workspace: Workspace, latest: Path) -> None:
    target, before = latest.resolve(), (latest / "manifest.json").stat().st_mtime_ns
    latest.unlink()
    again = workspace.curate()
    assert (again.published, again.folder, again.counts.curated) == (False, target, 60)
    assert latest.resolve() == target
    assert (target / "manifest.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("triples", "recipe"),
    [
        ([TRIPLES[0] | {"margin": 0.5}, *TRIPLES[1:]], Recipe()),
        ([*TRIPLES[:60], TRIPLES[60] | {"chosen_finish_reason": "length"}, *TRIPLES[61:]], Recipe()),
        (TRIPLES, Recipe(split=Split(seed=1))),
    ],
    ids=["a curated row", "one more reason of a dropped row", "the recipe"],
)
def test_any_change_has_another_name(
    workspace: Workspace, latest: Path, tmp_path: Path, triples: list[dict[str, object]], recipe: Recipe
) -> None:
    other = make_workspace(tmp_path, triples)
    other.put("interactions", INTERACTIONS)
    assert other.curate(recipe).folder.name != latest.resolve().name


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "curated" / ".staging-abc" / "snapshot"
    left.mkdir(parents=True)
    (left / "curated.parquet").write_text("half")
    with snapshot.staging(tmp_path / "curated") as folder:
        assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == [folder.name]
    assert [path.name for path in (tmp_path / "curated").iterdir()] == [".lock"]


def test_two_runs_at_once(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    with (tmp_path / ".lock").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(LakeBusyError, match="Another `curate run`"), snapshot.staging(tmp_path):
            pass


def test_latest_that_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    with pytest.raises(SettingsError, match="is not the link"), snapshot.staging(tmp_path):
        pass


def test_a_lake_without_triples(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    with pytest.raises(LakeError, match="holds no triples"):
        workspace.curate()


@pytest.mark.parametrize("sizes", [[10000], [1, 4096, 3], [4095, 1, 4097], [0, 5], []], ids=str)
def test_row_groups_do_not_depend_on_batches(tmp_path: Path, sizes: list[int]) -> None:
    """A stream cut in any way gives groups of 4,096 rows and a rest, and the same bytes as one batch."""
    schema = pa.schema([("n", pa.int64()), ("said", pa.string())])
    numbers = iter(range(sum(sizes)))
    batches = [
        pa.RecordBatch.from_pylist(
            [{"n": n, "said": f"row {n}"} for _, n in zip(range(size), numbers, strict=False)], schema
        )
        for size in sizes
    ]
    snapshot.write_table(pa.RecordBatchReader.from_batches(schema, batches), schema, tmp_path / "cut.parquet")
    whole = pa.Table.from_batches(batches, schema).combine_chunks()
    snapshot.write_table(whole.to_reader(), schema, tmp_path / "whole.parquet")
    assert (tmp_path / "cut.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    metadata = pq.read_metadata(tmp_path / "cut.parquet")
    groups = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
    full, rest = divmod(sum(sizes), 4096)
    assert groups == [4096] * full + [rest] * (rest > 0)


def test_datasets_reads_it(latest: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    rows = load_dataset("parquet", data_files=str(latest / "curated.parquet"), cache_dir=str(tmp_path))["train"]
    assert len(rows) == 60
    assert {"prompt", "chosen", "rejected"} <= set(rows.column_names)
    assert rows[0]["chosen"][0]["role"] == "assistant"
