"""Prefix sharing: the prompt of a pair is computed once and seen by both responses (arXiv 2410.20305).

A row holds prompt, chosen and rejected; rejected sees the prompt and itself, never chosen, and its positions go on from
the prompt's end. In real arithmetic nothing changes, and P + C + R tokens are computed instead of 2P + C + R:

    segments 0 0 1 1 2          keys 0 0 1 1 2
                       query 0       x . . . .
                             0       x x . . .
                             1       x x x . .
                             1       x x x x .
                             2       x x . . x

The mask goes through `attention_mask`, which transformers hands through to attention untouched when it has four
dimensions: boolean for sdpa, additive for eager, a block mask for FlexAttention, which skips the empty blocks on a GPU.
`train.split_attention` skips them anywhere. Whether a model really obeys mask and positions is not read off its name
but measured (`train.model_checks`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from transformers import PreTrainedModel

from train import split_attention

PROMPT: Final = 0
CHOSEN: Final = 1
REJECTED: Final = 2
PADDING: Final = 3
ATTENTIONS: Final = ("sdpa", "eager", "flex_attention", split_attention.NAME)
"""Implementations that take a mask of one's own."""
SPARSE: Final = ("flex_attention", split_attention.NAME)
"""Those that do not compute what it hides."""


@dataclass(frozen=True)
class Sharing:
    """When the prompt is computed once for both responses."""

    longest: int
    """Most tokens of prompt, chosen and rejected together for which it is exact; 0: never."""
    key_cost: float = 0.0
    """Work of one token on one key over its work outside attention: 2 * layers * heads * head size / parameters of the
    layers."""
    dense: bool = True
    """Whether attention computes what the mask hides (see SPARSE)."""
    gain: float = 1.05
    """Sharing must be this much cheaper by the estimate, or each response keeps its own prompt."""

    def pays(self, lengths: np.ndarray) -> bool:
        """Return whether a batch of pairs is computed cheaper with shared prompts.

        `lengths` (B, 3): tokens of prompt, chosen and rejected.
        """
        if int(lengths.sum(axis=1).max()) > self.longest:
            return False
        shared, apart = self.work(lengths)
        return shared * self.gain < apart

    def fed(self, lengths: np.ndarray) -> int:
        """Return the tokens that a batch feeds to the model, padding included, in the layout that it gets."""
        if self.pays(lengths):
            return len(lengths) * int(lengths.sum(axis=1).max())
        return 2 * len(lengths) * int((lengths[:, 0] + lengths[:, 1:].max(axis=1)).max())

    def work(self, lengths: np.ndarray) -> tuple[float, float]:
        """Return the work of a batch with shared prompts and without, in tokens of work outside attention.

        Padding is work like any token. Causal attention skips the half that it hides.
        """
        pairs, (prompt, chosen, rejected) = len(lengths), lengths.T
        width, single = int((prompt + chosen + rejected).max()), int((prompt + np.maximum(chosen, rejected)).max())
        keys = float(width)
        if not self.dense:
            seen = prompt * prompt / 2 + prompt * (chosen + rejected) + (chosen * chosen + rejected * rejected) / 2
            keys = float((seen / width).max())
        shared = pairs * width * (1 + self.key_cost * keys)
        return shared, 2 * pairs * single * (1 + self.key_cost * single / 2)


NEVER: Final = Sharing(longest=0)
ALWAYS: Final = Sharing(longest=2**62, gain=0.0)
"""Whether it pays or not: to measure what it does."""


def attention_inputs(model: PreTrainedModel, batch: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Return the keyword arguments by which the backbone sees `batch` as it is laid out (`train.collate`)."""
    if "segments" not in batch:
        # Padding is on the right of a causal model, so no mask is needed, and attention keeps its fast causal path.
        return {}
    segments = batch["segments"]
    implementation = model.config._attn_implementation
    mask: Any
    if implementation == split_attention.NAME:
        # Four dimensions, so that no other mask is made; what says who sees whom is `rows`.
        stub = torch.ones(len(segments), 1, 1, 1, dtype=torch.bool, device=segments.device)
        rows = split_attention.Rows.of(batch)
        return {"attention_mask": stub, "position_ids": batch["position_ids"], "rows": rows}
    if implementation == "flex_attention":
        mask = block_mask(segments)
    elif implementation == "eager":
        mask = torch.zeros(1, dtype=model.dtype, device=segments.device).masked_fill(
            ~visible(segments), torch.finfo(model.dtype).min
        )
    else:
        mask = visible(segments)
    return {"attention_mask": mask, "position_ids": batch["position_ids"]}


def visible(segments: torch.Tensor) -> torch.Tensor:
    """Return which key each query sees: (B, T) -> bool (B, 1, queries, keys).

    Every query sees itself, padding too: a row without any key would be NaN.
    """
    query, key = segments[:, None, :, None], segments[:, None, None, :]
    size = segments.shape[1]
    causal = torch.ones(size, size, dtype=torch.bool, device=segments.device).tril()
    return causal & ((key == PROMPT) | (key == query))


def block_mask(segments: torch.Tensor) -> Any:
    """Return `visible` as FlexAttention's block mask, whose empty blocks of 128 x 128 are never computed."""
    from torch.nn.attention.flex_attention import create_block_mask  # noqa: PLC0415 - imports a compiler: seconds

    def sees(row: torch.Tensor, _: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        own = segments[row, key] == segments[row, query]
        return (key <= query) & ((segments[row, key] == PROMPT) | own)

    rows, size = segments.shape
    return create_block_mask(sees, B=rows, H=None, Q_LEN=size, KV_LEN=size, device=str(segments.device))
