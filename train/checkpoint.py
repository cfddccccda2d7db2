"""Checkpoints: everything that the next optimiser step depends on, without pickle, there whole or not at all.

    <output>/checkpoints/step-00000120/
        weights.safetensors     the trained parameters by name
        optimizer.safetensors   the optimiser's state, "<parameter>/<key>"
        progress.safetensors    generators of random numbers, what was seen since the last log
        trainer_state.json      transformers' TrainerState: step, epoch, log history
        checkpoint.json         scheduler, numbers, length of metrics.jsonl, sha256 of the files above; written last

transformers' own checkpoints pickle the arguments and the generators, say nothing about the data, and are in place
before they are whole. With several processes the tensors are gathered, and the first process alone writes.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers.trainer import TRAINER_STATE_NAME

from ingest.errors import ResumeError
from train.summary import file_hash, write_json

FOLDER: Final = "checkpoints"
"""Where a run's checkpoints are, in its folder; taken away when the run is finished."""
KEPT: Final = 2
"""Newest checkpoints that are kept: the one before the last survives a disk that fails while the last is written."""
STATE: Final = "checkpoint.json"
TENSORS: Final = ("weights", "optimizer", "progress")

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """What one checkpoint holds besides transformers' state; all tensors whole and on the CPU."""

    weights: Tensors
    optimizer: Tensors
    progress: Tensors
    numbers: Mapping[str, Any]
    """Plain JSON: scheduler, optimiser groups, generators, counts."""


def write(folder: Path, step: int, checkpoint: Checkpoint, save_trainer_state: Callable[[str], None]) -> None:
    """Write the checkpoint of `step` into the run's `folder`, and take away all but the newest KEPT."""
    parent = folder / FOLDER
    parent.mkdir(exist_ok=True)
    unfinished = parent / f"step-{step:08d}.unfinished"
    if unfinished.exists():
        shutil.rmtree(unfinished)
    unfinished.mkdir()
    for name in TENSORS:
        save_file(getattr(checkpoint, name), unfinished / f"{name}.safetensors")
    save_trainer_state(str(unfinished / TRAINER_STATE_NAME))
    hashes = {path.name: file_hash(path) for path in sorted(unfinished.iterdir())}
    write_json(unfinished / STATE, {"step": step, "files": hashes, **checkpoint.numbers})
    for path in (*unfinished.iterdir(), unfinished):
        _to_disk(path)
    final = parent / f"step-{step:08d}"
    if final.exists():  # of an earlier try that went on from an older checkpoint
        shutil.rmtree(final)
    unfinished.rename(final)
    _to_disk(parent)
    for old in _whole(folder)[:-KEPT]:
        shutil.rmtree(old)


def newest(folder: Path) -> Path | None:
    """Return the newest checkpoint in the run's `folder`, and take away what a killed run left unfinished."""
    for path in (folder / FOLDER).glob("*.unfinished"):
        shutil.rmtree(path)
    whole = _whole(folder)
    return whole[-1] if whole else None


def read(path: Path) -> Checkpoint:
    """Return what `write` wrote at `path`. Raises ResumeError when a file is not as it was written."""
    numbers = read_numbers(path)
    try:
        for name, expected in numbers["files"].items():
            if file_hash(path / name) != expected:
                raise ResumeError(f"{path / name} is not as it was written. {_advice(path)}")
        weights, optimizer, progress = (load_file(path / f"{name}.safetensors") for name in TENSORS)
        return Checkpoint(weights, optimizer, progress, numbers)
    except (OSError, ValueError, KeyError, AttributeError, SafetensorError) as error:
        raise ResumeError(f"{path} cannot be read ({error}). {_advice(path)}") from error


def read_numbers(path: Path) -> dict[str, Any]:
    """Return the numbers of the checkpoint at `path`. Raises ResumeError when they cannot be read."""
    try:
        numbers: dict[str, Any] = json.loads((path / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResumeError(f"{path / STATE} cannot be read ({error}). {_advice(path)}") from error
    return numbers


def remove(folder: Path) -> None:
    """Take away the checkpoints of a run that is finished."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def _whole(folder: Path) -> list[Path]:
    """Return the finished checkpoints in the run's `folder`, oldest first."""
    return sorted(path for path in (folder / FOLDER).glob("step-*") if path.suffix != ".unfinished")


def _advice(path: Path) -> str:
    return f"Delete {path}; the run then goes on from the checkpoint before it, or from the start."


def _to_disk(path: Path) -> None:
    """Wait until a file's bytes, or a folder's entries, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
