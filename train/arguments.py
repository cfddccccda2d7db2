"""The run's configuration in transformers' terms: the TrainingArguments that it stands for."""

from transformers import TrainingArguments

from train.config import RunConfig
from train.progress import NARRATION


def training_arguments(config: RunConfig, *, on_cpu: bool, evaluates: bool, resumes: bool) -> TrainingArguments:
    """Return the arguments of a run that has validation pairs (`evaluates`) and starts, or goes on (`resumes`)."""
    arguments = TrainingArguments(
        output_dir=str(config.output),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.eval_batch_size,
        gradient_accumulation_steps=config.gradient_accumulation,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.schedule,
        warmup_steps=config.warmup_ratio,
        weight_decay=config.weight_decay,
        adam_beta1=config.adam_beta1,
        adam_beta2=config.adam_beta2,
        adam_epsilon=config.adam_epsilon,
        dataloader_num_workers=config.dataloader_num_workers,
        max_grad_norm=config.max_grad_norm,
        activation_checkpointing=config.gradient_checkpointing == "on",
        seed=config.seed,
        logging_steps=config.log_every,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        eval_strategy="epoch" if evaluates else "no",
        eval_on_start=evaluates and not resumes,
        save_strategy="no",  # `train.resumable` says when
        report_to="none",  # `train.reporting` has the callbacks
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=on_cpu,
        dataloader_pin_memory=not on_cpu,
    )
    if arguments.n_gpu > 1:
        # The base class would wrap the model in nn.DataParallel, which token_logps does not go through.
        NARRATION.print(f"{arguments.n_gpu} GPUs are visible; the run uses the first. `torchrun` uses them all.")
        arguments._n_gpu = 1
    return arguments
