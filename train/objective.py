"""What a run minimises: a loss or a weighted mix of them, and the options that shape it.

L(pair) = sum over parts of factor * loss(pair). Row weights are the trainer's (`train.trainer`); which options act with
which loss is checked before (`train.switches`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch

from ingest.errors import SettingsError
from train import switches
from train.config import RunConfig
from train.dataset import PairDataset
from train.losses import LOSSES, Constants, Terms
from train.metrics import Floats, ReadOut


@dataclass(frozen=True)
class Objective:
    """One recipe's loss as a function of a batch."""

    parts: Mapping[str, float]
    """Loss -> factor."""
    constants: Constants = field(default_factory=Constants)
    """Numbers that are the same for every pair."""
    ld_alpha: float = 1.0
    """LD-DPO: factor of the log-probabilities of tokens past the shorter response's length."""
    wpo: bool = False
    """Whether pairs are weighted by how likely the policy is to say them."""

    @classmethod
    def of(cls, config: RunConfig) -> Self:
        """Return the objective that `config` describes."""
        constants = Constants(config.beta, config.simpo_gamma, config.discopop_tau)
        return cls(
            switches.parse(config.loss),
            constants,
            1.0 if config.ld_alpha is None else config.ld_alpha,
            config.wpo == "on",
        )

    @property
    def beta(self) -> float:
        """Strength of the pull towards the reference."""
        return self.constants.beta

    def per_pair(self, terms: Terms) -> torch.Tensor:
        """Return the loss of each pair, shape (pairs,)."""
        losses = [factor * LOSSES[name].per_pair(terms, self.constants) for name, factor in self.parts.items()]
        return torch.stack(losses).sum(dim=0)

    def at_reference(self, terms: Terms) -> torch.Tensor:
        """Return the closed form of `per_pair` where the policy is the reference, shape (pairs,)."""
        losses = [factor * LOSSES[name].at_reference(terms, self.constants) for name, factor in self.parts.items()]
        return torch.stack(losses).sum(dim=0)

    def of_rows(self, pairs: PairDataset, rows: list[int], read_out: ReadOut) -> tuple[Floats, Floats]:
        """Return the loss of each of `rows` (`read_out` is of them) and its closed form at the reference.

        Both float64, shape (rows,), as one batch, without weights.
        """
        _, chosen, rejected = pairs.segment_lengths[rows].T
        columns = (*vars(read_out).values(), chosen, rejected, pairs.noise[rows], pairs.margins[rows])
        terms = Terms(*(torch.from_numpy(np.asarray(column, dtype=np.float64)) for column in columns))
        return self.per_pair(terms).numpy(), self.at_reference(terms).numpy()

    def refuse_row_weights(self, pairs: PairDataset) -> None:
        """Raise SettingsError when the data's weights differ, and the loss has no pairs that could be weighted."""
        train = pairs.weights[pairs.rows_of("train")]
        if "aot" in self.parts and len(np.unique(train)) > 1:
            raise SettingsError(
                "The data has row weights, but --loss aot compares the sorted gaps of a batch, not pairs. "
                "Choose another loss, or make all weights equal."
            )
