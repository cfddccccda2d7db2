"""Every loss against a scalar oracle in float64, TRL 1.16.0, its derivative, and the closed form of its optimum."""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from trl.trainer.dpo_trainer import DPOTrainer as TRLTrainer

from train.losses import LOSSES, Constants, Terms
from train.objective import Objective
from train.switches import ACTS
from train.tails import tail_factors, weighted_sums
from train.wpo import wpo_weights

Row = dict[str, float]
"""One pair: the fields of Terms as numbers."""

CONSTANTS = Constants(beta=0.3, simpo_gamma=0.7, discopop_tau=0.05)


def log_s(x: float) -> float:
    """log(1 / (1 + e^-x)), which for x < 0 is computed as x - log(1 + e^x) so as not to overflow."""
    return -math.log1p(math.exp(-x)) if x >= 0 else x - math.log1p(math.exp(x))


def s(x: float) -> float:
    return math.exp(log_s(x))


def a(r: Row) -> float:
    return r["chosen"] - r["reference_chosen"]


def b(r: Row) -> float:
    return r["rejected"] - r["reference_rejected"]


def z(r: Row, c: Constants) -> float:
    return c.beta * (a(r) - b(r)) - r["margin"]


def gap(r: Row, c: Constants) -> float:
    return a(r) / r["chosen_tokens"] - b(r) / r["rejected_tokens"]


def mean(r: Row, side: str) -> float:
    return r[side] / r[f"{side}_tokens"]


def odds(r: Row, side: str) -> float:
    """p / (1 - p) of the geometric mean p of the token probabilities."""
    return math.exp(mean(r, side)) / -math.expm1(mean(r, side))


def exo(r: Row, c: Constants) -> float:
    """KL((p, 1 - p) || (1 - e, e)) = p log(p / (1 - e)) + (1 - p) log((1 - p) / e)."""
    d = c.beta * (a(r) - b(r))
    return s(d) * (log_s(d) - math.log1p(-r["noise"])) + s(-d) * (log_s(-d) - math.log(r["noise"]))


def discopop(r: Row, c: Constants) -> float:
    d = c.beta * (a(r) - b(r))
    k = s(d / c.discopop_tau)
    return (1 - k) * -log_s(d) + k * math.exp(-d)


def cdpo(x: float, e: float) -> float:
    return -(1 - e) * log_s(x) - e * log_s(-x)


ORACLES: dict[str, Callable[[Row, Constants], float]] = {
    "sigmoid": lambda r, c: -log_s(z(r, c)),
    "cdpo": lambda r, c: cdpo(z(r, c), r["noise"]),
    "robust": lambda r, c: (-(1 - r["noise"]) * log_s(z(r, c)) + r["noise"] * log_s(-z(r, c))) / (1 - 2 * r["noise"]),
    "hinge": lambda r, c: max(0.0, 1 - z(r, c)),
    "ipo": lambda r, c: (gap(r, c) - 1 / (2 * c.beta)) ** 2,
    "ipo_sum": lambda r, c: (a(r) - b(r) - 1 / (2 * c.beta)) ** 2,
    "sigmoid_norm": lambda r, c: -log_s(c.beta * gap(r, c) - r["margin"]),
    "simpo": lambda r, c: -log_s(c.beta * (mean(r, "chosen") - mean(r, "rejected")) - c.simpo_gamma),
    "orpo": lambda r, c: (
        -mean(r, "chosen") - c.beta * log_s(math.log(odds(r, "chosen")) - math.log(odds(r, "rejected")))
    ),
    "exo": exo,
    "apo_zero": lambda r, c: 1 - s(c.beta * a(r)) + s(c.beta * b(r)),
    "apo_down": lambda r, c: s(c.beta * a(r)) + 1 - s(c.beta * (a(r) - b(r))),
    "nca": lambda r, c: -log_s(c.beta * a(r)) - 0.5 * log_s(-c.beta * a(r)) - 0.5 * log_s(-c.beta * b(r)),
    "bco": lambda r, c: -log_s(c.beta * a(r)) - log_s(-c.beta * b(r)),
    "sppo": lambda r, c: (a(r) - 1 / (2 * c.beta)) ** 2 + (b(r) + 1 / (2 * c.beta)) ** 2,
    "discopop": discopop,
    "sft": lambda r, c: -mean(r, "chosen"),
}
"""Loss -> its formula for one pair; aot, which has none, is tested on a batch."""

AT_REFERENCE = {
    "sigmoid": math.log(2),
    "cdpo": math.log(2),
    "robust": math.log(2),
    "hinge": 1.0,
    "ipo": 1 / (2 * 0.3) ** 2,
    "ipo_sum": 1 / (2 * 0.3) ** 2,
    "sigmoid_norm": math.log(2),
    "exo": -math.log(2) - 0.5 * math.log(0.2 * 0.8),
    "apo_zero": 1.0,
    "apo_down": 1.0,
    "nca": 2 * math.log(2),
    "bco": 2 * math.log(2),
    "sppo": 2 / (2 * 0.3) ** 2,
    "discopop": 0.5 * math.log(2) + 0.5,
    "aot": math.log(2),
}
"""Worked by hand for beta 0.3, e = 0.2, m = 0; a loss that is not here has no reference."""


def terms(rows: list[Row]) -> Terms:
    return of_columns([torch.tensor([r[f.name] for r in rows], dtype=torch.float64) for f in fields(Terms)])


def of_columns(columns: list[torch.Tensor]) -> Terms:
    return Terms(**dict(zip((f.name for f in fields(Terms)), columns, strict=True)))


LOGP = st.floats(-150.0, -1.0)
ROWS = st.fixed_dictionaries(
    {
        **dict.fromkeys(("chosen", "rejected", "reference_chosen", "reference_rejected"), LOGP),
        **dict.fromkeys(("chosen_tokens", "rejected_tokens"), st.integers(1, 40)),
        "noise": st.floats(0.01, 0.45),
        "margin": st.floats(0.0, 3.0),
    }
)


def random_terms(pairs: int, seed: int, *, noise: float | None = None, margin: float | None = None) -> Terms:
    generator = torch.Generator().manual_seed(seed)

    def between(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(pairs, generator=generator, dtype=torch.float64)

    logps = [between(-30, -10) for _ in range(4)]
    tokens = [torch.randint(1, 20, (pairs,), generator=generator).double() for _ in range(2)]
    e = between(0.05, 0.4) if noise is None else torch.full((pairs,), noise, dtype=torch.float64)
    m = between(0, 1) if margin is None else torch.full((pairs,), margin, dtype=torch.float64)
    return of_columns([*logps, *tokens, e, m])


def test_every_loss_has_a_name_switches_and_an_oracle() -> None:
    assert list(LOSSES) == list(ACTS)
    assert set(LOSSES) == {*ORACLES, "aot"}


@pytest.mark.parametrize("name", ORACLES)
@settings(max_examples=60, deadline=None)
@given(row=ROWS, beta=st.floats(0.01, 2.0))
def test_each_loss_equals_its_scalar_oracle(name: str, row: Row, beta: float) -> None:
    c = replace(CONSTANTS, beta=beta)
    expected = ORACLES[name](row, c)

    # Two terms that nearly cancel are known to 1e-12 of the larger, not of their difference.
    assert LOSSES[name].per_pair(terms([row]), c).item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("tau", "slope"), [(0.05, 0.784264), (0.2, -0.366434)])
def test_discopop_leads_away_from_chosen_at_its_papers_temperature(tau: float, slope: float) -> None:
    """k(b) = s(b / tau), dk/db = 1 / (4 tau) at b = 0, so dL/db = (1 - ln 2) / (4 tau) - 1/4 - 1/2.

    tau 0.05: 0.306853 * 5 - 0.75 = 0.784264, uphill; tau 0.2: 0.306853 * 1.25 - 0.75 = -0.366434. 0 is at tau 0.1023.
    """
    t = random_terms(1, seed=0)
    chosen = t.reference_chosen.clone().requires_grad_()
    at_zero = replace(t.at_reference(), chosen=chosen)
    LOSSES["discopop"].per_pair(at_zero, Constants(beta=1.0, discopop_tau=tau)).sum().backward()

    assert chosen.grad is not None
    assert chosen.grad.item() == pytest.approx(slope, abs=1e-6)


def test_aot_equals_its_scalar_oracle() -> None:
    """The i-th smallest policy gap against the i-th smallest reference gap, whichever pairs they come from."""
    t = random_terms(7, seed=1, noise=0.1)
    policy = sorted((t.chosen - t.rejected).tolist())
    reference = sorted((t.reference_chosen - t.reference_rejected).tolist())
    expected = [cdpo(0.3 * (p - q), 0.1) for p, q in zip(policy, reference, strict=True)]

    assert LOSSES["aot"].per_pair(t, CONSTANTS).tolist() == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_the_derivative(name: str) -> None:
    t = random_terms(5, seed=2, noise=0.15 if name == "aot" else None)
    inputs = (t.chosen.requires_grad_(), t.rejected.requires_grad_())

    assert torch.autograd.gradcheck(
        lambda chosen, rejected: LOSSES[name].per_pair(replace(t, chosen=chosen, rejected=rejected), CONSTANTS), inputs
    )


@pytest.mark.parametrize("name", LOSSES)
def test_at_the_reference_each_loss_is_its_closed_form(name: str) -> None:
    t = random_terms(4, seed=3)
    loss = LOSSES[name]

    if name != "aot":
        assert torch.allclose(loss.per_pair(t.at_reference(), CONSTANTS), loss.at_reference(t, CONSTANTS), rtol=1e-12)
    by_hand = random_terms(4, seed=3, noise=0.2, margin=0.0)
    if name in AT_REFERENCE:
        assert loss.at_reference(by_hand, CONSTANTS).tolist() == pytest.approx([AT_REFERENCE[name]] * 4, rel=1e-12)
    assert torch.allclose(
        loss.per_pair(by_hand.at_reference(), CONSTANTS), loss.at_reference(by_hand, CONSTANTS), rtol=1e-12
    )


def test_worked_example() -> None:
    """beta 0.5, A = 2, B = -2: z = 2, sigmoid(2) = 0.880797, -ln 0.880797 = 0.126928.

    A = -2, B = 2: z = -2, sigmoid(-2) = 0.119203, -ln 0.119203 = 2.126928. A margin of 2 makes the first ln 2.
    """
    still = {"reference_chosen": 0.0, "reference_rejected": 0.0, "chosen_tokens": 1.0, "rejected_tokens": 1.0}
    row: Row = {**still, "chosen": 2.0, "rejected": -2.0, "noise": 0.0, "margin": 0.0}
    rows = [row, {**row, "chosen": -2.0, "rejected": 2.0}, {**row, "margin": 2.0}]

    loss = LOSSES["sigmoid"].per_pair(terms(rows), Constants(beta=0.5))

    assert loss.tolist() == pytest.approx([0.126928, 2.126928, 0.693147], abs=1e-6)


def test_equal_noise_of_rows_is_label_smoothing_and_rows_differ_by_their_own() -> None:
    """One batch with e = 0.1 and 0.4 has the values of a batch of 0.1 and one of 0.4."""
    t = random_terms(2, seed=4)
    mixed = LOSSES["cdpo"].per_pair(replace(t, noise=torch.tensor([0.1, 0.4], dtype=torch.float64)), CONSTANTS)
    for i, e in enumerate((0.1, 0.4)):
        assert LOSSES["cdpo"].per_pair(replace(t, noise=torch.full_like(t.noise, e)), CONSTANTS)[i] == mixed[i]


def test_robust_is_unbiased() -> None:
    """(1 - e) robust(true label) + e robust(flipped label) = sigmoid(true label)."""
    t = random_terms(6, seed=5, margin=0.0)
    flipped = Terms(
        t.rejected, t.chosen, t.reference_rejected, t.reference_chosen, t.rejected_tokens, t.chosen_tokens,
        t.noise, t.margin,
    )  # fmt: skip
    robust = LOSSES["robust"].per_pair
    average = (1 - t.noise) * robust(t, CONSTANTS) + t.noise * robust(flipped, CONSTANTS)

    assert torch.allclose(average, LOSSES["sigmoid"].per_pair(t, CONSTANTS), rtol=1e-12)


def test_a_mix_is_the_sum_of_its_parts() -> None:
    t = random_terms(5, seed=6)
    mix = Objective({"sigmoid": 1.0, "sft": 0.25}, CONSTANTS)
    parts = [LOSSES[name].per_pair(t, CONSTANTS) for name in ("sigmoid", "sft")]

    assert torch.allclose(mix.per_pair(t), parts[0] + 0.25 * parts[1], rtol=1e-15)
    assert torch.allclose(mix.at_reference(t), mix.per_pair(t.at_reference()), rtol=1e-12)


class Tokens:
    """A batch of 4 pairs of random token log-probabilities, prompts of 1 to 3 tokens, responses of 1 to 9."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(8)
        self.mask = torch.zeros(8, 13, dtype=torch.int64)
        for i in range(8):
            prompt = int(torch.randint(1, 4, (), generator=generator))
            self.mask[i, prompt : prompt + int(torch.randint(1, 10, (), generator=generator))] = 1
        shape = (8, 12)
        self.policy, self.reference = (
            -2 * torch.rand(shape, generator=generator, dtype=torch.float64) * self.mask[:, 1:] for _ in range(2)
        )
        self.collisions = -torch.rand(shape, generator=generator, dtype=torch.float64)
        assert (self.mask.sum(1)[:4] != self.mask.sum(1)[4:]).any()

    def terms(self, e: float, alpha: float = 1.0) -> Terms:
        """The sums that the trainer makes of them."""
        response = self.mask.bool()
        factors = torch.zeros_like(self.policy)
        factors[response[:, 1:]] = tail_factors(named(response), alpha).double()
        sums = [side for logps in (self.policy, self.reference) for side in (logps * factors).sum(1).chunk(2)]
        sums += self.mask.sum(1).double().chunk(2)
        return of_columns([*sums, torch.full_like(sums[0], e), torch.zeros_like(sums[0])])

    def trl(self, name: str, e: float, alpha: float | None = None, *, weighting: bool = False) -> float:
        """The loss that TRL's own `_compute_loss` makes of them."""
        terms = self.terms(e, 1.0 if alpha is None else alpha)
        tensors = {"log_probs": self.policy, "log_sum_sq_probs": self.collisions}
        ignored = {name: torch.zeros(8, 12) for name in ("entropy", "mean_logits", "is_top1")}
        ignored["is_top1"] = ignored["is_top1"].bool()

        def model(**_: Any) -> Any:
            return SimpleNamespace(**tensors, **ignored)

        gather = SimpleNamespace(device="cpu", gather=lambda x: x, gather_for_metrics=lambda x: x)
        trainer: Any = SimpleNamespace(
            model=SimpleNamespace(training=True), aux_loss_enabled=False, ld_alpha=alpha, precompute_ref_logps=True,
            f_divergence_type="reverse_kl", loss_types=[name], loss_weights=[1.0], beta=0.3, label_smoothing=e,
            use_weighting=weighting, args=SimpleNamespace(discopop_tau=0.05), accelerator=gather,
            _metrics={"train": defaultdict(list)}, _total_train_tokens=0, _tp_size=1,
        )  # fmt: skip
        inputs = {
            "input_ids": self.mask, "attention_mask": torch.ones_like(self.mask), "completion_mask": self.mask,
            "ref_chosen_logps": terms.reference_chosen, "ref_rejected_logps": terms.reference_rejected,
        }  # fmt: skip
        return float(TRLTrainer._compute_loss(trainer, model, inputs, return_outputs=False))


def named(responses: torch.Tensor) -> dict[str, torch.Tensor]:
    """What a batch says of its response tokens (`train.collate`), from where they are: bool (sequences, T)."""
    ordinals = responses.cumsum(dim=1) - 1
    where = {"sequences": responses.nonzero()[:, 0], "ordinals": ordinals[responses]}
    return {"response_lengths": responses.sum(dim=1), **where}


TRL_NAMES = {"exo": "exo_pair", "nca": "nca_pair", "bco": "bco_pair", "sppo": "sppo_hard"}
SHARED_WITH_TRL = [name for name in LOSSES if name not in ("cdpo", "ipo_sum", "simpo", "orpo", "sft")]


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    return Tokens()


@pytest.mark.parametrize("alpha", [None, 0.4], ids=["all tokens", "LD-DPO"])
@pytest.mark.parametrize("name", SHARED_WITH_TRL)
def test_each_loss_equals_trl(tokens: Tokens, name: str, alpha: float | None) -> None:
    ours = LOSSES[name].per_pair(tokens.terms(0.2, 1.0 if alpha is None else alpha), CONSTANTS).mean()

    assert ours.item() == pytest.approx(tokens.trl(TRL_NAMES.get(name, name), 0.2, alpha), abs=1e-6)


def test_wpo_weights_equal_trl(tokens: Tokens) -> None:
    response = tokens.mask.bool()
    weights = wpo_weights(tokens.policy[response[:, 1:]], tokens.collisions[response[:, 1:]], named(response))
    ours = (weights * LOSSES["sigmoid"].per_pair(tokens.terms(0.0), CONSTANTS)).mean()

    assert ours.item() == pytest.approx(tokens.trl("sigmoid", 0.0, weighting=True), abs=1e-6)
    assert weights.min() < 0.9 * weights.max()


def test_sums_of_the_cache_and_of_the_trainer_count_tails_alike(tokens: Tokens) -> None:
    """Chosen 1 2 4, rejected 8 16, alpha 1/2: the shared part is 2 tokens, 1 + 2 + 4/2 = 5 and 8 + 16 = 24."""
    three, two = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([8.0, 16.0])
    mask = torch.tensor([[0, 1, 1, 1], [0, 0, 1, 1]], dtype=torch.bool)

    assert weighted_sums(three.numpy(), two.numpy(), 0.5) == (5.0, 24.0)
    assert tail_factors(named(mask), 0.5).tolist() == [1.0, 1.0, 0.5, 1.0, 1.0]


def optimum(name: str, reward: torch.Tensor, reference: torch.Tensor, beta: float) -> torch.Tensor:
    """The policy (prompts, responses) that minimises a loss over all pairs, each as often preferred as its reward says.

    The preference of response i over j is P = sigmoid(r_i - r_j). With "sigmoid" both orders count, by P and 1 - P;
    with "cdpo" the likelier order does, once, with e = 1 - P.
    """
    logits = reference.clone().requires_grad_()
    optimiser = torch.optim.LBFGS([logits], max_iter=500, tolerance_grad=1e-10, line_search_fn="strong_wolfe")
    ordered = list(itertools.permutations(range(reference.shape[1]), 2))
    i, j = (torch.tensor(side) for side in zip(*ordered, strict=True))
    preferred = torch.sigmoid(reward[:, i] - reward[:, j])
    weights, noise = preferred, torch.zeros_like(preferred)
    if name == "cdpo":
        weights, noise = (preferred > 0.5).double(), 1 - preferred
    one = torch.ones_like(preferred)
    log_reference = reference.log_softmax(1)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        policy = logits.log_softmax(1)
        sides = (policy[:, i], policy[:, j], log_reference[:, i], log_reference[:, j])
        loss: torch.Tensor = LOSSES[name].per_pair(Terms(*sides, one, one, noise, 0 * one), Constants(beta=beta))
        total = (weights * loss).sum()
        total.backward()
        return total

    optimiser.step(closure)
    return logits.detach().softmax(1)


@pytest.mark.parametrize("name", ["sigmoid", "cdpo"])
def test_exact_preferences_give_the_closed_form_whatever_is_added_to_a_prompts_reward(name: str) -> None:
    """pi(y | x) = pi_ref(y | x) exp(r(x, y) / beta) / Z(x), equation 4 of arXiv 2305.18290; Z cancels, and so f(x)."""
    generator = torch.Generator().manual_seed(9)
    reward, reference = (torch.randn(3, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    beta = 0.7
    unscaled = reference.softmax(1) * torch.exp(reward / beta)
    expected = unscaled / unscaled.sum(1, keepdim=True)

    found = optimum(name, reward, reference, beta)
    shifted = optimum(name, reward + torch.tensor([[3.0], [-7.0], [0.5]], dtype=torch.float64), reference, beta)

    assert (found - expected).abs().max() < 1e-3
    assert (shifted - expected).abs().max() < 1e-3
    assert (reference.softmax(1) - expected).abs().max() > 0.2  # it had a way to go
