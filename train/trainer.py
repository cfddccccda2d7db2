"""DPO as a thin subclass of transformers.Trainer: the loss, its normalisation, the order of pairs, exact evaluation.

The optimiser, schedule, clipping, loop, callbacks and devices are the base class's own.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.utils.data import Subset
from transformers import SchedulerType, TrainingArguments

from ingest.errors import TrainingError
from train import processes
from train.batches import EpochBatches, EpochLoader, EpochOrder
from train.budget import BudgetBatches
from train.collate import Batch, Collator
from train.config import OnDrift, Order
from train.dataset import Pair, PairDataset
from train.drift import drift, guard
from train.head import TokenValues
from train.logprobs import response_values, row_logps, sequence_logps
from train.losses import Terms
from train.metrics import ReadOut, bootstrap_interval, preferences, training_log
from train.model import Policy
from train.objective import Objective
from train.resumable import ResumableTrainer
from train.schedule import rate
from train.sharded import clip
from train.tails import tail_factors, weighted_sums
from train.token_metrics import TOKEN_METRICS, token_means, token_sums
from train.wpo import wpo_weights


class DPOTrainer(ResumableTrainer):
    """Trains `policy` on the training pairs of `pairs` whose reference log-probabilities are filled in."""

    # compute_loss divides by the pairs of the whole accumulation window, so the base class must not divide again: the
    # mean of micro-batch means is another number whenever the last micro-batch is smaller.
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        policy: Policy,
        pairs: PairDataset,
        arguments: TrainingArguments,
        *,
        objective: Objective,
        order: Order,
        token_metrics: bool = False,
        batch_tokens: int | None = None,
        on_drift: OnDrift = "warn",
    ) -> None:
        self.on_drift: OnDrift = on_drift
        self.drifted: set[str] = set()
        self.policy, self.pairs, self.order = policy, pairs, order
        self.objective: Objective = objective
        self.collate = Collator(policy.padding_id, policy.sharing)
        self.seen = []
        self.token_metrics, self.batch_tokens = token_metrics, batch_tokens
        validation = pairs.rows_of("validation")
        uses_cache = policy.model.config.use_cache
        super().__init__(
            model=policy.model,
            args=arguments,
            data_collator=self.collate,
            train_dataset=Subset(pairs, pairs.rows_of("train")),
            eval_dataset=Subset(pairs, validation) if validation else None,
        )
        # The base class turns it off; saved so, the trained model would generate without a cache.
        policy.model.config.use_cache = uses_cache

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
        """Return this process's micro-batches of one optimiser step, and how many pairs all processes have in it."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        pairs = processes.total(sum(len(batch["weight"]) for batch in batches), device)
        return batches + [self._counts_nothing()] * (num_batches - len(batches)), pairs

    def _counts_nothing(self) -> Batch:
        """Return a micro-batch of weight 0, for a process that has none left while others have: all must do as many."""
        batch = self.collate([self.pairs[self.pairs.rows_of("train")[0]]])
        batch["weight"] = torch.zeros_like(batch["weight"])
        batch["counts_nothing"] = torch.tensor(True)
        return batch

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
        found = self._values(inputs)
        per_token, weight = found.logps, inputs["weight"]
        if found.collision is not None:
            weight = weight * wpo_weights(per_token.detach(), found.collision, inputs)
        if self.objective.ld_alpha != 1.0:
            per_token = per_token * tail_factors(inputs, self.objective.ld_alpha)
        chosen, rejected = sequence_logps(per_token, inputs).chunk(2)
        reference = (inputs["reference_chosen"], inputs["reference_rejected"])
        w, l = inputs["response_lengths"].chunk(2)  # noqa: E741  as in train.losses
        terms = Terms(chosen, rejected, *reference, w, l, inputs["noise"], inputs["margin"])
        # Gradients are averaged over processes.
        pairs = (num_items_in_batch or len(chosen)) / processes.count()
        loss = (weight * self.objective.per_pair(terms)).sum() / pairs
        if "counts_nothing" not in inputs:
            # Kept on the device: fetching them here would make a GPU wait for every micro-batch.
            lengths = (n.to(chosen.dtype) for n in (w, l))
            columns = torch.stack([chosen.detach(), rejected.detach(), *reference, *lengths])
            self.seen.append(torch.cat([columns, token_sums(found, inputs)]) if self.token_metrics else columns)
        return (loss, {}) if return_outputs else loss

    def _values(self, inputs: Mapping[str, torch.Tensor]) -> TokenValues:
        """Return log pi of each response token, and what the loss and the log need beside it."""
        extras = ("collision",) * self.objective.wpo + TOKEN_METRICS * self.token_metrics
        return response_values(self.policy.model, inputs, extras=extras, autocast=self.policy.autocast)

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        """Scale gradients down to --max-grad-norm and return their norm before, of all processes' parts."""
        if processes.count() == 1:
            return super()._clip_grad_norm(model)
        return clip(list(model.parameters()), self.args.max_grad_norm)

    @contextmanager
    def _defer_fsdp_gradient_reduction(self) -> Iterator[None]:
        """Defer nothing: gradients of the whole model would stay in each process until the last micro-batch."""
        yield

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the metrics of all pairs since the last log. Raises TrainingError when a value is not finite."""
        when = f"at step {self.state.global_step}"
        refuse_not_finite(logs, when)
        if "loss" in logs:
            columns, beta = self.all_columns(), self.objective.beta
            read_out = ReadOut(*columns[:4])
            logs.update(training_log(read_out, beta))
            if self.token_metrics:
                logs.update(token_means(columns[6:]))
            self.seen.clear()
            refuse_not_finite(logs, when)
            logs.update(drift(read_out, columns[4:6], beta))
        super().log(logs, start_time)
        if "drift/k3" in logs:
            guard(logs, self.state.global_step, self.on_drift, self.drifted)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Log and return the exact means over the validation pairs, whatever the batch size."""
        rows = self.pairs.rows_of("validation")
        read_out = self.read_out(rows)
        refuse_not_finite(vars(read_out), f"among the log-probabilities of validation at step {self.state.global_step}")
        loss, _ = self.objective.of_rows(self.pairs, rows, read_out)
        metrics = {"loss": float(loss.mean()), **training_log(read_out, self.objective.beta)}
        right = preferences(read_out.margins(self.objective.beta))
        prompts = [self.pairs.prompt_key(row) for row in rows]
        for name, values in (("loss", loss), ("rewards/accuracies", right)):
            low, high = bootstrap_interval(values, prompts, self.args.seed)
            metrics |= {f"{name}_low": low, f"{name}_high": high}
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

    def batches(self, rank: int = 0, count: int = 1) -> EpochBatches | BudgetBatches:
        """Return the micro-batches of process `rank` of `count`, as places among the training pairs."""
        rows, seed = self.pairs.rows_of("train"), self.args.seed
        if self.batch_tokens is not None:
            lengths = self.pairs.segment_lengths[rows]
            return BudgetBatches(lengths, self.batch_tokens, self.collate.sharing, seed, rank, count)
        order = EpochOrder(self.pairs.lengths[rows], self.args.per_device_train_batch_size, self.order, seed)
        return EpochBatches(order, rank, count)

    def get_train_dataloader(self) -> EpochLoader:
        """Return the loader of this process's micro-batches (`train.batches`); the base class would pad uneven ones."""
        return EpochLoader(
            cast(Subset[Pair], self.train_dataset),
            batch_sampler=self.batches(processes.rank(), processes.count()),
            collate_fn=self.collate,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )


def refuse_not_finite(values: Mapping[str, object], when: str) -> None:
    """Raise TrainingError when one of `values`, numbers or arrays of them, is NaN or infinite."""
    for name, value in values.items():
        if isinstance(value, float | np.ndarray) and not np.isfinite(value).all():
            found = value if isinstance(value, float) else value[~np.isfinite(value)][0]
            raise TrainingError(
                f"{name} is {found} {when}, so the model is not usable. "
                "Lower --learning-rate, or look for NaN in the model's weights."
            )
