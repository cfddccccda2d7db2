"""LD-DPO (arXiv 2409.06411): the tokens that one response has and the shorter one has no more count less.

log pi(y | x) becomes the sum over the first n tokens, n = min(|chosen|, |rejected|), plus alpha times the sum over the
rest, of policy and reference alike. So a long answer no longer wins or loses by its length.
"""

import numpy as np
import torch


def tail_factors(response_mask: torch.Tensor, alpha: float) -> torch.Tensor:
    """Return LD-DPO's factor of each response token: 1, or `alpha` past the shorter response's length.

    `response_mask` (2B, T) is laid out as `train.collate` draws it; the result has the order of
    `train.logprobs.token_logps`, shape (response tokens,).
    """
    position = response_mask[:, 1:].cumsum(dim=1)
    chosen, rejected = response_mask.sum(dim=1).chunk(2)
    shared = torch.minimum(chosen, rejected).repeat(2)
    factors = torch.where(position > shared[:, None], alpha, 1.0)
    return factors[response_mask[:, 1:]]


def weighted_sums(chosen: np.ndarray, rejected: np.ndarray, alpha: float) -> tuple[float, float]:
    """Return the log-probability of both responses, summed in float64, tokens past the shorter one times `alpha`."""
    shared = min(len(chosen), len(rejected))
    first, second = (
        float(side[:shared].sum(dtype=np.float64) + alpha * side[shared:].sum(dtype=np.float64))
        for side in (chosen, rejected)
    )
    return first, second
