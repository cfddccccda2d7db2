"""LoRA runs: the adapter alone is trained and saved, and the reference is the policy before the run."""

import json
import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from ingest.errors import SettingsError
from train.dpo import main
from train.model import load

from .conftest import json_lines

OPTIONS = ("--batch-size", "4", "--gradient-accumulation", "1", "--learning-rate", "1e-2", "--eval-batch-size", "32")


def run(data: Path, model: Path, output: Path, *options: str) -> Path:
    assert main(["--data", str(data), "--model", str(model), "--output", str(output), *OPTIONS, *options]) == 0
    return output


def summary(output: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((output / "manifest.json").read_text())
    return manifest


def test_an_adapter_is_trained_saved_and_trained_on(curated: Path, model_folder: Path, tmp_path: Path) -> None:
    """The second run starts from the first one's policy: its reference is the model with the adapter, and not 0."""
    first = run(curated, model_folder, tmp_path / "first", "--lora-rank", "4")

    assert {path.name for path in (first / "model").iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}
    assert not (first / "model" / "model.safetensors").exists()
    adapter = load_file(first / "model" / "adapter_model.safetensors")
    assert len(adapter) == 2 * 2 * 7  # A and B of each of 2 layers' 4 + 3 matrices; none of the head
    assert all(4 in tensor.shape for tensor in adapter.values())
    assert json.loads((first / "model" / "adapter_config.json").read_text())["lora_alpha"] == 8.0
    assert summary(first)["summary"]["after"]["accuracy"] > 0.5
    assert (first / "model" / "README.md").read_text().startswith("---\nlibrary_name: peft\n")
    (start,) = [line for line in json_lines(first / "metrics.jsonl") if line["step"] == 1 and "loss" in line]
    assert start["loss"] == pytest.approx(math.log(2), abs=1e-5)

    second = run(curated, first / "model", tmp_path / "second")

    again = load_file(second / "model" / "adapter_model.safetensors")
    assert set(again) == set(adapter)
    assert any(not torch.equal(again[name], adapter[name]) for name in adapter)
    assert summary(second)["step_zero"]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert summary(second)["inputs"]["model"] != summary(first)["inputs"]["model"]
    prompt = torch.arange(12)[None]
    policies = [AutoModelForCausalLM.from_pretrained(f) for f in (model_folder, first / "model", second / "model")]
    logits = [policy(input_ids=prompt).logits for policy in policies]
    assert not torch.allclose(logits[0], logits[1], atol=1e-3)
    assert not torch.allclose(logits[1], logits[2], atol=1e-3)


def test_a_new_adapter_has_the_models_own_reference(curated: Path, model_folder: Path, tmp_path: Path) -> None:
    """The cache of a run on all weights serves a run on an adapter."""
    run(curated, model_folder, tmp_path / "whole")
    output = run(curated, model_folder, tmp_path / "lora", "--lora-rank", "2", "--lora-targets", "q_proj,v_proj")

    assert summary(output)["reference"]["computed"] == 0
    assert len(load_file(output / "model" / "adapter_model.safetensors")) == 2 * 2 * 2


def test_gradient_checkpointing_changes_nothing(curated: Path, model_folder: Path, tmp_path: Path) -> None:
    for name, options in (("plain", ()), ("lora", ("--lora-rank", "2"))):
        kept = run(curated, model_folder, tmp_path / f"{name}-kept", *options)
        again = run(curated, model_folder, tmp_path / f"{name}-again", *options, "--gradient-checkpointing", "on")
        assert pq.read_table(kept / "scores.parquet").equals(pq.read_table(again / "scores.parquet"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lora-alpha", "4"], "--lora-alpha would change nothing without --lora-rank"),
        (["--lora-rank", "4", "--lora-targets", "nothing"], "--lora-targets nothing:"),
    ],
)
def test_options_without_an_adapter_are_refused(
    curated: Path,
    model_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    arguments = ["--data", str(curated), "--model", str(model_folder), "--output", str(tmp_path / "run"), *options]

    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_adapter_that_is_a_pickle_is_refused(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(model_folder)}))
    (tmp_path / "adapter_model.bin").write_bytes(b"a pickle")

    with pytest.raises(SettingsError, match=r"has an adapter without adapter_model\.safetensors"):
        load(tmp_path, torch.device("cpu"), None)
