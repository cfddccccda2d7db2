"""One arm of `bench.train` in a process of its own: trains, and prints what it measured as JSON.

python -m bench.train_arms '{"arm": "Winnow", ...}'
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import transformers
from datasets import Dataset
from safetensors.torch import save_file
from tokenizers import Tokenizer, models
from torch.nn.functional import logsigmoid
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.dpo_trainer import DPOTrainer as TRLTrainer

from train.collate import Collator
from train.dataset import PairDataset
from train.losses import Constants
from train.model import fingerprint, load
from train.objective import Objective
from train.reference import ReferenceCache
from train.trainer import DPOTrainer

BETA: Final = 0.1
LEARNING_RATE: Final = 1e-5
Job = dict[str, Any]
Ids = list[list[list[int]]]
"""Of each pair: prompt, chosen, rejected."""


class Clock(TrainerCallback):
    """Time, CPU time and memory of the steps after the first."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def on_train_begin(self, *_: object, **__: object) -> None:
        """Forget the memory that was needed up to here."""
        self.before = _resident(self.device)
        _forget_peak(self.device)

    def on_step_end(self, *_: object, **__: object) -> None:
        """Read the clocks; from one step's end to the next, everything that a step costs lies between."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        self.wall.append(time.perf_counter())
        self.cpu.append(time.process_time())

    def found(self) -> dict[str, Any]:
        """Return what `bench.train.Found` has of it."""
        growth = (_peak(self.device) - self.before) / 2**20
        wall, cpu = np.diff(self.wall).tolist(), np.diff(self.cpu).tolist()
        return {"wall_s": wall, "cpu_s": wall if self.device.type == "cuda" else cpu, "growth_mib": growth}


def run(job: Job) -> dict[str, Any]:
    """Train the job's arm and return what was measured."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(job["threads"])
    device, folder = torch.device(job["device"]), Path(job["folder"])
    rate = gemm_rate(device, getattr(torch, job["dtype"]))
    if not (folder / "model").exists():
        write_model(folder / "model", job)
    clock = Clock(device)
    trainer, reference_cpu_s = MAKERS[job["arm"]](job, draw_ids(job))
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.add_callback(clock)
    fed: list[int] = []
    compute_loss = trainer.compute_loss

    def counted(model: Any, inputs: Any, **given: Any) -> Any:
        fed.append(inputs["input_ids"].numel())
        return compute_loss(model, inputs, **given)

    vars(trainer)["compute_loss"] = counted
    trainer.train()
    measured = clock.found()
    weights = folder / f"{job['arm'].replace(' ', '_')}-{job['dtype']}.safetensors"
    save_file({name: p.detach().cpu().contiguous() for name, p in _parameters(trainer)}, weights)
    return {
        "losses": [log["loss"] for log in trainer.state.log_history if "loss" in log],
        "weights": str(weights),
        "reference_cpu_s": reference_cpu_s,
        "gemm_per_cpu_s": rate,
        "fed": fed[0],
        **measured,
    }


def draw_ids(job: Job) -> Ids:
    """Return random token ids of every pair of every step, the same in every arm; 0 is padding and 1 the end."""
    draw = np.random.default_rng(0)
    sizes = (job["prompt"], job["response"], job["response"])
    count = job["steps"] * job["pairs"]
    return [[draw.integers(2, job["model"]["vocab_size"], size=n).tolist() for n in sizes] for _ in range(count)]


def write_model(folder: Path, job: Job) -> None:
    """Save a Llama of random weights and a tokenizer, which only says what is padding."""
    torch.manual_seed(0)
    longest = job["prompt"] + 2 * job["response"]
    config = LlamaConfig(**job["model"], max_position_embeddings=longest, pad_token_id=0, eos_token_id=1)
    LlamaForCausalLM(config).save_pretrained(folder)
    words = {"<pad>": 0, "<eos>": 1, "<unk>": 2}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="<unk>")), pad_token="<pad>", eos_token="<eos>"
    )
    tokenizer.save_pretrained(folder)


def gemm_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return the floating-point operations of a product of square matrices in one CPU second (GPU: one second)."""
    size = 1024 if device.type == "cpu" else 8192
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    rates = []
    for _ in range(5):
        start = clock()
        for _ in range(4):
            a @ b
        if device.type == "cuda":
            torch.cuda.synchronize()
        rates.append(4 * 2 * size**3 / (clock() - start))
    return max(rates)


def arguments_of(job: Job) -> dict[str, Any]:
    """Return what the TrainingArguments of all arms have in common."""
    return {
        "output_dir": f"{job['folder']}/out",
        "per_device_train_batch_size": job["pairs"],
        "num_train_epochs": 1,
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "constant",
        "warmup_steps": 0,
        "max_grad_norm": 1.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "use_cpu": job["device"] == "cpu",
        "dataloader_pin_memory": job["device"] == "cuda",
    }


def winnow(job: Job, ids: Ids, *, share: bool) -> tuple[Trainer, float]:
    """Winnow's trainer, as `train.run` makes it."""
    autocast = torch.bfloat16 if job["dtype"] == "bfloat16" else None
    policy = load(Path(job["folder"]) / "model", torch.device(job["device"]), autocast, share_prompts=share)
    tokens = np.array([token for pair in ids for segment in pair for token in segment], dtype=np.int32)
    ends = np.cumsum([len(segment) for pair in ids for segment in pair])
    count = len(ids)
    pairs = PairDataset([f"row:{i}" for i in range(count)], np.zeros(count, np.int8), np.ones(count), tokens, ends)
    collate = Collator(policy.padding_id, policy.sharing)
    folder = Path(job["folder"]) / f"reference-{time.monotonic_ns()}"
    cache = ReferenceCache(folder, policy, fingerprint(policy), collate, job["pairs"])
    seconds = _seconds(lambda: cache.fill(pairs, lambda _: None))
    objective = Objective({"sigmoid": 1.0}, Constants(beta=BETA))
    arguments = TrainingArguments(**arguments_of(job))
    return DPOTrainer(policy, pairs, arguments, objective=objective, order="sequential", token_metrics=True), seconds


class TokenisedTRL(TRLTrainer):
    """TRL's trainer on token ids: they are what its own tokenisation ends in, and all that is left out."""

    def _prepare_dataset(self, dataset: Dataset, *_: object) -> Dataset:
        return dataset

    def _precompute_ref_logps(self, *arguments: Any) -> Any:
        found: list[Any] = []
        self.reference_seconds = _seconds(
            lambda: found.append(super(TokenisedTRL, self)._precompute_ref_logps(*arguments))
        )
        return found[0]


def trl(job: Job, ids: Ids, *, precompute: bool) -> tuple[Trainer, float]:
    """TRL 1.16.0's trainer with its own collator and loss."""
    arguments = DPOConfig(
        beta=BETA,
        bf16=job["dtype"] == "bfloat16",
        activation_checkpointing=False,
        max_length=None,
        train_sampling_strategy="sequential",
        precompute_ref_log_probs=precompute,
        **arguments_of(job),
    )
    folder = Path(job["folder"]) / "model"
    trainer = TokenisedTRL(
        model=_model(job),
        args=arguments,
        train_dataset=_dataset(ids),
        processing_class=PreTrainedTokenizerFast.from_pretrained(folder),
    )
    return trainer, getattr(trainer, "reference_seconds", 0.0)


class FullLogits(Trainer):
    """The textbook: logits of every position, one log-softmax over all of them; reference precomputed."""

    reference: torch.Tensor
    """(pairs, 2)"""

    def compute_loss(self, model: Any, inputs: dict[str, torch.Tensor], *_: object, **__: object) -> Any:
        """Return the mean sigmoid loss of the batch."""
        chosen, rejected = sequence_sums(model, inputs).chunk(2)
        reference = self.reference[inputs["row"]].to(chosen.device)
        margins = BETA * ((chosen - reference[:, 0]) - (rejected - reference[:, 1]))
        return -logsigmoid(margins).mean()

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return torch.utils.data.SequentialSampler(train_dataset)


def sequence_sums(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the log-probability of each sequence's response by full logits."""
    given = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    logps = model(**given, use_cache=False).logits.float()[:, :-1].log_softmax(-1)
    per_token = logps.gather(2, inputs["input_ids"][:, 1:, None]).squeeze(2)
    sums: torch.Tensor = (per_token.double() * inputs["completion_mask"][:, 1:]).sum(1)
    return sums


def full_logits(job: Job, ids: Ids) -> tuple[Trainer, float]:
    """The textbook's trainer."""
    collate = DataCollatorForPreference(pad_token_id=0)
    rows = [dict(zip(("prompt_ids", "chosen_ids", "rejected_ids"), pair, strict=True)) for pair in ids]

    def with_row(features: list[dict[str, Any]]) -> Any:
        return collate(features) | {"row": torch.tensor([feature["row"] for feature in features])}

    data: Any = [row | {"row": i} for i, row in enumerate(rows)]
    arguments = TrainingArguments(**arguments_of(job), bf16=job["dtype"] == "bfloat16")
    trainer = FullLogits(model=_model(job), args=arguments, train_dataset=data, data_collator=with_row)
    trainer.model_accepts_loss_kwargs = False

    def reference() -> None:
        found = []
        with torch.no_grad(), trainer.accelerator.autocast():
            for start in range(0, len(rows), job["pairs"]):
                batch = {k: v.to(trainer.args.device) for k, v in collate(rows[start : start + job["pairs"]]).items()}
                found.append(torch.stack(sequence_sums(trainer.model, batch).chunk(2), dim=1))
        trainer.reference = torch.cat(found)

    return trainer, _seconds(reference)


MAKERS: Final[dict[str, Callable[[Job, Ids], tuple[Trainer, float]]]] = {
    "Winnow": lambda job, ids: winnow(job, ids, share=True),
    "Winnow, prompts not shared": lambda job, ids: winnow(job, ids, share=False),
    "TRL, reference precomputed": lambda job, ids: trl(job, ids, precompute=True),
    "TRL, reference online": lambda job, ids: trl(job, ids, precompute=False),
    "full logits": full_logits,
}


def _model(job: Job) -> Any:
    model = AutoModelForCausalLM.from_pretrained(Path(job["folder"]) / "model", dtype=torch.float32)
    return model.to(job["device"])


def _parameters(trainer: Any) -> Any:
    return trainer.model.named_parameters()


def _dataset(ids: Ids) -> Dataset:
    return Dataset.from_dict(
        {name: [pair[i] for pair in ids] for i, name in enumerate(("prompt_ids", "chosen_ids", "rejected_ids"))}
    )


def _seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of `work`."""
    start = time.process_time()
    work()
    return time.process_time() - start


def _resident(device: torch.device) -> int:
    """Return the bytes in use now."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated()
    return _status("VmRSS")


def _peak(device: torch.device) -> int:
    """Return the most bytes in use since `_forget_peak`."""
    return torch.cuda.max_memory_allocated() if device.type == "cuda" else _status("VmHWM")


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def _status(name: str) -> int:
    """Return a size of this process from the kernel, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.argv[1]))))
