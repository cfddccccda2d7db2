"""Log-probabilities of response tokens, without ever holding the logits of a whole batch.

A batch of 16 sequences x 1,024 tokens x 151,936 words would be 10 GB of float32 logits, most of them of prompts and
padding that no loss looks at. Here the backbone's hidden states are gathered at the positions that predict a response
token, and only those meet the output head, in chunks; with gradients on, a chunk's logits are computed again in the
backward pass instead of being kept.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from ingest.errors import TrainingError
from train.collate import Collator
from train.dataset import PairDataset

CHUNK_BYTES: Final = 256 * 1024 * 1024
"""Most float32 logits that are held at once."""


def token_logps(
    model: PreTrainedModel,
    batch: Mapping[str, torch.Tensor],
    *,
    autocast: torch.dtype | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> torch.Tensor:
    """Return log pi(token | everything before it) of every response token of `batch`, shape (response tokens,).

    Tokens come row by row, as `batch["response_mask"]` lists them; float32 at least, natural log. `autocast` is the
    dtype of matrix products; the log-sum-exp is float32 whatever it is.
    """
    return _response_values(model, batch, autocast, chunk_bytes, collisions=False)[:, 0]


def token_logps_and_collisions(
    model: PreTrainedModel,
    batch: Mapping[str, torch.Tensor],
    *,
    autocast: torch.dtype | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what `token_logps` returns, and log sum_v pi(v | everything before it)^2, without gradient.

    The second is the log-probability that two draws of the token are the same: 0 where the policy is certain. Both have
    shape (response tokens,).
    """
    values = _response_values(model, batch, autocast, chunk_bytes, collisions=True)
    return values[:, 0], values[:, 1].detach()


def _response_values(
    model: PreTrainedModel,
    batch: Mapping[str, torch.Tensor],
    autocast: torch.dtype | None,
    chunk_bytes: int,
    *,
    collisions: bool,
) -> torch.Tensor:
    """Return log-probability and, if asked for, log collision probability: (response tokens, 1 or 2)."""
    tokens, mask = batch["input_ids"], batch["response_mask"][:, 1:]
    with torch.autocast(tokens.device.type, dtype=autocast or torch.bfloat16, enabled=autocast is not None):
        hidden = model.base_model(
            input_ids=tokens, attention_mask=batch["attention_mask"], use_cache=False
        ).last_hidden_state
        # The token at t is predicted by the hidden state at t - 1.
        vocabulary = model.config.get_text_config().vocab_size
        project = partial(_project, model.get_output_embeddings(), collisions=collisions)
        return _in_chunks(project, hidden[:, :-1][mask], tokens[:, 1:][mask], vocabulary, chunk_bytes)


def sequence_logps(per_token: torch.Tensor, response_mask: torch.Tensor) -> torch.Tensor:
    """Sum the `per_token` values of each sequence: (response tokens,) and (sequences, T) -> (sequences,)."""
    sequence_of_token = response_mask[:, 1:].nonzero()[:, 0]
    return per_token.new_zeros(len(response_mask)).index_add(0, sequence_of_token, per_token)


def row_logps(
    model: PreTrainedModel,
    pairs: PairDataset,
    rows: Sequence[int],
    collate: Collator,
    *,
    batch_size: int,
    autocast: torch.dtype | None = None,
    training: bool = False,
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield (row, chosen, rejected) for every row of `rows`: float32 log-probabilities per response token.

    No gradients, in batches of like length; rows come in the order in which they are done. The model is in evaluation
    mode, or with `training` in training mode, where dropout that is not 0 would show.
    """
    by_length = sorted(rows, key=lambda row: (-pairs.lengths[row], row))
    was_training = model.training
    model.train(training)
    try:
        for start in range(0, len(by_length), batch_size):
            done = by_length[start : start + batch_size]
            batch = collate([pairs[row] for row in done]).to(model.device)
            with torch.no_grad():
                values = token_logps(model, batch, autocast=autocast).float().cpu().numpy()
            counts = batch["response_mask"].sum(dim=1).cpu().numpy()
            sides = np.split(values, np.cumsum(counts)[:-1])
            yield from zip(done, sides[: len(done)], sides[len(done) :], strict=True)
    finally:
        model.train(was_training)


def check_head(model: PreTrainedModel) -> None:
    """Raise TrainingError unless the model's logits are exactly its output head applied to its backbone.

    Some architectures scale or cap their logits afterwards, which the chunked computation would silently miss.
    """
    head = model.get_output_embeddings()
    if head is None or model.base_model is model:
        raise TrainingError(
            f"{type(model).__name__} has no separate backbone and output head; "
            "expected a causal language model that has both."
        )
    tokens = torch.arange(8, device=model.device)[None] % model.config.get_text_config().vocab_size
    was_training = model.training
    model.eval()
    with torch.no_grad():
        expected = model(input_ids=tokens, use_cache=False).logits.float()
        found = head(model.base_model(input_ids=tokens, use_cache=False).last_hidden_state).float()
    model.train(was_training)
    gap = (expected - found).abs().max().item() / max(expected.abs().max().item(), 1e-6)
    if gap > 1e-3:
        raise TrainingError(
            f"The logits of {type(model).__name__} are not its output head applied to its hidden states (they differ "
            f"by {gap:.1%}), so it scales or caps them; such models are not supported. Use a model that does not."
        )


def _in_chunks(
    project: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    hidden: torch.Tensor,
    targets: torch.Tensor,
    vocabulary: int,
    chunk_bytes: int,
) -> torch.Tensor:
    """Apply `project` to chunks of at most `chunk_bytes` of float32 logits: (n, H), (n,) -> (n, values)."""
    size = max(1, chunk_bytes // (4 * vocabulary))
    if len(hidden) <= size:
        return project(hidden, targets)
    pieces = zip(hidden.split(size), targets.split(size), strict=True)
    if torch.is_grad_enabled():
        return torch.cat([checkpoint(project, h, t, use_reentrant=False) for h, t in pieces])
    return torch.cat([project(h, t) for h, t in pieces])


def _project(head: nn.Module, hidden: torch.Tensor, targets: torch.Tensor, *, collisions: bool) -> torch.Tensor:
    """Return log p at `targets`, p = softmax(head(hidden)), and with `collisions` log sum p^2.

    (n, H), (n,) -> (n, 1) or (n, 2), float32 or better.
    """
    logits = head(hidden)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    target: torch.Tensor = logits.gather(1, targets[:, None]).squeeze(1)
    total = torch.logsumexp(logits, dim=-1)
    if not collisions:
        return (target - total)[:, None]
    with torch.no_grad():
        collision = torch.logsumexp(2 * logits, dim=-1) - 2 * total
    return torch.stack([target - total, collision], dim=1)
