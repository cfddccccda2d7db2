"""Preference losses: pure functions of log policy ratios, one value per pair.

Shapes: A and B are (pairs,), in nats, summed over the response's tokens:
    A = log pi(chosen | x)   - log pi_ref(chosen | x)
    B = log pi(rejected | x) - log pi_ref(rejected | x)

Rafailov et al., "Direct Preference Optimization" (arXiv 2305.18290): the implicit reward of a response is
beta * its log ratio + beta * log Z(x), and log Z(x) cancels in every difference of two responses to one prompt.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch.nn.functional import logsigmoid

PerPair = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]
"""(A, B, beta) -> loss, each of shape (pairs,)."""


@dataclass(frozen=True)
class Loss:
    """A preference loss and what it must be before the first step."""

    name: str
    """As in the literature."""
    per_pair: PerPair
    """Loss of each pair, shape (pairs,)."""
    at_reference: float
    """Its value where policy and reference are one model, A = B = 0: the closed form a run is checked against."""


def sigmoid_loss(A: torch.Tensor, B: torch.Tensor, beta: float) -> torch.Tensor:
    """Return -log sigmoid(beta * (A - B)) of each pair, shape (pairs,): equation 7 of arXiv 2305.18290.

    It is the negative log-likelihood of the Bradley-Terry preference P(chosen > rejected) = sigmoid(beta * (A - B)).
    """
    return -logsigmoid(beta * (A - B))


SIGMOID: Final = Loss(name="sigmoid", per_pair=sigmoid_loss, at_reference=math.log(2))
"""-log sigmoid(0) = -log(1/2) = ln 2."""
