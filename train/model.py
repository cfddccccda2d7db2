"""The policy: loaded whole or not at all, without dropout, and identified by its content."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch.nn.modules.dropout import _DropoutNd
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from ingest.errors import SettingsError, TrainingError
from ingest.schema import canonical_json
from train import split_attention
from train.model_checks import check_head, sharing_of
from train.sharing import NEVER, Sharing


@dataclass(frozen=True)
class Policy:
    """A causal language model and its tokenizer."""

    model: PreTrainedModel
    """Weights in float32, every dropout off."""
    tokenizer: PreTrainedTokenizerBase
    autocast: torch.dtype | None
    """Dtype of matrix products; None is float32."""
    sharing: Sharing = NEVER
    """When a pair's prompt is computed once for both responses."""
    unshared_because: str = ""
    """What forbids that, where the model does."""

    @property
    def position_limit(self) -> int | None:
        """Tokens that the model's configuration allows in one sequence; None where it states no limit."""
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return limit if isinstance(limit, int) else None

    @property
    def end_tokens(self) -> frozenset[int]:
        """Token ids at which generation stops: the tokenizer's end token and those of generation_config.json."""
        settings: Any = self.model.generation_config
        stated: Any = getattr(settings, "eos_token_id", None)
        listed = stated if isinstance(stated, list) else [stated]
        return frozenset(token for token in [*listed, self.tokenizer.eos_token_id] if isinstance(token, int))

    @property
    def padding_id(self) -> int:
        """Token id that fills padding; any would do, the masks do not look at it."""
        known = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id)
        return next((token for token in known if isinstance(token, int)), 0)


def load(folder: Path, device: torch.device, autocast: torch.dtype | None, *, share_prompts: bool = True) -> Policy:
    """Load the model in `folder` onto `device`. Nothing is downloaded, and no code of the folder's is run.

    With `share_prompts` it is measured whether prompts can be shared; sdpa then becomes an attention that skips what
    the mask of shared prompts hides, where one works: FlexAttention on a GPU, or `train.split_attention`.

    Raises SettingsError when there is no model, TrainingError when its weights are incomplete or cannot be used.
    """
    if not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
        raise SettingsError(
            f"No model at {folder}: expected a folder with config.json, weights and a tokenizer, "
            "or with an adapter (adapter_config.json)."
        )
    if (folder / "adapter_config.json").is_file() and not (folder / "adapter_model.safetensors").is_file():
        # transformers would go on to adapter_model.bin, which is a pickle.
        raise SettingsError(f"{folder} has an adapter without adapter_model.safetensors. Save it in that format.")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, ImportError, KeyError, SafetensorError) as error:
        raise SettingsError(f"{folder} cannot be loaded as a causal language model in safetensors: {error}") from error
    model, report = loaded
    absent = sorted({*report["missing_keys"], *(str(key) for key in report["mismatched_keys"])})
    if absent:
        raise TrainingError(f"{folder} lacks {len(absent)} weights, such as {absent[0]}; they would be random numbers.")
    turn_off_dropout(model)
    model.requires_grad_(True)  # with an adapter it is loaded frozen; `train.adapter` says what is trained
    model.to(device)
    check_head(model)
    return Policy(model, tokenizer, autocast, *(_sharing(model) if share_prompts else (NEVER, "")))


def _sharing(model: PreTrainedModel) -> tuple[Sharing, str]:
    """Return `sharing_of` the model with the attention that is best for it, which the model has afterwards."""
    if model.config._attn_implementation == "sdpa":
        for better in (
            ("flex_attention", split_attention.NAME) if model.device.type == "cuda" else (split_attention.NAME,)
        ):
            model.set_attn_implementation(better)
            sharing, reason = sharing_of(model)
            if not reason:
                return sharing, reason
        model.set_attn_implementation("sdpa")
    return sharing_of(model)


def turn_off_dropout(model: PreTrainedModel) -> None:
    """Set every dropout of `model` to 0: modules, and the rates that attention and layer dropout keep as numbers.

    Noise in the policy that the reference does not have would be a difference of the two before any learning.
    """
    for module in model.modules():
        if isinstance(module, _DropoutNd):
            module.p = 0.0
        for name, value in vars(module).items():
            if ("dropout" in name or "layerdrop" in name) and isinstance(value, float):
                setattr(module, name, 0.0)


def fingerprint(policy: Policy) -> str:
    """Return the sha256 of everything that log-probabilities depend on besides token ids.

    Weights, configuration, adapters as they were loaded, arithmetic, attention implementation and chat template.
    """
    config = policy.model.config.to_diff_dict()
    for changes_nothing in ("_name_or_path", "transformers_version", "use_cache"):  # the trainer sets the last
        config.pop(changes_nothing, None)
    parts = {
        "weights": weights_hash(policy.model),
        "config": hashlib.sha256(canonical_json(config)).hexdigest(),
        "adapter": _adapters(policy.model),
        "dtype": str(policy.autocast or torch.float32),
        "attention": policy.model.config._attn_implementation,
        "template": policy.tokenizer.chat_template,
    }
    return hashlib.sha256(canonical_json(parts)).hexdigest()


def _adapters(model: PreTrainedModel) -> dict[str, list[object]]:
    """Return what of each adapter's configuration its weights do not show: name -> its kind, rank, alpha and scale."""
    keys = ("peft_type", "r", "lora_alpha", "use_rslora")
    adapters = getattr(model, "peft_config", {})
    return {name: [getattr(made, key, None) for key in keys] for name, made in sorted(adapters.items())}


def weights_hash(model: PreTrainedModel) -> str:
    """Return the sha256 of all weights: names, dtypes, shapes and bytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(canonical_json([name, str(tensor.dtype), list(tensor.shape)]))
        digest.update(tensor.detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
