"""`python -m curate run` as it is typed: JSON on stdout, narration on stderr, one clear error and its exit code."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from curate.apply import SET_REASONS
from curate.recipe import Recipe
from ingest.settings_file import CONFIG_VARIABLE

from .conftest import make_triple, make_workspace, varied


def curate(folder: Path, *arguments: str, command: str = "run") -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if key != CONFIG_VARIABLE} | {"COLUMNS": "120"}
    words = [sys.executable, "-m", "curate", command, *arguments]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, env=environment)


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


def numbers(text: str, pattern: str) -> dict[str, int]:
    """Return name -> count of every match of two groups."""
    return {name: int(count.replace(",", "")) for name, count in re.findall(pattern, text, re.MULTILINE)}


def test_in_is_curated_and_dropped_by_reason_everywhere(tmp_path: Path) -> None:
    """65 in: 60 curated, two empty, one without consent, two that contradict each other; the same everywhere."""
    rows = [*varied(60), make_triple("E1?", chosen=" "), make_triple("E2?", rejected=""), make_triple(consent=None)]
    rows += [make_triple("Which?", "this", "that"), make_triple("Which?", "that", "this")]
    make_workspace(tmp_path, rows)
    done = curate(tmp_path)
    assert done.returncode == 0, done.stderr
    expected = {"empty_side": 2, "missing_consent": 1, "contradiction_tied": 2}

    printed = numbers(done.stderr, r"^│\s+(\w+)\s+│\s+([\d,]+) │")
    folder = Path(json.loads(done.stdout)["snapshot"])
    counts = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["counts"]
    page = (folder / "report.html").read_text(encoding="utf-8")
    shown = numbers(page, r"<td>− (\w+)</td><td class=\"number\">([\d,]+)</td>")
    card = (folder / "README.md").read_text(encoding="utf-8")
    rules = pq.read_table(folder / "dropped.parquet", filters=[("first", "=", True)])["rule"].to_pylist()

    reasons = {name: reach["first"] for name, reach in counts["by_reason"].items()}
    assert {name: count for name, count in reasons.items() if count} == expected
    assert {name: printed[name] for name in reasons} == reasons
    assert shown == reasons
    assert numbers(card, r"^\| `(\w+)@v\d+` \| ([\d,]+) \|") == expected
    assert Counter(rule.split("@")[0] for rule in rules) == expected
    assert printed["in"] == counts["triples"] == 65 == printed["curated"] + printed["dropped"]
    assert (counts["curated"], counts["dropped"]) == (printed["curated"], printed["dropped"]) == (60, 5)
    assert counts["curated"] == pq.read_metadata(folder / "curated.parquet").num_rows
    assert '<td>triples in</td><td class="number">65</td>' in page
    assert '<td>= curated</td><td class="number">60</td>' in page
    assert "65 in = 60 curated + 5 dropped" in card

    verified = curate(tmp_path, command="verify")
    assert verified.returncode == 0, verified.stderr
    assert json.loads(verified.stdout)["differences"] == []
    same = curate(tmp_path, str(folder), str(folder), command="diff")
    assert (json.loads(same.stdout)["same"], json.loads(same.stdout)["why"]) == (60, {})
    exported = curate(tmp_path, "--format", "hh", "--out", "out.jsonl", command="export")
    assert json.loads(exported.stdout)["exported"] == 60
    again = curate(tmp_path, "--format", "hh", "--out", "out.jsonl", command="export")
    assert (again.returncode, again.stdout) == (2, "")

    (folder / "report.html").write_text("mine", encoding="utf-8")
    wrong = curate(tmp_path, str(folder), command="verify")
    assert wrong.returncode == 15
    assert json.loads(wrong.stdout)["differences"][0]["file"] == "report.html"
    assert "error: Snapshot" in wrong.stderr
