"""The model card of a run, model/README.md: what the weights were made from, how, and what they are worth."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from train.config import RunConfig
from train.metrics import HeldOut

METRICS: Final = {
    "accuracy": "share of pairs whose chosen response the policy prefers, relative to the reference",
    "loss": "mean -log sigmoid(beta (A - B))",
    "margin": "mean beta (A - B), nats",
    "ranking_accuracy": "share of pairs whose chosen response the policy finds likelier",
}


def write_card(
    folder: Path,
    config: RunConfig,
    inputs: Mapping[str, Any],
    rows: Mapping[str, int],
    results: tuple[Mapping[str, HeldOut], Mapping[str, HeldOut]],
) -> None:
    """Write README.md into the model's `folder`.

    `inputs` are the hashes of inputs.json, `rows` pairs of each split, `results` held-out metrics before and after.
    """
    options = config.model_dump(mode="json", exclude_defaults=True)
    adapter = (folder / "adapter_config.json").exists()
    kind, library = ("LoRA adapter", "peft") if adapter else ("model", "transformers")
    lines = [
        f"---\nlibrary_name: {library}\ntags: [dpo, preference-optimisation]\n---",
        f"# {config.model.name}, trained on preferences",
        f"A {kind} trained by `python -m train.dpo` of Winnow with the loss `{config.loss}` and beta {config.beta}. "
        "The reference is the model it started from.",
        "## Data",
        f"`{config.data.name}`, sha256 `{inputs['data']}`: " + ", ".join(f"{n:,} {split}" for split, n in rows.items()),
        f"The model it started from has the fingerprint `{inputs['model']}` (weights, configuration, template).",
        "## Recipe",
        _table(["option", "value"], [[f"`--{k.replace('_', '-')}`", f"`{v}`"] for k, v in options.items()]),
        "Options that are not here have their defaults.",
        "## Held-out metrics",
        *(_metrics(split, results[0][split], after) for split, after in results[1].items()),
    ]
    (folder / "README.md").write_text("\n\n".join(lines) + "\n", encoding="utf-8")


def _metrics(split: str, before: HeldOut, after: HeldOut) -> str:
    """Return the table of one split."""
    rows = []
    for name, meaning in METRICS.items():
        interval = getattr(after, f"{name}_interval", None)
        bounds = f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else ""
        values = [f"{getattr(side, name):.4f}" for side in (before, after)]
        rows.append([name.replace("_", " "), *values, bounds, meaning])
    return _table([split, "before", "after", "95 % interval", "meaning"], rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))
