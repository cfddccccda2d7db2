"""Does curation pay? One controlled experiment: learnable preferences, faults planted in them, a model trained on each.

Good answers solve what was asked, bad ones do not; half of each end in filler, so length says nothing. Into these clean
pairs go, as a log would bring them:

- flips: an account that votes for the worse answer of 40 % of the pairs, by several rules at once;
- near duplicates: prompts with a mark changed;
- length bias: pairs of two equally good or bad answers, whose longer one was chosen;
- leakage: because of duplicates and flips, rows of one pair fall on both sides of a random split.

Three arms of the same tiny model: clean pairs, raw triples, and what `curate run` makes of the raw ones. All are judged
on fresh clean pairs. `own test` is
what each arm's own held-out split says: for raw a random one, for curated that of curate. Gate: every seed plants the
same faults that curate reports.
Baseline: clean = 1.

    python -m bench.curation_pays --pairs 200 --seeds 5
"""

import argparse
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import sqrt
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import t as student
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from curate.curation import curate
from curate.recipe import Recipe
from ingest import schema, settings
from ingest.lake import SCHEMAS, Lake
from train.config import RunConfig
from train.run import run

Row = dict[str, Any]
ARMS: Final = ("clean", "raw", "curated")
TOKENIZER: Final = Path(__file__).resolve().parent.parent / "data" / "sample" / "model"
NOON: Final = datetime(2026, 10, 1, 12, tzinfo=UTC)
SPAM: Final = ("choice", "rating")
"""Rules by which the account that flips is heard: each makes a triple of its own."""
THINGS: Final = ("router", "parcel", "plan", "bill", "phone", "order", "refund", "delivery", "password", "invoice")
VERBS: Final = ("reset", "find", "change", "pay", "return", "cancel", "check", "open", "move", "update")
GOOD: Final = (
    "Yes: open Settings and choose the {}.",
    "Hold the button, then pick the {}.",
    "Go to the page of your {}.",
)
BAD: Final = ("I do not know about the {}.", "Ask somebody else about the {}.", "That is not my {}.")
FILLER: Final = " Thank you for your patience, and please let us know how it went in the end."
RECIPE: Final = Recipe.model_validate(
    {
        "split": {"validation": 0.0, "test": 0.15},
        "near_duplicates": {"questions": 0.7, "triples": 0.7},
        "balance": {"chosen_has_more": {"length": 0.5}, "max_weight": 8.0},
        "gate": {"chosen_longer_min": 0.0, "chosen_longer_max": 1.0},
    }
)


@dataclass(frozen=True)
class Judged:
    """One trained arm."""

    accuracy: float
    """On fresh clean pairs."""
    own: float
    """On its own held-out split; of clean, the same fresh pairs."""
    rows: int
    """Trained on."""


def main() -> None:
    """Train every arm for every seed, and print accuracies with intervals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    found: dict[str, list[Judged]] = {arm: [] for arm in ARMS}
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory(prefix="winnow-bench-") as folder:
            for arm, judged in experiment(Path(folder), arguments.pairs, seed).items():
                found[arm].append(judged)
                print(f"seed {seed}, {arm}: {judged}", file=sys.stderr, flush=True)
    _print(found)


def experiment(folder: Path, pairs: int, seed: int) -> dict[str, Judged]:
    """Plant, curate, train and judge the three arms of one seed."""
    rng = random.Random(seed)
    clean = [quality_pair(rng, f"{n}") for n in range(pairs)]
    fresh = [quality_pair(rng, f"9{n}") for n in range(pairs)]
    raw, feedback = plant(clean, rng)
    curated = curated_rows(folder, raw, feedback)
    held_out = [{**row, "split": "test"} for row in fresh]
    arms = {
        "clean": [{**row, "split": "train"} for row in clean],
        "raw": [{**row, "split": "validation" if rng.random() < 0.15 else "train"} for row in raw],
        "curated": [{**row, "split": "validation" if row["split"] == "test" else "train"} for row in curated],
    }
    model = make_model(folder / "model", seed)
    return {arm: train(folder, arm, [*rows, *held_out], model, seed) for arm, rows in arms.items()}


def quality_pair(rng: random.Random, number: str) -> Row:
    """Return one clean triple: good over bad, either with or without filler at the end."""
    thing, verb = rng.choice(THINGS), rng.choice(VERBS)
    good, bad = (rng.choice(kind).format(thing) + FILLER * rng.randrange(2) for kind in (GOOD, BAD))
    return triple(f"{verb} {thing} {number}: how is it done?", good, bad, events=[f"{number}a", f"{number}b"])


def plant(clean: Sequence[Row], rng: random.Random) -> tuple[list[Row], list[Row]]:
    """Return the raw triples with every fault in them, in random order, and who cast each event."""
    raw = list(clean)
    raters = {event: f"u:{event[-1]}" for row in clean for event in row["event_ids"]}
    for n, row in enumerate(clean):
        prompt, good, bad = (row[side][0]["content"] for side in ("prompt", "chosen", "rejected"))
        if n % 5 < 2:
            for rule in SPAM:
                raw.append(triple(prompt, bad, good, rule=rule, events=[f"{n}{rule}"]))
                raters[f"{n}{rule}"] = "u:spam"
        if n % 5 == 4:
            raw.append(triple(prompt.replace("?", " ?!"), good, bad, events=[f"{n}d"]))
        kind = rng.choice((GOOD, BAD))
        thing = rng.choice(THINGS)
        one, other = rng.sample(kind, 2)
        raw.append(
            triple(f"Tell me of {thing} 5{n}", one.format(thing) + FILLER, other.format(thing), events=[f"{n}l"])
        )
    rng.shuffle(raw)
    null = dict.fromkeys(schema.FEEDBACK.names)
    return raw, [
        {**null, "feedback_id": event, "rater_id": rater, "rater_kind": "user"} for event, rater in raters.items()
    ]


def triple(prompt: str, chosen: str, rejected: str, *, rule: str = "choice", events: list[str]) -> Row:
    """Return one row of the lake's triples."""
    sides = [
        [{"role": role, "content": said, "tool_calls": None, "tool_call_id": None, "name": None}]
        for role, said in (("user", prompt), ("assistant", chosen), ("assistant", rejected))
    ]
    x, w, r = (schema.messages_hash(side) for side in sides)
    return dict.fromkeys(schema.TRIPLE.names) | {
        "triple_id": schema.triple_id(x, w, r, rule),
        **dict(zip(("prompt", "chosen", "rejected"), sides, strict=True)),
        **{"prompt_hash": x, "chosen_hash": w, "rejected_hash": r, "prompt_group": x},
        **{"source": "bench", "signal": "choice", "rule": rule, "rule_version": 1, "strength": "strong"},
        **{"weight": 1.0, "n_votes": len(events), "n_agree": len(events), "event_ids": events},
        **{"consent": "training", "first_time": NOON, "last_time": NOON},
    }


def curated_rows(folder: Path, raw: Sequence[Row], feedback: Sequence[Row]) -> list[Row]:
    """Return what `curate run` publishes of `raw`. Raises RuntimeError where it misses a planted fault."""
    (folder / "winnow.toml").write_text('lake = "lake"\ncurated = "curated"\n', encoding="utf-8")
    workspace = settings.load(folder / "winnow.toml")
    lake = Lake(workspace.lake)
    for name, rows in (("triples", raw), ("feedback", feedback)):
        lake.overwrite(name, pa.Table.from_pylist(list(rows), schema=SCHEMAS[name]))
    done = curate(workspace, RECIPE, lambda _: None)
    flips = sum(row["event_ids"] == [f"{row['event_ids'][0]}"] and row["event_ids"][0].endswith(SPAM) for row in raw)
    caught = done.counts.by_reason["contradiction_minority"].holds_for
    if caught != flips:
        raise RuntimeError(f"{flips} flips were planted, and {caught} found")
    found: list[Row] = pq.read_table(done.folder / "curated.parquet").to_pylist()
    return found


def make_model(folder: Path, seed: int) -> Path:
    """Save a Llama of random weights with the sample's tokenizer: it knows nothing beforehand."""
    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    size: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    config = LlamaConfig(
        **size,
        vocab_size=len(tokenizer),
        num_attention_heads=4,
        max_position_embeddings=256,
        initializer_range=0.05,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def train(folder: Path, arm: str, rows: Sequence[Row], model: Path, seed: int) -> Judged:
    """Train one arm as `python -m train.dpo` would, and judge it."""
    data = folder / f"{arm}.parquet"
    columns = ("triple_id", "prompt", "chosen", "rejected", "weight", "split")
    pq.write_table(pa.Table.from_pylist([{name: row[name] for name in columns} for row in rows]), data)
    config = RunConfig(
        data=data,
        model=model,
        output=folder / f"run-{arm}",
        reference_cache=folder / "reference",
        learning_rate=1e-3,
        epochs=3,
        batch_size=16,
        gradient_accumulation=1,
        device="cpu",
        seed=seed,
    )
    done = run(config)
    scores = pq.read_table(folder / f"run-{arm}" / "scores.parquet", columns=["split", "margin"]).to_pylist()
    own = [row["margin"] for row in scores if row["split"] == "validation"]
    accuracy = float(done["after"]["accuracy"])
    right = statistics.fmean((margin > 0) + 0.5 * (margin == 0) for margin in own) if own else accuracy
    return Judged(accuracy, right, sum(row["split"] == "train" for row in rows))


def interval(values: Sequence[float]) -> str:
    """Return the mean and its 95 % interval over seeds, by Student's t."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:.3f}"
    half = student.ppf(0.975, len(values) - 1) * statistics.stdev(values) / sqrt(len(values))
    return f"{mean:.3f} ± {half:.3f}"


def recovered(found: dict[str, list[Judged]]) -> list[float]:
    """Return, by seed, what of the accuracy above chance that clean data give curated data give."""
    return [
        (curated.accuracy - 0.5) / (clean.accuracy - 0.5)
        for clean, curated in zip(found["clean"], found["curated"], strict=True)
    ]


def _print(found: dict[str, list[Judged]]) -> None:
    table = Table(title="does curation pay?", title_justify="left")
    for name in ("arm", "rows trained on", "accuracy on fresh pairs", "own test says"):
        table.add_column(name, justify="left" if name == "arm" else "right")
    for arm, judged in found.items():
        rows = statistics.fmean(one.rows for one in judged)
        table.add_row(arm, f"{rows:,.0f}", interval([j.accuracy for j in judged]), interval([j.own for j in judged]))
    Console().print(table)
    share = interval(recovered(found))
    ratio = statistics.fmean(j.accuracy for j in found["curated"]) / statistics.fmean(
        j.accuracy for j in found["clean"]
    )
    print(f"curated reaches {ratio:.1%} of the clean accuracy; of what clean has above chance: {share}")


if __name__ == "__main__":
    main()
