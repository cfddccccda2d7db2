"""One training run from configuration to folder. Reads pairs and a model; writes into `config.output`:

    run.json         the resolved configuration
    inputs.json      hashes of what it reads; with run.json what a resumed run must have in common with this one
    status.json      where the run is
    checkpoints/     what it goes on from after a kill (`train.checkpoint`); taken away when it is finished
    model/           the trained model and its tokenizer, safetensors
    metrics.jsonl    what was logged, a line at a time
    curve.svg, .png  the same, drawn
    scores.parquet   what the trained policy thinks of every pair (ingest.schema.SCORE)
    dropped.parquet  pairs left out by --on-overlong drop (ingest.schema.DROPPED)
    manifest.json    hashes of what was read, counts, results, versions; written last: a folder without it is unfinished

`python -m train.dpo` is its command line.
"""

import json
import time
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from rich.progress import Progress
from transformers import PrinterCallback

from ingest.errors import SettingsError
from train import checkpoint as checkpoints
from train import model as policies
from train import processes
from train.adapter import train_adapter
from train.arguments import training_arguments
from train.budget import describe, refuse_longer_pairs
from train.card import write_card
from train.collate import Collator
from train.config import RunConfig
from train.curve import draw_curve
from train.dataset import SPLITS, PairDataset
from train.folders import private_folder
from train.inputs import read_pairs
from train.logged import LoggedReference
from train.model import Policy
from train.objective import Objective
from train.plan import plan, print_plan
from train.preflight import Preflight
from train.progress import (
    NARRATION,
    MetricsFile,
    StatusFile,
    TrainingBar,
    bars,
    counter,
    keep_metrics,
    print_held_out,
    write_status,
)
from train.reference import ReferenceCache, ReferenceResult
from train.reporting import refuse_not_installed, reporters
from train.resumable import CheckpointEvery
from train.resume import held, refuse_finished, refuse_other_inputs
from train.scores import score_table, write_scores
from train.sharded import shard, whole_weights
from train.step_zero import check_policy_is_reference
from train.summary import before_and_after, file_hash, headline, write_json, write_manifest
from train.trainer import DPOTrainer, refuse_not_finite

BEFORE_RUN: Final = frozenset({"inputs.json", "inputs.unfinished", "run.unfinished"})
"""What there is of a run that was killed before run.json was there: nothing that could be mixed up."""


def run(config: RunConfig, *, resumes: bool = False, dry: bool = False) -> dict[str, Any]:
    """Train as `config` says and return the summary that the command prints.

    With `resumes`, a run in the output folder that was not finished goes on; a `dry` one does all but train, and
    writes nothing but the reference cache. Raises the errors of `ingest.errors` that
    the stages name; nothing is written before the data has passed preflight.
    """
    device, autocast = _hardware(config)
    device = processes.start(device)
    try:
        config = config.model_copy(update={"output": Path(processes.from_first(str(config.output)))})
        with ExitStack() as stack:
            return _run(config, device, autocast, stack, resumes=resumes, dry=dry)
    finally:
        processes.stop()


def _run(
    config: RunConfig,
    device: torch.device,
    autocast: torch.dtype | None,
    stack: ExitStack,
    *,
    resumes: bool,
    dry: bool,
) -> dict[str, Any]:
    """Do what `run` says; what `stack` holds is let go when it is done."""
    started = time.monotonic()
    was_there = config.output.exists()
    goes_on = resumes and (config.output / "run.json").exists()
    if not goes_on:
        _refuse_folder_in_use(config.output)
    refuse_not_installed(config.report_to)
    transformers.set_seed(config.seed)
    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    policy = policies.load(config.model, device, autocast, share_prompts=config.share_prompts == "auto")
    if policy.unshared_because:
        NARRATION.print(f"Every response is computed with its own prompt: with this model {policy.unshared_because}.")
    with bars() as progress:
        pairs, preflight = read_pairs(config, policy, progress)
        if config.batch_tokens is not None:
            refuse_longer_pairs(pairs.segment_lengths[pairs.rows_of("train")], config.batch_tokens, policy.sharing)
        fingerprint = policies.fingerprint(policy)
        inputs = _inputs(config, fingerprint, device)
        # After the fingerprint: the reference of a new adapter is the model itself, whose cached values serve.
        train_adapter(policy.model, config.model, config.lora_rank, config.lora_alpha, config.lora_targets)
        shard(policy.model)
        checkpoint = None if dry else _start_folder(config, preflight, inputs, stack, goes_on=goes_on)
        reference = _fill_reference(config, policy, pairs, fingerprint, progress)
        trainer = _trainer(config, policy, pairs, progress, checkpoint)
        step_zero = check_policy_is_reference(trainer, pairs, reference.noise)
        if dry:
            if not was_there and processes.is_first():
                config.output.rmdir()  # the base class has made it
            return print_plan(plan(trainer))
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        step = trainer.state.global_step
        _say(config, "scoring", step)
        save_model(config.output / "model", policy)
        every_row = trainer.read_out(list(range(len(pairs))), counter(progress, "scoring", len(pairs)))
        refuse_not_finite(vars(every_row), "among the log-probabilities after the last step")
    before, after = before_and_after(pairs, every_row, config.beta, config.seed)
    summary = headline(config, pairs, len(preflight.dropped), before, after)
    summary |= {"steps": step, "resumed_at": _step_of(checkpoint), "seconds": round(time.monotonic() - started, 1)}
    if processes.is_first():
        write_scores(config.output / "scores.parquet", score_table(pairs, every_row, config.beta, step))
        draw_curve(config.output / "metrics.jsonl", config.output)
        print_held_out(before, after, {split: len(pairs.rows_of(split)) for split in after})
        rows = {split: len(pairs.rows_of(split)) for split in SPLITS}
        write_card(config.output / "model", config, inputs, rows, (before, after))
        found = {"reference": asdict(reference), "step_zero": asdict(step_zero)}
        write_manifest(config, inputs, {"summary": summary, **found, "before": before, "after": after})
        _say(config, "finished", step)
        checkpoints.remove(config.output)
    processes.wait()
    return summary


def _say(config: RunConfig, state: str, step: int) -> None:
    """Write into status.json what the run does after its last `step`."""
    if processes.is_first():
        write_status(config.output / "status.json", state, step, step)


def _say_failed(path: Path, error: type[BaseException] | None, *_: object) -> None:
    """Write into status.json that the run ended by an error, if it did."""
    if error is not None:
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"step": 0, "steps": 0}
        write_status(path, "failed", before["step"], before["steps"])


def _hardware(config: RunConfig) -> tuple[torch.device, torch.dtype | None]:
    """Return device and dtype of matrix products (None: float32). Raises SettingsError for what is not there."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise SettingsError("--device cuda: PyTorch finds no CUDA device here. Leave the option out to run on the CPU.")
    device = torch.device("cuda" if config.device != "cpu" and torch.cuda.is_available() else "cpu")
    if config.dtype == "auto":
        return device, torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else None
    return device, torch.bfloat16 if config.dtype == "bfloat16" else None


def _refuse_folder_in_use(folder: Path) -> None:
    """Raise SettingsError when the run would mix its files with others."""
    if not folder.exists() or (folder.is_dir() and {path.name for path in folder.iterdir()} <= BEFORE_RUN):
        return
    advice = "Name a new folder with --output, or leave the option out."
    if (folder / "run.json").exists() and not (folder / "manifest.json").exists():
        advice = "It holds an unfinished run: go on with it by --resume, or name a new folder with --output."
    raise SettingsError(f"{folder} is in use. {advice}")


def _inputs(config: RunConfig, fingerprint: str, device: torch.device) -> dict[str, Any]:
    """Return what results depend on besides the options: hashes of what is read, and on what it is computed."""
    read = {"data": file_hash(config.data), "model": fingerprint}
    if config.validation is not None:
        read["validation"] = file_hash(config.validation)
    return {**read, "device": device.type, "processes": processes.count()}


def _start_folder(
    config: RunConfig, preflight: Preflight, inputs: dict[str, Any], stack: ExitStack, *, goes_on: bool
) -> Path | None:
    """Make or take up the output folder, readable by its owner alone: what it holds was learnt from users' texts.

    Returns the checkpoint from which the run goes on, None when it starts. Raises ResumeError when the run there read
    something else.
    """
    if not processes.is_first():
        processes.wait()
        return checkpoints.newest(config.output) if goes_on else None
    private_folder(config.output)
    stack.enter_context(held(config.output))
    if goes_on:
        refuse_finished(config.output)  # by another process, while this one was reading
        refuse_other_inputs(config.output, inputs)
    checkpoint = checkpoints.newest(config.output) if goes_on else None
    if goes_on:
        where = f"step {_step_of(checkpoint):,}" if checkpoint else "its start, as it has no checkpoint yet"
        NARRATION.print(f"The run in {config.output} goes on from {where}.")
        keep_metrics(config.output / "metrics.jsonl", checkpoint)
    else:
        _refuse_folder_in_use(config.output)  # another run may have begun here meanwhile
        write_json(config.output / "inputs.json", inputs)
        write_json(config.output / "run.json", config.model_dump(mode="json"))
    # Not before: what is refused above leaves the run that is there as it was.
    stack.push(partial(_say_failed, config.output / "status.json"))
    if preflight.dropped:
        preflight.write_dropped(config.output / "dropped.parquet")
    processes.wait()
    return checkpoint


def _step_of(checkpoint: Path | None) -> int | None:
    return int(checkpoint.name.partition("-")[2]) if checkpoint else None


def _fill_reference(
    config: RunConfig, policy: Policy, pairs: PairDataset, fingerprint: str, progress: Progress
) -> ReferenceResult:
    """Give every pair its reference log-probabilities; return where they came from."""
    collate = Collator(policy.padding_id, policy.sharing)
    folder = None if config.reference == "computed" else config.reference_cache
    alpha = Objective.of(config).ld_alpha
    cache = ReferenceCache(folder, policy, fingerprint, collate, config.eval_batch_size, alpha)
    fill = LoggedReference(cache).fill if config.reference == "logged" else cache.fill
    result = fill(pairs, counter(progress, "reference", len(pairs)))
    logged = f"{result.logged:,} logged, " if config.reference == "logged" else ""
    cached = f"{result.cached:,} from {result.path}, " if result.path else ""
    NARRATION.print(f"Reference log-probabilities: {logged}{cached}{result.computed:,} computed.")
    return result


def _trainer(
    config: RunConfig, policy: Policy, pairs: PairDataset, progress: Progress, checkpoint: Path | None
) -> DPOTrainer:
    """Return the trainer with our own log file and progress bar instead of prints."""
    arguments = training_arguments(
        config,
        on_cpu=policy.model.device.type == "cpu",
        evaluates=bool(pairs.rows_of("validation")),
        resumes=checkpoint is not None,
    )
    trainer = DPOTrainer(
        policy,
        pairs,
        arguments,
        objective=Objective.of(config),
        order=config.order,
        token_metrics=config.extra_metrics == "on",
        batch_tokens=config.batch_tokens,
        on_drift=config.on_drift,
    )
    if processes.is_first():
        lengths = pairs.segment_lengths[pairs.rows_of("train")]
        NARRATION.print(describe(trainer.batches(), lengths, policy.sharing))
    trainer.remove_callback(PrinterCallback)
    trainer.metrics_file = config.output / "metrics.jsonl"
    trainer.add_callback(CheckpointEvery(trainer, config.checkpoint_every))
    if processes.is_first():
        for reporter in reporters(config.report_to, config.output):
            trainer.add_callback(reporter)
        trainer.add_callback(MetricsFile(trainer.metrics_file))
        trainer.add_callback(StatusFile(config.output / "status.json"))
        trainer.add_callback(TrainingBar(progress))
    return trainer


def save_model(folder: Path, policy: Policy) -> None:
    """Save weights and tokenizer so that `AutoModelForCausalLM.from_pretrained(folder)` loads them."""
    weights = whole_weights(policy.model) if processes.count() > 1 else None
    if processes.is_first():
        policy.model.save_pretrained(folder, state_dict=weights)
        policy.tokenizer.save_pretrained(folder)
