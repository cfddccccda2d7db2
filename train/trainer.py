"""DPO as a thin subclass of transformers.Trainer: the loss, its normalisation, the order of pairs, exact evaluation.

The optimiser, schedule, clipping, loop, callbacks and devices are the base class's own.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, cast

import numpy as np
import torch
from torch import nn
from torch.utils.data import Sampler, Subset
from transformers import SchedulerType, Trainer, TrainingArguments

from ingest.errors import TrainingError
from train.collate import Batch, Collator
from train.config import Order
from train.dataset import PairDataset
from train.logprobs import row_logps, sequence_logps, token_logps, token_logps_and_collisions
from train.losses import Terms
from train.metrics import ReadOut, training_log
from train.model import Policy
from train.objective import Objective
from train.schedule import rate
from train.tails import tail_factors, weighted_sums
from train.wpo import wpo_weights

BUCKET_BATCHES: Final = 32
"""Batches whose pairs are sorted by length together under `order="length"`."""


class EpochOrder(Sampler[int]):
    """Order of training pairs in each epoch, a function of seed and epoch alone."""

    def __init__(self, lengths: np.ndarray, batch_size: int, order: Order, seed: int) -> None:
        """Order N pairs of `lengths` (N,) tokens that will be cut into batches of `batch_size` in turn."""
        self.lengths, self.batch_size, self.order, self.seed = lengths, batch_size, order, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rows = np.arange(len(self.lengths))
        if self.order != "sequential":
            rows = np.random.default_rng([self.seed, self.epoch]).permutation(rows)
        if self.order == "length":
            rows = self._in_buckets(rows)
        yield from rows.tolist()

    def _in_buckets(self, rows: np.ndarray) -> np.ndarray:
        """Sort each run of BUCKET_BATCHES batches by length, then shuffle the batches; a short one stays last."""
        width = self.batch_size * BUCKET_BATCHES
        runs = [rows[i : i + width] for i in range(0, len(rows), width)]
        ordered = np.concatenate([run[np.argsort(-self.lengths[run], kind="stable")] for run in runs])
        full = len(rows) // self.batch_size * self.batch_size
        batches = ordered[:full].reshape(-1, self.batch_size)
        shuffled = np.random.default_rng([self.seed, self.epoch, 1]).permutation(batches)
        return np.concatenate([shuffled.reshape(-1), ordered[full:]])


class DPOTrainer(Trainer):
    """Trains `policy` on the training pairs of `pairs` whose reference log-probabilities are filled in."""

    # compute_loss divides by the pairs of the whole accumulation window, so the base class must not divide again: the
    # mean of micro-batch means is another number whenever the last micro-batch is smaller.
    loss_is_scaled_for_ga = True

    def __init__(
        self, policy: Policy, pairs: PairDataset, arguments: TrainingArguments, *, objective: Objective, order: Order
    ) -> None:
        self.policy, self.pairs, self.order = policy, pairs, order
        self.objective: Objective = objective
        self.collate = Collator(policy.padding_id)
        self.seen: list[ReadOut] = []
        validation = pairs.rows_of("validation")
        super().__init__(
            model=policy.model,
            args=arguments,
            data_collator=self.collate,
            train_dataset=Subset(pairs, pairs.rows_of("train")),
            eval_dataset=Subset(pairs, validation) if validation else None,
        )

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """Return `train.schedule`; the base class's warm-up starts at 0, so that its first step trains nothing."""
        share = rate(SchedulerType(self.args.lr_scheduler_type).value, self.args.warmup_steps, num_training_steps)
        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
            cast(torch.optim.Optimizer, optimizer or self.optimizer), share
        )
        return self.lr_scheduler

    def get_batch_samples(
        self, epoch_iterator: Iterator[Batch], num_batches: int, device: torch.device
    ) -> tuple[list[Batch], int]:
        """Return the micro-batches of one optimiser step and how many pairs they hold."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        return batches, sum(len(batch["weight"]) for batch in batches)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Return the sum of weight * loss over the micro-batch's pairs / pairs in the step; scalar.

        Weights have mean 1 over the training pairs, so this is the mean loss when all are equal.
        """
        mask = inputs["response_mask"]
        per_token, weight = self._per_token(inputs)
        per_token = per_token * tail_factors(mask, self.objective.ld_alpha)
        chosen, rejected = sequence_logps(per_token, mask).chunk(2)
        reference = (inputs["reference_chosen"], inputs["reference_rejected"])
        w, l = mask.sum(dim=1).chunk(2)  # noqa: E741  as in train.losses
        terms = Terms(chosen, rejected, *reference, w, l, inputs["noise"], inputs["margin"])
        loss = (weight * self.objective.per_pair(terms)).sum() / (num_items_in_batch or len(chosen))
        values = (chosen.detach(), rejected.detach(), *reference)
        self.seen.append(ReadOut(*(value.double().cpu().numpy() for value in values)))
        return (loss, {}) if return_outputs else loss

    def _per_token(self, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return log pi of each response token, and each pair's weight: its own, times WPO's if asked for."""
        model, autocast = self.policy.model, self.policy.autocast
        if not self.objective.wpo:
            return token_logps(model, inputs, autocast=autocast), inputs["weight"]
        per_token, collisions = token_logps_and_collisions(model, inputs, autocast=autocast)
        return per_token, inputs["weight"] * wpo_weights(per_token.detach(), collisions, inputs["response_mask"])

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the metrics of all pairs since the last log. Raises TrainingError when a value is not finite."""
        when = f"at step {self.state.global_step}"
        refuse_not_finite(logs, when)
        if "loss" in logs and self.seen:
            columns = zip(*(vars(seen).values() for seen in self.seen), strict=True)
            logs.update(training_log(ReadOut(*(np.concatenate(column) for column in columns)), self.objective.beta))
            self.seen.clear()
            refuse_not_finite(logs, when)
        super().log(logs, start_time)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Log and return the exact means over the validation pairs, whatever the batch size."""
        rows = self.pairs.rows_of("validation")
        read_out = self.read_out(rows)
        refuse_not_finite(vars(read_out), f"among the log-probabilities of validation at step {self.state.global_step}")
        loss, _ = self.objective.of_rows(self.pairs, rows, read_out)
        metrics = {"loss": float(loss.mean()), **training_log(read_out, self.objective.beta)}
        logged = {f"{metric_key_prefix}_{name}": value for name, value in metrics.items()}
        self.log(dict(logged))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, logged)
        return logged

    def read_out(
        self, rows: list[int], on_rows: Callable[[int], None] = lambda _: None, *, training: bool = False
    ) -> ReadOut:
        """Return the policy's and the reference's log-probabilities of `rows`, in that order.

        With `training` the policy is in training mode, still without gradients.
        """
        place = {row: i for i, row in enumerate(rows)}
        policy = np.full((len(rows), 2), np.nan)
        size = self.args.per_device_eval_batch_size
        autocast = self.policy.autocast
        done = row_logps(
            self.policy.model, self.pairs, rows, self.collate, batch_size=size, autocast=autocast, training=training
        )
        for row, chosen, rejected in done:
            policy[place[row]] = weighted_sums(chosen, rejected, self.objective.ld_alpha)
            on_rows(1)
        return ReadOut(policy[:, 0], policy[:, 1], *self.pairs.reference[rows].T)

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochOrder:
        """Return the order of training pairs (the base class's hook for it)."""
        lengths = self.pairs.lengths[self.pairs.rows_of("train")]
        return EpochOrder(lengths, self.args.per_device_train_batch_size, self.order, self.args.seed)


def refuse_not_finite(values: Mapping[str, object], when: str) -> None:
    """Raise TrainingError when one of `values`, numbers or arrays of them, is NaN or infinite."""
    for name, value in values.items():
        if isinstance(value, float | np.ndarray) and not np.isfinite(value).all():
            found = value if isinstance(value, float) else value[~np.isfinite(value)][0]
            raise TrainingError(
                f"{name} is {found} {when}, so the model is not usable. "
                "Lower --learning-rate, or look for NaN in the model's weights."
            )
