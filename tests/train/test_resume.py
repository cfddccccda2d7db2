"""A run that is killed goes on as if nothing had been, and refuses to go on as another run."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ingest.errors import ResumeError, SettingsError
from train import checkpoint
from train.dpo import main, parser, resolve
from train.resume import held
from train.run import _refuse_folder_in_use, run
from train.summary import write_json, write_manifest

from .conftest import curated_table, json_lines, learnable_pairs

# 22 pairs in batches of 2 are 11 micro-batches: in each epoch steps of 3, 3, 3 and 2. A log every 5 steps falls
# on no checkpoint, which is every 2.
OPTIONS = (
    "--batch-size", "2", "--gradient-accumulation", "3", "--epochs", "3", "--learning-rate", "1e-3",
    "--log-every", "5", "--checkpoint-every", "2", "--eval-batch-size", "32",
)  # fmt: skip
MICRO_BATCHES = [(step, micro) for step in range(12) for micro in range(2 if step % 4 == 3 else 3)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Path:
    """Folder of runs: `whole`, never interrupted; `killed`, seven times; `unfinished`, killed and left after step 5."""
    folder = tmp_path_factory.mktemp("runs")
    pq.write_table(curated_table(learnable_pairs(22, 5)), folder / "curated.parquet")
    steps = sorted(random.Random(6).sample(MICRO_BATCHES, 5))
    assert any(micro > 0 for _, micro in steps)  # in the middle of accumulation
    deaths: list[list[object]] = [
        ["step", *steps[0]],
        ["write", 2],
        *(["step", *step] for step in steps[1:]),
        ["write", 6],
        [],
    ]
    whole, unfinished, killed = (str(folder / name) for name in ("whole", "unfinished", "killed"))
    asked = [[whole], [unfinished, "step", 5, 1], *([killed, *death] for death in deaths)]
    script = Path(__file__).with_name("killed_runs.py")
    done = subprocess.run(
        [sys.executable, script, json.dumps(asked), *common(folder, model_folder), "--resume"],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [0, -9, *[-9] * 7, 0]
    return folder


def common(folder: Path, model: Path) -> list[str]:
    return ["--data", str(folder / "curated.parquet"), "--model", str(model), *OPTIONS]


def without_times(path: Path) -> list[dict[str, Any]]:
    timed = ("train_runtime", "train_samples_per_second", "train_steps_per_second")
    return [{name: value for name, value in line.items() if name not in timed} for line in json_lines(path)]


def assert_same_run(a: Path, b: Path) -> None:
    assert (a / "model" / "model.safetensors").read_bytes() == (b / "model" / "model.safetensors").read_bytes()
    assert without_times(a / "metrics.jsonl") == without_times(b / "metrics.jsonl")
    assert pq.read_table(a / "scores.parquet").equals(pq.read_table(b / "scores.parquet"))


def test_five_kills_at_random_micro_batches_and_two_in_checkpoints_change_nothing(runs: Path) -> None:
    """The same weights to the byte, the same scores, and every line of the log once."""
    assert_same_run(runs / "whole", runs / "killed")
    assert [line["step"] for line in json_lines(runs / "whole" / "metrics.jsonl") if "loss" in line] == [1, 5, 10, 12]
    assert not (runs / "killed" / checkpoint.FOLDER).exists()
    assert json.loads((runs / "killed" / "status.json").read_text())["state"] == "finished"


@pytest.fixture
def left(runs: Path, tmp_path: Path) -> Path:
    """A copy of the unfinished run, with its data beside it."""
    shutil.copy(runs / "curated.parquet", tmp_path)
    shutil.copytree(runs / "reference", tmp_path / "reference")
    return shutil.copytree(runs / "unfinished", tmp_path / "unfinished")


def test_what_a_killed_run_leaves_can_be_read(left: Path) -> None:
    """The two newest checkpoints without pickle, the log, and how far it came."""
    assert [path.name for path in sorted((left / checkpoint.FOLDER).iterdir())] == ["step-00000002", "step-00000004"]
    assert {path.suffix for path in left.rglob("*") if path.is_file()} == {".json", ".jsonl", ".safetensors"}
    assert json.loads((left / "status.json").read_text())["state"] == "training"
    assert [line["step"] for line in json_lines(left / "metrics.jsonl") if "loss" in line] == [1, 5]


def test_the_folder_alone_is_enough_to_resume(
    left: Path, runs: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The data has moved: its bytes count, not its path."""
    data = left.parent / "curated.parquet"

    assert main(["--resume", "--output", str(left), "--data", str(data)]) == 0

    assert json.loads(capsys.readouterr().out)["resumed_at"] == 4
    assert_same_run(runs / "whole", left)


def test_a_run_without_a_checkpoint_starts_again(left: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(left / checkpoint.FOLDER)

    assert main(["--resume", "--output", str(left)]) == 0

    assert json.loads(capsys.readouterr().out)["resumed_at"] is None
    assert_same_run(runs / "whole", left)


def edit_data(left: Path) -> None:
    table = pq.read_table(left.parent / "curated.parquet")
    pq.write_table(table.slice(0, table.num_rows - 1), left.parent / "curated.parquet")


def edit_checkpoint(left: Path) -> None:
    weights = left / checkpoint.FOLDER / "step-00000004" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")


def edit_inputs(left: Path) -> None:
    inputs = json.loads((left / "inputs.json").read_text())
    (left / "inputs.json").write_text(json.dumps({**inputs, "model": "another"}))


def finish(left: Path) -> None:
    (left / "manifest.json").write_text("{}")


def lose_lines(left: Path) -> None:
    (left / "metrics.jsonl").write_text("")


REFUSALS: list[tuple[str, Callable[[Path], None], list[str], str]] = [
    ("edited data", edit_data, [], "started with another data"),
    ("another model", edit_inputs, [], "started with another model"),
    ("another option", lambda _: None, ["--beta", "0.2"], "--beta was 0.1, now 0.2"),
    ("a damaged checkpoint", edit_checkpoint, [], "weights.safetensors is not as it was written"),
    ("a finished run", finish, [], "is finished: there is nothing to resume"),
    ("a log that lost lines", lose_lines, [], "has lost lines"),
]


@pytest.mark.parametrize(("edit", "options", "message"), [r[1:] for r in REFUSALS], ids=[r[0] for r in REFUSALS])
def test_a_run_does_not_go_on_as_another(
    left: Path,
    capsys: pytest.CaptureFixture[str],
    edit: Callable[[Path], None],
    options: list[str],
    message: str,
) -> None:
    edit(left)
    data = left.parent / "curated.parquet"

    assert main(["--resume", "--output", str(left), "--data", str(data), *options]) == 11

    assert message in capsys.readouterr().err
    assert not (left / "model").exists()


def test_without_resume_an_unfinished_folder_is_in_use(
    left: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*common(left.parent, model_folder), "--output", str(left)]) == 2
    assert "It holds an unfinished run: go on with it by --resume" in capsys.readouterr().err


def test_one_process_at_a_time_writes_a_run(left: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with held(left):
        assert main(["--resume", "--output", str(left)]) == 2
    assert "Another process is writing the run" in capsys.readouterr().err


def test_a_run_that_another_process_finished_meanwhile_stays_as_it_is(left: Path) -> None:
    """It had not been finished when the options were read, and was when the folder could be locked."""
    config = resolve({"output": str(left), "data": str(left.parent / "curated.parquet")}, None, resumes=True)
    before = {path: path.read_bytes() for path in left.glob("*.json*")}
    finish(left)

    with pytest.raises(ResumeError, match="is finished: there is nothing to resume"):
        run(config, resumes=True)

    assert {path: path.read_bytes() for path in before} == before


def test_a_run_killed_before_its_options_were_written_starts(tmp_path: Path) -> None:
    (tmp_path / "inputs.json").write_text("{}")
    (tmp_path / "run.unfinished").write_text('{"da')

    _refuse_folder_in_use(tmp_path)

    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(SettingsError, match="It holds an unfinished run"):
        _refuse_folder_in_use(tmp_path)


def test_a_file_of_json_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "manifest.json", {"loss": float("nan")})
    assert not (tmp_path / "manifest.json").exists()


def test_a_manifest_names_the_data_that_was_read(left: Path) -> None:
    """Not what has taken its place since."""
    config = resolve({"output": str(left)}, None, resumes=True).model_copy(
        update={"data": left.parent / "gone.parquet"}
    )

    write_manifest(config, {"data": "ab12", "model": "cd34"}, {})

    manifest = json.loads((left / "manifest.json").read_text())
    assert manifest["data"] == {str(left.parent / "gone.parquet"): {"sha256": "ab12"}}


def test_the_unfinished_run_of_the_same_options_is_found(left: Path, model_folder: Path) -> None:
    """By options, wherever the data is; two of them are not guessed between."""
    settings = left.parent / "winnow.toml"
    settings.write_text(f'[train]\nmodel = "{model_folder}"\noutput = "{left.parent}"\n')
    options = vars(parser().parse_args(["--data", str(left.parent / "curated.parquet"), *OPTIONS]))

    assert resolve(dict(options), settings, resumes=True).output == left
    (left.parent / "of another version").mkdir()
    (left.parent / "of another version" / "run.json").write_text('{"an_option_of_old": 1}')
    assert resolve(dict(options), settings, resumes=True).output == left
    other = resolve({**options, "beta": "0.3"}, settings, resumes=True).output
    assert other != left
    assert list(other.iterdir()) == []

    shutil.copytree(left, left.parent / "again")
    with pytest.raises(ResumeError, match="Several unfinished runs have these options"):
        resolve(dict(options), settings, resumes=True)
