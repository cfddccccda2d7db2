"""Batches by a budget of tokens: none is over it, every pair is in one, and an epoch repeats."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from ingest.errors import SettingsError
from train.budget import BudgetBatches, describe
from train.config import RunConfig
from train.dpo import main
from train.sharing import NEVER, Sharing

from .conftest import curated_table, json_lines, learnable_pairs

SHARING = Sharing(longest=10**6)


def some_lengths() -> np.ndarray:
    draw = np.random.default_rng(0)
    return np.stack([draw.integers(5, 200, 300), draw.integers(1, 60, 300), draw.integers(1, 60, 300)], axis=1)


@pytest.mark.parametrize("sharing", [SHARING, NEVER], ids=["shared", "apart"])
def test_every_pair_is_in_one_batch_and_no_batch_is_over_the_budget(sharing: Sharing) -> None:
    lengths = some_lengths()
    made = BudgetBatches(lengths, 4096, sharing, seed=1)
    epochs = []
    for epoch in range(2):
        made.set_epoch(epoch)
        epochs.append(list(made))
        assert list(made) == epochs[-1]  # a function of seed and epoch alone
        assert len(epochs[-1]) == len(made)
        assert sorted(row for batch in epochs[-1] for row in batch) == list(range(300))

    assert max(sharing.fed(lengths[batch]) for batch in epochs[0]) <= 4096
    assert epochs[0] != epochs[1]
    assert sorted(epochs[0]) == sorted(epochs[1])


def test_processes_deal_the_same_batches() -> None:
    lengths = some_lengths()
    alone = list(BudgetBatches(lengths, 4096, SHARING, seed=1))
    three = [BudgetBatches(lengths, 4096, SHARING, 1, rank, 3) for rank in range(3)]

    assert sorted(batch for one in three for batch in one) == sorted(alone)
    assert {len(one) for one in three} == {-(-len(alone) // 3)}


def test_a_batch_is_filled_by_what_it_feeds() -> None:
    """Rows of 10 + 2 + 2 are 14 tokens shared: 3 of them are 42, so 50 tokens hold 3; apart each is 24, so 2 are 48."""
    lengths = np.array([[10, 2, 2]] * 6)

    assert [len(batch) for batch in BudgetBatches(lengths, 50, SHARING, seed=0)] == [3, 3]
    assert [len(batch) for batch in BudgetBatches(lengths, 50, NEVER, seed=0)] == [2, 2, 2]


def test_a_pair_that_alone_is_over_the_budget_is_refused() -> None:
    with pytest.raises(SettingsError, match="--batch-tokens 20 is fewer than the 24 tokens of the longest pair"):
        BudgetBatches(np.array([[10, 2, 2]]), 20, NEVER, seed=0)


def test_padding_and_sharing_are_described() -> None:
    """Rows of 14 and 12 tokens: 28 are fed, 26 are real, 2 / 28 = 7.1 % padding; apart they would be 24 + 22 = 46."""
    lengths = np.array([[10, 2, 2], [10, 1, 1]])

    assert describe([[0, 1]], lengths, SHARING) == (
        "An epoch is 1 passes of 2.0 pairs, 28 tokens, 7.1% padding; "
        "2 of 2 prompts are computed once for both responses, 1.77 times fewer tokens."
    )
    assert "0 of 2 prompts are computed once for both responses." in describe([[0, 1]], lengths, NEVER)


def test_a_run_trains_by_a_budget_and_says_so(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(curated_table(learnable_pairs(16, 3)), tmp_path / "curated.parquet")
    options = ("--batch-tokens", "300", "--gradient-accumulation", "1", "--log-every", "1", "--learning-rate", "3e-3")
    paths = ("--data", str(tmp_path / "curated.parquet"), "--model", str(model_folder), "--output", str(tmp_path / "r"))

    assert main([*paths, *options, "--epochs", "2", "--extra-metrics", "on"]) == 0

    said = " ".join(capsys.readouterr().err.split())
    assert "16 of 16 prompts are computed once for both responses" in said
    logged = [line for line in json_lines(tmp_path / "r" / "metrics.jsonl") if "loss" in line]
    assert logged[-1]["loss"] < logged[0]["loss"]
    assert {"entropy", "token_accuracy", "logits/chosen", "logits/rejected"} <= set(logged[0])


@pytest.mark.parametrize("option", ["batch_size", "order"])
def test_options_that_a_budget_makes_idle_are_refused(option: str) -> None:
    values: dict[str, Any] = {"data": "d", "model": "m", "output": "o", "reference_cache": "r", "batch_tokens": 100}

    with pytest.raises(SettingsError, match=f"--{option.replace('_', '-')} would change nothing with --batch-tokens"):
        RunConfig.checked({**values, option: 4 if option == "batch_size" else "length"})
