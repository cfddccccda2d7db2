"""A new day is compared with what is there without sketching the old again, and the result is the same."""

import shutil
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from curate import minhash, sketches
from curate.curation import Curation
from ingest.erasure.snapshots import SKETCHES, forget_sketches
from ingest.errors import ContractError

from .conftest import Row, Workspace, make_triple, make_workspace, varied

ASKED = "How do I set the heating of the living room to nineteen degrees for the night, please?"
GOOD = "Open the plan of the room, choose the night, and set nineteen degrees with the small wheel on the right."
BAD = "Somebody of our team will surely be happy to set the heating of the living room for you one day, good bye."
OLD = [make_triple(ASKED, GOOD, BAD), make_triple(ASKED, f"{GOOD} Twice."[5:], f"{BAD} Bye."[9:]), *varied(40)]
NEW = [make_triple(f"{ASKED} Thanks!", GOOD, BAD, n_agree=2, n_votes=2), make_triple(ASKED, GOOD, BAD + " Soon.")]


@pytest.fixture
def sketched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that are sketched, as they come."""
    texts: list[str] = []
    sketch = minhash.sketch

    def listening(some: pl.Series) -> minhash.Sketches:
        texts.extend(some.to_list())
        return sketch(some)

    monkeypatch.setattr(minhash, "sketch", listening)
    return texts


def curated(workspace: Workspace, rows: list[Row]) -> tuple[Curation, dict[str, bytes]]:
    workspace.put("triples", rows)
    done = workspace.curate()
    names = ("curated.parquet", "dropped.parquet", "report.html")
    return done, {name: (done.folder / name).read_bytes() for name in names}


def test_incremental_is_full(tmp_path: Path, sketched: list[str]) -> None:
    """The second day has one new question, and one new response on a side that must be sketched: they alone are."""
    first = make_workspace(tmp_path / "a")
    curated(first, OLD)
    shutil.copytree(tmp_path / "a", tmp_path / "b", symlinks=True)
    second = make_workspace(tmp_path / "b")
    forget_sketches(second.settings.curated)
    sketched.clear()
    incremental, files = curated(first, [*OLD, *NEW])
    assert sorted(sketched) == sorted([f"{ASKED} Thanks!", BAD + " Soon."])
    sketched.clear()
    full, same = curated(second, [*OLD, *NEW])
    assert len(sketched) > 40
    assert incremental.folder.name == full.folder.name
    assert files == same
    assert incremental.counts.by_reason["near_duplicate"].first == 3
    kept = [(folder / SKETCHES).read_bytes() for folder in (first.settings.curated, second.settings.curated)]
    assert kept[0] == kept[1]


def test_the_file_holds_what_the_last_run_needed(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, OLD)
    workspace.curate()
    path = workspace.settings.curated / SKETCHES
    assert path.stat().st_mode & 0o777 == 0o600
    before = set(pq.read_table(path)["key"].to_pylist())
    gone = {f"question {row['prompt_hash']}" for row in OLD[-5:]}
    assert gone <= before
    curated(workspace, OLD[:-5])
    assert set(pq.read_table(path)["key"].to_pylist()) == before - gone


def test_sketches_of_another_version_are_made_anew(
    tmp_path: Path, sketched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace(tmp_path, OLD)
    workspace.curate()
    first = len(sketched)
    sketched.clear()
    workspace.curate()
    assert not sketched
    monkeypatch.setattr(sketches, "version", lambda: b"another")
    workspace.curate()
    assert len(sketched) == first


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, OLD)
    workspace.settings.curated.mkdir()
    (workspace.settings.curated / SKETCHES).write_bytes(b"no Parquet")
    with pytest.raises(ContractError, match=r"\.sketches\.parquet cannot be read.*delete it and run again"):
        workspace.curate()
