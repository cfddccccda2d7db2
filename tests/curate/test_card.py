"""The data card: a head that hubs and `datasets` read, the manifest's numbers, and nothing that a user said."""

import json
import re
from pathlib import Path

import pytest
import yaml

from curate.card import COLUMNS
from curate.recipe import Card, Recipe
from ingest.schema import CURATED

from .conftest import make_triple, make_workspace, varied


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [*varied(60), make_triple("Empty?", chosen=" "), make_triple("Secret words?", "**Hidden** yes", "No.")]
    recipe = Recipe(card=Card(title='A "title": here', license="cc-by-4.0"))
    return make_workspace(tmp_path_factory.mktemp("card"), rows).curate(recipe).folder


def test_head(folder: Path) -> None:
    _, head, _ = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    values = yaml.safe_load(head)
    assert (values["pretty_name"], values["license"]) == ('A "title": here', "cc-by-4.0")
    assert values["size_categories"] == ["n<1K"]


def test_numbers_are_the_manifests(folder: Path) -> None:
    text = (folder / "README.md").read_text(encoding="utf-8")
    counts = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["counts"]
    assert "62 in = 61 curated + 1 dropped" in text
    assert re.search(r"\| `empty_side@v1` \| 1 \|", text)
    for split, rows in counts["by_split"].items():
        assert f"| {split} | {rows} |" in text
    assert "| bold | 1.000 | 1.000 | 0.207 to 1.000 |" in text, "one pair: Wilson's interval is 1 / (1 + z^2) to 1"


def test_every_column_is_described_and_no_text_is_quoted(folder: Path) -> None:
    assert list(COLUMNS) == CURATED.names
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "Secret" not in text
    assert "Hidden" not in text


def test_datasets_reads_the_folder_by_its_card(folder: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    rows = load_dataset(str(folder), cache_dir=str(tmp_path))
    assert {split: len(found) for split, found in rows.items()} == {"train": 61}


def test_a_licence_that_nobody_stated(tmp_path: Path) -> None:
    text = (make_workspace(tmp_path, varied(60)).curate().folder / "README.md").read_text(encoding="utf-8")
    assert 'license: "unknown"' in text
    assert "Licence: unknown." in text
