"""What a run may log about single response tokens: the values that TRL's DPOTrainer logs, on request.

Kept as sums of each pair, so that they are gathered, saved and resumed with the pair's other columns.
"""

from collections.abc import Mapping
from typing import Final

import torch

from train.head import TokenValues
from train.metrics import Floats

TOKEN_METRICS: Final = ("entropy", "top1", "mean_logit")
"""The values of `train.head.TokenValues` that are needed."""
TOKEN_COLUMNS: Final = 6


def token_sums(values: TokenValues, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return sums of each pair, float64 (6, B), on the batch's device.

    Of both responses entropy and hits of the likeliest word; of chosen, then of rejected the mean logits; the tokens of
    chosen, of rejected.
    """
    if values.entropy is None or values.top1 is None or values.mean_logit is None:
        raise ValueError(f"token_sums needs {TOKEN_METRICS}.")
    lengths = batch["response_lengths"]
    sums = torch.stack([values.entropy, values.top1, values.mean_logit], dim=1).double()
    entropy, top1, logit = torch.segment_reduce(sums, "sum", lengths=lengths).unflatten(0, (2, -1)).unbind(2)
    return torch.stack([entropy.sum(0), top1.sum(0), *logit, *lengths.view(2, -1)])


def token_means(columns: Floats) -> dict[str, float]:
    """Return the means over response tokens of `token_sums` (6, pairs), by the name they are logged under."""
    entropy, top1, chosen, rejected, n, m = columns.sum(axis=1).tolist()
    means = {"entropy": entropy / (n + m), "token_accuracy": top1 / (n + m)}
    return means | {"logits/chosen": chosen / n, "logits/rejected": rejected / m}
