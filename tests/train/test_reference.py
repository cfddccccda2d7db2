"""The reference cache: what is computed, what is taken from it, and when it is not believed."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from peft import LoraConfig

from ingest.errors import TrainingError
from train.adapter import train_adapter
from train.collate import Collator
from train.dataset import PairDataset
from train.dpo import main
from train.logprobs import row_logps
from train.model import Policy, fingerprint, load
from train.reference import SCHEMA, ReferenceCache, ReferenceResult

from .conftest import curated_table, learnable_pairs, make_trainer, read_all, read_with_reference

Fill = Callable[..., tuple[PairDataset, ReferenceResult]]


@pytest.fixture
def fill(policy: Policy, tmp_path: Path) -> Fill:
    """Write pairs to a file, read them and fill in their reference from a cache in tmp_path."""

    def fill_in(
        rows: Sequence[tuple[str, str, str, str]], *, model: Policy = policy, batch_size: int = 4
    ) -> tuple[PairDataset, ReferenceResult]:
        pq.write_table(curated_table(rows), tmp_path / "curated.parquet")
        pairs = read_all(model, tmp_path / "curated.parquet")
        cache = ReferenceCache(tmp_path / "cache", model, fingerprint(model), Collator(), batch_size)
        counted: list[int] = []
        result = cache.fill(pairs, counted.append)
        assert result.cached + result.computed == len(pairs) == sum(counted)
        return pairs, result

    return fill_in


def test_reference_is_the_policys_sum_over_response_tokens(fill: Fill, policy: Policy) -> None:
    pairs, _ = fill(learnable_pairs(6, 0))

    for row, chosen, rejected in row_logps(policy.model, pairs, list(range(6)), Collator(), batch_size=1):
        assert pairs.reference[row] == pytest.approx([chosen.sum(), rejected.sum()], abs=1e-4)
        assert [len(chosen), len(rejected)] == pairs.segment_lengths[row, 1:].tolist()


def test_a_second_run_computes_nothing(fill: Fill) -> None:
    first, computed = fill(learnable_pairs(6, 0))
    again, cached = fill(learnable_pairs(6, 0))

    assert (computed.cached, computed.computed) == (0, 6)
    assert (cached.cached, cached.computed) == (6, 0)
    assert again.reference.tolist() == first.reference.tolist()


def test_one_edited_row_is_the_only_one_computed_again(fill: Fill) -> None:
    rows = learnable_pairs(6, 0)
    fill(rows)
    prompt, chosen, _, split = rows[2]
    rows[2] = (prompt, chosen, "I will not say.", split)

    pairs, result = fill(rows)

    assert (result.cached, result.computed) == (5, 1)
    assert np.isfinite(pairs.reference).all()
    assert pq.read_metadata(result.path).num_rows == 7  # the old row stays, for the run that still has it


def test_rows_of_the_same_tokens_are_computed_once(fill: Fill) -> None:
    """Two rows of one pair under different splits: two triples to the data set, one computation."""
    (prompt, chosen, rejected, _), *_ = learnable_pairs(1, 0)
    rows = [
        (prompt, chosen, rejected, "train"),
        (prompt, rejected, chosen, "train"),
        (prompt, chosen, rejected, "test"),
    ]
    table = curated_table(rows)
    assert table["triple_id"][0] == table["triple_id"][2]

    pairs, result = fill(rows[:2])

    assert result.computed == 2
    assert pairs.reference[0].tolist() == pytest.approx(pairs.reference[1, ::-1].tolist(), abs=1e-4)


def test_another_batch_size_gives_the_same_reference(fill: Fill, tmp_path: Path) -> None:
    first, result = fill(learnable_pairs(7, 0), batch_size=1)
    kept(result).unlink()
    again, _ = fill(learnable_pairs(7, 0), batch_size=8)

    assert np.abs(first.reference - again.reference).max() < 1e-3


def test_other_weights_start_another_file(fill: Fill, model_folder: Path) -> None:
    _, first = fill(learnable_pairs(3, 0))
    other = load(model_folder, torch.device("cpu"), None)
    with torch.no_grad():
        next(other.model.parameters()).view(-1)[0] += 1e-3

    _, result = fill(learnable_pairs(3, 0), model=other)

    assert result.computed == 3
    assert result.path != first.path


def test_the_fingerprint_changes_with_each_of_its_parts(policy: Policy, model_folder: Path) -> None:
    same = load(model_folder, torch.device("cpu"), None)
    template = load(model_folder, torch.device("cpu"), None)
    template.tokenizer.chat_template += " "
    config = load(model_folder, torch.device("cpu"), None)
    config.model.config.rms_norm_eps = 1e-3
    weights = load(model_folder, torch.device("cpu"), None)
    with torch.no_grad():
        next(weights.model.parameters()).view(-1)[0] += 1e-3
    attention = load(model_folder, torch.device("cpu"), None)
    attention.model.set_attn_implementation("eager")
    half = Policy(same.model, same.tokenizer, torch.bfloat16)

    assert fingerprint(same) == fingerprint(policy)
    assert len({fingerprint(p) for p in (same, template, config, weights, attention, half)}) == 6


def test_the_fingerprint_knows_an_adapters_scale(model_folder: Path, tmp_path: Path) -> None:
    """alpha stands in adapter_config.json alone: the weights of both adapters are the same."""
    made = load(model_folder, torch.device("cpu"), None)
    train_adapter(made.model, model_folder, 4, None, "all-linear")
    prints = [fingerprint(load(model_folder, torch.device("cpu"), None))]
    for alpha in (8, 16):
        cast(LoraConfig, made.model.peft_config["default"]).lora_alpha = alpha
        made.model.save_pretrained(tmp_path / str(alpha))
        made.tokenizer.save_pretrained(tmp_path / str(alpha))
        prints.append(fingerprint(load(tmp_path / str(alpha), torch.device("cpu"), None)))

    assert len(set(prints)) == 3


def test_two_losses_are_one_reference_pass(curated: Path, model_folder: Path, tmp_path: Path) -> None:
    """Also with LD-DPO, which counts the same tokens otherwise, and on an adapter, whose reference is the model."""
    options = ["--data", str(curated), "--model", str(model_folder), "--learning-rate", "1e-4"]
    computed = []
    for i, more in enumerate(([], ["--loss", "ipo"], ["--ld-alpha", "0.5"], ["--lora-rank", "2"])):
        assert main([*options, "--output", str(tmp_path / "runs" / str(i)), *more]) == 0
        computed.append(json.loads((tmp_path / "runs" / str(i) / "manifest.json").read_text())["reference"]["computed"])

    assert computed == [36, 0, 0, 0]


def test_training_leaves_the_models_configuration_as_it_was(curated: Path, model_folder: Path, tmp_path: Path) -> None:
    """The base class sets use_cache to False: saved so, a model generates slowly and has another fingerprint."""
    policy = load(model_folder, torch.device("cpu"), None)
    before = fingerprint(policy)
    make_trainer(policy, read_with_reference(policy, curated), tmp_path / "run", order="length")

    assert policy.model.config.use_cache
    assert fingerprint(policy) == before


def kept(result: ReferenceResult) -> Path:
    """The cache file of a reference that is kept."""
    assert result.path is not None
    return result.path


def edit_cache(path: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    rows = pq.read_table(path).to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)


def test_a_cache_that_disagrees_with_the_model_ends_the_run(fill: Fill) -> None:
    _, result = fill(learnable_pairs(6, 0))

    def shift(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["chosen_logps"][0] += 1.0

    edit_cache(kept(result), shift)
    with pytest.raises(TrainingError, match=r"disagrees with the model about b2:.*Delete the file"):
        fill(learnable_pairs(6, 0))


def test_a_cache_made_with_another_mask_ends_the_run(fill: Fill) -> None:
    _, result = fill(learnable_pairs(6, 0))

    def shorten(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["rejected_logps"].pop()

    edit_cache(kept(result), shorten)
    with pytest.raises(TrainingError, match="disagrees with the model"):
        fill(learnable_pairs(6, 0))


def test_a_damaged_cache_ends_the_run(fill: Fill) -> None:
    _, result = fill(learnable_pairs(6, 0))
    content = bytearray(kept(result).read_bytes())
    content[200:232] = bytes(32)
    kept(result).write_bytes(content)

    with pytest.raises(TrainingError, match=r"is damaged .* Delete it"):
        fill(learnable_pairs(6, 0))
