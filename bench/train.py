"""DPO steps: Winnow against TRL 1.16.0's DPOTrainer, on one model, the same token ids and the same dtype.

Each arm trains the same 8 steps of AdamW in a process of its own, arms in turn and back again; the first step is
warm-up, of the others the medians count. Gate, before any speed: the loss of every step and all weights at the end are
within 1e-5 of TRL's, else FAIL. Every arm but the textbook's computes TRL's metrics too (entropy, accuracy, mean
logits). On a CPU, TRL runs the fallback of its Triton kernels, which scores prompt positions too.

    useful tokens     2P + C + R of each pair, whatever the arm computes
    growth            peak memory above what the process had before its first step, gradients and AdamW's state included
    of GEMM           operations of a step without sharing / time / rate of a matrix product in the same process

CPU seconds are those of all threads. The reference pass is measured by itself: it is charged once a run, not once an
epoch. Baseline: TRL with precomputed reference = 1.

    python -m bench.train --repeats 1 --shapes prompt-heavy --vocabularies 2048
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

BASELINE: Final = "TRL, reference precomputed"
ARMS: Final = ("Winnow", "Winnow, prompts not shared", BASELINE, "TRL, reference online", "full logits")
WITHIN: Final = 1e-5
STEPS: Final = 8
PAIRS: Final = 4
"""Pairs of a step."""


@dataclass(frozen=True)
class Shape:
    """Tokens of every pair; all pairs are alike, so that no arm pads."""

    prompt: int
    response: int


SHAPES: Final = {
    "cpu": {
        "prompt-heavy": Shape(384, 64),
        "balanced": Shape(192, 128),
        "response-heavy": Shape(64, 256),
    },
    "cuda": {
        "prompt-heavy": Shape(3072, 512),
        "balanced": Shape(1536, 1024),
        "response-heavy": Shape(512, 2048),
    },
}
MODELS: Final[dict[str, dict[str, int]]] = {
    "cpu": {"num_hidden_layers": 4, "hidden_size": 256, "intermediate_size": 1024, "num_attention_heads": 8},
    "cuda": {"num_hidden_layers": 18, "hidden_size": 2048, "intermediate_size": 8192, "num_attention_heads": 32},
}
"""On a GPU about 1 B parameters, in bfloat16 matrix products; the gate runs in float32."""


@dataclass(frozen=True)
class Found:
    """What one process of one arm measured."""

    losses: list[float]
    weights: Path
    wall_s: list[float]
    """Of each step after the first."""
    cpu_s: list[float]
    growth_mib: float
    reference_cpu_s: float
    """The whole reference pass, where there is one."""
    gemm_per_cpu_s: float
    """Floating-point operations of a matrix product in one CPU second (on a GPU: in one second)."""
    fed: int
    """Tokens fed to the model in one step."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run all arms on every shape and vocabulary; print a table for each. Returns 1 when a gate failed."""
    arguments = parser().parse_args(argv)
    failed = False
    with tempfile.TemporaryDirectory(prefix="winnow-bench-") as name:
        for vocabulary in arguments.vocabularies:
            for shape in arguments.shapes:
                folder = Path(name) / f"{shape}-{vocabulary}"
                folder.mkdir()
                failed |= not compare(folder, shape, vocabulary, arguments)
    return int(failed)


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    made.add_argument("--threads", type=int, default=2)
    made.add_argument(
        "--repeats", type=int, default=2, help="processes of each arm; an even number runs there and back"
    )
    made.add_argument("--shapes", nargs="+", choices=list(SHAPES["cpu"]), default=list(SHAPES["cpu"]))
    made.add_argument("--vocabularies", nargs="+", type=int, default=[32_000, 2_048])
    made.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    return made


def compare(folder: Path, shape: str, vocabulary: int, arguments: argparse.Namespace) -> bool:
    """Run every arm, check the gate, print the table; return whether the gate held."""
    sizes = SHAPES[arguments.device][shape]
    title = f"{shape}: P {sizes.prompt}, C = R {sizes.response}, V {vocabulary:,}, {PAIRS} pairs a step"
    arms = [arm for arm in ARMS if arm in arguments.arms or arm == BASELINE]
    timed: dict[str, list[Found]] = {arm: [] for arm in arms}
    for turn in range(arguments.repeats):
        for arm in arms if turn % 2 == 0 else reversed(arms):
            timed[arm].append(measure(folder, arm, shape, vocabulary, arguments))
    # A GPU's bfloat16 differs between any two ways to compute: there the gate has runs of its own in float32.
    gated = {arm: found[0] for arm, found in timed.items()}
    if arguments.device == "cuda":
        gated = {arm: measure(folder, arm, shape, vocabulary, arguments, "float32") for arm in arms}
    gaps = {arm: gap(found, gated[BASELINE]) for arm, found in gated.items()}
    console = Console(width=140)
    # Not "if any is above": a difference that is not a number must fail too.
    if not all(value <= WITHIN for pair in gaps.values() for value in pair):
        for arm, (loss, weight) in gaps.items():
            console.print(f"  {arm}: losses differ by {loss:.2g}, weights by {weight:.2g}")
        console.print(f"FAIL, no speed: {title}: at most {WITHIN} is allowed")
        return False
    console.print(table(title, timed, gaps, flops(sizes, vocabulary, MODELS[arguments.device]), sizes))
    return True


def measure(
    folder: Path, arm: str, shape: str, vocabulary: int, arguments: argparse.Namespace, dtype: str | None = None
) -> Found:
    """Run one arm in a process of its own."""
    device = arguments.device
    job = {
        "folder": str(folder),
        "arm": arm,
        "device": device,
        "dtype": dtype or ("float32" if device == "cpu" else "bfloat16"),
        "threads": arguments.threads,
        "prompt": SHAPES[device][shape].prompt,
        "response": SHAPES[device][shape].response,
        "model": MODELS[device] | {"vocab_size": vocabulary},
        "steps": STEPS,
        "pairs": PAIRS,
    }
    offline = {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "0"}
    threads = {"OMP_NUM_THREADS": str(arguments.threads)}
    done = subprocess.run(
        [sys.executable, "-m", "bench.train_arms", json.dumps(job)],
        env=os.environ | offline | threads,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{arm} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    values: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return Found(**values | {"weights": Path(values["weights"])})


def gap(found: Found, baseline: Found) -> tuple[float, float]:
    """Return the largest difference of a step's loss and of a weight after the last step."""
    # torch is slow to import, and only needed once the arms are done
    from safetensors.torch import load_file  # noqa: PLC0415

    ours, theirs = load_file(found.weights), load_file(baseline.weights)
    weights = np.max([float((ours[name] - theirs[name]).abs().max()) for name in theirs])
    losses = np.abs(np.subtract(found.losses, baseline.losses)).max()
    return float(losses), float(weights)


def flops(shape: Shape, vocabulary: int, model: dict[str, int]) -> float:
    """Return the floating-point operations of one step, forward and backward, without sharing or recomputation."""
    layers, width, inner = model["num_hidden_layers"], model["hidden_size"], model["intermediate_size"]
    tokens = 2 * (shape.prompt + shape.response)
    matrices = layers * (4 * width * width + 3 * width * inner)
    attention = layers * 2 * width * (shape.prompt + shape.response) / 2
    return 6.0 * PAIRS * (tokens * (matrices + attention) + 2 * shape.response * vocabulary * width)


def table(
    title: str, timed: dict[str, list[Found]], gaps: dict[str, tuple[float, float]], work: float, shape: Shape
) -> Table:
    """Return the table of one shape and vocabulary."""
    made = Table(title=title, title_justify="left")
    made.add_column("arm")
    heads = (
        "CPU s a step",
        "ratio",
        "wall s",
        "useful tokens/s",
        "fed",
        "growth MiB",
        "of TRL's",
        "of GEMM",
        "reference",
    )
    for head in (*heads, "loss within", "weights within"):
        made.add_column(head, justify="right")
    useful = PAIRS * 2 * (shape.prompt + shape.response)
    base_cpu, base_growth = _cpu(timed[BASELINE]), _growth(timed[BASELINE])
    for arm, found in timed.items():
        cpu, growth = _cpu(found), _growth(found)
        wall = statistics.median(s for f in found for s in f.wall_s)
        rate = statistics.median(f.gemm_per_cpu_s for f in found)
        made.add_row(
            arm,
            f"{cpu:.2f}",
            f"{base_cpu / cpu:.2f}x",
            f"{wall:.2f}",
            f"{useful / wall:,.0f}",
            f"{found[0].fed:,}",
            f"{growth:,.0f}",
            f"{growth / base_growth:.2f}",
            f"{work / cpu / rate:.0%}",
            f"{statistics.median(f.reference_cpu_s for f in found):.1f} s",
            *(f"{value:.0e}" for value in gaps[arm]),
        )
    return made


def _cpu(found: Sequence[Found]) -> float:
    return statistics.median(second for one in found for second in one.cpu_s)


def _growth(found: Sequence[Found]) -> float:
    return statistics.median(one.growth_mib for one in found)


if __name__ == "__main__":
    sys.exit(main())
