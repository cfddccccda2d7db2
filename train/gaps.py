"""Why logged log-probabilities are not the model's: the cause, from how the gap is spread over rows and tokens.

A causal model gives each cause a shape:

    re-tokenisation    a few rows, each from some token on; before it, and in all other rows, nothing
    temperature        every row; gone when the logits are divided by one number
    quantisation       every row and token, as large as rounding the weights to 4 or 8 bits would make it
    template           every row, larger than that: another prompt was read, or other weights

What is no gap is measured, not assumed: the same rows in float32 and with bfloat16 matrix products differ by the noise
of arithmetic. A log that agrees better with the model than that in most rows is held to its own standard.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import nn

from ingest.errors import TrainingError
from train import processes, sharded
from train.dataset import PairDataset
from train.head import token_values
from train.logprobs import predicting_states
from train.reference import ReferenceCache

ROUNDING: Final = 1e-4
"""Nats per token by which a log may round: 4 decimals."""
NOISE_FACTOR: Final = 4.0
"""Two computations in bfloat16 differ from float32 by other amounts of the same size."""
EXAMINED_ROWS: Final = 8
"""Rows with the largest gaps that causes are tried on."""
TEMPERATURES: Final = np.round(np.arange(0.1, 3.01, 0.05), 2)

CAUSES: Final = {
    "re-tokenisation": "a token id was changed or the response tokenised anew: look at these rows in the log",
    "temperature": "the log holds log-probabilities after a temperature: log the raw ones (vLLM: "
    "--logprobs-mode raw_logprobs), or leave --reference logged out",
    "quantisation": "the deployment computes with rounded weights: it is another model than the reference; leave "
    "--reference logged out, or give --model the weights that are deployed",
    "wrong template": "the deployed model read another prompt, or has other weights: put the deployment's own "
    "chat_template.jinja and weights into the model folder",
}
"""Cause -> what it means and what to do."""


@dataclass(frozen=True)
class Compared:
    """One row's log-probabilities in the log and by the model."""

    row: int
    gap: np.ndarray
    """Logged less computed, nats, one value per token of chosen, then rejected."""
    noise: np.ndarray
    """Computed in the other precision less computed, the same shape."""

    @property
    def mean(self) -> float:
        """Mean size of the gap, nats per token."""
        return float(np.abs(self.gap).mean())


def refuse_gaps(sample: list[Compared], cache: ReferenceCache, pairs: PairDataset) -> float:
    """Return by how much logged values may differ from the model's, nats per token on average.

    Raises TrainingError with the rows and the probable cause when they differ by more.
    """
    noise = np.abs(np.concatenate([row.noise for row in sample]))
    typical = float(np.median([row.mean for row in sample]))
    level = NOISE_FACTOR * min(1.0, 10 * typical / max(float(noise.mean()), 1e-12))
    mean, largest = (ROUNDING + level * float(value) for value in (noise.mean(), noise.max()))
    bad = [row for row in sample if row.mean > mean or np.abs(row.gap).max() > largest]
    if not bad:
        return 2 * mean
    worst = sorted(bad, key=lambda row: -row.mean)[:EXAMINED_ROWS]
    # With a cause that acts in every row, the others have a gap too, if a smaller one.
    few = len(bad) < len(sample) / 2 and worst[0].mean > 5 * typical
    cause, detail = _cause(worst, (mean, largest), cache, pairs, few=few)
    named = ", ".join(pairs.ids[row.row] for row in worst[:5])
    size = float(np.mean([row.mean for row in bad]))
    raise TrainingError(
        f"The logged log-probabilities are not the model's: in {len(bad)} of {len(sample)} sampled rows they differ by "
        f"{size:.3g} nats a token on average (arithmetic explains {mean:.3g}): {named}{', ...' * (len(bad) > 5)}. "
        f"Probable cause: {cause}{detail}: {CAUSES[cause]}."
    )


def _cause(
    worst: list[Compared], allowed: tuple[float, float], cache: ReferenceCache, pairs: PairDataset, *, few: bool
) -> tuple[str, str]:
    """Return a key of CAUSES and a detail of rows beyond what is `allowed` (mean, largest), `few` or all rows."""
    mean, largest = allowed
    if few:
        gap = np.abs(worst[0].gap)
        first = int(np.argmax(gap > min(largest, gap.max() / 2)))
        return "re-tokenisation", f", in the first of them from response token {first} on"
    rows = [row.row for row in worst]
    logged = np.concatenate([np.concatenate(pairs.logged[row]) for row in rows])
    size = float(np.mean([row.mean for row in worst]))
    gaps = [float(np.abs(_at_temperature(cache, pairs, rows, t) - logged).mean()) for t in TEMPERATURES]
    best = int(np.argmin(gaps))
    if TEMPERATURES[best] != 1.0 and gaps[best] <= max(0.2 * size, mean):
        return "temperature", f" {TEMPERATURES[best]:.2f}, with which the gap is {gaps[best]:.3g}"
    if processes.count() == 1 and size <= 1.5 * (rounded := _rounded_gap(cache, pairs, rows)):
        return "quantisation", f" (weights of 4 bits make a gap of {rounded:.3g})"
    return "wrong template", ""


def _at_temperature(cache: ReferenceCache, pairs: PairDataset, rows: list[int], temperature: float) -> np.ndarray:
    """Return the log-probabilities of `rows` after a temperature, chosen and rejected of each row in turn."""
    model, found = cache.policy.model, []
    for row in rows:
        batch = cache.collate([pairs[row]]).to(model.device)

        def compute(batch: dict[str, torch.Tensor] = batch) -> tuple[torch.Tensor, ...]:
            states = predicting_states(model, batch) / temperature
            return (token_values(model.get_output_embeddings(), states, batch["targets"], chunk=256).logps,)

        with torch.no_grad():
            (logps,) = sharded.computing(model, compute)
        found.append(logps.float().cpu().numpy())
    return np.concatenate(found)


def _rounded_gap(cache: ReferenceCache, pairs: PairDataset, rows: list[int]) -> float:
    """Return the mean gap, nats per token, that weights of 4 bits make on `rows`."""
    exact = _at_temperature(cache, pairs, rows, 1.0)
    with _rounded_weights(cache.policy.model):
        return float(np.abs(_at_temperature(cache, pairs, rows, 1.0) - exact).mean())


@contextmanager
def _rounded_weights(model: nn.Module, levels: int = 7, group: int = 128) -> Iterator[None]:
    """Round the weights of matrices to -levels ... levels in groups of one row, and put them back."""
    kept = [(m.weight, m.weight.detach().clone()) for m in model.modules() if isinstance(m, nn.Linear)]
    try:
        with torch.no_grad():
            for weight, _ in kept:
                width = group if weight.shape[1] % group == 0 else weight.shape[1]
                grouped = weight.view(-1, width)
                scale = grouped.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / levels
                weight.copy_(((grouped / scale).round() * scale).view_as(weight))
        yield
    finally:
        with torch.no_grad():
            for weight, before in kept:
                weight.copy_(before)
