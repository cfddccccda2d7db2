"""LoRA (arXiv 2106.09685): a small trained matrix beside each frozen one, W x + (alpha / rank) B A x.

B starts at 0, so a new adapter changes nothing and policy = reference holds. The reference is the policy before
training, whatever that was: of a new adapter the model itself, of one that the model folder holds the model with that
adapter as it was loaded. Its log-probabilities are computed before the first step, so no copy of it is kept.

Adapters are injected into the model's own modules by peft; the model keeps its class, its backbone and its head.
"""

from pathlib import Path

from peft import LoraConfig
from transformers import PreTrainedModel

from ingest.errors import SettingsError

ALL: str = "all-linear"
"""Targets: every matrix but embedding and output head."""


def train_adapter(model: PreTrainedModel, folder: Path, rank: int | None, alpha: float | None, targets: str) -> None:
    """Freeze `model` and make a new adapter in it, or train on the one that `folder` holds; without either do nothing.

    `alpha` None is twice the rank. Raises SettingsError when `targets` name no module, or a new adapter would come on
    top of another.
    """
    if (folder / "adapter_config.json").is_file():
        _train_on(model, folder, rank)
    elif rank is not None:
        _make(model, folder, rank, 2.0 * rank if alpha is None else alpha, targets)


def _make(model: PreTrainedModel, folder: Path, rank: int, alpha: float, targets: str) -> None:
    """Add an adapter of zeros to `model`."""
    modules = targets if targets == ALL else [name.strip() for name in targets.split(",")]
    made = LoraConfig(task_type="CAUSAL_LM", r=rank, target_modules=modules, lora_dropout=0.0, bias="none")
    made.lora_alpha = alpha  # type: ignore[assignment]  # annotated as int, used as a number
    try:
        model.add_adapter(made)
    except ValueError as error:  # peft names the modules that it looked for
        raise SettingsError(f"--lora-targets {targets}: {error}") from error
    # Where AutoModelForCausalLM.from_pretrained finds the weights that the saved adapter belongs to.
    model.peft_config["default"].base_model_name_or_path = str(folder.resolve())


def _train_on(model: PreTrainedModel, folder: Path, rank: int | None) -> None:
    """Train the adapter that `model` was loaded with, and nothing else."""
    (config,) = model.peft_config.values()
    if not isinstance(config, LoraConfig) or config.bias != "none" or config.modules_to_save:
        raise SettingsError(f"{folder} holds an adapter that is not LoRA alone. Merge it into its model first.")
    if rank is not None:
        raise SettingsError(
            f"{folder} holds an adapter already, of rank {config.r}, which is trained on. Leave --lora-rank out, or "
            "merge the adapter into its model first."
        )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
