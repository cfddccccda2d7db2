"""The loss against a scalar oracle in float64, written from equation 7 of arXiv 2305.18290."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from train.losses import SIGMOID, sigmoid_loss

NATS = st.floats(-200.0, 200.0)


@given(NATS, NATS, st.floats(0.01, 5.0))
def test_sigmoid_equals_the_scalar_oracle(a: float, b: float, beta: float) -> None:
    """-log(1 / (1 + e^-z)) = log(1 + e^-z), which for z < 0 is computed as -z + log(1 + e^z) so as not to overflow."""
    z = beta * (a - b)
    oracle = math.log1p(math.exp(-z)) if z >= 0 else -z + math.log1p(math.exp(z))

    loss = sigmoid_loss(torch.tensor([a], dtype=torch.float64), torch.tensor([b], dtype=torch.float64), beta)

    assert loss.item() == pytest.approx(oracle, rel=1e-12, abs=1e-12)


def test_worked_example() -> None:
    """beta 0.5, A = 2, B = -2: margin 2, sigmoid(2) = 0.880797, -ln 0.880797 = 0.126928.

    A = -2, B = 2: margin -2, sigmoid(-2) = 0.119203, -ln 0.119203 = 2.126928.
    """
    loss = sigmoid_loss(torch.tensor([2.0, -2.0]), torch.tensor([-2.0, 2.0]), 0.5)

    assert loss.tolist() == pytest.approx([0.126928, 2.126928], abs=1e-6)


def test_at_the_reference_the_loss_is_ln_2() -> None:
    zero = torch.zeros(3, dtype=torch.float64)

    assert SIGMOID.per_pair(zero, zero, 0.1).tolist() == [math.log(2)] * 3
    assert SIGMOID.at_reference == math.log(2)


def test_gradient_is_the_derivative() -> None:
    a = torch.tensor([0.3, -4.0, 11.0], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([1.0, 2.0, -3.0], dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradcheck(lambda x, y: sigmoid_loss(x, y, 0.7), (a, b))
