"""Response log-probabilities against full logits, on three architectures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM, Gemma2Config, Gemma2ForCausalLM

from ingest.errors import TrainingError
from train.collate import Batch, Collator
from train.dataset import Pair
from train.head import EXTRAS, token_values
from train.logprobs import predicting_states, response_values, sequence_logps, token_logps
from train.model import Policy
from train.model_checks import check_head

from .conftest import SIZE, read_all

FAMILIES = ["llama", "qwen2", "gpt_neox"]
VOCABULARY = 400
ONE_ROW = 4 * VOCABULARY
"""chunk_bytes that makes every response token a chunk of its own."""


def three_pairs() -> list[Pair]:
    """Random tokens with prompts of 1, 5 and 9 tokens and responses of 1 to 12."""
    draw = np.random.default_rng(11)

    def ids(size: int) -> np.ndarray:
        return draw.integers(0, VOCABULARY, size=size).astype(np.int32)

    return [Pair(ids(1), ids(1), ids(12)), Pair(ids(5), ids(7), ids(2)), Pair(ids(9), ids(4), ids(4))]


def batch() -> Batch:
    return Collator()(three_pairs())


def every_logp(model: Any) -> list[torch.Tensor]:
    """Log softmax at the positions that predict the responses of `three_pairs`, sequence by sequence, no padding."""
    pairs = three_pairs()
    found = []
    for prompt, response in [(p.prompt, p.chosen) for p in pairs] + [(p.prompt, p.rejected) for p in pairs]:
        ids = torch.from_numpy(np.concatenate([prompt, response])).long()
        found.append(torch.log_softmax(model(input_ids=ids[None]).logits[0], dim=-1)[len(prompt) - 1 : -1])
    return found


def full_logits_oracle(model: Any) -> torch.Tensor:
    """Sum of log softmax over response tokens of each sequence; (2B,)."""
    pairs = three_pairs()
    responses = [p.chosen for p in pairs] + [p.rejected for p in pairs]
    pieces = zip(every_logp(model), responses, strict=True)
    return torch.stack([logps.gather(1, torch.from_numpy(ids).long()[:, None]).sum() for logps, ids in pieces])


@pytest.mark.parametrize("chunk_bytes", [ONE_ROW, 5 * ONE_ROW, 2**30], ids=["one token", "five tokens", "one chunk"])
@pytest.mark.parametrize("family", FAMILIES)
def test_values_and_gradients_equal_full_logits(models_folder: Path, family: str, chunk_bytes: int) -> None:
    model = AutoModelForCausalLM.from_pretrained(models_folder / family, dtype=torch.float64)
    given = batch()

    found = sequence_logps(token_logps(model, given, chunk_bytes=chunk_bytes), given)
    gradients = torch.autograd.grad(found.square().sum(), list(model.parameters()))
    expected = full_logits_oracle(model)
    expected_gradients = torch.autograd.grad(expected.square().sum(), list(model.parameters()))

    assert found.dtype == torch.float64
    assert torch.allclose(found, expected, rtol=1e-10, atol=1e-10)
    for a, b in zip(gradients, expected_gradients, strict=True):
        assert torch.allclose(a, b, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("family", FAMILIES)
def test_float32_is_as_near_as_float32_can_be(models_folder: Path, family: str) -> None:
    given = batch()
    exact = AutoModelForCausalLM.from_pretrained(models_folder / family, dtype=torch.float64)
    single = AutoModelForCausalLM.from_pretrained(models_folder / family, dtype=torch.float32)

    found = sequence_logps(token_logps(single, given), given)

    assert torch.allclose(found.double(), full_logits_oracle(exact), rtol=0, atol=1e-3)


def test_bfloat16_matrix_products_keep_a_float32_sum(policy: Policy) -> None:
    given = batch()

    exact = token_logps(policy.model, given)
    found = token_logps(policy.model, given, autocast=torch.bfloat16)

    assert found.dtype == torch.float32
    assert torch.allclose(found, exact, rtol=0, atol=0.2)
    assert not torch.equal(found, exact)


def test_tokens_come_row_by_row(policy: Policy) -> None:
    given = batch()

    assert len(token_logps(policy.model, given)) == 1 + 7 + 4 + 12 + 2 + 4
    per_row = sequence_logps(torch.ones(30), given)
    assert per_row.tolist() == [1, 7, 4, 12, 2, 4]


class LargestTensor(TorchDispatchMode):
    """Remembers the most elements any tensor had that an operation made."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, torch.Tensor):
                self.largest = max(self.largest, tensor.numel())
        return made


def test_no_tensor_is_as_large_as_the_logits(policy: Policy, curated: Path) -> None:
    """36 pairs are 72 sequences; with gradients, nothing larger than a chunk or the model's own activations is made."""
    pairs = read_all(policy, curated)
    given = Collator()([pairs[row] for row in range(len(pairs))])
    logits = given["input_ids"].numel() * VOCABULARY

    with LargestTensor() as seen:
        token_logps(policy.model, given, chunk_bytes=16 * ONE_ROW).sum().backward()

    assert seen.largest < logits / 4


@pytest.mark.parametrize("cap", [0.5, 30.0])
def test_a_model_that_caps_its_logits_is_refused(cap: float) -> None:
    """Also at Gemma's own cap, far above the logits of random weights."""
    torch.manual_seed(0)
    capped = Gemma2ForCausalLM(
        Gemma2Config(**SIZE, vocab_size=50, num_key_value_heads=2, head_dim=8, final_logit_softcapping=cap)
    )

    with pytest.raises(TrainingError, match="scales or caps"):
        check_head(capped)


@pytest.mark.parametrize("head", ["matrix", "module"])
def test_entropy_top1_collisions_and_mean_logits_are_those_of_the_full_logits(models_folder: Path, head: str) -> None:
    """Of every response token, in chunks of 3 positions, and the log-probabilities beside them."""
    model = AutoModelForCausalLM.from_pretrained(models_folder / "llama")
    if head == "module":
        called(model)
    given = batch()
    found = response_values(model, given, extras=EXTRAS, chunk_bytes=3 * ONE_ROW)
    every = torch.cat(every_logp(model)).double().detach()
    p = every.exp()

    assert found.entropy is not None
    assert torch.allclose(found.entropy.double(), -(p * every).sum(-1), rtol=0, atol=1e-5)
    assert found.collision is not None
    assert torch.allclose(found.collision.double(), p.square().sum(-1).log(), rtol=0, atol=1e-5)
    assert found.top1 is not None
    assert found.top1.tolist() == (every.argmax(-1) == given["targets"]).double().tolist()
    assert found.mean_logit is not None
    logits = torch.cat([model.lm_head(states) for states in predicting_states(model, given).split(5)])
    assert torch.allclose(found.mean_logit, logits.mean(-1), rtol=0, atol=1e-5)
    assert torch.equal(found.logps, token_logps(model, given, chunk_bytes=3 * ONE_ROW))
    assert found.logps.requires_grad
    assert not any(v.requires_grad for v in (found.entropy, found.collision, found.top1, found.mean_logit))


@pytest.mark.parametrize("head", ["matrix", "module"])
def test_entropy_and_collisions_are_sums_in_float32_whatever_matrix_products_are(head: str) -> None:
    """Of the very logits that bfloat16 made; WPO's weights are exponentials of the collision."""
    torch.manual_seed(0)
    linear = torch.nn.Linear(32, 500, bias=False)
    if head == "module":
        linear.register_forward_hook(lambda *_: None)
    hidden, targets = torch.randn(20, 32) * 3, torch.randint(0, 500, (20,))
    logits = torch.nn.functional.linear(hidden.bfloat16(), linear.weight.bfloat16()).double()
    log_p = logits.log_softmax(-1)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = token_values(linear, hidden, targets, chunk=7, extras=("entropy", "collision"))

    assert found.entropy is not None
    assert torch.allclose(found.entropy.double(), -(log_p.exp() * log_p).sum(-1), rtol=0, atol=1e-5)
    assert found.collision is not None
    assert torch.allclose(found.collision.double(), (2 * log_p).logsumexp(-1), rtol=0, atol=1e-5)


def called(model: Any) -> None:
    """Give the head a hook, as adapters and sharding do, so that it must be called."""
    model.lm_head.register_forward_hook(lambda *_: None)


@pytest.mark.parametrize("chunk_bytes", [5 * ONE_ROW, 2**30], ids=["five tokens", "one chunk"])
def test_a_head_that_must_be_called_has_the_same_values_and_gradients(models_folder: Path, chunk_bytes: int) -> None:
    found = []
    for hook in (False, True):
        model = AutoModelForCausalLM.from_pretrained(models_folder / "llama", dtype=torch.float64)
        if hook:
            called(model)
        logps = token_logps(model, batch(), chunk_bytes=chunk_bytes)
        found.append([logps, *torch.autograd.grad(logps.square().sum(), list(model.parameters()))])

    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-10)


def of_the_head(model: Any, chunk_bytes: int) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Log-probabilities, the gradient of the first embedding, and the head's products of V x H in a training step."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True) as profiled:
        logps = token_logps(model, batch(), chunk_bytes=chunk_bytes)
        logps.square().sum().backward()
    products = ("aten::mm", "aten::addmm", "aten::addmm_", "aten::linear", "aten::matmul")
    with_head = [
        event
        for event in profiled.events()
        if event.name in products[:3] and any(VOCABULARY in shape for shape in event.input_shapes if shape)
    ]
    return logps.detach(), model.get_input_embeddings().weight.grad, len(with_head)


@pytest.mark.parametrize(
    ("chunk_bytes", "trained", "frozen"),
    [(2**30, 3, 2), (15 * ONE_ROW, 2 * 3 + 1, 2 * 2)],
    ids=["one chunk", "two chunks"],
)
def test_a_frozen_head_costs_two_products_and_changes_nothing(
    models_folder: Path, chunk_bytes: int, trained: int, frozen: int
) -> None:
    """30 tokens. A trained head: logits, gradient of hidden states, of weights; logits again in the second chunk.

    A frozen one: logits and gradient of hidden states. The gradients further down are the same.
    """
    found = []
    for freeze in (False, True):
        model = AutoModelForCausalLM.from_pretrained(models_folder / "llama", dtype=torch.float64)
        model.lm_head.requires_grad_(not freeze)
        found.append(of_the_head(model, chunk_bytes))

    assert [products for _, _, products in found] == [trained, frozen]
    assert torch.equal(found[0][0], found[1][0])
    assert torch.allclose(found[0][1], found[1][1], rtol=1e-12, atol=1e-12)


def test_log_probabilities_of_words_that_underflow_are_exact() -> None:
    """Logits 0 and -200: log p of the second is -200, though exp(-200) is 0 in float32."""
    head = torch.nn.Linear(1, 2, bias=False)
    head.weight.data = torch.tensor([[0.0], [-200.0]])

    found = token_values(head, torch.ones(2, 1), torch.tensor([0, 1]), chunk=2)

    assert found.logps.tolist() == [0.0, -200.0]
