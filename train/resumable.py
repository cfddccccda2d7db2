"""What transformers.Trainer saves and restores, replaced by `train.checkpoint`: exact, without pickle.

Beyond what the base class restores (weights, optimiser, scheduler, generators, position in the data), the losses and
log-probabilities since the last log are kept, so that metrics.jsonl of a resumed run is that of one never interrupted.
"""

import random
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from train import checkpoint, processes
from train.checkpoint import Checkpoint, Tensors
from train.metrics import Floats
from train.sharded import part_of, whole
from train.token_metrics import TOKEN_COLUMNS


class ResumableTrainer(Trainer):
    """A trainer whose run can be killed at any point, and goes on from its last checkpoint as if nothing had been."""

    seen: list[torch.Tensor]
    """Of each of this process's micro-batches since the last log, (6, pairs): the columns of a ReadOut, tokens of
    chosen and of rejected. With `token_metrics` (12, pairs): those of `train.token_metrics` too."""
    token_metrics: bool = False
    metrics_file: Path | None = None
    """Its length is kept, so that lines after the checkpoint can be taken away."""

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Write a checkpoint; every process gathers, the first writes."""
        self.store_flos()
        made = Checkpoint(self._weights(), self._optimizer_tensors(), self._progress(), self._numbers())
        if processes.is_first():
            folder = Path(cast(str, self.args.output_dir))
            checkpoint.write(folder, self.state.global_step, made, self.state.save_to_json)
        processes.wait()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """Give the model the checkpoint's weights."""
        self._resumed = checkpoint.read(Path(resume_from_checkpoint))
        with torch.no_grad():
            for name, parameter in self._trained().items():
                parameter.copy_(part_of(self._resumed.weights[name], parameter))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Give optimiser and scheduler the checkpoint's state."""
        if checkpoint is None:
            return
        trained, names = self._trained(), self._names_in_order()
        state: dict[int, dict[str, Any]] = {}
        for key, value in self._resumed.optimizer.items():
            name, _, what = key.rpartition("/")
            placed = value if value.dim() == 0 else part_of(value, trained[name])
            state.setdefault(names.index(name), {})[what] = placed
        optimizer, scheduler = self._made()
        groups = optimizer.state_dict()["param_groups"]
        for group, saved in zip(groups, self._resumed.numbers["groups"], strict=True):
            group.update({key: tuple(value) if isinstance(value, list) else value for key, value in saved.items()})
        optimizer.load_state_dict({"state": state, "param_groups": groups})
        scheduler.load_state_dict(self._resumed.numbers["scheduler"])

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Set the generators; the base class calls this after the first batch is drawn, which uses them."""
        if checkpoint is None:
            return
        numbers, tensors = self._resumed.numbers, self._resumed.progress
        version, internal, gauss = numbers["python"]
        random.setstate((version, tuple(internal), gauss))
        kind, keys, *rest = numbers["numpy"]
        np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
        torch.set_rng_state(tensors["torch"])
        if "cuda" in tensors:
            torch.cuda.set_rng_state(tensors["cuda"])

    def restore_progress(self) -> None:
        """Take up the sums since the last log where the checkpoint left them; the base class starts them at 0."""
        numbers, tensors = self._resumed.numbers, self._resumed.progress
        self._tr_loss = tensors["loss"][processes.rank()].to(self.args.device)
        self._total_loss_scalar = numbers["total_loss"]
        self._globalstep_last_logged = numbers["last_logged"]
        self._initial_global_step = 0
        if processes.is_first() and tensors["seen"].numel():
            self.seen = [tensors["seen"].to(self.args.device)]

    def all_columns(self) -> Floats:
        """Return the columns of every process since the last log, (6 or 12, pairs)."""
        columns: Floats = self._seen().cpu().numpy()
        return columns

    def _seen(self) -> torch.Tensor:
        rows = 6 + TOKEN_COLUMNS * self.token_metrics
        none = torch.empty(rows, 0, dtype=torch.float64, device=self.args.device)
        own = torch.cat(self.seen, dim=1) if self.seen else none
        return processes.gather_rows(own.T.contiguous()).T

    def _trained(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in cast(nn.Module, self.model).named_parameters() if p.requires_grad}

    def _made(self) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """Return optimiser and scheduler, which the base class has made before it loads or saves them."""
        assert self.optimizer is not None
        assert self.lr_scheduler is not None
        return self.optimizer, self.lr_scheduler

    def _names_in_order(self) -> list[str]:
        """Return the names of the optimiser's parameters, in the order in which its state numbers them."""
        names = {id(parameter): name for name, parameter in self._trained().items()}
        return [names[id(p)] for group in self._made()[0].param_groups for p in group["params"]]

    def _weights(self) -> Tensors:
        return {name: whole(parameter) for name, parameter in self._trained().items()}

    def _optimizer_tensors(self) -> Tensors:
        names = self._names_in_order()
        state = self._made()[0].state_dict()["state"]
        return {f"{names[i]}/{key}": whole(value) for i, values in state.items() for key, value in values.items()}

    def _progress(self) -> Tensors:
        losses = processes.gather(self._tr_loss[None], [1] * processes.count())
        tensors = {"torch": torch.get_rng_state(), "loss": torch.cat(losses).cpu()}
        tensors["seen"] = self._seen().cpu().clone().contiguous()
        if self.args.device.type == "cuda":
            tensors["cuda"] = torch.cuda.get_rng_state()
        return tensors

    def _numbers(self) -> dict[str, Any]:
        kind, keys, *rest = np.random.get_state()
        optimizer, scheduler = self._made()
        groups = optimizer.state_dict()["param_groups"]
        return {
            "scheduler": scheduler.state_dict(),
            "groups": [{key: value for key, value in group.items() if key != "params"} for group in groups],
            "python": random.getstate(),
            "numpy": [kind, np.asarray(keys).tolist(), *rest],
            "total_loss": self._total_loss_scalar,
            "last_logged": self._globalstep_last_logged,
            "metrics_bytes": self.metrics_file.stat().st_size if self.metrics_file is not None else 0,
        }


class CheckpointEvery(TrainerCallback):
    """Has a checkpoint written every so many steps, and after the last one.

    One that is due at the end of an epoch waits for the epoch's evaluation, which a resumed run would not repeat.
    """

    def __init__(self, trainer: ResumableTrainer, every: int) -> None:
        self.trainer, self.every, self.last = trainer, every, 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Go on counting where the checkpoint was written."""
        self.last = state.global_step
        if state.global_step:
            self.trainer.restore_progress()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Ask for a checkpoint when one is due within an epoch."""
        within = state.epoch is not None and not float(state.epoch).is_integer()
        control.should_save = within and state.global_step - self.last >= self.every

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Ask for a checkpoint when one is due, or the run is at its end."""
        due = state.global_step - self.last >= self.every
        control.should_save = due or state.global_step >= state.max_steps

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Remember when."""
        self.last = state.global_step
