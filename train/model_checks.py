"""What is measured on a model before it is trained: that its logits are its head's, and whether prompts can be shared.

Architectures are not known by name here. A small batch is computed in both layouts of `train.collate`; a model that
mixes tokens by anything but masked attention (state spaces, linear attention), or that ignores position ids or masks of
one's own, shows by its hidden states.
"""

from typing import Final

import numpy as np
import torch
from transformers import PretrainedConfig, PreTrainedModel

from ingest.errors import TrainingError
from train.collate import Batch, Collator
from train.dataset import Pair
from train.logprobs import predicting_states
from train.sharing import ALWAYS, ATTENTIONS, NEVER, SPARSE, Sharing

SAME: Final = 1e-4
"""Hidden states that are one another's rounding differ by less than this share of the largest."""


def check_head(model: PreTrainedModel) -> None:
    """Raise TrainingError unless the model's logits are exactly its output head applied to its backbone.

    Some architectures scale or cap their logits afterwards, which the chunked computation would silently miss.
    """
    head = model.get_output_embeddings()
    if head is None or model.base_model is model:
        raise TrainingError(
            f"{type(model).__name__} has no separate backbone and output head; "
            "expected a causal language model that has both."
        )
    tokens = torch.arange(8, device=model.device)[None] % model.config.get_text_config().vocab_size
    was_training = model.training
    model.eval()
    with torch.no_grad():
        expected = model(input_ids=tokens, use_cache=False).logits.float()
        found = head(model.base_model(input_ids=tokens, use_cache=False).last_hidden_state).float()
    model.train(was_training)
    gap = (expected - found).abs().max().item() / max(expected.abs().max().item(), 1e-6)
    if gap > 1e-5:  # the same product twice; a cap of 30 shows on small logits of a model that knows little
        raise TrainingError(
            f"The logits of {type(model).__name__} are not its output head applied to its hidden states (they differ "
            f"by {gap:.1%}), so it scales or caps them; such models are not supported. Use a model that does not."
        )


def sharing_of(model: PreTrainedModel) -> tuple[Sharing, str]:
    """Return when prompts may be shared (`train.sharing`), and why not where the model forbids it, else ""."""
    attention = model.config._attn_implementation
    if attention not in ATTENTIONS:
        return NEVER, f"its attention, {attention}, takes no mask of one's own"
    reason = _measured_difference(model)
    if reason:
        return NEVER, reason
    config = model.config.get_text_config()
    longest = min([np.iinfo(np.int64).max, *_windows(config), *_square_buffers(model)])
    return Sharing(int(longest), _key_cost(model), dense=attention not in SPARSE), ""


def _measured_difference(model: PreTrainedModel) -> str:
    """Return how hidden states with shared prompts differ from those without; "" where by rounding alone."""
    draw = np.random.default_rng(0)
    words = model.config.get_text_config().vocab_size
    sizes = ((7, 5, 6), (3, 4, 2), (1, 3, 9))
    ids = [[draw.integers(0, words, size=size).astype(np.int32) for size in three] for three in sizes]
    pairs = [Pair(prompt, chosen, rejected) for prompt, chosen, rejected in ids]
    layouts = [Collator(sharing=sharing)(pairs).to(model.device) for sharing in (NEVER, ALWAYS)]
    was_training = model.training
    model.eval()
    try:
        found = [_states_and_gradient(model, batch) for batch in layouts]
    except (TypeError, ValueError, RuntimeError, IndexError, KeyError, AttributeError) as error:
        return f"it cannot compute a row of two responses ({type(error).__name__})"
    finally:
        model.train(was_training)
    gap = max(float((a - b).abs().max() / a.abs().max().clamp(min=1e-12)) for a, b in zip(*found, strict=True))
    return "" if gap <= SAME else f"in a row of two responses its hidden states differ by {gap:.1%}"


def _states_and_gradient(model: PreTrainedModel, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the hidden states that predict responses, and the gradient of a projection of them at the first layer."""
    embeddings = set(model.get_input_embeddings().parameters())
    first = next((p for p in model.base_model.parameters() if p not in embeddings and p.requires_grad), None)
    with torch.enable_grad():
        states = predicting_states(model, batch).float()
        if first is None:
            return states, states.new_zeros(1)
        direction = torch.arange(states.numel(), device=states.device).sin().view_as(states)
        (gradient,) = torch.autograd.grad((states * direction).sum(), first)
    return states.detach(), gradient.float()


def _windows(config: PretrainedConfig) -> list[int]:
    """Return the widths of attention windows that are in use; a mask of one's own takes their place."""
    if getattr(config, "use_sliding_window", True) is False:
        return []
    kinds = getattr(config, "layer_types", None)
    if kinds is not None and not any("sliding" in kind or "chunked" in kind for kind in kinds):
        return []
    found = (getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size", "window_size"))
    return [width for width in found if isinstance(width, int)]


def _square_buffers(model: PreTrainedModel) -> list[int]:
    """Return the sizes of the causal masks that some architectures keep per layer; no row may be longer."""
    return [b.shape[-1] for b in model.buffers() if b.ndim >= 2 and b.shape[-1] == b.shape[-2] > 1]


def _key_cost(model: PreTrainedModel) -> float:
    """Return `Sharing.key_cost` of the model."""
    config = model.config.get_text_config()
    heads = config.num_attention_heads
    width: int = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    embeddings = {id(p) for m in (model.get_input_embeddings(), model.get_output_embeddings()) for p in m.parameters()}
    layers = sum(p.numel() for p in model.parameters() if id(p) not in embeddings)
    return float(2 * config.num_hidden_layers * width / max(1, layers))
