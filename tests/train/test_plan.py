"""What a run needs: operations counted by hand, memory against what a step keeps, and that nothing is written."""

import json
from pathlib import Path

import pytest
import torch

from train.dpo import main
from train.model import load
from train.plan import Sizes, Work, forward_flops, memory, others, training_flops, work

from .conftest import make_trainer, read_with_reference


def test_operations_by_hand() -> None:
    """One layer of 10 weights, 3 words, H = 2, width 2; 5 tokens, 4 of responses, 15 pairs of query and key.

    Training 6 * 5 * 10 + 6 * 4 * 3 * 2 + 12 * 1 * 2 * 15 = 300 + 144 + 360; forward alone a third of it. With frozen
    weights 4 * 50 + 4 * 24 + 360 = 656; with checkpointing 2 * 50 more.
    """
    sizes = Sizes(1, 2, 4, 2, 3, matrices=10, weights=16, trained=16, head_trained=True)
    frozen = Sizes(1, 2, 4, 2, 3, matrices=10, weights=16, trained=4, head_trained=False)
    done = Work(tokens=5, responses=4, keys=15)

    assert training_flops(sizes, done) == 804
    assert forward_flops(sizes, done) == 268
    assert training_flops(frozen, done) == 656
    assert training_flops(sizes, done, checkpointing=True) == 904


def test_memory_is_what_a_step_really_keeps(model_folder: Path, curated: Path, tmp_path: Path) -> None:
    """Weights, gradients and optimiser exactly; activations within a factor of 2 of the tensors kept for backward."""
    policy = load(model_folder, torch.device("cpu"), None)
    trainer = make_trainer(policy, read_with_reference(policy, curated), tmp_path / "run", order="length")
    batch = next(iter(trainer.get_train_dataloader()))
    parts = memory(Sizes.of(policy.model), work(batch))
    kept: dict[int, int] = {}
    weights = {p.untyped_storage().data_ptr() for p in policy.model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    policy.model.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = trainer.compute_loss(policy.model, dict(batch))
    loss.backward()
    optimizer = torch.optim.AdamW(policy.model.parameters())
    optimizer.step()
    states = [t for state in optimizer.state.values() for name, t in state.items() if name != "step"]

    assert parts["weights"] == sum(p.nbytes for p in policy.model.parameters())
    assert parts["gradients"] == sum(p.grad.nbytes for p in policy.model.parameters() if p.grad is not None)
    assert parts["optimiser"] == sum(t.nbytes for t in states)
    assert 0.5 < (parts["activations"] + parts["head"]) / sum(kept.values()) < 2


def test_other_ways_need_more() -> None:
    """16 weights, all trained: an online reference is 64 bytes more; RLHF 2 * 64 + 64 + 3 * 64 = 384 more."""
    sizes = Sizes(1, 2, 4, 2, 3, matrices=10, weights=16, trained=16, head_trained=True)

    assert list(others(sizes, {"all": 1000}).values()) == [1064, 1384]


def test_a_dry_run_trains_nothing_and_writes_nothing(
    curated: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(curated), "--model", str(model_folder), "--output", str(tmp_path / "run"), "--dry-run"]

    assert main([*options, "--batch-size", "4", "--gradient-accumulation", "2", "--epochs", "3"]) == 0

    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["dry_run"] is True
    assert found["steps"] == 3 * 3  # 24 pairs, 8 a step, three times
    assert found["seconds"] > 0
    assert found["bytes"]["total"] == sum(size for name, size in found["bytes"].items() if name != "total")
    assert "What the run needs" in err
    assert not (tmp_path / "run").exists()
    assert main([*options, "--resume"]) == 2
