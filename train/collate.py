r"""Pairs -> padded tensors.

Two pairs, P = prompt token, C = chosen token, R = rejected token, . = padding (any id: nothing ever reads it):

    input_ids            attention_mask       response_mask
    P P P C C            1 1 1 1 1            0 0 0 1 1      chosen of pair 0
    P P C . .            1 1 1 0 0            0 0 1 0 0      chosen of pair 1
    P P P R .            1 1 1 1 0            0 0 0 1 0      rejected of pair 0
    P P R R .            1 1 1 1 0            0 0 1 1 0      rejected of pair 1

Rows 0..B-1 are the chosen sides, rows B..2B-1 the rejected sides of the same pairs. Padding is on the right, so
positions count from 0 without position ids. Both masks come from lengths, never from the padding id: a model whose
padding token is its end token still learns to stop.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from train.dataset import Pair


class Batch(dict[str, torch.Tensor]):
    """Tensors by name; see the module for how they are laid out.

    input_ids, attention_mask: int64 (2B, T). response_mask: bool (2B, T). reference_chosen, reference_rejected:
    float32 (B,), summed log-probabilities in nats. weight: float32 (B,), mean 1 over the training pairs. noise,
    margin: float32 (B,), the pairs' own (`train.row_columns`).
    """

    def to(self, device: torch.device) -> Self:
        """Return the batch on `device`."""
        return type(self)({name: tensor.to(device) for name, tensor in self.items()})


@dataclass(frozen=True)
class Collator:
    """Pads pairs to the longest sequence among them."""

    padding_id: int = 0
    """Fills what the attention mask hides; its value changes nothing."""

    def __call__(self, pairs: Sequence[Pair]) -> Batch:
        """Lay out `pairs` as the module's picture shows."""
        sides = [(pair.prompt, pair.chosen) for pair in pairs] + [(pair.prompt, pair.rejected) for pair in pairs]
        width = max(len(prompt) + len(response) for prompt, response in sides)
        tokens = np.full((len(sides), width), self.padding_id, dtype=np.int64)
        attention = np.zeros((len(sides), width), dtype=np.int64)
        responses = np.zeros((len(sides), width), dtype=np.bool_)
        for i, (prompt, response) in enumerate(sides):
            end = len(prompt) + len(response)
            tokens[i, : len(prompt)] = prompt
            tokens[i, len(prompt) : end] = response
            attention[i, :end] = 1
            responses[i, len(prompt) : end] = True
        return Batch(
            input_ids=torch.from_numpy(tokens),
            attention_mask=torch.from_numpy(attention),
            response_mask=torch.from_numpy(responses),
            reference_chosen=torch.tensor([pair.reference_chosen for pair in pairs], dtype=torch.float32),
            reference_rejected=torch.tensor([pair.reference_rejected for pair in pairs], dtype=torch.float32),
            weight=torch.tensor([pair.weight for pair in pairs], dtype=torch.float32),
            noise=torch.tensor([pair.noise for pair in pairs], dtype=torch.float32),
            margin=torch.tensor([pair.margin for pair in pairs], dtype=torch.float32),
        )
