"""What annotators are asked is read from one file, and anything wrong in it is one clear error."""

import tomllib
from pathlib import Path

import pytest

from app.task import Task, load
from ingest.errors import SettingsError

FULL = """
mode = "choice"
both_bad = false
edit = false
rationale = "required"
skip_reasons = ["Broken"]
tags = ["wrong facts", "too long"]
aspects = ["correct"]
[guidelines]
name = "v1"
file = "guidelines.md"
"""


def write(folder: Path, text: str, guidelines: str | None = "# Judge well") -> Path:
    if guidelines is not None:
        (folder / "guidelines.md").write_text(guidelines)
    (folder / "labels.toml").write_text(text)
    return folder / "labels.toml"


def test_every_key_is_read(tmp_path: Path) -> None:
    task = load(write(tmp_path, FULL))
    assert (task.mode, task.both_bad, task.edit, task.rationale) == ("choice", False, False, "required")
    assert (task.skip_reasons, task.tags, task.aspects) == (("Broken",), ("wrong facts", "too long"), ("correct",))
    assert task.guidelines and task.guidelines.text == "# Judge well"


def test_the_example_in_the_docs_is_read_and_is_what_they_show(repository: Path) -> None:
    example = repository / "docs/examples/labels.toml"
    task = load(example)
    assert task.guidelines_version and task.guidelines_version.startswith("2026-11@")
    assert set(Task.model_fields) == {*tomllib.loads(example.read_text())}
    shown = (repository / "docs/labelling.md").read_text()
    assert example.read_text().split("\n\n", 1)[1] in shown


def test_without_a_file_the_scale_is_asked_for_and_nothing_besides() -> None:
    task = load(None)
    assert task == Task()
    assert (task.mode, task.skip_reasons, task.tags, task.aspects) == ("scale", (), (), ())
    assert task.guidelines_version is None


def test_the_version_changes_with_the_name_and_with_the_text(tmp_path: Path) -> None:
    first = load(write(tmp_path, FULL)).guidelines_version
    again = load(write(tmp_path, FULL)).guidelines_version
    edited = load(write(tmp_path, FULL, "# Judge better")).guidelines_version
    renamed = load(write(tmp_path, FULL.replace("v1", "v2"))).guidelines_version
    assert first == again
    assert first and first.startswith("v1@") and len(first) == len("v1@") + 12
    assert len({first, edited, renamed}) == 3
    assert renamed and renamed.removeprefix("v2") == first.removeprefix("v1")


WRONG = [
    ("unknown-key", "colour = 1", "colour"),
    ("wrong-mode", 'mode = "stars"', "mode"),
    ("wrong-type", "tags = 3", "tags"),
    ("twice", 'tags = ["a", "a"]', "tags names one thing twice"),
    ("too-many", f"tags = {[str(n) for n in range(10)]}", "tags has 10 entries"),
    ("empty-name", 'aspects = [""]', "aspects"),
    ("two-lines", 'skip_reasons = ["a\\nb"]', "skip_reasons"),
    ("no-toml", "mode =", "is not TOML"),
    ("guidelines-without-file", '[guidelines]\nname = "v1"', "guidelines.file"),
    ("guidelines-text", '[guidelines]\nname = "v1"\nfile = "guidelines.md"\ntext = "x"', "guidelines.text"),
    ("guidelines-absent", '[guidelines]\nname = "v1"\nfile = "elsewhere.md"', "elsewhere.md"),
    ("unknown-guidelines-key", '[guidelines]\nname = "v1"\nfile = "guidelines.md"\ncolour = 1', "guidelines.colour"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "says"), [pytest.param(*case, id=name) for name, *case in WRONG])
def test_what_is_wrong_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load(write(tmp_path, text))
    assert says in str(raised.value)
    assert "labels.toml" in str(raised.value)


def test_a_file_that_is_not_there_or_no_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml"):
        load(tmp_path / "nowhere.toml")
    (tmp_path / "labels.toml").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="not UTF-8"):
        load(tmp_path / "labels.toml")
