"""The invariant before the first step: policy and reference are one model, and the loss is its closed form.

A wrong or stale reference, another chat template, dropout left on, a mask that the cache was not made with: each shows
here, in seconds, as pairs whose log-probabilities differ.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from ingest.errors import TrainingError
from train.dataset import SPLITS, PairDataset
from train.reference import tolerance
from train.trainer import DPOTrainer

CHECKED_TRAINING_ROWS: Final = 32
"""Training pairs that are checked; held-out pairs all are."""
CHECKED_WHILE_TRAINING: Final = 4
"""Training pairs that are computed once more in training mode, where dropout acts."""

_STALE: Final = "Delete the reference cache. If that does not help, the model is random."
_NOISE: Final = (
    "The model has a random part that Winnow does not know how to turn off; set its rate to 0 in config.json."
)


@dataclass(frozen=True)
class StepZero:
    """Proof that policy and reference were one model before the first step."""

    rows: int
    """Pairs checked."""
    loss: float
    """Their measured mean loss, without weights."""
    expected: float
    """Its closed form (`train.losses`), ln 2 = 0.693147 of sigmoid; they differ by rounding."""
    largest_gap: float
    """Largest |log pi - log pi_ref| of a response, nats."""


def check_policy_is_reference(trainer: DPOTrainer, pairs: PairDataset, noise: float = 0.0) -> StepZero:
    """Compute all held-out and some training pairs with the policy; compare with the reference.

    Before the first step A = B = 0 on every pair, and the loss is its closed form. Some training pairs are
    computed once more in training mode, where dropout acts. `noise` is by how much logged values may be off, nats per
    token. Raises TrainingError that names the pair that is furthest
    off, when one is off by more than the arithmetic explains.
    """
    train = pairs.rows_of("train")
    rows = [*train[:: max(1, len(train) // CHECKED_TRAINING_ROWS)][:CHECKED_TRAINING_ROWS]]
    rows += [row for split in SPLITS[1:] for row in pairs.rows_of(split)]
    found = _compare(trainer, pairs, rows, noise, training=False)
    _compare(trainer, pairs, rows[:CHECKED_WHILE_TRAINING], noise, training=True)
    return found


def _compare(trainer: DPOTrainer, pairs: PairDataset, rows: list[int], noise: float, *, training: bool) -> StepZero:
    """Compute `rows` with the policy in training or evaluation mode; raise TrainingError unless it is the reference."""
    read_out = trainer.read_out(rows, training=training)
    gaps = np.nan_to_num(np.maximum(np.abs(read_out.A), np.abs(read_out.B)), nan=np.inf)
    tokens = pairs.segment_lengths[rows, 1:].max(axis=1)
    allowed = np.array([tolerance(trainer.policy.autocast, int(count)) + noise * count for count in tokens])
    with np.errstate(invalid="ignore"):  # of a reference that is not a number, which is refused below
        loss, expected = (float(v.mean()) for v in trainer.objective.of_rows(pairs, rows, read_out))
    worst = int(np.argmax(gaps / allowed))
    if gaps[worst] > allowed[worst]:
        mode, advice = ("in training mode ", _NOISE) if training else ("", _STALE)
        raise TrainingError(
            f"Before the first step the policy must be the reference, but on {pairs.ids[rows[worst]]} they differ "
            f"{mode}by {gaps[worst]:.4g} nats (at most {allowed[worst]:.4g}), and the loss is {loss:.6f} instead of "
            f"{expected:.6f}. {advice}"
        )
    at_reference, closed_form = trainer.objective.of_rows(pairs, rows, read_out.untrained)
    if not np.allclose(at_reference, closed_form, rtol=1e-9, atol=1e-9):
        raise TrainingError(
            f"The loss of the reference itself is {at_reference.mean():.9f}, not its closed form "
            f"{closed_form.mean():.9f}: a defect of train.losses."
        )
    return StepZero(len(rows), loss, expected, float(gaps.max()))
