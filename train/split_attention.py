"""Attention of rows that hold two responses, without computing what their mask hides.

A mask of the whole row costs (P + C + R)^2, since only a causal mask lets sdpa skip the half that it hides. Two calls
need less. Prompt and chosen are plain causal, and rejected is a block of queries of its own:

    call 1: P C            call 2: R
            x .                    x . x     keys P (padded), R
            x x                    x . x

Rows differ in where their segments lie, so call 2 gathers its queries and keys, and the outputs are put back in place.
transformers hands keyword arguments of the backbone on to attention; that is how `split` gets the places. A model that
keeps them to itself gives other values, which `train.model_checks` measures.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME: Final = "split_sdpa"
"""The implementation's name in a model's configuration. Without `rows` it is sdpa."""


@dataclass(frozen=True)
class Rows:
    """Where the parts of B rows of T columns are; places count in the rows read one after the other, (B * T)."""

    causal: int
    """Columns up to the end of the longest prompt + chosen."""
    queries: torch.Tensor
    """(B, R): places of rejected; padding repeats the row's first place."""
    keys: torch.Tensor
    """(B, P + R): places of the prompt, then of rejected."""
    seen: torch.Tensor
    """bool (B, 1, R, P + R): which key a query of rejected sees."""
    outputs: torch.Tensor
    """(B * T,): for each place, where its output is among those of call 1, (B * causal), then of call 2, (B * R)."""

    @classmethod
    def of(cls, batch: Mapping[str, torch.Tensor]) -> "Rows":
        """Return the places of a batch with shared prompts (`train.collate`)."""
        queries, keys, prompt = batch["rejected_queries"], batch["rejected_keys"], batch["prompt_lengths"]
        rejected = queries.shape[1]
        width = keys.shape[1] - rejected
        columns = torch.arange(width, device=keys.device)
        sees_prompt = (columns < prompt[:, None, None, None]).expand(-1, 1, rejected, -1)
        own = torch.ones(rejected, rejected, dtype=torch.bool, device=keys.device).tril().expand(len(keys), 1, -1, -1)
        causal = len(batch["causal_columns"])
        return cls(causal, queries, keys, torch.cat([sees_prompt, own], dim=3), batch["outputs"])


def split(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    rows: Rows | None = None,
    **given: Any,
) -> tuple[torch.Tensor, None]:
    """Return the attention of `query`, `key`, `value` (B, heads, T, head size): (B, T, heads, head size)."""
    if rows is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **given)
    q, k, v = (tensor[:, :, : rows.causal] for tensor in (query, key, value))
    causal, _ = sdpa_attention_forward(module, q, k, v, None, **(given | {"is_causal": True}))
    q, k, v = _take(query, rows.queries), _take(key, rows.keys), _take(value, rows.keys)
    rejected, _ = sdpa_attention_forward(module, q, k, v, rows.seen, **(given | {"is_causal": False}))
    both = torch.cat([causal.flatten(0, 1), rejected.flatten(0, 1)])
    return both.index_select(0, rows.outputs).unflatten(0, (len(query), -1)), None


def _take(states: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return the states of some places: (B, heads, T, head size), (B, n) -> (B, heads, n, head size)."""
    flat = states.transpose(1, 2).flatten(0, 1)
    taken: torch.Tensor = flat.index_select(0, places.flatten()).unflatten(0, places.shape)
    return taken.transpose(1, 2)


AttentionInterface.register(NAME, split)
AttentionMaskInterface.register(NAME, sdpa_mask)
