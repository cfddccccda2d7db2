"""Will it fit, how long, and what would RLHF need: memory and time of a run before it starts (`--dry-run`).

Memory is counted from the model's sizes and the largest micro-batch; arithmetic exactly, over the very batches that the
first epoch has; time is that arithmetic at the rate of one micro-batch that was computed with its gradient.

With N weights of the layers, V words, H hidden units, t tokens (padding too), n response tokens, a training step costs

    6 t N      layers: forward 2, gradients of activations 2, of weights 2 (not of frozen ones); checkpointing + 2
    6 n V H    head, 8 beyond one chunk of logits, 4 where it is frozen (`train.head`)
    12 L W k   attention of L layers of width W over k pairs of query and key
"""

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import torch
from rich.table import Table
from transformers import PreTrainedModel

from train.collate import Batch
from train.logprobs import CHUNK_BYTES
from train.progress import NARRATION
from train.trainer import DPOTrainer

FLOAT: Final = 4
"""Bytes of a float32: weights, gradients, optimiser and sums."""
LAYER_HIDDEN: Final = 12
"""Vectors of H that a layer keeps per token for its backward pass: norms, queries, keys, values, outputs, residuals."""
LAYER_INNER: Final = 4
"""Vectors of the feed-forward's width that it keeps: gate, its activation, up, product."""


@dataclass(frozen=True)
class Sizes:
    """What of a model decides memory and arithmetic."""

    layers: int
    hidden: int
    inner: int
    """Width of the feed-forward part."""
    width: int
    """Attention heads times their size."""
    words: int
    matrices: int
    """Weights of the layers' matrices."""
    weights: int
    trained: int
    """Weights that are trained."""
    head_trained: bool

    @classmethod
    def of(cls, model: PreTrainedModel) -> "Sizes":
        """Return the sizes of `model`, its adapter included."""
        config = model.config.get_text_config()
        heads = config.num_attention_heads
        head = model.get_output_embeddings().weight
        ends = {id(p) for m in (model.get_input_embeddings(), model.get_output_embeddings()) for p in m.parameters()}
        return cls(
            layers=config.num_hidden_layers,
            hidden=config.hidden_size,
            inner=getattr(config, "intermediate_size", None) or 4 * config.hidden_size,
            width=heads * (getattr(config, "head_dim", None) or config.hidden_size // heads),
            words=config.vocab_size,
            matrices=sum(p.numel() for p in model.parameters() if p.ndim == 2 and id(p) not in ends),
            weights=sum(p.numel() for p in model.parameters()),
            trained=sum(p.numel() for p in model.parameters() if p.requires_grad),
            head_trained=bool(head.requires_grad),
        )


@dataclass(frozen=True)
class Work:
    """What one micro-batch computes."""

    tokens: int
    """Rows times columns, padding included."""
    responses: int
    """Response tokens: those that meet the head."""
    keys: int
    """Pairs of a query and a key that attention computes."""


def work(batch: Batch) -> Work:
    """Return the work of a laid-out micro-batch; without a mask attention skips the half that it hides."""
    rows, columns = batch["input_ids"].shape
    keys = columns * columns if "segments" in batch else columns * (columns + 1) // 2
    return Work(rows * columns, len(batch["targets"]), rows * keys)


def training_flops(sizes: Sizes, done: Work, *, checkpointing: bool = False) -> int:
    """Return the floating-point operations of forward and backward pass of a micro-batch."""
    frozen = sizes.trained < sizes.matrices
    passes = (4 if frozen else 6) + (2 if checkpointing else 0)
    within = done.responses <= max(1, CHUNK_BYTES // (FLOAT * sizes.words))
    head = 4 if not sizes.head_trained else 6 if within else 8
    attention = 12 * sizes.layers * sizes.width * done.keys
    return passes * done.tokens * sizes.matrices + head * done.responses * sizes.words * sizes.hidden + attention


def forward_flops(sizes: Sizes, done: Work) -> int:
    """Return the floating-point operations of a pass without gradients."""
    head = 2 * done.responses * sizes.words * sizes.hidden
    return 2 * done.tokens * sizes.matrices + head + 4 * sizes.layers * sizes.width * done.keys


def memory(sizes: Sizes, largest: Work, *, checkpointing: bool = False) -> dict[str, int]:
    """Return the bytes that training needs at its peak, by part; beside them come libraries and the data."""
    layer = (LAYER_HIDDEN * sizes.hidden + LAYER_INNER * sizes.inner) * largest.tokens * FLOAT
    kept = layer + sizes.layers * sizes.hidden * largest.tokens * FLOAT if checkpointing else sizes.layers * layer
    logits = min(CHUNK_BYTES, largest.responses * sizes.words * FLOAT)
    return {
        "weights": sizes.weights * FLOAT,
        "gradients": sizes.trained * FLOAT,
        "optimiser": 2 * sizes.trained * FLOAT,
        "activations": kept,
        "head": 2 * logits + 2 * largest.responses * sizes.hidden * FLOAT,
    }


def others(sizes: Sizes, parts: dict[str, int]) -> dict[str, int]:
    """Return the bytes that other ways of training this model would need at least, in all."""
    base = sum(parts.values())
    value_model = sizes.weights * FLOAT + 3 * sizes.trained * FLOAT
    return {
        "reference computed online": base + sizes.weights * FLOAT,
        "RLHF (reference, reward and value model beside the policy)": base + 2 * sizes.weights * FLOAT + value_model,
    }


def timed(trainer: DPOTrainer, batch: Batch) -> float:
    """Return the seconds of one micro-batch with its gradient, which is thrown away; the second of two passes."""
    model, seconds = trainer.policy.model, 0.0
    inputs = dict(batch.to(model.device))
    model.train()
    for _ in range(2):
        started = time.perf_counter()
        trainer.compute_loss(model, inputs).backward()
        if model.device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        model.zero_grad(set_to_none=True)
    trainer.seen.clear()
    return seconds


def plan(trainer: DPOTrainer) -> dict[str, Any]:
    """Return what the run of `trainer` needs: steps, operations, seconds, bytes; and what other ways would."""
    sizes = Sizes.of(trainer.policy.model)
    checkpointing = bool(trainer.args.activation_checkpointing)
    batches: list[Batch] = list(trainer.get_train_dataloader())
    done = [work(batch) for batch in batches]
    epochs = int(trainer.args.num_train_epochs)
    costs = [training_flops(sizes, one, checkpointing=checkpointing) for one in done]
    middle = int(np.argsort(costs)[len(costs) // 2])
    seconds = timed(trainer, batches[middle])
    held_out = sum(forward_flops(sizes, one) for one in _read_out(trainer, trainer.pairs.rows_of("validation")))
    scoring = sum(forward_flops(sizes, one) for one in _read_out(trainer, list(range(len(trainer.pairs)))))
    flops = epochs * sum(costs) + (epochs + 1) * held_out + scoring
    parts = memory(sizes, max(done, key=lambda one: one.tokens), checkpointing=checkpointing)
    rate = costs[middle] / seconds
    return {
        "steps": epochs * -(-len(done) // trainer.args.gradient_accumulation_steps),
        "flops": flops,
        "flops_per_second": round(rate),
        "seconds": round(flops / rate, 1),
        "bytes": {**parts, "total": sum(parts.values())},
        "other_ways_bytes": others(sizes, parts),
        "sizes": asdict(sizes),
    }


def _read_out(trainer: DPOTrainer, rows: list[int]) -> Iterable[Work]:
    """Yield the work of a pass over `rows` without gradients."""
    size = trainer.args.per_device_eval_batch_size
    by_length = sorted(rows, key=lambda row: -trainer.pairs.lengths[row])
    for start in range(0, len(rows), size):
        yield work(trainer.collate([trainer.pairs[row] for row in by_length[start : start + size]]))


def print_plan(found: dict[str, Any]) -> dict[str, Any]:
    """Print a plan for people and return it as the command's summary."""
    table = Table(title="What the run needs", title_justify="left", show_header=False)
    table.add_row("optimiser steps", f"{found['steps']:,}")
    table.add_row("time", f"{found['seconds']:,.0f} s at {found['flops_per_second'] / 1e9:,.1f} GFLOP/s")
    for name, size in found["bytes"].items():
        table.add_row(f"memory: {name}", f"{size / 2**20:,.1f} MiB")
    for name, size in found["other_ways_bytes"].items():
        table.add_row(name, f"{size / 2**20:,.1f} MiB")
    NARRATION.print(table)
    return {"dry_run": True, **found}
