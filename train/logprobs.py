"""Log-probabilities of response tokens, without ever holding the logits of a whole batch.

A batch of 16 sequences x 1,024 tokens x 151,936 words would be 10 GB of float32 logits, most of them of prompts and
padding that no loss looks at. Here the backbone's hidden states are gathered at the positions that predict a response
token, and only those meet the output head, in chunks (`train.head`).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import torch
from transformers import PreTrainedModel

from train import processes, sharded
from train.collate import Collator
from train.dataset import PairDataset
from train.head import TokenValues, token_values
from train.sharing import attention_inputs

CHUNK_BYTES: Final = 64 * 1024 * 1024
"""Most float32 logits that are made at once; as many again are kept for the backward pass."""


def token_logps(
    model: PreTrainedModel,
    batch: Mapping[str, torch.Tensor],
    *,
    autocast: torch.dtype | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> torch.Tensor:
    """Return log pi(token | everything before it) of every response token of `batch`, shape (response tokens,).

    Tokens come in the order of `batch["targets"]`; float32 at least, natural log. `autocast` is the dtype of matrix
    products; the log-sum-exp is float32 whatever it is.
    """
    return response_values(model, batch, autocast=autocast, chunk_bytes=chunk_bytes).logps


def response_values(
    model: PreTrainedModel,
    batch: Mapping[str, torch.Tensor],
    *,
    extras: tuple[str, ...] = (),
    autocast: torch.dtype | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> TokenValues:
    """Return what `token_logps` returns, and beside it the `extras` (`train.head.EXTRAS`), without gradient."""
    chunk = max(1, chunk_bytes // (4 * model.config.get_text_config().vocab_size))

    def compute() -> tuple[torch.Tensor, ...]:
        found = token_values(
            model.get_output_embeddings(), predicting_states(model, batch), batch["targets"], chunk=chunk, extras=extras
        )
        return found.logps, *(getattr(found, name) for name in extras)

    device = batch["input_ids"].device
    with torch.autocast(device.type, dtype=autocast or torch.bfloat16, enabled=autocast is not None):
        logps, *others = sharded.computing(model, compute)
    return TokenValues(logps, **dict(zip(extras, others, strict=True)))


def predicting_states(model: PreTrainedModel, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return the hidden state that predicts each response token of `batch`: (response tokens, H)."""
    given = attention_inputs(model, batch)
    states: torch.Tensor = model.base_model(input_ids=batch["input_ids"], use_cache=False, **given).last_hidden_state
    return states.flatten(0, 1).index_select(0, batch["predictors"])


def sequence_logps(per_token: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Sum the `per_token` values of each sequence of `batch`: (response tokens,) -> float64 (sequences,).

    Float64, because what a loss looks at is a small difference of large sums: float32 knows 2,000 nats to 1e-4.
    """
    return torch.segment_reduce(per_token.double(), "sum", lengths=batch["response_lengths"])


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

    No gradients, in batches of like length; rows come in the order in which they are done. Of several processes each
    computes its share, and all yield every row. The model is in evaluation
    mode, or with `training` in training mode, where dropout that is not 0 would show.
    """
    by_length = sorted(rows, key=lambda row: (-pairs.lengths[row], row))
    was_training = model.training
    model.train(training)
    try:
        for shares in _shares(by_length, batch_size):
            # A process without a share must still take part in the others' computation.
            own = shares[processes.rank()] or shares[0]
            batch = collate([pairs[row] for row in own]).to(model.device)
            with torch.no_grad():
                values = token_logps(model, batch, autocast=autocast).float()
            counts = [pairs.segment_lengths[share, 1:].T.reshape(-1) for share in shares]
            tokens = [int(count.sum()) for count in counts]
            gathered = processes.gather(values[: tokens[processes.rank()]], tokens)
            for share, count, part in zip(shares, counts, gathered, strict=True):
                sides = np.split(part.cpu().numpy(), np.cumsum(count)[:-1]) if share else []
                yield from zip(share, sides[: len(share)], sides[len(share) :], strict=True)
    finally:
        model.train(was_training)


def _shares(rows: list[int], size: int) -> Iterator[list[list[int]]]:
    """Yield what the processes compute at the same time: for each at most `size` rows, in the end none for some."""
    batches = [rows[start : start + size] for start in range(0, len(rows), size)]
    for start in range(0, len(batches), processes.count()):
        shares = batches[start : start + processes.count()]
        yield shares + [[]] * (processes.count() - len(shares))
