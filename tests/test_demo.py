"""The demo, whole: what `make demo` runs, in a copy of the repository's data folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the demo's table says: what -> count."""
    folder = tmp_path_factory.mktemp("demo")
    shutil.copytree(REPOSITORY / "data", folder / "data", ignore=shutil.ignore_patterns("demo", "__pycache__"))
    done = subprocess.run(
        [sys.executable, "-m", "data.demo"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [[cell.strip() for cell in re.split("[│┃|]", line)[1:-1]] for line in done.stdout.splitlines()]
    return {row[1]: row[2] for row in rows if len(row) == 3}


def number(text: str) -> float:
    return float(text.replace(",", ""))


def test_makefile_runs_the_demo() -> None:
    assert "\n\t$(BIN)/python -m data.demo\n" in (REPOSITORY / "Makefile").read_text()


def test_training_raises_held_out_accuracy_from_a_half_to_three_quarters(printed: dict[str, str]) -> None:
    assert number(printed["held-out accuracy before"]) == pytest.approx(0.5, abs=0.05)
    assert number(printed["held-out accuracy after"]) >= 0.75


def test_a_second_ingest_run_adds_nothing(printed: dict[str, str]) -> None:
    assert number(printed["new rows of a second run"]) == 0


def test_counts_add_up(printed: dict[str, str]) -> None:
    records = ("interactions", "feedback", "quarantined", "skipped")
    assert number(printed["records in"]) == sum(number(printed[name]) for name in records)
    assert number(printed["triples in"]) == number(printed["dropped"]) + number(printed["curated"])
    assert number(printed["triples"]) == number(printed["triples in"])
