"""Where a run's metrics go besides metrics.jsonl: TensorBoard and Weights & Biases, by transformers' own callbacks.

Nothing leaves the machine by itself: TensorBoard writes into the run's folder, and W&B too, unless WANDB_MODE=online
says otherwise.
"""

import os
from importlib.util import find_spec
from pathlib import Path

from transformers import TrainerCallback
from transformers.integrations.integration_utils import TensorBoardCallback, WandbCallback

from ingest.errors import SettingsError
from train.config import ReportTo


def refuse_not_installed(to: ReportTo) -> None:
    """Raise SettingsError when what would report is not installed."""
    if to != "none" and find_spec(to) is None:
        raise SettingsError(f"--report-to {to}: {to} is not installed. `pip install {to}`, or leave the option out.")


def reporters(to: ReportTo, folder: Path) -> list[TrainerCallback]:
    """Return the callbacks that report `to`, writing into the run's `folder`."""
    if to == "none":
        return []
    if to == "tensorboard":
        callback = TensorBoardCallback()
        callback.logging_dir = callback.logging_dir or str(folder / "tensorboard")
        return [callback]
    os.environ.setdefault("WANDB_MODE", "offline")
    os.environ.setdefault("WANDB_DIR", str(folder))
    return [WandbCallback()]
