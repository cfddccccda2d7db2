"""Shared prompts against prompts of their own: values, gradients, what rejected sees, who must not share."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention.flex_attention import create_mask
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from train import split_attention
from train.collate import Collator
from train.dataset import Pair
from train.logprobs import token_logps
from train.model import load
from train.model_checks import sharing_of
from train.sharing import ALWAYS, NEVER, Sharing, block_mask, visible

from .conftest import SIZE

VOCABULARY = 400
FAMILIES = ["llama", "qwen2", "gpt_neox"]
ATTENTIONS = ["sdpa", "eager", split_attention.NAME]


def some_pairs(seed: int = 3) -> list[Pair]:
    """Prompts of 1, 40 and 9 tokens, responses of 1 to 12."""
    draw = np.random.default_rng(seed)
    sizes = ((1, 1, 12), (40, 7, 2), (9, 4, 4))
    ids = [[draw.integers(0, VOCABULARY, size=n).astype(np.int32) for n in three] for three in sizes]
    return [Pair(prompt, chosen, rejected) for prompt, chosen, rejected in ids]


def values_and_gradients(model: Any, sharing: Sharing, autocast: torch.dtype | None = None) -> list[torch.Tensor]:
    batch = Collator(sharing=sharing)(some_pairs())
    logps = token_logps(model, batch, autocast=autocast)
    return [logps, *torch.autograd.grad(logps.square().mean(), list(model.parameters()))]


def stay_in_float64(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the roundings to float32 out of transformers' models: in RMS norms, and in softmax of eager attention."""

    def rms(module: Any, x: torch.Tensor) -> torch.Tensor:
        normed: torch.Tensor = module.weight * x * (x.square().mean(-1, keepdim=True) + module.variance_epsilon).rsqrt()
        return normed

    for module in model.modules():
        if hasattr(module, "variance_epsilon"):
            monkeypatch.setattr(type(module), "forward", rms)
    softmax = torch.nn.functional.softmax
    monkeypatch.setattr(torch.nn.functional, "softmax", lambda x, dim, dtype=None: softmax(x, dim=dim))


@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=["f64", "f32"])
@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_values_and_gradients_are_those_of_prompts_of_their_own(
    models_folder: Path,
    family: str,
    attention: str,
    dtype: torch.dtype,
    within: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Within 1e-10 in float64 and 1e-5 in float32, of the largest value of each tensor."""
    folder = models_folder / family
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation=attention)
    if dtype == torch.float64:
        stay_in_float64(model, monkeypatch)

    shared, apart = (values_and_gradients(model, sharing) for sharing in (ALWAYS, NEVER))

    for a, b in zip(shared, apart, strict=True):
        assert (a - b).abs().max() <= within * b.abs().max().clamp(min=1.0)


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_another_chosen_leaves_rejected_as_it_is_to_the_bit(models_folder: Path, family: str, attention: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(models_folder / family, attn_implementation=attention)
    pairs, collate = some_pairs(), Collator(sharing=ALWAYS)
    others = [pair._replace(chosen=(pair.chosen + 1) % VOCABULARY) for pair in pairs]
    responses = sum(len(pair.chosen) for pair in pairs)

    before, after = (token_logps(model, collate(given)) for given in (pairs, others))

    assert torch.equal(before[responses:], after[responses:])
    assert not torch.equal(before[:responses], after[:responses])


def small(kind: str) -> PreTrainedModel:
    torch.manual_seed(1)
    size: dict[str, Any] = {**SIZE, "vocab_size": 60}
    plain: dict[str, Any] = {"hidden_size": 32, "vocab_size": 60}
    made: PreTrainedModel
    match kind:
        case "llama":
            made = LlamaForCausalLM(LlamaConfig(**size))
        case "qwen3":
            made = Qwen3ForCausalLM(Qwen3Config(**size, num_key_value_heads=2, head_dim=8))
        case "gpt2":
            made = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=128, vocab_size=60))
        case "mistral":
            made = MistralForCausalLM(MistralConfig(**size, num_key_value_heads=2, sliding_window=16))
        case "qwen2 with a window":
            window: dict[str, Any] = {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}
            made = Qwen2ForCausalLM(Qwen2Config(**size, num_key_value_heads=2, **window))
        case "bloom":
            made = BloomForCausalLM(BloomConfig(**plain, n_layer=2, n_head=4))
        case _:
            made = MambaForCausalLM(MambaConfig(**plain, num_hidden_layers=2, state_size=4))
    return made


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gpt2"])
def test_models_that_may_share_are_measured_to(kind: str) -> None:
    sharing, reason = sharing_of(small(kind))

    assert reason == ""
    assert sharing.longest > 2**40


def test_a_loaded_model_attends_in_the_way_that_skips_what_is_hidden(model_folder: Path) -> None:
    policy = load(model_folder, torch.device("cpu"), None)
    off = load(model_folder, torch.device("cpu"), None, share_prompts=False)

    assert policy.model.config._attn_implementation == split_attention.NAME
    assert not policy.sharing.dense
    assert policy.unshared_because == ""
    assert (off.sharing, off.model.config._attn_implementation) == (NEVER, "sdpa")
    assert torch.equal(policy.model(torch.arange(9)[None]).logits, off.model(torch.arange(9)[None]).logits)


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gpt2"])
def test_a_model_that_keeps_the_places_to_itself_is_measured_not_to(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention that is not told where the responses lie lets rejected see chosen."""
    model = small(kind)
    model.set_attn_implementation(split_attention.NAME)
    assert sharing_of(model)[1] == ""

    monkeypatch.setattr(split_attention.Rows, "of", lambda batch: None)
    sharing, reason = sharing_of(model)

    assert sharing == NEVER
    assert "hidden states differ by" in reason


@pytest.mark.parametrize("kind", ["mistral", "qwen2 with a window"])
def test_no_row_is_longer_than_a_window(kind: str) -> None:
    sharing, reason = sharing_of(small(kind))

    assert (sharing.longest, reason) == (16, "")
    assert sharing.pays(np.array([[14, 1, 1]]))
    assert not sharing.pays(np.array([[15, 1, 1]]))


def test_a_state_space_model_is_measured_not_to() -> None:
    """Its hidden states of rejected would know chosen."""
    sharing, reason = sharing_of(small("mamba"))

    assert sharing == NEVER
    assert "differ by" in reason or "cannot compute" in reason or "takes no mask" in reason


def test_a_model_that_counts_positions_by_its_own_mask_is_measured_not_to() -> None:
    """Bloom slopes its attention by the place in the row, whatever position ids say."""
    sharing, reason = sharing_of(small("bloom"))

    assert sharing == NEVER
    assert reason


def test_sharing_is_chosen_where_it_is_cheaper() -> None:
    """Without attention: P + C + R against 2P + 2 max(C, R) padded tokens, and 5 % to make it worth it.

    40 + 2 + 2 = 44 against 84; 1 + 50 + 50 = 101 against 102, which is no 5 %; 10 + 1 + 50 = 61 against 120; rows of
    (40, 2, 2) and (1, 43, 2) are 46 wide against 44: 92 against 176.
    """
    sharing = Sharing(longest=1000)

    assert sharing.work(np.array([[40, 2, 2]])) == (44, 84)
    assert sharing.pays(np.array([[40, 2, 2]]))
    assert not sharing.pays(np.array([[1, 50, 50]]))
    assert sharing.work(np.array([[10, 1, 50]])) == (61, 120)
    assert sharing.work(np.array([[40, 2, 2], [1, 43, 2]])) == (92, 176)
    assert not NEVER.pays(np.array([[40, 2, 2]]))


def test_what_attention_costs_is_counted() -> None:
    """A key costs 1/100 of a token. One row of 100 + 50 + 50: 200 tokens of 200 keys each are 200 * 3 = 600, against
    2 rows of 150 tokens of 75 keys: 300 * 1.75 = 525. With a block mask the 200 tokens see (5,000 + 10,000 + 2,500) /
    200 = 87.5 keys: 200 * 1.875 = 375."""
    lengths = np.array([[100, 50, 50]])

    assert Sharing(1000, key_cost=0.01).work(lengths) == pytest.approx((600, 525))
    assert Sharing(1000, key_cost=0.01, dense=False).work(lengths) == pytest.approx((375, 525))


def test_the_block_mask_of_a_gpu_is_the_same_mask() -> None:
    segments = Collator(sharing=ALWAYS)(some_pairs())["segments"]
    rows, size = segments.shape
    blocks = block_mask(segments)

    dense = create_mask(blocks.mask_mod, rows, 1, size, size, device="cpu")

    assert blocks.shape == (rows, 1, size, size)
    assert torch.equal(dense, visible(segments))
