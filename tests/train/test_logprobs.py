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
from train.logprobs import check_head, sequence_logps, token_logps, token_logps_and_collisions
from train.model import Policy

from .conftest import SIZE, read_all

FAMILIES = ["llama", "qwen2", "gpt_neox"]
VOCABULARY = 400
ONE_ROW = 4 * VOCABULARY
"""chunk_bytes that makes every response token a chunk of its own."""


def batch() -> Batch:
    """Three pairs of random tokens with prompts of 1, 5 and 9 tokens and responses of 1 to 12."""
    draw = np.random.default_rng(11)

    def ids(size: int) -> np.ndarray:
        return draw.integers(0, VOCABULARY, size=size).astype(np.int32)

    return Collator()([Pair(ids(1), ids(1), ids(12)), Pair(ids(5), ids(7), ids(2)), Pair(ids(9), ids(4), ids(4))])


def full_logits_oracle(model: Any, given: Batch) -> torch.Tensor:
    """Sum of log softmax over response tokens, sequence by sequence, without padding; (2B,)."""
    sums = []
    for ids, attention, responses in zip(
        given["input_ids"], given["attention_mask"], given["response_mask"], strict=True
    ):
        length = int(attention.sum())
        logps = torch.log_softmax(model(input_ids=ids[None, :length]).logits[0], dim=-1)
        positions = responses.nonzero()[:, 0].tolist()
        sums.append(torch.stack([logps[t - 1, ids[t]] for t in positions]).sum())
    return torch.stack(sums)


@pytest.mark.parametrize("chunk_bytes", [ONE_ROW, 5 * ONE_ROW, 2**30], ids=["one token", "five tokens", "one chunk"])
@pytest.mark.parametrize("family", FAMILIES)
def test_values_and_gradients_equal_full_logits(models_folder: Path, family: str, chunk_bytes: int) -> None:
    model = AutoModelForCausalLM.from_pretrained(models_folder / family, dtype=torch.float64)
    given = batch()

    found = sequence_logps(token_logps(model, given, chunk_bytes=chunk_bytes), given["response_mask"])
    gradients = torch.autograd.grad(found.square().sum(), list(model.parameters()))
    expected = full_logits_oracle(model, given)
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

    found = sequence_logps(token_logps(single, given), given["response_mask"])

    assert torch.allclose(found.double(), full_logits_oracle(exact, given), rtol=0, atol=1e-3)


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
    per_row = sequence_logps(torch.ones(30), given["response_mask"])
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
    sequences, width = given["input_ids"].shape
    logits = sequences * width * VOCABULARY

    with LargestTensor() as seen:
        token_logps(policy.model, given, chunk_bytes=16 * ONE_ROW).sum().backward()

    assert seen.largest < logits / 4


def test_a_model_that_caps_its_logits_is_refused() -> None:
    capped = Gemma2ForCausalLM(
        Gemma2Config(**SIZE, vocab_size=50, num_key_value_heads=2, head_dim=8, final_logit_softcapping=0.5)
    )

    with pytest.raises(TrainingError, match="scales or caps"):
        check_head(capped)


def test_collision_probabilities_are_those_of_the_full_logits(models_folder: Path) -> None:
    """log sum_v p(v)^2 of every response token, in chunks of 3 positions, and the log-probabilities beside them."""
    model = AutoModelForCausalLM.from_pretrained(models_folder / "llama")
    given = batch()
    logps, collisions = token_logps_and_collisions(model, given, chunk_bytes=3 * ONE_ROW)
    every = torch.log_softmax(
        model(input_ids=given["input_ids"], attention_mask=given["attention_mask"]).logits, dim=-1
    )
    expected = every.double().exp().square().sum(-1).log()[:, :-1][given["response_mask"][:, 1:]]

    assert torch.allclose(collisions.double(), expected, rtol=0, atol=1e-5)
    assert torch.equal(logps, token_logps(model, given, chunk_bytes=3 * ONE_ROW))
    assert logps.requires_grad
    assert not collisions.requires_grad
