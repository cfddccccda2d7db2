"""Training runs as they are on disk, finished or not, for a screen.

Reads run folders (docs/training.md): run.json, status.json, metrics.jsonl, manifest.json and scores.parquet, and the
curated file that a run names. Writes nothing. What is half written is not there yet.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl

SUSPECTS: Final = 50
"""Suspected flips that a screen lists."""


@dataclass(frozen=True)
class Run:
    """What is known of one run."""

    name: str
    state: str
    """"training", "scoring" or "finished"; "unknown" where no status was written."""
    step: int
    steps: int
    updated: str
    """ISO 8601, UTC."""
    config: dict[str, Any] = field(repr=False)
    """run.json: every option."""
    results: dict[str, Any] = field(repr=False)
    """The summary in manifest.json; empty while the run is not finished."""

    @property
    def finished(self) -> bool:
        """Whether nothing will change any more."""
        return self.state == "finished"


def folders(root: Path) -> list[Path]:
    """Return the run folders under `root`, the one touched last first."""
    if not root.is_dir():
        return []
    found = [folder for folder in root.iterdir() if (folder / "run.json").is_file()]
    return sorted(found, key=lambda folder: (folder / "run.json").stat().st_mtime, reverse=True)


def read(folder: Path) -> Run:
    """Return what a run says of itself."""
    status, manifest = _json(folder / "status.json"), _json(folder / "manifest.json")
    return Run(
        name=folder.name,
        state=str(status.get("state", "unknown")),
        step=int(status.get("step", 0)),
        steps=int(status.get("steps", 0)),
        updated=str(status.get("updated", "")),
        config=_json(folder / "run.json"),
        results=dict(manifest.get("summary", {})),
    )


def metrics(folder: Path) -> pl.DataFrame:
    """Return step, metric and value of every line of metrics.jsonl that is whole."""
    file = folder / "metrics.jsonl"
    rows: list[tuple[int, str, float]] = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        try:
            said = json.loads(line)
        except ValueError:  # its end is being written
            continue
        step = said.get("step")
        if isinstance(step, int):
            rows += [
                (step, key, float(value))
                for key, value in said.items()
                if key not in ("step", "epoch") and isinstance(value, int | float)
            ]
    return pl.DataFrame(rows, schema={"step": pl.Int64, "metric": pl.String, "value": pl.Float64}, orient="row")


def suspects(folder: Path) -> pl.DataFrame:
    """Return the pairs that the trained policy calls the wrong way round, surest first, with texts if found.

    Columns triple_id, split, probability (that chosen is preferred), margin; and prompt, chosen and rejected.
    """
    file, data = folder / "scores.parquet", Path(str(_json(folder / "run.json").get("data", "")))
    if not file.is_file():
        return pl.DataFrame()
    wanted = ["triple_id", "split", "probability", "margin"]
    flips = pl.scan_parquet(file).filter(pl.col("suspect_flip")).select(wanted).sort("probability").head(SUSPECTS)
    texts = ("prompt", "chosen", "rejected")
    if data.is_file() and {"triple_id", *texts} <= set((rows := pl.scan_parquet(data)).collect_schema()):
        flips = flips.join(rows.select("triple_id", *texts), on="triple_id", how="left", maintain_order="left")
    return flips.collect()


def _json(file: Path) -> dict[str, Any]:
    """Return the object in a file; empty where there is none, or none yet."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
