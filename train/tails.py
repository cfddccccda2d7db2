"""LD-DPO (arXiv 2409.06411): the tokens that one response has and the shorter one has no more count less.

log pi(y | x) becomes the sum over the first n tokens, n = min(|chosen|, |rejected|), plus alpha times the sum over the
rest, of policy and reference alike. So a long answer no longer wins or loses by its length.
"""

from collections.abc import Mapping

import numpy as np
import torch


def tail_factors(batch: Mapping[str, torch.Tensor], alpha: float) -> torch.Tensor:
    """Return LD-DPO's factor of each response token: 1, or `alpha` past the shorter response's length.

    Shape (response tokens,), in the order of `batch["targets"]` (`train.collate`).
    """
    chosen, rejected = batch["response_lengths"].chunk(2)
    shared = torch.minimum(chosen, rejected).repeat(2)
    return torch.where(batch["ordinals"] >= shared[batch["sequences"]], alpha, 1.0)


def weighted_sums(chosen: np.ndarray, rejected: np.ndarray, alpha: float) -> tuple[float, float]:
    """Return the log-probability of both responses, summed in float64, tokens past the shorter one times `alpha`."""
    shared = min(len(chosen), len(rejected))
    first, second = (
        float(side[:shared].sum(dtype=np.float64) + alpha * side[shared:].sum(dtype=np.float64))
        for side in (chosen, rejected)
    )
    return first, second
