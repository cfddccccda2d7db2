"""`python -m curate run` as it is typed: JSON on stdout, narration on stderr, one clear error and its exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

from curate.apply import SET_REASONS
from curate.recipe import Recipe
from ingest.settings_file import CONFIG_VARIABLE

from .conftest import make_triple, make_workspace, varied


def curate(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if key != CONFIG_VARIABLE} | {"COLUMNS": "120"}
    command = [sys.executable, "-m", "curate", "run", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)


def test_run(tmp_path: Path) -> None:
    make_workspace(tmp_path, [*varied(60), make_triple(consent=None)])
    first = curate(tmp_path)
    assert first.returncode == 0, first.stderr
    (line,) = first.stdout.splitlines()
    summary = json.loads(line)
    folder = Path(summary["snapshot"])
    assert folder == (tmp_path / "curated" / "latest").resolve()
    assert summary["report"] == str(folder / "report.html")
    assert summary["published"] is True
    assert (summary["triples"], summary["curated"], summary["dropped"], summary["candidates"]) == (61, 60, 1, 0)
    reasons = summary["dropped_by_reason"]
    assert {name: count for name, count in reasons.items() if count} == {"missing_consent": 1}
    assert set(reasons) == {*Recipe().rules, *(reason.name for reason in SET_REASONS)}
    assert list(summary["by_split"]) == ["train", "validation", "test"]
    assert sum(summary["by_split"].values()) == 60
    assert "missing_consent" in first.stderr
    assert "published" in first.stderr

    again = curate(tmp_path, "--config", str(tmp_path / "winnow.toml"))
    assert json.loads(again.stdout) == summary | {"published": False}
    assert "nothing new" in again.stderr


def test_gate_error(tmp_path: Path) -> None:
    make_workspace(tmp_path, varied(5))
    (tmp_path / "recipe.toml").write_text("[split]\nvalidation = 0\ntest = 0\n")
    done = curate(tmp_path, "--recipe", "recipe.toml")
    assert done.returncode == 7
    assert done.stdout == ""
    assert "error: Nothing was published: 1 of" in done.stderr
    assert "curated_rows: 5, expected at least 20." in done.stderr
    assert "Traceback" not in done.stderr


def test_recipe_error(tmp_path: Path) -> None:
    make_workspace(tmp_path)
    (tmp_path / "recipe.toml").write_text("colour = 1\n")
    done = curate(tmp_path, "--recipe", "recipe.toml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: The recipe recipe.toml is wrong: colour: ")
