"""What a run says at its end: the JSON line on stdout and manifest.json."""

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from train.config import RunConfig
from train.dataset import PairDataset
from train.metrics import HeldOut, ReadOut, held_out

PACKAGES: Final = ("winnow", "torch", "transformers", "tokenizers", "accelerate", "safetensors", "pyarrow", "numpy")
"""Whose versions a manifest names."""


def before_and_after(
    pairs: PairDataset, trained: ReadOut, beta: float, seed: int
) -> tuple[dict[str, HeldOut], dict[str, HeldOut]]:
    """Return the metrics of each held-out split before and after training, from the read-out of every row.

    Before training the policy is the reference (`train.step_zero` has checked it on these very pairs), so what it says
    is what the reference says: every margin is 0, accuracy is 0.5 and the loss ln 2.
    """
    before, after = {}, {}
    for split in ("validation", "test"):
        rows = pairs.rows_of(split)
        if rows:
            prompts = [pairs.prompt_key(row) for row in rows]
            before[split] = held_out(trained.untrained.of(rows), beta, prompts, seed)
            after[split] = held_out(trained.of(rows), beta, prompts, seed)
    return before, after


def headline(
    config: RunConfig, pairs: PairDataset, dropped: int, before: Mapping[str, HeldOut], after: Mapping[str, HeldOut]
) -> dict[str, Any]:
    """Return the summary of a run. Its before and after are of the test pairs, else of the validation pairs."""
    split = "test" if "test" in after else "validation"
    return {
        "output": str(config.output),
        "model": str(config.output / "model"),
        **{f"{name}_rows": len(pairs.rows_of(name)) for name in ("train", "validation", "test")},
        "dropped_rows": dropped,
        "held_out": split,
        "before": asdict(before[split]),
        "after": asdict(after[split]),
    }


def write_manifest(config: RunConfig, inputs: Mapping[str, Any], results: Mapping[str, Any]) -> None:
    """Write manifest.json: `results`, and what they came from: `inputs`, hashed when they were read (inputs.json)."""
    read = {"data": config.data, "validation": config.validation}
    manifest = {
        **results,
        "inputs": inputs,
        "data": {str(path): {"sha256": inputs[name]} for name, path in read.items() if path is not None},
        "config": config.model_dump(mode="json"),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }
    write_json(config.output / "manifest.json", manifest)


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, whole or not at all; dataclasses become objects, paths text."""
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(json.dumps(value, indent=2, default=_plain, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def file_hash(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(value: object) -> object:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)
