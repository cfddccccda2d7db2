"""`python -m train.dpo` from Parquet to a trained model, and everything it refuses."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ingest.schema import DROPPED, SCORE
from train.config import RunConfig
from train.dpo import main, parser, resolve

from .conftest import curated_table, json_lines, learnable_pairs

# Rates for a model of 30,000 weights; the command's defaults are for billions.
FAST = ("--learning-rate", "3e-3", "--epochs", "2", "--gradient-accumulation", "1", "--eval-batch-size", "32")


class Ran:
    """One finished run."""

    def __init__(self, data: Path, output: Path, stdout: str) -> None:
        self.data, self.output, self.stdout = data, output, stdout
        self.summary: dict[str, Any] = json.loads(stdout)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Ran:
    """A run as a user starts one, in a process of its own, on 96 training, 30 validation and 40 test pairs."""
    folder = tmp_path_factory.mktemp("run")
    pq.write_table(curated_table(learnable_pairs(96, 30, 40)), folder / "curated.parquet")
    (folder / "winnow.toml").write_text(f'[train]\nmodel = "{model_folder}"\noutput = "runs"\n')
    environment = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
    done = subprocess.run(
        [sys.executable, "-m", "train.dpo", "--data", "curated.parquet", *FAST],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (output,) = [path for path in (folder / "runs").iterdir() if path.name != "reference"]
    return Ran(folder / "curated.parquet", output, done.stdout)


def test_stdout_is_one_line_of_json_that_adds_up(ran: Ran) -> None:
    summary = ran.summary

    assert ran.stdout.count("\n") == 1
    assert (summary["train_rows"], summary["validation_rows"], summary["test_rows"]) == (96, 30, 40)
    assert summary["dropped_rows"] == 0
    assert summary["steps"] == 2 * 96 / 8
    assert summary["held_out"] == "test"
    assert Path(summary["output"]) == ran.output


def test_before_training_accuracy_is_exactly_one_half(ran: Ran) -> None:
    before = ran.summary["before"]

    assert before["accuracy"] == 0.5
    assert before["margin"] == 0
    assert before["loss"] == math.log(2)
    manifest = json.loads((ran.output / "manifest.json").read_text())
    assert manifest["step_zero"]["rows"] == 32 + 30 + 40
    assert manifest["step_zero"]["loss"] == pytest.approx(math.log(2), abs=1e-5)


def test_a_rule_that_generalises_is_learnt(ran: Ran) -> None:
    """The polite answer is always chosen, so nothing less than every held-out pair will do."""
    after = ran.summary["after"]

    assert after["accuracy"] == 1.0
    assert after["loss"] < 0.2
    assert after["reference_ranking_accuracy"] == ran.summary["before"]["reference_ranking_accuracy"]


def test_the_model_reloads_to_the_policy_that_was_scored(ran: Ran) -> None:
    """log pi of a test pair, from the saved model's full logits, less the reference's is A of scores.parquet."""
    row = pq.read_table(ran.data).to_pylist()[-1]
    score = pq.read_table(ran.output / "scores.parquet").to_pylist()[-1]
    manifest = json.loads((ran.output / "manifest.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(ran.output / "model")
    sums = []
    for folder in (ran.output / "model", Path(manifest["config"]["model"])):
        model = AutoModelForCausalLM.from_pretrained(folder)
        prompt = _ids(tokenizer, row["prompt"], add_generation_prompt=True)
        whole = _ids(tokenizer, row["prompt"] + row["chosen"])
        logps = torch.log_softmax(model(torch.tensor([whole])).logits[0], dim=-1)
        sums.append(sum(float(logps[t - 1, whole[t]].detach()) for t in range(len(prompt), len(whole))))

    assert score["triple_id"] == row["triple_id"]
    assert score["A"] == pytest.approx(sums[0] - sums[1], abs=1e-3)
    assert score["chosen_tokens"] == len(whole) - len(prompt)


def _ids(tokenizer: Any, messages: list[dict[str, str]], **options: bool) -> list[int]:
    ids: list[int] = tokenizer.apply_chat_template(messages, **options)["input_ids"]
    return ids


def test_scores_have_every_pair_once_and_agree_with_themselves(ran: Ran) -> None:
    scores = pq.read_table(ran.output / "scores.parquet")
    data = pq.read_table(ran.data)

    assert scores.schema.equals(SCORE)
    assert scores["triple_id"].to_pylist() == data["triple_id"].to_pylist()
    assert scores["split"].to_pylist() == data["split"].to_pylist()
    for row in scores.to_pylist():
        assert row["step"] == ran.summary["steps"]
        assert row["margin"] == pytest.approx(0.1 * (row["A"] - row["B"]))
        assert row["probability"] == pytest.approx(1 / (1 + math.exp(-row["margin"])))
        assert row["loss"] == pytest.approx(-math.log(row["probability"]))
        assert row["suspect_flip"] == (row["probability"] < 0.25)
    test = [row for row in scores.to_pylist() if row["split"] == "test"]
    assert sum(row["margin"] > 0 for row in test) / len(test) == ran.summary["after"]["accuracy"]


def test_metrics_are_logged_under_trls_names(ran: Ran) -> None:
    lines = json_lines(ran.output / "metrics.jsonl")
    training = [line for line in lines if "loss" in line]
    evaluations = [line for line in lines if "eval_loss" in line]
    names = {f"rewards/{name}" for name in ("chosen", "rejected", "margins", "accuracies")}
    names |= {"logps/chosen", "logps/rejected"}

    assert [line["step"] for line in training] == [1, 10, 20, 24]
    assert [line["step"] for line in evaluations] == [0, 12, 24]  # before training and after each epoch
    assert all(names <= set(line) for line in training)
    assert all({f"eval_{name}" for name in names} <= set(line) for line in evaluations)
    assert training[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)


def test_the_run_folder_is_complete_and_private(ran: Ran) -> None:
    assert {path.name for path in ran.output.iterdir()} == {
        "run.json", "inputs.json", "status.json", "model", "metrics.jsonl", "curve.svg", "curve.png", "scores.parquet",
        "manifest.json",
    }  # fmt: skip
    written = [ran.output, *ran.output.rglob("*"), ran.output.parent / "reference"]
    assert [path for path in written if path.stat().st_mode & 0o077] == []
    assert (ran.output / "model" / "model.safetensors").is_file()
    assert not [*ran.output.rglob("*.bin"), *ran.output.rglob("*.pt"), *ran.output.rglob("*.pkl")]
    assert "validation" in (ran.output / "curve.svg").read_text()
    assert (ran.output / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_the_saved_configuration_is_the_whole_of_it(ran: Ran) -> None:
    saved = RunConfig.model_validate_json((ran.output / "run.json").read_text())

    assert set(json.loads((ran.output / "run.json").read_text())) == set(RunConfig.model_fields)
    assert (saved.learning_rate, saved.epochs, saved.beta) == (3e-3, 2, 0.1)
    assert saved.reference_cache == ran.output.parent / "reference"


def run_here(data: Path, model: Path, output: Path, *options: str) -> int:
    return main(["--data", str(data), "--model", str(model), "--output", str(output), *FAST, *options])


def summary_of(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(capsys.readouterr().out)
    return made


def test_the_same_run_again_gives_the_same_model(
    curated: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second one takes its reference from the cache, and every weight is still the same."""
    assert run_here(curated, model_folder, tmp_path / "runs" / "a") == 0
    first = summary_of(capsys)
    assert run_here(curated, model_folder, tmp_path / "runs" / "b") == 0
    second = summary_of(capsys)

    assert first["after"] == second["after"]
    weights = [(tmp_path / "runs" / name / "model" / "model.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]
    manifest = json.loads((tmp_path / "runs" / "b" / "manifest.json").read_text())
    assert (manifest["reference"]["cached"], manifest["reference"]["computed"]) == (36, 0)


def test_overlong_pairs_left_out_are_counted_and_listed(
    curated: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pq.read_table(curated)
    long = curated_table([("Why? " * 40, "Because.", "No.", "train")])
    pq.write_table(pa.concat_tables([table, long]), curated)

    code = run_here(curated, model_folder, tmp_path / "run", "--max-length", "100", "--on-overlong", "drop")

    summary = summary_of(capsys)
    dropped = pq.read_table(tmp_path / "run" / "dropped.parquet")
    assert code == 0
    assert (summary["train_rows"], summary["dropped_rows"]) == (24, 1)
    assert dropped.schema.equals(DROPPED)
    assert dropped["triple_id"].to_pylist() == long["triple_id"].to_pylist()


def test_data_without_a_split_column_is_split_by_prompt(
    curated: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(pq.read_table(curated).drop_columns(["split"]), curated)

    assert run_here(curated, model_folder, tmp_path / "run", "--validation-share", "0.3", "--dtype", "bfloat16") == 0

    summary = summary_of(capsys)
    assert summary["train_rows"] + summary["validation_rows"] == 36
    assert summary["held_out"] == "validation"
    assert summary["before"]["accuracy"] == 0.5


def test_a_file_of_held_out_pairs(
    curated: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pq.read_table(curated).drop_columns(["split"])
    pq.write_table(table.slice(0, 30), curated)
    pq.write_table(table.slice(30), tmp_path / "held.parquet")

    assert run_here(curated, model_folder, tmp_path / "run", "--validation", str(tmp_path / "held.parquet")) == 0

    summary = summary_of(capsys)
    assert (summary["train_rows"], summary["validation_rows"], summary["test_rows"]) == (30, 6, 0)


def test_a_share_beside_a_file_of_held_out_pairs_is_refused(
    curated: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(pq.read_table(curated).drop_columns(["split"]), curated)
    both = ("--validation", str(curated), "--validation-share", "0.3")

    assert run_here(curated, model_folder, tmp_path / "run", *both) == 2
    assert "--validation-share would change nothing" in capsys.readouterr().err


def test_a_run_of_one_step_trains_into_a_private_folder(
    curated: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """24 pairs are one step of the default 8 x 4; the folder was there already, empty and open to all."""
    (tmp_path / "run").mkdir(mode=0o755)
    (tmp_path / "run").chmod(0o755)

    options = ("--data", str(curated), "--model", str(model_folder), "--output", str(tmp_path / "run"))
    assert main([*options, "--learning-rate", "3e-3"]) == 0

    (line,) = [line for line in json_lines(tmp_path / "run" / "metrics.jsonl") if "loss" in line]
    assert (line["step"], line["learning_rate"]) == (1, 3e-3)
    assert summary_of(capsys)["after"]["margin"] != 0
    assert (tmp_path / "run").stat().st_mode & 0o077 == 0


def test_a_folder_that_we_name_is_taken_at_once(curated: Path, model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "winnow.toml").write_text(f'[train]\nmodel = "{model_folder}"\noutput = "runs"\n')
    outputs = [resolve({"data": curated}, tmp_path / "winnow.toml").output for _ in range(2)]

    assert outputs[1].name == f"{outputs[0].name}-2"
    assert all(output.is_dir() and output.stat().st_mode & 0o077 == 0 for output in outputs)


def test_a_folder_that_we_named_goes_when_nothing_was_written(
    curated: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "winnow.toml").write_text(f'[train]\nmodel = "{model_folder}"\noutput = "runs"\n')

    assert main(["--data", str(curated), "--config", str(tmp_path / "winnow.toml"), "--max-length", "12"]) == 10
    assert list((tmp_path / "runs").iterdir()) == []
    assert "overlong" in capsys.readouterr().err


REFUSALS = [
    ("number that is none", ["--beta", "much"], 2, "--beta 'much'"),
    ("number out of range", ["--beta", "-1"], 2, "--beta '-1'"),
    ("unknown choice", ["--on-overlong", "cut"], 2, "--on-overlong 'cut'"),
    ("no model there", ["--model", "nowhere"], 2, "No model at nowhere"),
    ("no data there", ["--data", "nowhere.parquet"], 3, "No file at nowhere.parquet"),
    ("longer than the model", ["--max-length", "4096"], 2, "more than the 128 positions"),
    ("pairs over the limit", ["--max-length", "12"], 10, "overlong: 36 rows"),
    ("needless switch", ["--validation-share", "0.2"], 2, "--validation-share would change nothing"),
    ("infinite number", ["--max-grad-norm", "inf"], 2, "--max-grad-norm 'inf'"),
    ("not a number", ["--learning-rate", "nan"], 2, "--learning-rate 'nan'"),
    ("a rate that breaks the model", ["--learning-rate", "1e38"], 9, "so the model is not usable"),
    ("a pair over the budget", ["--batch-tokens", "2"], 2, "--batch-tokens 2 is fewer than the"),
    ("no settings file", ["--config", "nowhere.toml"], 2, "No settings file"),
]


@pytest.mark.parametrize(("options", "code", "message"), [r[1:] for r in REFUSALS], ids=[r[0] for r in REFUSALS])
def test_a_refusal_is_one_clear_error_and_writes_nothing(
    curated: Path,
    model_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    code: int,
    message: str,
) -> None:
    assert run_here(curated, model_folder, tmp_path / "run", *options) == code

    out, err = capsys.readouterr()
    assert out == ""
    assert "error: " in err
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "run" / "manifest.json").exists()
    assert code == 9 or not (tmp_path / "run").exists()


def test_a_folder_in_use_is_refused(
    curated: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "keep.txt").write_text("mine")

    assert run_here(curated, model_folder, tmp_path / "run") == 2
    assert "is in use" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["keep.txt"]


def test_without_any_model_the_error_says_what_to_do(
    curated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "winnow.toml").write_text("")

    assert main(["--data", str(curated), "--config", str(tmp_path / "winnow.toml")]) == 2
    assert "Give --model DIR, or set `model` in [train] of winnow.toml." in capsys.readouterr().err


def test_a_model_with_missing_weights_is_refused(
    curated: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One more layer in the configuration than in the weights: transformers would fill it with random numbers."""
    model = tmp_path / "model"
    model.mkdir()
    for file in model_folder.iterdir():
        (model / file.name).write_bytes(file.read_bytes())
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))

    assert run_here(curated, model, tmp_path / "run") == 9
    assert "they would be random numbers" in capsys.readouterr().err


def test_damaged_weights_are_refused(
    curated: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = shutil.copytree(model_folder, tmp_path / "model")
    whole = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(whole[: len(whole) // 2])

    assert run_here(curated, model, tmp_path / "run") == 2
    assert "cannot be loaded as a causal language model in safetensors" in capsys.readouterr().err


def test_every_option_is_documented_with_its_default(repository: Path) -> None:
    """docs/training.md has a table row `| --option | default | ...` for each option of --help, and no other."""
    rows = {}
    for line in (repository / "docs" / "training.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("| `--"):
            option, default, *_ = (cell.strip() for cell in line.strip("|").split(" | "))
            rows[option.strip("`")] = default.strip("`")
    actions = {action.option_strings[0]: action for action in parser()._actions if action.dest != "help"}

    assert list(rows) == list(actions)
    for name, field in RunConfig.model_fields.items():
        if field.default is not None and not field.is_required():
            assert rows[f"--{name.replace('_', '-')}"] == str(field.default)
