"""Winnow's trainer against TRL 1.16.0's DPOTrainer: same model, same file, same batches, float32."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from datasets import load_dataset
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer as TRLTrainer

from train.dataset import PairDataset
from train.losses import Constants
from train.model import load
from train.objective import Objective
from train.trainer import DPOTrainer

from .conftest import SIGMOID, curated_table, learnable_pairs, make_trainer, read_with_reference, say

STEPS = 8
BATCH = 4
SHARED: dict[str, Any] = {
    "per_device_train_batch_size": BATCH,
    "num_train_epochs": 1,
    "learning_rate": 5e-4,
    "lr_scheduler_type": "linear",
    "warmup_steps": 0,  # with warm-up TRL's first step has rate 0; train.schedule wastes no step
    "max_grad_norm": 1.0,
    "seed": 3,
    "logging_steps": 1,
}


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """curated.parquet with the 32 training pairs of 8 steps; one prompt has a system turn, one offers tools."""
    pairs = learnable_pairs(STEPS * BATCH, 0)
    prompts = [[say("user", pair[0])] for pair in pairs]
    prompts[3] = [say("system", "You are the assistant of a phone shop."), *prompts[3]]
    tools: list[str | None] = [None] * len(pairs)
    tools[5] = '[{"type": "function", "function": {"name": "find_parcel", "parameters": {}}}]'
    table = curated_table(pairs, prompt=prompts, tools=tools)
    path = tmp_path / "curated.parquet"
    pq.write_table(table, path)
    return path


@pytest.mark.filterwarnings(  # TRL 1.16.0 still asks under the old name that transformers 5.23 renamed
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)
@pytest.mark.parametrize("precompute", [False, True], ids=["reference online", "reference precomputed"])
def test_eight_steps_have_the_losses_and_weights_of_trl(
    published: Path, model_folder: Path, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, precompute: bool
) -> None:
    ours, pairs = run_ours(published, model_folder, tmp_path / "ours")
    theirs = run_trl(published, model_folder, tokenizer, tmp_path / "trl", precompute=precompute)

    for row, example in enumerate(theirs.train_dataset):
        ids = [example["prompt_ids"], example["chosen_ids"], example["rejected_ids"]]
        assert ids == [segment.tolist() for segment in pairs[row][:3]]
    our_losses, their_losses = losses(ours), losses(theirs)
    assert len(our_losses) == STEPS
    assert our_losses == pytest.approx(their_losses, abs=1e-5)
    assert our_losses[-1] < 0.6  # both did learn
    for (name, a), b in zip(ours.policy.model.named_parameters(), theirs.model.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-5), name
    for log, their_log in zip(step_logs(ours), step_logs(theirs), strict=True):
        for metric in (
            "entropy",
            "logits/chosen",
            "logits/rejected",
            "rewards/chosen",
            "rewards/rejected",
            "rewards/margins",
            "logps/chosen",
            "logps/rejected",
        ):
            assert log[metric] == pytest.approx(their_log[metric], abs=1e-3), metric
        assert log["grad_norm"] == pytest.approx(float(their_log["grad_norm"]), rel=1e-4)


RECIPES: list[tuple[str, Objective, dict[str, Any]]] = [
    (
        "mix",
        Objective({"ipo": 1.0, "nca": 0.5}, Constants(beta=0.1)),
        {"loss_type": ["ipo", "nca_pair"], "loss_weights": [1.0, 0.5]},
    ),
    ("LD-DPO", Objective({"sigmoid": 1.0}, Constants(beta=0.1), ld_alpha=0.3), {"ld_alpha": 0.3}),
    ("WPO", Objective({"sigmoid": 1.0}, Constants(beta=0.1), wpo=True), {"use_weighting": True}),
]


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize(("objective", "theirs"), [r[1:] for r in RECIPES], ids=[r[0] for r in RECIPES])
def test_eight_steps_of_other_recipes_have_the_losses_and_weights_of_trl(
    published: Path,
    model_folder: Path,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    objective: Objective,
    theirs: dict[str, Any],
) -> None:
    ours, _ = run_ours(published, model_folder, tmp_path / "ours", objective)
    trl = run_trl(published, model_folder, tokenizer, tmp_path / "trl", precompute=False, **theirs)

    assert losses(ours) == pytest.approx(losses(trl), rel=1e-5, abs=1e-5)
    for (name, a), b in zip(ours.policy.model.named_parameters(), trl.model.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-5), name


def test_datasets_loads_what_curate_publishes(published: Path) -> None:
    loaded = load_dataset("parquet", data_files=str(published), split="train", cache_dir=str(published.parent / "hf"))

    assert len(loaded) == STEPS * BATCH
    assert loaded[0]["chosen"][0]["content"] == "Yes: open Settings, choose the router."
    assert loaded[0]["split"] == "train"


def run_ours(
    data: Path, model_folder: Path, output: Path, objective: Objective = SIGMOID
) -> tuple[DPOTrainer, PairDataset]:
    """Train 8 steps in the file's order."""
    policy = load(model_folder, torch.device("cpu"), None)
    pairs = read_with_reference(policy, data, objective.ld_alpha)
    trainer = make_trainer(policy, pairs, output, order="sequential", objective=objective, token_metrics=True, **SHARED)
    trainer.train()
    return trainer, pairs


def run_trl(
    data: Path, model_folder: Path, tokenizer: PreTrainedTokenizerFast, output: Path, *, precompute: bool, **recipe: Any
) -> Any:
    """Train the same 8 steps with TRL, on the file as it is."""
    arguments = DPOConfig(
        output_dir=str(output),
        beta=0.1,
        bf16=False,
        activation_checkpointing=False,
        max_length=None,
        train_sampling_strategy="sequential",
        precompute_ref_log_probs=precompute,
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        **SHARED,
        **recipe,
    )
    dataset = load_dataset("parquet", data_files=str(data), split="train", cache_dir=str(output / "hf"))
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    trainer = TRLTrainer(model=model, args=arguments, train_dataset=dataset, processing_class=tokenizer)
    trainer.train()
    return trainer


def step_logs(trainer: Any) -> list[dict[str, float]]:
    """What a trainer logged at each step."""
    return [log for log in trainer.state.log_history if "loss" in log]


def losses(trainer: Any) -> list[float]:
    """The loss of each step."""
    return [log["loss"] for log in step_logs(trainer)]
