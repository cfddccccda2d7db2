r"""Pairs -> padded tensors, in one of two layouts.

Two pairs, P = prompt token, C = chosen token, R = rejected token, . = padding (any id: nothing ever reads it):

    each response with its own prompt       the prompt once for both responses (`train.sharing`)

    input_ids                               input_ids        position_ids     segments
    P P P C C      chosen of pair 0         P P P C C R      0 1 2 3 4 3      0 0 0 1 1 2      pair 0
    P P C . .      chosen of pair 1         P P C R R .      0 1 2 2 3 0      0 0 1 2 2 3      pair 1
    P P P R .      rejected of pair 0
    P P R R .      rejected of pair 1

On the left there are no masks: padding is on the right, and a causal model never looks to the right. On the right the
positions of rejected start again where the prompt ended, and segments (prompt 0, chosen 1, rejected 2, padding 3) say
who may see whom: everybody the prompt, and each segment itself.

Either way four vectors name the response tokens, those of chosen of pair 0, 1, ..., then those of rejected of pair 0,
1, ...; sequence s < B is chosen of pair s, sequence B + s its rejected:

    predictors    where the hidden state that predicts the token is, in input_ids read row by row. The last prompt token
                  predicts the first token of both responses: on the right it stands here twice
    targets       the token's id
    sequences     the sequence it belongs to
    ordinals      its place within its response, from 0

All of it comes from lengths, never from the padding id: a model whose padding token is its end token still learns to
stop.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import torch

from train.dataset import Pair
from train.sharing import CHOSEN, NEVER, PADDING, REJECTED, Sharing

_ROW_COLUMNS: Final = ("reference_chosen", "reference_rejected", "weight", "noise", "margin")


class Batch(dict[str, torch.Tensor]):
    """Tensors by name; see the module for how they are laid out. B pairs, T columns, n response tokens.

    input_ids: int64 (B or 2B, T). Where prompts are shared, position_ids int64 and segments int8 of the same shape, and
    rejected_queries, rejected_keys, prompt_lengths, causal_columns, outputs: the places of `train.split_attention`.
    predictors, targets, sequences, ordinals: int64 (n,). response_lengths: int64 (2B,), tokens of each sequence's
    response. reference_chosen, reference_rejected: float64 (B,), summed log-probabilities in nats. weight: float64
    (B,), mean 1 over the training pairs. noise, margin: float64 (B,), the pairs' own (`train.row_columns`).
    """

    def to(self, device: torch.device) -> Self:
        """Return the batch on `device`."""
        return type(self)({name: tensor.to(device, non_blocking=True) for name, tensor in self.items()})


@dataclass(frozen=True)
class Collator:
    """Pads pairs to the longest row among them."""

    padding_id: int = 0
    """Fills the padding; its value changes nothing."""
    sharing: Sharing = NEVER
    """When the prompt is computed once for both responses."""

    def __call__(self, pairs: Sequence[Pair]) -> Batch:
        """Lay out `pairs` as the module's picture shows."""
        lengths = np.array([[len(segment) for segment in pair[:3]] for pair in pairs])
        if self.sharing.pays(lengths):
            rows, predictors = self._shared(pairs, lengths)
        else:
            rows, predictors = self._apart(pairs, lengths)
        responses = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
        response_lengths = np.concatenate([lengths[:, 1], lengths[:, 2]])
        named = {
            "predictors": predictors,
            "targets": np.concatenate(responses).astype(np.int64),
            "sequences": np.repeat(np.arange(len(responses)), response_lengths),
            "ordinals": np.concatenate([np.arange(length) for length in response_lengths]),
            "response_lengths": response_lengths,
        }
        columns = {name: torch.tensor([getattr(p, name) for p in pairs], dtype=torch.float64) for name in _ROW_COLUMNS}
        return Batch({name: torch.from_numpy(array) for name, array in (rows | named).items()} | columns)

    def _apart(self, pairs: Sequence[Pair], lengths: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Return the rows of the left picture and its predictors."""
        sides = [(pair.prompt, pair.chosen) for pair in pairs] + [(pair.prompt, pair.rejected) for pair in pairs]
        width = int((lengths[:, 0] + lengths[:, 1:].max(axis=1)).max())
        tokens = np.full((len(sides), width), self.padding_id, dtype=np.int64)
        predictors = []
        for i, (prompt, response) in enumerate(sides):
            end = len(prompt) + len(response)
            tokens[i, : len(prompt)] = prompt
            tokens[i, len(prompt) : end] = response
            predictors.append(i * width + np.arange(len(prompt) - 1, end - 1))
        return {"input_ids": tokens}, np.concatenate(predictors)

    def _shared(self, pairs: Sequence[Pair], lengths: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Return the rows of the right picture and its predictors."""
        shape = (len(pairs), int(lengths.sum(axis=1).max()))
        tokens = np.full(shape, self.padding_id, dtype=np.int64)
        positions = np.zeros(shape, dtype=np.int64)
        segments = np.full(shape, PADDING, dtype=np.int8)
        chosen, rejected = [], []
        for i, pair in enumerate(pairs):
            a, b, c = lengths[i].cumsum().tolist()  # where prompt, chosen and rejected end
            tokens[i, :c] = np.concatenate(pair[:3])
            positions[i, :b], positions[i, b:c] = np.arange(b), np.arange(a, a + c - b)
            segments[i, :a], segments[i, a:b], segments[i, b:c] = 0, CHOSEN, REJECTED
            row = i * shape[1]
            chosen.append(row + np.arange(a - 1, b - 1))
            rejected.append(row + np.concatenate([[a - 1], np.arange(b, c - 1)]))
        rows: dict[str, np.ndarray] = {"input_ids": tokens, "position_ids": positions, "segments": segments}
        return rows | _places(lengths, shape[1]), np.concatenate([*chosen, *rejected])


def _places(lengths: np.ndarray, width: int) -> dict[str, np.ndarray]:
    """Return where `train.split_attention.Rows` finds the parts of rows of `width` columns."""
    prompt, chosen, rejected = lengths.T
    count, longest, causal = len(lengths), int(rejected.max()), int((prompt + chosen).max())
    start = np.arange(count)[:, None] * width
    column = np.arange(width)[None]
    own, first = np.arange(longest)[None], (prompt + chosen)[:, None]
    queries = start + np.where(own < rejected[:, None], first + own, 0)
    prompts = start + np.minimum(np.arange(int(prompt.max()))[None], prompt[:, None] - 1)
    in_rejected = (column >= first) & (column < lengths.sum(axis=1)[:, None])
    of_causal = np.arange(count)[:, None] * causal + np.minimum(column, causal - 1)
    of_rejected = count * causal + np.arange(count)[:, None] * longest + np.where(in_rejected, column - first, 0)
    return {
        "rejected_queries": queries,
        "rejected_keys": np.concatenate([prompts, queries], axis=1),
        "prompt_lengths": prompt.astype(np.int64),
        "causal_columns": np.arange(causal),
        "outputs": np.where(in_rejected, of_rejected, of_causal).reshape(-1),
    }
