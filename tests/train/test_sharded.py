"""Two processes that torchrun starts, with FSDP2 over gloo, train what one process trains."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from train.dpo import main

from .conftest import curated_table, json_lines, learnable_pairs

OPTIONS = (
    "--batch-size",
    "2",
    "--epochs",
    "2",
    "--learning-rate",
    "1e-4",
    "--log-every",
    "1",
    "--eval-batch-size",
    "3",
)


@pytest.mark.parametrize("family", ["qwen2", pytest.param("llama", marks=pytest.mark.slow)])
def test_two_processes_train_what_one_trains(
    models_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], family: str
) -> None:
    """22 pairs are 11 micro-batches: 2 processes x 2 have the steps of 1 x 4, and at the end one of them none.

    Qwen2 ties its output head to the embedding. 7 validation pairs are 3 batches of at most 3, for two processes.
    """
    data = tmp_path / "curated.parquet"
    pq.write_table(curated_table(learnable_pairs(22, 7), weight=[1.0, 3.0] * 11 + [1.0] * 7), data)
    given = ["--data", str(data), "--model", str(models_folder / family), *OPTIONS]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "train.dpo", *given, "--output", str(tmp_path / "two"), "--gradient-accumulation", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert main([*given, "--output", str(tmp_path / "one"), "--gradient-accumulation", "4"]) == 0

    one, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("one", "two"))
    assert set(one) == set(two)
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-6
    start = load_file(models_folder / family / "model.safetensors")
    assert min(float((one[name] - start[name]).abs().max()) for name in one) > 1e-5  # it has trained
    after = [json.loads(text)["after"] for text in (capsys.readouterr().out, done.stdout)]
    assert after[0].pop("accuracy_interval") == after[1].pop("accuracy_interval")
    for name in ("loss_interval", "margin_interval"):
        assert after[0].pop(name) == pytest.approx(after[1].pop(name), abs=1e-4)
    assert after[0] == pytest.approx(after[1], abs=1e-4)
    logs = [json_lines(tmp_path / name / "metrics.jsonl") for name in ("one", "two")]
    for a, b in zip(*logs, strict=True):
        same = {name for name in a if name not in ("epoch", "total_flos") and "train_" not in name}
        assert {name: a[name] for name in same} == pytest.approx({name: b[name] for name in same}, abs=1e-4)
    configs = [json.loads((tmp_path / name / "model" / "config.json").read_text()) for name in ("one", "two")]
    assert configs[0] == configs[1]
    assert torch.distributed.is_initialized() is False
