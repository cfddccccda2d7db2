"""The processes of one run: one, or several that `torchrun` started, each with a share of the weights and of the pairs.

The first process alone writes files and speaks. All functions work with one process too, and then do nothing; those
that gather must be called by every process at the same place.
"""

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import torch
import torch.distributed as dist

TIMEOUT: Final = timedelta(hours=2)
"""How long one process waits for the others: as long as the first may take to write what it alone writes."""


def expected() -> int:
    """Return how many processes `torchrun` started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def count() -> int:
    """Return how many processes take part in the run."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return which of them this one is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_first() -> bool:
    """Return whether this process writes the run's files."""
    return rank() == 0


def start(device: torch.device) -> torch.device:
    """Join the other processes, and return the device of this one: with GPUs, each process has its own."""
    if expected() == 1:
        return device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    return device


def stop() -> None:
    """Leave the other processes."""
    if dist.is_initialized():
        dist.destroy_process_group()


def total(number: int, device: torch.device) -> int:
    """Return the sum of every process's `number`."""
    if count() == 1:
        return number
    summed = torch.tensor(number, device=device)
    dist.all_reduce(summed)
    return int(summed)


def gather(values: torch.Tensor, lengths: Sequence[int]) -> list[torch.Tensor]:
    """Return the `values` of every process, process r's of shape (lengths[r], ...); they may have different lengths."""
    if count() == 1:
        return [values]
    room = values.new_zeros(max(lengths), *values.shape[1:])
    room[: len(values)] = values
    gathered = [torch.empty_like(room) for _ in lengths]
    dist.all_gather(gathered, room)
    return [part[:length] for part, length in zip(gathered, lengths, strict=True)]


def gather_rows(rows: torch.Tensor) -> torch.Tensor:
    """Return the `rows` of every process, in the order of processes."""
    if count() == 1:
        return rows
    lengths = gather(torch.tensor([len(rows)], device=rows.device), [1] * count())
    return torch.cat(gather(rows, [int(length) for length in lengths]))


def wait() -> None:
    """Wait until every process is here."""
    if count() > 1:
        dist.barrier()


def from_first(text: str) -> str:
    """Return the first process's `text`."""
    if count() == 1:
        return text
    told: list[object] = [text]
    dist.broadcast_object_list(told, src=0)
    return str(told[0])
