"""The drift guard: its numbers worked out by hand, and that a healthy run is silent where a wild one is stopped."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from ingest.errors import TrainingError
from train.dpo import main
from train.drift import drift, guard
from train.metrics import ReadOut

from .conftest import json_lines


def test_the_numbers_of_two_pairs() -> None:
    """Chosen of 2 and 4 tokens: A = -2 and 4, so d = -1 and 1; rejected of 1 and 2 tokens: B = 0 and -2, d = 0 and -1.

    k1 = -(-1 + 1 + 0 - 1) / 4 = 1/4; k3 = (e^-1 + (e - 2) + 0 + e^-1) / 4, since e^-1 - 1 + 1 = e^-1.
    """
    zero = np.zeros(2)
    read_out = ReadOut(np.array([-2.0, 4.0]), np.array([0.0, -2.0]), zero, zero)

    found = drift(read_out, np.array([[2.0, 4.0], [1.0, 2.0]]), beta=0.1)

    assert found["drift/k1"] == pytest.approx(0.25)
    assert found["drift/k3"] == pytest.approx((2 / math.e + math.e - 2) / 4)
    assert found["drift/chosen_drop"] == pytest.approx(0.0)
    assert found["drift/length_margin"] == 0.0  # two pairs say nothing


def test_margins_that_follow_length_are_seen() -> None:
    """beta A = 0.1 times chosen's tokens, rejected of one token and B = 0: a correlation of 1."""
    lengths = np.stack([np.arange(1.0, 21.0), np.ones(20)])
    read_out = ReadOut(lengths[0], np.zeros(20), np.zeros(20), np.zeros(20))

    assert drift(read_out, lengths, beta=0.1)["drift/length_margin"] == pytest.approx(1.0)


def test_a_limit_is_told_once() -> None:
    far = {"drift/k3": 2.0, "drift/chosen_drop": 0.0, "drift/length_margin": 0.0}
    told: set[str] = set()
    guard(far, 3, "warn", told)

    assert told == {"drift/k3"}
    guard(far, 4, "stop", told)
    with pytest.raises(TrainingError, match=r"At step 5 .* drift/k3 is 2 \(limit 1\)"):
        guard(far, 5, "stop", set())


def test_a_wild_run_is_stopped_and_says_that_it_failed(
    curated: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """AdamW moves every weight by the rate: steps of 0.1 in a model of weights of 0.2 leave the reference at once."""
    options = [
        "--data",
        str(curated),
        "--model",
        str(model_folder),
        "--batch-size",
        "4",
        "--gradient-accumulation",
        "1",
    ]
    options += ["--log-every", "1", "--on-drift", "stop"]

    assert main([*options, "--output", str(tmp_path / "wild"), "--learning-rate", "0.1"]) == 9
    assert "the policy has gone far from the reference" in capsys.readouterr().err
    assert json.loads((tmp_path / "wild" / "status.json").read_text())["state"] == "failed"
    assert main([*options, "--output", str(tmp_path / "calm"), "--learning-rate", "1e-4"]) == 0
    first, *_ = (line for line in json_lines(tmp_path / "calm" / "metrics.jsonl") if "drift/k1" in line)
    assert first["drift/k3"] == pytest.approx(0.0, abs=1e-8)
    assert json.loads((tmp_path / "calm" / "status.json").read_text())["state"] == "finished"
