"""WPO (arXiv 2406.11827): pairs that the policy would say itself count more, so that old logs train like fresh ones."""

import torch

from train.logprobs import sequence_logps


def wpo_weights(per_token: torch.Tensor, collisions: torch.Tensor, response_mask: torch.Tensor) -> torch.Tensor:
    """Return s(chosen) * s(rejected) of each pair, shape (pairs,), without clamp: equation 2 with sampled alignment.

    s(y) = exp(mean over y's tokens of log pi(y_t) - log sum_v pi(v)^2). `per_token` and `collisions` (response tokens,)
    are those of `train.logprobs.token_logps_and_collisions`, `response_mask` (2B, T) is the batch's.
    """
    gaps = sequence_logps(per_token - collisions, response_mask)
    chosen, rejected = (gaps / response_mask.sum(dim=1)).exp().chunk(2)
    return chosen * rejected
