"""Where metrics go, and the model card."""

import json
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from train.dpo import main, parser
from train.summary import file_hash

from .conftest import json_lines


def test_metrics_go_to_tensorboard_and_the_card_says_what_was_done(
    curated: Path, model_folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    options = ["--report-to", "tensorboard", "--learning-rate", "1e-3", "--batch-size", "4", "--log-every", "1"]

    assert main(["--data", str(curated), "--model", str(model_folder), "--output", str(output), *options]) == 0

    events = EventAccumulator(str(output / "tensorboard")).Reload()
    shown = [(event.step, event.value) for event in events.Scalars("train/loss")]
    logged = [(line["step"], line["loss"]) for line in json_lines(output / "metrics.jsonl") if "loss" in line]
    assert [step for step, _ in shown] == [step for step, _ in logged]
    assert [value for _, value in shown] == pytest.approx([value for _, value in logged])
    card = (output / "model" / "README.md").read_text()
    assert f"sha256 `{file_hash(curated)}`: 24 train, 7 validation, 5 test" in card
    assert "| `--learning-rate` | `0.001` |" in card
    after = json.loads((output / "manifest.json").read_text())["after"]["test"]
    low, high = after["loss_interval"]
    assert f"| loss | 0.6931 | {after['loss']:.4f} | {low:.4f} to {high:.4f} |" in card
    assert low < after["loss"] < high


def test_what_is_not_installed_is_refused(
    curated: Path,
    model_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("train.reporting.find_spec", lambda name: None)
    given = ["--data", str(curated), "--model", str(model_folder), "--output", str(tmp_path / "run")]

    assert main([*given, "--report-to", "wandb"]) == 2
    assert "wandb is not installed. `pip install wandb`" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_help_shows_twenty_options_first() -> None:
    first, more = (
        text.split("\n\n")[0] for text in parser().format_help().split("what matters first:")[1].split("more:")
    )

    assert first.count("\n  --") == 20
    assert more.count("\n  --") > 20
