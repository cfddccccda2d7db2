"""A run is read as far as it is written."""

import json
from pathlib import Path

import polars as pl

from app import runs

TURN = [{"role": "user", "content": "q"}]


def make(folder: Path, *, finished: bool) -> Path:
    folder.mkdir()
    data = folder.parent / "curated.parquet"
    texts = {"prompt": [TURN, TURN], "chosen": [TURN, TURN], "rejected": [TURN, TURN]}
    pl.DataFrame({"triple_id": ["t1", "t2"], **texts}).write_parquet(data)
    (folder / "run.json").write_text(json.dumps({"data": str(data), "beta": 0.1}))
    status = {"state": "finished" if finished else "training", "step": 3, "steps": 6, "updated": "2026-11-28T07:00:00"}
    (folder / "status.json").write_text(json.dumps(status))
    lines = [{"step": 0, "eval_loss": 0.69, "epoch": 0}, {"step": 1, "loss": 0.5, "epoch": 0.5}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 2, "lo')
    if finished:
        (folder / "manifest.json").write_text(json.dumps({"summary": {"after": {"loss": 0.1, "accuracy": 0.9}}}))
        scores = {"triple_id": ["t2", "t1", "t3"], "split": ["train"] * 3, "probability": [0.1, 0.2, 0.9]}
        pl.DataFrame(scores | {"margin": [-2.0, -1.0, 2.0], "suspect_flip": [True, True, False]}).write_parquet(
            folder / "scores.parquet"
        )
    return folder


def test_a_running_run(tmp_path: Path) -> None:
    folder = make(tmp_path / "one", finished=False)
    run = runs.read(folder)
    assert (run.state, run.step, run.steps, run.finished, run.results) == ("training", 3, 6, False, {})
    assert runs.metrics(folder).rows() == [(0, "eval_loss", 0.69), (1, "loss", 0.5)]
    assert runs.suspects(folder).is_empty()


def test_a_finished_run_has_results_and_doubts_surest_first(tmp_path: Path) -> None:
    folder = make(tmp_path / "one", finished=True)
    assert runs.read(folder).results["after"]["loss"] == 0.1
    flips = runs.suspects(folder)
    assert flips["triple_id"].to_list() == ["t2", "t1"]
    assert flips["prompt"].to_list() == [TURN, TURN]
    assert runs.folders(tmp_path) == [folder]


def test_a_folder_that_is_no_run_is_none(tmp_path: Path) -> None:
    (tmp_path / "reference").mkdir()
    assert runs.folders(tmp_path) == []
    assert runs.folders(tmp_path / "absent") == []
    assert runs.read(tmp_path / "reference").state == "unknown"
