"""One training run from configuration to folder. Reads pairs and a model; writes into `config.output`:

    run.json         the resolved configuration
    model/           the trained model and its tokenizer, safetensors
    metrics.jsonl    what was logged, a line at a time
    curve.svg, .png  the same, drawn
    scores.parquet   what the trained policy thinks of every pair (ingest.schema.SCORE)
    dropped.parquet  pairs left out by --on-overlong drop (ingest.schema.DROPPED)
    manifest.json    hashes of what was read, counts, results, versions; written last: a folder without it is unfinished

`python -m train.dpo` is its command line.
"""

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers
from rich.progress import Progress
from transformers import PrinterCallback, TrainingArguments

from ingest.errors import SettingsError
from train import model as policies
from train.collate import Collator
from train.config import RunConfig
from train.curve import draw_curve
from train.dataset import PairDataset
from train.folders import private_folder
from train.inputs import read_pairs
from train.model import Policy
from train.objective import Objective
from train.preflight import Preflight
from train.progress import NARRATION, MetricsFile, TrainingBar, bars, counter, print_held_out
from train.reference import ReferenceCache, ReferenceResult
from train.scores import score_table, write_scores
from train.step_zero import check_policy_is_reference
from train.summary import before_and_after, headline, write_json, write_manifest
from train.trainer import DPOTrainer, refuse_not_finite


def run(config: RunConfig) -> dict[str, Any]:
    """Train as `config` says and return the summary that the command prints.

    Raises the errors of `ingest.errors` that the stages name; nothing is written before the data has passed preflight.
    """
    started = time.monotonic()
    _refuse_folder_in_use(config.output)
    device, autocast = _hardware(config)
    transformers.set_seed(config.seed)
    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    policy = policies.load(config.model, device, autocast, share_prompts=config.share_prompts == "auto")
    if policy.unshared_because:
        NARRATION.print(f"Every response is computed with its own prompt: with this model {policy.unshared_because}.")
    with bars() as progress:
        pairs, preflight = read_pairs(config, policy, progress)
        _start_folder(config, preflight)
        fingerprint, reference = _fill_reference(config, policy, pairs, progress)
        trainer = _trainer(config, policy, pairs, progress)
        step_zero = check_policy_is_reference(trainer, pairs)
        trainer.train()
        save_model(config.output / "model", policy)
        every_row = trainer.read_out(list(range(len(pairs))), counter(progress, "scoring", len(pairs)))
        refuse_not_finite(vars(every_row), "among the log-probabilities after the last step")
    step = trainer.state.global_step
    write_scores(config.output / "scores.parquet", score_table(pairs, every_row, config.beta, step))
    draw_curve(config.output / "metrics.jsonl", config.output)
    before, after = before_and_after(pairs, every_row, config.beta, config.seed)
    print_held_out(before, after, {split: len(pairs.rows_of(split)) for split in after})
    summary = headline(config, pairs, len(preflight.dropped), before, after)
    summary |= {"steps": step, "seconds": round(time.monotonic() - started, 1)}
    found = {"model_fingerprint": fingerprint, "reference": asdict(reference), "step_zero": asdict(step_zero)}
    write_manifest(config, {"summary": summary, **found, "before": before, "after": after})
    return summary


def _hardware(config: RunConfig) -> tuple[torch.device, torch.dtype | None]:
    """Return device and dtype of matrix products (None: float32). Raises SettingsError for what is not there."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SettingsError(
            "WORLD_SIZE is more than 1, but a run is one process on one device. Start it with `python`."
        )
    if config.device == "cuda" and not torch.cuda.is_available():
        raise SettingsError("--device cuda: PyTorch finds no CUDA device here. Leave the option out to run on the CPU.")
    device = torch.device("cuda" if config.device != "cpu" and torch.cuda.is_available() else "cpu")
    if config.dtype == "auto":
        return device, torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else None
    return device, torch.bfloat16 if config.dtype == "bfloat16" else None


def _refuse_folder_in_use(folder: Path) -> None:
    """Raise SettingsError when the run would mix its files with others."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingsError(f"{folder} is in use. Name a new folder with --output, or leave the option out.")


def _start_folder(config: RunConfig, preflight: Preflight) -> None:
    """Make the output folder, readable by its owner alone: what it holds was learnt from users' texts."""
    private_folder(config.output)
    write_json(config.output / "run.json", config.model_dump(mode="json"))
    if preflight.dropped:
        preflight.write_dropped(config.output / "dropped.parquet")


def _fill_reference(
    config: RunConfig, policy: Policy, pairs: PairDataset, progress: Progress
) -> tuple[str, ReferenceResult]:
    """Give every pair its reference log-probabilities; return the model's fingerprint and where they came from."""
    fingerprint = policies.fingerprint(policy)
    collate = Collator(policy.padding_id, policy.sharing)
    cache = ReferenceCache(
        config.reference_cache, policy, fingerprint, collate, config.eval_batch_size, Objective.of(config).ld_alpha
    )
    result = cache.fill(pairs, counter(progress, "reference", len(pairs)))
    NARRATION.print(f"Reference log-probabilities: {result.cached:,} from {result.path}, {result.computed:,} computed.")
    return fingerprint, result


def _trainer(config: RunConfig, policy: Policy, pairs: PairDataset, progress: Progress) -> DPOTrainer:
    """Return the trainer with our own log file and progress bar instead of prints."""
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
        max_grad_norm=config.max_grad_norm,
        seed=config.seed,
        logging_steps=config.log_every,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        eval_strategy="epoch" if pairs.rows_of("validation") else "no",
        eval_on_start=bool(pairs.rows_of("validation")),
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=policy.model.device.type == "cpu",
        dataloader_pin_memory=policy.model.device.type == "cuda",
    )
    if arguments.n_gpu > 1:
        # The base class would wrap the model in nn.DataParallel, which token_logps does not go through.
        NARRATION.print(f"{arguments.n_gpu} GPUs are visible; the run uses the first.")
        arguments._n_gpu = 1
    trainer = DPOTrainer(policy, pairs, arguments, objective=Objective.of(config), order=config.order)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(MetricsFile(config.output / "metrics.jsonl"))
    trainer.add_callback(TrainingBar(progress))
    return trainer


def save_model(folder: Path, policy: Policy) -> None:
    """Save weights and tokenizer so that `AutoModelForCausalLM.from_pretrained(folder)` loads them."""
    policy.model.save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)
