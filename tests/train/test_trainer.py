"""The trainer's own arithmetic: normalisation, weights, order, evaluation, and the invariant before the first step."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import OPTConfig, OPTForCausalLM

from ingest.errors import TrainingError
from train.batches import EpochBatches, EpochOrder
from train.dataset import PairDataset
from train.model import Policy, load, turn_off_dropout
from train.step_zero import check_policy_is_reference

from .conftest import curated_table, learnable_pairs, make_trainer, read_with_reference


@pytest.fixture
def fresh(model_folder: Path) -> Policy:
    """A policy of one's own, to be trained."""
    return load(model_folder, torch.device("cpu"), None)


def write(path: Path, rows: Any, **columns: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    pq.write_table(curated_table(rows, **columns), path)
    return path


def one_step(model_folder: Path, data: Path, **arguments: Any) -> dict[str, torch.Tensor]:
    """The weights after one step of plain SGD on the pairs of `data`, in the file's order."""
    policy = load(model_folder, torch.device("cpu"), None)
    pairs = read_with_reference(policy, data)
    given = {
        "optim": "sgd",
        "learning_rate": 1e-2,
        "max_grad_norm": 0.0,
        "max_steps": 1,
        "lr_scheduler_type": "constant",
    }
    make_trainer(policy, pairs, data.parent, order="sequential", **{**given, **arguments}).train()
    return {name: tensor.clone() for name, tensor in policy.model.state_dict().items()}


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], tolerance: float) -> None:
    for name, tensor in a.items():
        assert torch.allclose(tensor, b[name], rtol=0, atol=tolerance), name


def test_accumulation_is_the_mean_over_all_pairs_of_the_step(model_folder: Path, tmp_path: Path) -> None:
    """5 pairs at once, or as 2 + 2 + 1: a mean of micro-batch means would give the last pair twice the weight."""
    data = write(tmp_path / "curated.parquet", learnable_pairs(5, 0))

    at_once = one_step(model_folder, data, per_device_train_batch_size=5)
    in_three = one_step(model_folder, data, per_device_train_batch_size=2, gradient_accumulation_steps=3)
    one_pair = one_step(model_folder, data, per_device_train_batch_size=1)

    assert_same(at_once, in_three, 1e-7)
    assert not torch.allclose(at_once["lm_head.weight"], one_pair["lm_head.weight"], rtol=0, atol=1e-5)


def test_weight_two_is_the_pair_twice(model_folder: Path, tmp_path: Path) -> None:
    """Weights 2, 1 become 4/3, 2/3: the loss is (4/3 a + 2/3 b) / 2 = (2a + b) / 3, the mean of a, a, b."""
    a, b = learnable_pairs(2, 0)
    weighted = write(tmp_path / "w" / "curated.parquet", [a, b], weight=[2.0, 1.0])
    twice = write(tmp_path / "t" / "curated.parquet", [a, a, b], triple_id=["1", "2", "3"])

    assert_same(
        one_step(model_folder, weighted, per_device_train_batch_size=2),
        one_step(model_folder, twice, per_device_train_batch_size=3),
        1e-7,
    )


def test_evaluation_is_the_same_whatever_the_batch_size(fresh: Policy, curated: Path, tmp_path: Path) -> None:
    pairs = read_with_reference(fresh, curated)
    with torch.no_grad():  # a policy that is no longer the reference, so that the metrics are not all zero
        for parameter in fresh.model.parameters():
            parameter.mul_(1.01)
    found = [
        make_trainer(fresh, pairs, tmp_path, order="length", per_device_eval_batch_size=size).evaluate()
        for size in (1, 3, 8)
    ]

    assert set(found[0]) == {
        "eval_loss", "eval_rewards/chosen", "eval_rewards/rejected", "eval_rewards/margins", "eval_rewards/accuracies",
        "eval_logps/chosen", "eval_logps/rejected", "eval_loss_low", "eval_loss_high", "eval_rewards/accuracies_low",
        "eval_rewards/accuracies_high",
    }  # fmt: skip
    assert found[0]["eval_loss_low"] <= found[0]["eval_loss"] <= found[0]["eval_loss_high"]
    assert found[0] == pytest.approx(found[1], abs=1e-5)
    assert found[0] == pytest.approx(found[2], abs=1e-5)
    assert found[0]["eval_rewards/margins"] != 0


def test_read_out_is_in_the_order_asked_for(policy: Policy, curated: Path, tmp_path: Path) -> None:
    pairs = read_with_reference(policy, curated)
    trainer = make_trainer(policy, pairs, tmp_path, order="length")

    found = trainer.read_out([5, 0, 35])

    assert found.chosen == pytest.approx(pairs.reference[[5, 0, 35], 0], abs=1e-4)
    assert found.reference_rejected.tolist() == pairs.reference[[5, 0, 35], 1].tolist()


def test_sequential_order_is_the_files() -> None:
    assert list(EpochOrder(np.array([3, 1, 2]), 2, "sequential", seed=0)) == [0, 1, 2]


@pytest.mark.parametrize("order", ["length", "shuffled"])
def test_every_epoch_has_every_pair_once_in_an_order_of_its_own(order: Any) -> None:
    lengths = np.random.default_rng(0).integers(5, 100, size=203)
    made = EpochOrder(lengths, 8, order, seed=4)
    epochs = []
    for epoch in range(2):
        made.set_epoch(epoch)
        epochs.append(list(made))
        assert list(made) == epochs[-1]  # a function of seed and epoch alone

    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(203))
    assert epochs[0] != epochs[1]
    assert epochs[0] != list(EpochOrder(lengths, 8, order, seed=5))


def test_processes_share_the_batches_of_one_process() -> None:
    """7 pairs, batches of 2: one process does 01 23 45 6, the first of two 01 45, the second 23 6; both count 2."""
    order = EpochOrder(np.ones(7), 2, "sequential", seed=0)

    assert list(EpochBatches(order, 0, 1)) == [[0, 1], [2, 3], [4, 5], [6]]
    assert list(EpochBatches(order, 0, 2)) == [[0, 1], [4, 5]]
    assert list(EpochBatches(order, 1, 2)) == [[2, 3], [6]]
    assert list(EpochBatches(order, 2, 3)) == [[4, 5]]
    assert [len(EpochBatches(order, rank, 3)) for rank in range(3)] == [2, 2, 2]


def padding(lengths: np.ndarray, rows: list[int]) -> float:
    """The padded positions of batches of 8, in parts of the real ones."""
    batches = [lengths[rows[i : i + 8]] for i in range(0, len(rows), 8)]
    return float(sum(len(batch) * batch.max() for batch in batches) / lengths.sum()) - 1


def test_batches_of_like_length_have_little_padding() -> None:
    lengths = np.random.default_rng(0).integers(5, 100, size=800)

    by_length = padding(lengths, list(EpochOrder(lengths, 8, "length", seed=0)))
    shuffled = padding(lengths, list(EpochOrder(lengths, 8, "shuffled", seed=0)))

    assert by_length < 0.05
    assert shuffled > 0.5


def test_dropout_is_off_in_training_mode(model_folder: Path) -> None:
    """Attention dropout is a number that the attention layers keep, not a module."""
    policy = load(model_folder, torch.device("cpu"), None)
    for module in policy.model.modules():
        if hasattr(module, "attention_dropout"):
            vars(module)["attention_dropout"] = 0.5
    ids = torch.arange(12)[None]
    policy.model.train()
    noisy = [policy.model(input_ids=ids).logits for _ in range(2)]
    turn_off_dropout(policy.model)
    still = [policy.model(input_ids=ids).logits for _ in range(2)]

    assert not torch.equal(noisy[0], noisy[1])
    assert torch.equal(still[0], still[1])


def test_a_loss_that_is_not_finite_ends_the_run(fresh: Policy, curated: Path, tmp_path: Path) -> None:
    pairs = read_with_reference(fresh, curated)
    pairs.reference[:] = np.nan

    with pytest.raises(TrainingError, match=r"^loss is nan at step 1, so"):
        make_trainer(fresh, pairs, tmp_path, order="length", logging_steps=1, logging_nan_inf_filter=False).train()


@pytest.mark.parametrize("name", ["grad_norm", "eval_loss"])
def test_any_logged_value_that_is_not_finite_ends_the_run(
    policy: Policy, curated: Path, tmp_path: Path, name: str
) -> None:
    trainer = make_trainer(policy, read_with_reference(policy, curated), tmp_path, order="length")

    with pytest.raises(TrainingError, match=f"^{name} is inf at step 0, so"):
        trainer.log({"learning_rate": 1.0, name: float("inf")})


def test_dropout_of_layers_is_turned_off() -> None:
    size: dict[str, Any] = {"ffn_dim": 16, "num_attention_heads": 2, "max_position_embeddings": 16}
    model = OPTForCausalLM(OPTConfig(vocab_size=20, hidden_size=8, word_embed_proj_dim=8, layerdrop=0.5, **size))
    turn_off_dropout(model)

    assert model.model.decoder.layerdrop == 0.0


def test_dropout_that_is_still_on_is_caught_before_the_first_step(fresh: Policy, curated: Path, tmp_path: Path) -> None:
    pairs = read_with_reference(fresh, curated)
    for module in fresh.model.modules():
        if hasattr(module, "attention_dropout"):
            vars(module)["attention_dropout"] = 0.5

    with pytest.raises(TrainingError, match="they differ in training mode by"):
        check_policy_is_reference(make_trainer(fresh, pairs, tmp_path, order="length"), pairs)


@pytest.fixture
def start(policy: Policy, curated: Path) -> PairDataset:
    return read_with_reference(policy, curated)


def test_at_step_zero_the_loss_is_ln_2(policy: Policy, start: PairDataset, tmp_path: Path) -> None:
    """24 training pairs are fewer than the 32 that are sampled; with 7 and 5 held out, all 36 are checked."""
    found = check_policy_is_reference(make_trainer(policy, start, tmp_path, order="length"), start)

    assert found.rows == 36
    assert found.loss == pytest.approx(0.693147, abs=1e-5)
    assert found.largest_gap < 1e-4


def test_another_models_reference_is_caught(policy: Policy, start: PairDataset, tmp_path: Path) -> None:
    other = Policy(copy.deepcopy(policy.model), policy.tokenizer, None)
    with torch.no_grad():
        other.model.get_output_embeddings().weight.mul_(1.05)

    with pytest.raises(TrainingError, match=r"the policy must be the reference, but on b2:\w+ they differ by"):
        check_policy_is_reference(make_trainer(other, start, tmp_path, order="length"), start)


def test_one_wrong_held_out_row_is_caught_and_named(policy: Policy, start: PairDataset, tmp_path: Path) -> None:
    start.reference[33, 0] -= 0.1

    with pytest.raises(TrainingError, match=f"but on {start.ids[33]} they differ by 0.1 nats"):
        check_policy_is_reference(make_trainer(policy, start, tmp_path, order="length"), start)


def test_a_reference_that_was_never_filled_in_is_caught(policy: Policy, start: PairDataset, tmp_path: Path) -> None:
    start.reference[:] = np.nan

    with pytest.raises(TrainingError, match="they differ by inf nats"):
        check_policy_is_reference(make_trainer(policy, start, tmp_path, order="length"), start)
