"""Snapshots that hold an erased user's rows are withdrawn, and the next curation names itself as their successor."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curate import recipe as recipes
from curate.curation import Curation, curate
from ingest.erase import erase
from ingest.erasure.snapshots import SKETCHES
from ingest.errors import LakeBusyError, LakeError
from ingest.run import run
from ingest.settings import Settings, load

RECIPE = """\
[gate]
min_rows = 1
chosen_longer_min = 0.0
chosen_longer_max = 1.0
"""
USERS = 9


def served(user: int, side: int) -> dict[str, object]:
    """One of two answers to the user's question; that to user 3 nobody else got."""
    answer = f"Answer {side} to a question of u-{user}, and only theirs: {'violet ' * user}"
    return {
        "winnow": 1, "kind": "interaction", "id": f"int-{user}-{side}", "time": f"2026-10-01T08:{user:02d}:00Z",
        "conversation_id": f"conv-{user}", "turn_index": 0, "user_id": f"u-{user}", "consent": "training",
        "shown": True, "status": 200,
        "request": {"model": "m", "messages": [{"role": "user", "content": f"Question {user} of somebody?"}]},
        "response": {
            "model": "m",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}],
        },
    }  # fmt: skip


def choice(user: int) -> dict[str, object]:
    return {
        "winnow": 1, "kind": "feedback", "id": f"fb-{user}", "revision": 0, "time": "2026-10-01T09:00:00Z",
        "signal": "choice", "target": {"id": f"int-{user}-0", "choice": 0}, "value": 1.0,
        "others": [{"id": f"int-{user}-1", "choice": 0}], "rater": {"kind": "user", "id": f"u-{user}"},
        "position": "left", "retracted": False,
    }  # fmt: skip


@pytest.fixture
def workspace(tmp_path: Path) -> Settings:
    """Users 1 to 9 with two answers each; all but 8 and 9 voted, so that theirs are candidates."""
    records = [served(user, side) for user in range(1, USERS + 1) for side in (0, 1)]
    records += [choice(user) for user in range(1, USERS - 1)]
    (tmp_path / "data" / "raw").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (tmp_path / "winnow.toml").write_text("")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return load(tmp_path / "winnow.toml")


def curated(settings: Settings) -> Curation:
    run(settings)
    return curate(settings, recipes.load(settings.root / "recipe.toml"), lambda _stage: None)


def split_groups(settings: Settings) -> set[str]:
    path = settings.curated / "splits.parquet"
    assert path.stat().st_mode & 0o777 == 0o600
    return set(pq.read_table(path)["prompt_group"].to_pylist())


def test_a_snapshot_is_withdrawn_and_superseded_and_its_models_are_named(workspace: Settings) -> None:
    """Two snapshots hold user 3; a model was trained on the first. Sketches of what was said go, too."""
    first = curated(workspace).folder
    (workspace.root / "data" / "raw" / "b.jsonl").write_text(json.dumps(choice(8)) + "\n")
    second = curated(workspace).folder
    assert first != second
    digest = json.loads((first / "manifest.json").read_text())["files"]["curated.parquet"]["sha256"]
    model = workspace.train.output / "demo"
    model.mkdir(parents=True)
    (model / "manifest.json").write_text(json.dumps({"data": {"curated.parquet": {"sha256": digest}}}))
    remembered = split_groups(workspace)
    assert (workspace.curated / SKETCHES).exists()
    left = workspace.curated / ".splits.parquet-new"  # by a run that was killed
    left.write_bytes((workspace.curated / "splits.parquet").read_bytes())
    done = erase(workspace, user="u-3")
    assert not (workspace.curated / SKETCHES).exists()
    assert not left.exists()
    assert len(remembered) - len(split_groups(workspace)) == 1, "the hash of their question is forgotten"
    assert split_groups(workspace) < remembered
    held = {"curated.parquet": 1, "candidates.parquet": 0}
    assert done.withdrawn == {first.name: held, second.name: held}
    assert [(found.run, found.snapshot, found.rows) for found in done.trained_on] == [(str(model), first.name, 1)]
    assert not (workspace.curated / "latest").exists()
    for folder in (first, second):
        assert [path.name for path in folder.iterdir()] == ["manifest.json"]
        assert (folder / "manifest.json").stat().st_mode & 0o777 == 0o600
    third = curated(workspace).folder
    for folder in (first, second):
        superseded = json.loads((folder / "manifest.json").read_text())["superseded"]
        assert superseded.pop("time")
        assert superseded == {"by": third.name, "reason": "erasure", "erasure": done.erasure, "rows": held}
    assert (workspace.curated / "latest").resolve() == third
    assert pq.read_table(third / "curated.parquet").num_rows == 7  # of 8 users that voted
    assert erase(workspace, user="u-3").withdrawn == {}
    assert (third / "curated.parquet").is_file()


def test_a_candidate_for_annotators_alone_withdraws_a_snapshot_too(workspace: Settings) -> None:
    folder = curated(workspace).folder
    assert erase(workspace, user="u-9").withdrawn == {folder.name: {"curated.parquet": 0, "candidates.parquet": 1}}


def test_a_snapshot_without_the_user_stays_as_it_is(workspace: Settings) -> None:
    folder = curated(workspace).folder
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert erase(workspace, user="somebody else").withdrawn == {}
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert (workspace.curated / "latest").resolve() == folder


def test_a_report_that_quotes_the_user_withdraws_its_snapshot(workspace: Settings) -> None:
    folder = curated(workspace).folder
    erase(workspace, user="u-3")
    folder = curated(workspace).folder
    quoted = served(4, 0)["response"]["choices"][0]["message"]["content"]  # type: ignore[index]
    report = folder / "report.html"
    for name in ("curated.parquet", "candidates.parquet"):
        (folder / name).unlink()
    report.write_text(f"<p>{quoted}</p>")
    assert erase(workspace, user="u-4").withdrawn == {folder.name: {}}
    assert not report.exists()


def test_what_a_killed_withdrawal_left_goes_with_the_next(workspace: Settings) -> None:
    """The manifest says so already; the files are still there."""
    folder = curated(workspace).folder
    manifest = json.loads((folder / "manifest.json").read_text())
    superseded = {"by": None, "reason": "erasure", "erasure": "e", "rows": {"curated.parquet": 1}, "time": "t"}
    (folder / "manifest.json").write_text(json.dumps(manifest | {"superseded": superseded}))
    erase(workspace, user="u-3")
    assert [path.name for path in folder.iterdir()] == ["manifest.json"]
    assert json.loads((folder / "manifest.json").read_text())["superseded"] == superseded


def test_a_lake_that_gives_a_withdrawn_snapshot_again_holds_somebody_erased(workspace: Settings) -> None:
    """The ledger and the lake of before are put back, as from a backup of them alone."""
    curated(workspace)
    erase(workspace, user="u-3")
    workspace.subjects.unlink()
    for path in sorted(workspace.lake.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    with pytest.raises(LakeError, match="brought back who was erased"):
        curated(workspace)


def test_a_curation_that_goes_on_is_waited_for(workspace: Settings) -> None:
    from curate.snapshot import staging

    curated(workspace)
    with staging(workspace.curated), pytest.raises(LakeBusyError, match="curate run"):
        erase(workspace, user="u-3")
    assert not workspace.subjects.exists()
