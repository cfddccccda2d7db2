"""The columns that change what a pair counts for: weight, label_noise, margin.

weight acts wherever it is there; label_noise (what `curate` estimates from annotators' agreement) and margin (how
much better chosen is, for ODPO, arXiv 2402.10571) are read when the run asks for them.
"""

import math
from pathlib import Path

import numpy as np

from ingest.errors import ContractError
from train import switches
from train.config import RunConfig


def wanted(config: RunConfig) -> frozenset[str]:
    """Return the columns that the run asks for."""
    asked = {"label_noise": config.label_noise == "column", "margin": config.margin_scale is not None}
    sides = ("chosen", "rejected")
    asked |= {f"{side}_token_ids": config.sampled_tokens == "auto" for side in sides}
    logged = ("logprob_model", *(f"{side}_token_logprobs" for side in sides))
    asked |= dict.fromkeys(logged, config.reference == "logged")
    return frozenset(name for name, yes in asked.items() if yes)


def weight(path: Path, row: dict[str, object]) -> float:
    """Return the row's weight, 1 where the file has none. Raises ContractError for one that is no weight."""
    if "weight" not in row:
        return 1.0
    value = row["weight"]
    if not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ContractError(f"{path}: {row['triple_id']}: weight is {value!r}; expected a number >= 0 in every row.")
    return float(value)


def number(path: Path, row: dict[str, object], column: str) -> float:
    """Return the row's `column`, NaN where it is null. Raises ContractError for one that the losses cannot take."""
    if column not in row:
        raise ContractError(
            f"{path} has no column {column}, which the run was asked to use. Add it, or leave the option out."
        )
    value = row[column]
    limit = 0.5 if column == "label_noise" else float("inf")
    if value is None:
        return math.nan
    if not isinstance(value, int | float) or not 0 <= value < limit:
        raise ContractError(f"{path}: {row['triple_id']}: {column} is {value!r}; expected a number >= 0 and < {limit}.")
    return float(value)


def settle(config: RunConfig, ids: list[str], noise: np.ndarray, margins: np.ndarray) -> int:
    """Set `noise` and `margins` (N,), NaN where a pair has none, to what the loss takes, in place.

    Returns how many pairs have no degree of preference, so that nothing is asked of their margin. Raises ContractError
    when a pair is left without a value that the loss needs, and when an option would change nothing.
    """
    _settle_noise(config, ids, noise)
    if config.margin_scale is None:
        return 0
    unknown = np.isnan(margins)
    if not np.any(margins[~unknown]):
        raise ContractError("No pair has a margin above 0, so --margin-scale would change nothing. Leave it out.")
    margins[:] = np.where(unknown, 0.0, config.margin_scale * margins)
    return int(unknown.sum())


def _settle_noise(config: RunConfig, ids: list[str], noise: np.ndarray) -> None:
    """Give every pair its probability that the label is wrong, --label-smoothing where it has none of its own."""
    unknown = np.isnan(noise)
    if config.label_noise == "none":
        noise[:] = config.label_smoothing or 0.0
    elif config.label_smoothing is not None:
        if not unknown.any():
            raise ContractError("Every pair has its own label_noise, so --label-smoothing would change nothing.")
        noise[unknown] = config.label_smoothing
    elif unknown.any():
        raise ContractError(
            f"{unknown.sum():,} of {len(ids):,} pairs have no label_noise, {ids[int(np.argmax(unknown))]} among them. "
            "Say with --label-smoothing what it is for them."
        )
    if "exo" in switches.parse(config.loss) and (noise == 0).any():
        raise ContractError(f"--loss exo needs label_noise above 0; {ids[int(np.argmax(noise == 0))]} has 0.")
