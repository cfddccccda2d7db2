"""The configuration of one training run, complete and checked; it is saved as run.json beside what the run writes.

Each field is an option of the command line (`train.dpo`), its docstring that option's help; docs/training.md says when
to change which.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ingest.errors import SettingsError
from ingest.schema import canonical_json
from train import switches

Order = Literal["length", "shuffled", "sequential"]
OnOverlong = Literal["fail", "drop"]
Dtype = Literal["auto", "float32", "bfloat16"]
Device = Literal["auto", "cpu", "cuda"]
Schedule = Literal["linear", "cosine", "constant"]
Column = Literal["none", "column"]
Switch = Literal["off", "on"]
ReportTo = Literal["none", "tensorboard", "wandb"]
Sharing = Literal["auto", "off"]
Reference = Literal["cached", "computed", "logged"]
OnDrift = Literal["warn", "stop"]

NOT_RESULTS: Final = frozenset(
    {"output", "reference_cache", "checkpoint_every", "report_to", "dataloader_num_workers", "on_drift"}
)
"""Options that say where and when a run writes, not what comes out."""


class RunConfig(BaseModel):
    """Everything a run depends on besides the files it reads."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    data: Path
    """Parquet file of preference pairs: prompt, chosen, rejected."""
    model: Path
    """Folder of the deployed model: it starts as the policy, and is the reference."""
    output: Path
    """Folder for everything the run writes; new or empty."""
    loss: str = "sigmoid"
    """What is minimised: a loss by name, or a mix such as sigmoid,sft:0.2."""
    beta: Annotated[float, Field(gt=0)] = 0.1
    """Strength of the pull towards the reference; smaller moves further from it."""
    label_smoothing: Annotated[float | None, Field(gt=0, lt=0.5)] = None
    """Probability that a label is wrong; beside --label-noise column that of pairs whose own is null."""
    label_noise: Column = "none"
    """column: each pair's own probability that its label is wrong, from the column label_noise."""
    margin_scale: Annotated[float | None, Field(gt=0)] = None
    """ODPO: chosen must win by this times the pair's degree of preference, from the column margin."""
    simpo_gamma: Annotated[float, Field(ge=0)] = 0.5
    """SimPO's target margin."""
    discopop_tau: Annotated[float, Field(gt=0)] = 0.05
    """DiscoPOP's temperature."""
    ld_alpha: Annotated[float | None, Field(ge=0, lt=1)] = None
    """Factor of the log-probabilities of tokens past the shorter response's length."""
    wpo: Switch = "off"
    """on: weight a pair by how likely the policy is to say both of its responses."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-6
    """Peak learning rate of AdamW."""
    epochs: Annotated[int, Field(ge=1)] = 1
    """Passes over the training pairs."""
    batch_size: Annotated[int, Field(ge=1)] = 8
    """Pairs in one forward pass."""
    batch_tokens: Annotated[int | None, Field(ge=2)] = None
    """Instead of --batch-size: most tokens in one forward pass, padding included; pairs of like length fill it."""
    gradient_accumulation: Annotated[int, Field(ge=1)] = 4
    """Forward passes in one optimiser step."""
    lora_rank: Annotated[int | None, Field(ge=1)] = None
    """Train a LoRA adapter of this rank instead of all weights."""
    lora_alpha: Annotated[float | None, Field(gt=0)] = None
    """The adapter counts alpha / rank."""
    lora_targets: str = "all-linear"
    """Modules that get an adapter: all-linear, or names such as q_proj,v_proj."""
    gradient_checkpointing: Switch = "off"
    """on: activations are computed again in the backward pass instead of being kept."""
    max_length: Annotated[int | None, Field(ge=2)] = None
    """Most tokens of prompt and response together."""
    on_overlong: OnOverlong = "fail"
    """Longer pairs stop the run before it starts, or are left out and listed. Nothing is ever cut."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Of the order of pairs, of the split and of the bootstrap."""
    device: Device = "auto"
    """Where to run; auto: a GPU when there is one."""
    dtype: Dtype = "auto"
    """Of matrix products; auto: bfloat16 on GPUs that have it. Weights, sums and optimiser are float32."""
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the steps, rounded down, in which the learning rate rises to its peak."""
    schedule: Schedule = "linear"
    """Course of the learning rate after warm-up: down to 0, or constant."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay of AdamW."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradients with a larger norm are scaled down to it."""
    on_drift: OnDrift = "warn"
    """When the policy goes far from the reference: say so once, or stop the run."""
    order: Order = "length"
    """Training pairs in batches of like length, shuffled, or as in the file."""
    eval_batch_size: Annotated[int, Field(ge=1)] = 16
    """Pairs in one forward pass without gradients; changes speed and memory only."""
    validation: Path | None = None
    """Parquet file of held-out pairs, for data without a split column."""
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of prompts held out when neither a split column nor --validation says which."""
    share_prompts: Sharing = "auto"
    """auto: a prompt is computed once for both of its responses, where that is exact and cheaper."""
    reference: Reference = "cached"
    """Log-probabilities of the reference: from the cache or computed into it, computed and not kept, or those that the
    deployment logged."""
    logged_model: str | None = None
    """Whose logged log-probabilities --reference logged takes, where the data has several models' (logprob_model)."""
    sampled_tokens: Sharing = "auto"
    """auto: train on the token ids that the deployment sampled where the data has them; off: on the text's."""
    reference_cache: Path
    """Folder of cached reference log-probabilities."""
    extra_metrics: Switch = "off"
    """on: also log the policy's entropy, how often its likeliest word is the response's, and its mean logits."""
    log_every: Annotated[int, Field(ge=1)] = 10
    """Optimiser steps between two lines of metrics.jsonl."""
    checkpoint_every: Annotated[int, Field(ge=1)] = 100
    """Optimiser steps between two checkpoints, from which --resume goes on."""
    report_to: ReportTo = "none"
    """Where metrics go besides metrics.jsonl; nothing leaves this machine by default."""
    adam_beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """AdamW's decay of the mean of gradients."""
    adam_beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """AdamW's decay of the mean of squared gradients."""
    adam_epsilon: Annotated[float, Field(gt=0)] = 1e-8
    """AdamW's smallest denominator."""
    dataloader_num_workers: Annotated[int, Field(ge=0)] = 0
    """Processes that lay out batches beside the training process."""

    @classmethod
    def checked(cls, values: dict[str, object]) -> Self:
        """Return the configuration of `values`.

        Raises SettingsError that names every wrong value, or a value that would change nothing.
        """
        try:
            config = cls.model_validate(values)
        except ValidationError as error:
            problems = "; ".join(
                f"--{str(e['loc'][0]).replace('_', '-')} {e.get('input')!r}: {e['msg']}" for e in error.errors()
            )
            raise SettingsError(f"Wrong arguments: {problems}. `python -m train.dpo --help` lists them.") from error
        if config.lora_rank is None and (needless := {"lora_alpha", "lora_targets"} & set(values)):
            options = " and ".join(f"--{name.replace('_', '-')}" for name in sorted(needless))
            raise SettingsError(f"{options} would change nothing without --lora-rank. Leave it out.")
        if config.batch_tokens is not None and (needless := {"batch_size", "order"} & set(values)):
            options = " and ".join(f"--{name.replace('_', '-')}" for name in sorted(needless))
            raise SettingsError(f"{options} would change nothing with --batch-tokens. Leave one of them out.")
        if config.logged_model is not None and config.reference != "logged":
            raise SettingsError("--logged-model would change nothing without --reference logged. Leave it out.")
        off = (None, "none", "off")
        switches.refuse_no_effect(config.loss, {name for name in values if getattr(config, name) not in off})
        return config

    @property
    def fingerprint(self) -> str:
        """Return 8 hex digits of everything that decides results."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json", exclude=set(NOT_RESULTS)))).hexdigest()[:8]
