"""The main job on data/sample, by the three commands a user would type, and a table of what happened.

Reads data/sample, writes data/demo/ and runs/demo/. Safe to run again: a second run ingests nothing new.

    python -m data.demo
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

SAMPLE: Final = Path(__file__).resolve().parent / "sample"
CONFIG: Final = SAMPLE / "winnow.toml"
RECIPE: Final = SAMPLE / "recipe.toml"
TRAINING: Final = (
    *("--learning-rate", "5e-4", "--epochs", "2", "--seed", "0"),
    *("--batch-size", "16", "--gradient-accumulation", "1"),
)
"""A model of a million weights wants a far larger step than the default, which suits billions."""
NARRATION: Final = Console(stderr=True)


def main() -> int:
    """Run ingest twice, curate and train; print the table. Returns the exit code of the first command that failed."""
    try:
        paired = _run("ingest: logs to triples", "ingest", "run", "--config", str(CONFIG))
        again = _run("ingest again: nothing is new", "ingest", "run", "--config", str(CONFIG))
        read = _run("what all runs have read", "ingest", "status", "--config", str(CONFIG))
        curated = _run(
            "curate: triples to a data set", "curate", "run", "--config", str(CONFIG), "--recipe", str(RECIPE)
        )
        output = Path("runs") / "demo" / datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        data = str(Path(curated["snapshot"]) / "curated.parquet")
        trained = _run(
            "train: data set to a better model",
            *("train.dpo", "--data", data, "--model", str(SAMPLE / "model"), "--output", str(output)),
            *TRAINING,
        )
    except subprocess.CalledProcessError as error:
        return error.returncode
    Console().print(_summary(read["sources"]["support-assistant"], again, paired, curated, trained))
    return 0


def _run(title: str, module: str, *arguments: str) -> dict[str, Any]:
    """Run `python -m module ...`, its narration shown, and return the JSON object of its last line on stdout."""
    NARRATION.rule(f"[bold]{title}")
    NARRATION.print(f"[dim]python -m {' '.join((module, *arguments))}", soft_wrap=True, highlight=False)
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return summary


def _summary(
    read: Mapping[str, Any],
    again: Mapping[str, Any],
    paired: Mapping[str, Any],
    curated: Mapping[str, Any],
    trained: Mapping[str, Any],
) -> Table:
    """Return the table of the whole run, one row a count."""
    table = Table(title="Winnow: from data/sample's logs to a trained model", title_justify="left")
    table.add_column("stage")
    table.add_column("what")
    table.add_column("count", justify="right", overflow="fold")
    sections = (
        ("ingest", _ingest_rows(read, again)),
        ("pair", _pair_rows(paired)),
        ("curate", _curate_rows(curated)),
        ("train", _train_rows(trained)),
    )
    for stage, rows in sections:
        for index, (what, value) in enumerate(rows):
            table.add_row("" if index else f"[bold]{stage}", what, value)
        table.add_section()
    return table


def _ingest_rows(read: Mapping[str, Any], again: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "lines in", f"{read['lines']:,}"
    yield "records in", f"{read['records']:,}"
    for name in ("interactions", "feedback", "quarantined"):
        yield f"  {name}", f"{read[name]:,}"
    yield from (_reason(item) for item in sorted(read["quarantined_by_reason"].items()))
    yield "  skipped", f"{read['skipped']:,}"
    yield from (_reason(item) for item in sorted(read["skipped_by_reason"].items()))
    yield "new rows of a second run", f"{again['interactions'] + again['feedback'] + again['quarantined']:,}"


def _pair_rows(paired: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "triples", f"{paired['triples']['total']:,}"
    yield from (_reason(item) for item in sorted(paired["triples"]["by_signal"].items()))
    yield "unpaired", f"{paired['unpaired']['total']:,}"


def _curate_rows(curated: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "triples in", f"{curated['triples']:,}"
    yield "  dropped", f"{curated['dropped']:,}"
    yield from (_reason(item) for item in sorted(curated["dropped_by_reason"].items()))
    yield "  curated", f"{curated['curated']:,}"
    yield from (_reason(item) for item in curated["by_split"].items())
    yield "candidates to label", f"{curated['candidates']:,}"
    yield "report", str(curated["report"])


def _train_rows(trained: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "held-out accuracy before", f"{trained['before']['accuracy']:.3f}"
    yield "held-out accuracy after", f"[bold]{trained['after']['accuracy']:.3f}"
    yield "run", str(trained["output"])


def _reason(item: tuple[str, int]) -> tuple[str, str]:
    return f"    {item[0]}", f"{item[1]:,}"


if __name__ == "__main__":
    sys.exit(main())
