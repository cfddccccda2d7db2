"""Fields of transformers' TrainingArguments on the command line: each has a name here, or a reason why it has none.

    python -m train.dpo --max-steps 10        is answered by this module

Those that leave the meaning of a run as it is are options under Winnow's names. The others would cut, drop or repeat
pairs, make policy and reference differ, hide faults, pickle, or send data away; a test holds that none is forgotten.
"""

from collections.abc import Sequence
from typing import Final

from ingest.errors import SettingsError

OURS: Final = {
    "output_dir": "output",
    "per_device_train_batch_size": "batch-size",
    "num_train_epochs": "epochs",
    "lr_scheduler_type": "schedule",
    "warmup_steps": "warmup-ratio",
    "gradient_accumulation_steps": "gradient-accumulation",
    "label_smoothing_factor": "label-smoothing, with --loss cdpo",
    "bf16": "dtype bfloat16",
    "bf16_full_eval": "dtype bfloat16",
    "activation_checkpointing": "gradient-checkpointing",
    "logging_steps": "log-every",
    "per_device_eval_batch_size": "eval-batch-size",
    "save_steps": "checkpoint-every",
    "use_cpu": "device cpu",
    "train_sampling_strategy": "order",
    "resume_from_checkpoint": "resume",
}
"""Field -> the option that does it, where the name is another."""

_REASONS: Final = {
    "--epochs says how long a run is; a part of an epoch would leave pairs out": "max_steps",
    "the optimiser is AdamW, whose whole state a checkpoint keeps": "optim optim_args optim_target_modules",
    "the course of the learning rate has no further numbers": "lr_scheduler_kwargs",
    "a step is the mean over all its pairs, counted over all processes": "average_tokens_across_devices",
    "float16 overflows where bfloat16 does not": "fp16 fp16_full_eval",
    "products in tf32 would not be those that the reference was computed with": "tf32",
    "the passes are set to what chunked log-probabilities need": "activation_checkpointing_kwargs "
    "gradient_checkpointing_kwargs",
    "it replaces the model's own forward pass, which the log-probabilities do not go through": "torch_compile "
    "torch_compile_backend torch_compile_mode use_liger_kernel liger_kernel_config",
    "a cache of keys is for generation, and training generates nothing": "use_cache",
    "it would make the policy another than the reference before the first step": "neftune_noise_alpha",
    "memory is bounded already": "torch_empty_cache_steps",
    "a failed step would be repeated with another batch size": "auto_find_batch_size",
    "every value is logged as it is, to metrics.jsonl": "logging_strategy logging_first_step log_on_each_node "
    "logging_nan_inf_filter include_num_input_tokens_seen",
    "what is shown goes to stderr, by the first process": "log_level log_level_replica disable_tqdm",
    "a run is named by its folder": "run_name project trackio_space_id trackio_bucket_id trackio_static_space_id",
    "held-out pairs are read out exactly, before training and after each epoch": "eval_strategy eval_steps eval_delay "
    "prediction_loss_only eval_on_start eval_do_concat_batches eval_use_gather_object eval_accumulation_steps "
    "include_for_metrics batch_eval_metrics",
    "checkpoints are whole, without pickle, and the newest two are kept": "save_only_model save_strategy "
    "save_on_each_node save_total_limit enable_jit_checkpoint restore_callback_states_from_checkpoint",
    "nothing is uploaded": "push_to_hub hub_token hub_private_repo hub_model_id hub_strategy hub_always_push "
    "hub_revision",
    "nothing is selected on held-out pairs: the model is that of the last step": "load_best_model_at_end "
    "metric_for_best_model greater_is_better",
    "a resumed run would see pairs twice": "ignore_data_skip",
    "--seed is for all that is random": "full_determinism data_seed",
    "torchrun starts several processes, and FSDP2 shards over them": "accelerator_config parallelism_config fsdp "
    "fsdp_config deepspeed ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers ddp_static_graph "
    "ddp_backend ddp_timeout local_rank",
    "the last pairs of an epoch would be left out": "dataloader_drop_last",
    "it is set by the device": "dataloader_pin_memory dataloader_persistent_workers dataloader_prefetch_factor "
    "dataloader_multiprocessing_context dataloader_in_order",
    "the columns of a pair are fixed": "remove_unused_columns label_names length_column_name",
    "it is for mending the library itself": "debug skip_memory_metrics",
    "training, read-out and scores are one run": "do_train do_eval do_predict",
}

REFUSED: Final = {name: reason for reason, names in _REASONS.items() for name in names.split()}
"""Field -> why it is no option."""


def refuse(unknown: Sequence[str]) -> None:
    """Raise SettingsError when the first of the `unknown` arguments is a field of TrainingArguments."""
    for argument in unknown:
        option = argument.partition("=")[0]
        name = option.removeprefix("--").replace("-", "_")
        if option.startswith("--") and name in OURS:
            raise SettingsError(f"{option} is --{OURS[name]} here. `python -m train.dpo --help` lists all options.")
        if option.startswith("--") and name in REFUSED:
            raise SettingsError(f"{option} of TrainingArguments is no option: {REFUSED[name]}. Leave it out.")
