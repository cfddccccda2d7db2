"""WPO (arXiv 2406.11827): pairs that the policy would say itself count more, so that old logs train like fresh ones."""

from collections.abc import Mapping

import torch

from train.logprobs import sequence_logps


def wpo_weights(per_token: torch.Tensor, collisions: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return s(chosen) * s(rejected) of each pair, shape (pairs,), without clamp: equation 2 with sampled alignment.

    s(y) = exp(mean over y's tokens of log pi(y_t) - log sum_v pi(v)^2). `per_token` and `collisions` (response tokens,)
    are the `logps` and `collision` of `train.logprobs.response_values` for `batch`.
    """
    gaps = sequence_logps(per_token - collisions, batch)
    chosen, rejected = (gaps / batch["response_lengths"]).exp().chunk(2)
    return chosen * rejected
