"""Course of the learning rate over a run: in no step is it 0, so every step trains."""

import math
from collections.abc import Callable


def rate(name: str, warmup_ratio: float, steps: int) -> Callable[[int], float]:
    """Return the share of the peak learning rate that each of `steps` optimiser steps has, counted from 0.

    With W = floor(warmup_ratio * steps) it is 1/W, 2/W, ..., 1 in the first W steps. After them it is constant, or the
    linear or cosine decay of transformers, which would be 0 one step after the last.
    """
    warmup = math.floor(warmup_ratio * steps)

    def share(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if name == "constant":
            return 1.0
        passed = min(1.0, (step - warmup) / max(1, steps - warmup))
        return 1.0 - passed if name == "linear" else (1.0 + math.cos(math.pi * passed)) / 2.0

    return share
