"""The drift guard: how far the policy has gone from the reference, and whether that is still preference learning.

Logged with every line of metrics.jsonl, over the pairs since the last one. With d = log pi - log pi_ref of a response
per token of it, and responses that the reference said:

    drift/k1             mean of -d: unbiased for KL(pi_ref || pi), may be negative
    drift/k3             mean of exp(d) - 1 - d: the same, never negative
    drift/chosen_drop    mean of -d of chosen alone: how much less likely the good answers have become
    drift/length_margin  correlation of margin and difference in tokens: near 1, it has learnt to write at length
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from ingest.errors import TrainingError
from train.config import OnDrift
from train.metrics import Floats, ReadOut
from train.progress import NARRATION

LIMITS: Final = {"drift/k3": 1.0, "drift/chosen_drop": 1.0, "drift/length_margin": 0.9}
"""What is more than this is no longer near the reference: nats per token; a correlation."""
ENOUGH_PAIRS: Final = 16
"""Of fewer pairs a correlation says nothing; 0 is logged."""


def drift(read_out: ReadOut, lengths: Floats, beta: float) -> dict[str, float]:
    """Return the four numbers of N pairs; `lengths` (2, N): tokens of chosen and rejected."""
    d = np.stack([read_out.A, read_out.B]) / lengths
    longer, margins = lengths[0] - lengths[1], read_out.margins(beta)
    varies = len(margins) >= ENOUGH_PAIRS and longer.std() > 0 and margins.std() > 1e-6
    return {
        "drift/k1": float(-d.mean()),
        "drift/k3": float((np.exp(np.minimum(d, 50.0)) - 1 - d).mean()),
        "drift/chosen_drop": float(-d[0].mean()),
        "drift/length_margin": float(np.corrcoef(longer, margins)[0, 1]) if varies else 0.0,
    }


def guard(found: Mapping[str, float], step: int, on_drift: OnDrift, told: set[str]) -> None:
    """Say once which limits are passed at `step`, `told` are those of before; "stop" raises TrainingError."""
    passed = [f"{name} is {found[name]:.3g} (limit {limit:g})" for name, limit in LIMITS.items() if found[name] > limit]
    new = {name for name, limit in LIMITS.items() if found[name] > limit} - told
    told |= new
    if not new:
        return
    advice = "Raise --beta, lower --learning-rate, or balance lengths in curation (docs/training.md, Drift)"
    message = f"At step {step:,} the policy has gone far from the reference: {'; '.join(passed)}. {advice}."
    if on_drift == "stop":
        raise TrainingError(message)
    NARRATION.print(message)
