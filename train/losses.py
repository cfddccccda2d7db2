"""Preference losses: pure functions of one batch's log-probabilities, one value per pair.

Symbols, each of shape (pairs,), in nats, summed over the response's tokens where nothing else is said:

    A = log pi(chosen | x)   - log pi_ref(chosen | x)         w, l   tokens of chosen and of rejected
    B = log pi(rejected | x) - log pi_ref(rejected | x)       e      probability that the label is wrong
    z = beta * (A - B) - m                                    m      margin that chosen must win by, 0 unless given

Rafailov et al., "Direct Preference Optimization" (arXiv 2305.18290): the implicit reward of a response is
beta * its log ratio + beta * log Z(x), and log Z(x) cancels in every difference of two responses to one prompt.
`train.switches` says which options act with which loss; docs/training.md says when to choose which.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch.nn.functional import logsigmoid, softplus


@dataclass(frozen=True)
class Terms:
    """What a loss may look at, of each pair of a batch; all of shape (pairs,)."""

    chosen: torch.Tensor
    """log pi(chosen | x)"""
    rejected: torch.Tensor
    """log pi(rejected | x)"""
    reference_chosen: torch.Tensor
    """log pi_ref(chosen | x)"""
    reference_rejected: torch.Tensor
    """log pi_ref(rejected | x)"""
    chosen_tokens: torch.Tensor
    """w"""
    rejected_tokens: torch.Tensor
    """l"""
    noise: torch.Tensor
    """e, 0 <= e < 1/2"""
    margin: torch.Tensor
    """m"""

    @property
    def A(self) -> torch.Tensor:  # noqa: N802  the paper's name
        """log pi(chosen | x) - log pi_ref(chosen | x)"""
        return self.chosen - self.reference_chosen

    @property
    def B(self) -> torch.Tensor:  # noqa: N802  the paper's name
        """log pi(rejected | x) - log pi_ref(rejected | x)"""
        return self.rejected - self.reference_rejected

    def at_reference(self) -> "Terms":
        """Return the terms of a policy that is the reference: A = B = 0."""
        return replace(self, chosen=self.reference_chosen, rejected=self.reference_rejected)


@dataclass(frozen=True)
class Constants:
    """The numbers of a recipe that are the same for every pair."""

    beta: float = 0.1
    """Strength of the pull towards the reference (IPO and SPPO: their regularisation)."""
    simpo_gamma: float = 0.5
    """SimPO's target margin of mean log-probabilities times beta."""
    discopop_tau: float = 0.05
    """DiscoPOP's temperature."""


PerPair = Callable[[Terms, Constants], torch.Tensor]
"""Terms of shape (pairs,) -> loss, shape (pairs,)."""


@dataclass(frozen=True)
class Loss:
    """A preference loss and what it must be before the first step."""

    per_pair: PerPair
    """Loss of each pair, shape (pairs,)."""
    at_reference: PerPair
    """Its closed form where policy and reference are one model, A = B = 0; looks at the reference alone."""


def sigmoid_loss(t: Terms, c: Constants) -> torch.Tensor:
    """-log sigmoid(z): equation 7 of arXiv 2305.18290; with m, ODPO's of arXiv 2402.10571.

    It is the negative log-likelihood of the Bradley-Terry preference P(chosen > rejected) = sigmoid(z).
    """
    return -logsigmoid(_z(t, c))


def cdpo_loss(t: Terms, c: Constants) -> torch.Tensor:
    """-(1 - e) log sigmoid(z) - e log sigmoid(-z): DPO on labels that are flipped with probability e.

    Equation 3 of Mitchell, "A note on DPO with noisy preferences" (2023); its optimum is P(chosen > rejected) = 1 - e.
    """
    z = _z(t, c)
    return -(1 - t.noise) * logsigmoid(z) - t.noise * logsigmoid(-z)


def robust_loss(t: Terms, c: Constants) -> torch.Tensor:
    """[-(1 - e) log sigmoid(z) + e log sigmoid(-z)] / (1 - 2e): rDPO, arXiv 2403.00409.

    Its mean over flipped labels is the sigmoid loss of the true ones.
    """
    z = _z(t, c)
    return (-(1 - t.noise) * logsigmoid(z) + t.noise * logsigmoid(-z)) / (1 - 2 * t.noise)


def hinge_loss(t: Terms, c: Constants) -> torch.Tensor:
    """max(0, 1 - z): SLiC-HF's hinge, arXiv 2305.10425, on DPO's rewards (RSO, arXiv 2309.06657)."""
    return torch.relu(1 - _z(t, c))


def ipo_loss(t: Terms, c: Constants) -> torch.Tensor:
    """(A/w - B/l - 1/(2 beta))^2: equation 17 of arXiv 2310.12036 on means over tokens, as in TRL."""
    return (_mean_gap(t) - 1 / (2 * c.beta)) ** 2


def ipo_sum_loss(t: Terms, c: Constants) -> torch.Tensor:
    """(A - B - 1/(2 beta))^2: equation 17 of arXiv 2310.12036 on sums over tokens, as it is printed."""
    return (t.A - t.B - 1 / (2 * c.beta)) ** 2


def sigmoid_norm_loss(t: Terms, c: Constants) -> torch.Tensor:
    """-log sigmoid(beta (A/w - B/l) - m): length-normalised DPO, as of Tulu 3 (arXiv 2411.15124)."""
    return -logsigmoid(c.beta * _mean_gap(t) - t.margin)


def simpo_loss(t: Terms, c: Constants) -> torch.Tensor:
    """-log sigmoid(beta (log pi(chosen)/w - log pi(rejected)/l) - gamma): equation 6 of arXiv 2405.14734.

    There is no reference.
    """
    return -logsigmoid(c.beta * (t.chosen / t.chosen_tokens - t.rejected / t.rejected_tokens) - c.simpo_gamma)


def orpo_loss(t: Terms, c: Constants) -> torch.Tensor:
    """-log p_w - beta log sigmoid(log odds(p_w) - log odds(p_l)): equations 6 and 7 of arXiv 2403.07691.

    p is the geometric mean of a response's token probabilities, odds(p) = p / (1 - p). There is no reference.
    """
    chosen, rejected = t.chosen / t.chosen_tokens, t.rejected / t.rejected_tokens
    return -chosen - c.beta * logsigmoid(_log_odds(chosen) - _log_odds(rejected))


def exo_loss(t: Terms, c: Constants) -> torch.Tensor:
    """KL(p || q) with p = (sigmoid(b), sigmoid(-b)), b = beta (A - B), q = (1 - e, e): equation 16 of arXiv 2402.00856.

    e > 0.
    """
    b = c.beta * (t.A - t.B)
    won = torch.sigmoid(b) * (logsigmoid(b) - torch.log1p(-t.noise))
    return won + torch.sigmoid(-b) * (logsigmoid(-b) - torch.log(t.noise))


def apo_zero_loss(t: Terms, c: Constants) -> torch.Tensor:
    """1 - sigmoid(beta A) + sigmoid(beta B): equation 7 of arXiv 2408.06266; chosen up, rejected down."""
    return torch.sigmoid(-c.beta * t.A) + torch.sigmoid(c.beta * t.B)


def apo_down_loss(t: Terms, c: Constants) -> torch.Tensor:
    """sigmoid(beta A) + 1 - sigmoid(beta (A - B)): equation 8 of arXiv 2408.06266; both down, rejected further."""
    return torch.sigmoid(c.beta * t.A) + torch.sigmoid(-c.beta * (t.A - t.B))


def nca_loss(t: Terms, c: Constants) -> torch.Tensor:
    """-log s(beta A) - 1/2 log s(-beta A) - 1/2 log s(-beta B), s the sigmoid: NCA of arXiv 2402.05369, K = 2."""
    a, b = c.beta * t.A, c.beta * t.B
    return -logsigmoid(a) - 0.5 * logsigmoid(-a) - 0.5 * logsigmoid(-b)


def bco_loss(t: Terms, c: Constants) -> torch.Tensor:
    """-log sigmoid(beta A) - log sigmoid(-beta B): BCO of arXiv 2404.04656 without its running mean, as in TRL."""
    return -logsigmoid(c.beta * t.A) - logsigmoid(-c.beta * t.B)


def sppo_loss(t: Terms, c: Constants) -> torch.Tensor:
    """(A - 1/(2 beta))^2 + (B + 1/(2 beta))^2: equation 4.7 of arXiv 2405.00675, chosen winning with probability 1."""
    half = 1 / (2 * c.beta)
    return (t.A - half) ** 2 + (t.B + half) ** 2


def discopop_loss(t: Terms, c: Constants) -> torch.Tensor:
    """(1 - k) (-log sigmoid(b)) + k exp(-b), k = sigmoid(b / tau), b = beta (A - B): equation 5 of arXiv 2406.08414."""
    b = c.beta * (t.A - t.B)
    k = torch.sigmoid(b / c.discopop_tau)
    return -(1 - k) * logsigmoid(b) + k * torch.exp(-b)


def aot_loss(t: Terms, c: Constants) -> torch.Tensor:
    """cDPO of the sorted policy gaps against the sorted reference gaps of a batch: paired AOT, arXiv 2406.05882.

    A gap is log pi(chosen) - log pi(rejected). The i-th value belongs to the i-th quantile of the batch, to no pair.
    """
    policy = torch.sort(t.chosen - t.rejected).values
    z = c.beta * (policy - torch.sort(t.reference_chosen - t.reference_rejected).values)
    return -(1 - t.noise) * logsigmoid(z) - t.noise * logsigmoid(-z)


def sft_loss(t: Terms, c: Constants) -> torch.Tensor:
    """-log pi(chosen)/w: the likelihood term of RPO, equation 1 of arXiv 2404.19733. There is no reference."""
    return -t.chosen / t.chosen_tokens


def _z(t: Terms, c: Constants) -> torch.Tensor:
    return c.beta * (t.A - t.B) - t.margin


def _mean_gap(t: Terms) -> torch.Tensor:
    return t.A / t.chosen_tokens - t.B / t.rejected_tokens


def _log_odds(log_p: torch.Tensor) -> torch.Tensor:
    """log(p / (1 - p)) of log p < 0, exact also where p is nearly 1."""
    return log_p - torch.log(-torch.expm1(log_p))


def _constant(value: Callable[[Constants], float]) -> PerPair:
    """Return the closed form of a loss that is one number at the reference."""
    return lambda t, c: torch.full_like(t.margin, value(c))


def _cdpo_at_reference(t: Terms, c: Constants) -> torch.Tensor:
    """(1 - e) log(1 + exp(m)) + e log(1 + exp(-m)): ln 2 where m = 0."""
    return (1 - t.noise) * softplus(t.margin) + t.noise * softplus(-t.margin)


def _robust_at_reference(t: Terms, c: Constants) -> torch.Tensor:
    """[(1 - e) log(1 + exp(m)) - e log(1 + exp(-m))] / (1 - 2e): ln 2 where m = 0."""
    return ((1 - t.noise) * softplus(t.margin) - t.noise * softplus(-t.margin)) / (1 - 2 * t.noise)


def _without_reference(loss: PerPair) -> PerPair:
    """Return the closed form of a loss without a reference: its formula on the reference's log-probabilities."""
    return lambda t, c: loss(t.at_reference(), c)


_LN_2: Final = math.log(2)

LOSSES: Final[Mapping[str, Loss]] = {
    "sigmoid": Loss(sigmoid_loss, lambda t, _: softplus(t.margin)),  # ln 2 where m = 0
    "cdpo": Loss(cdpo_loss, _cdpo_at_reference),
    "robust": Loss(robust_loss, _robust_at_reference),
    "hinge": Loss(hinge_loss, lambda t, _: torch.relu(1 + t.margin)),
    "ipo": Loss(ipo_loss, _constant(lambda c: 1 / (4 * c.beta**2))),
    "ipo_sum": Loss(ipo_sum_loss, _constant(lambda c: 1 / (4 * c.beta**2))),
    "sigmoid_norm": Loss(sigmoid_norm_loss, lambda t, _: softplus(t.margin)),
    "simpo": Loss(simpo_loss, _without_reference(simpo_loss)),
    "orpo": Loss(orpo_loss, _without_reference(orpo_loss)),
    "exo": Loss(exo_loss, lambda t, _: -_LN_2 - 0.5 * torch.log(t.noise * (1 - t.noise))),
    "apo_zero": Loss(apo_zero_loss, _constant(lambda _: 1.0)),
    "apo_down": Loss(apo_down_loss, _constant(lambda _: 1.0)),
    "nca": Loss(nca_loss, _constant(lambda _: 2 * _LN_2)),
    "bco": Loss(bco_loss, _constant(lambda _: 2 * _LN_2)),
    "sppo": Loss(sppo_loss, _constant(lambda c: 1 / (2 * c.beta**2))),
    "discopop": Loss(discopop_loss, _constant(lambda _: (_LN_2 + 1) / 2)),
    "aot": Loss(aot_loss, _constant(lambda _: _LN_2)),
    "sft": Loss(sft_loss, _without_reference(sft_loss)),
}
"""Every loss by the name that --loss takes."""
