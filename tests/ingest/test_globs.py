"""Globs: they match what Python's glob matches, and say so where a folder cannot be read."""

import errno
import glob
import os
from pathlib import Path

import pytest

from ingest import globs
from ingest.errors import LakeError, SettingsError
from ingest.settings import load

FILES = (
    "q.x", "a/b/c.x", "a/.h/c.x", "a/.d.x", "a/b/[z].x", "a/b/d/e/f.y", "a/b.x/k", "lost/x",
)  # fmt: skip
PATTERNS = (
    "**/*", "**", "*", "a/**", "a/**/*.x", "*/*/*.x", "a/b/c.x", "**/.h/*", "a/.*", "**/[[]z].x", "**/**/*.x",
    "**/b/*", "no/*", "a/b/c.x/*", "[!q]*/**", "**/link/*", "**/b/**/*", "gone", "?.x", "a/b/../b/*",
)  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "a" / "link").symlink_to("b")
    return tmp_path


def python_finds(pattern: Path, *, hidden: bool = False) -> list[Path]:
    return [Path(name) for name in glob.glob(str(pattern), recursive=True, include_hidden=hidden)]  # noqa: PTH207


@pytest.mark.parametrize("pattern", PATTERNS)
def test_like_pythons_glob(tree: Path, pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = sorted({path for path in python_finds(tree / pattern) if path.is_file()})
    assert globs.find(str(tree / pattern)) == expected
    would = {
        path
        for path in python_finds(tree / "**", hidden=True)
        if path.is_file() and globs.matches(str(tree / pattern), path)
    }
    assert ".." in pattern or would == set(expected)
    monkeypatch.chdir(tree)
    assert globs.find(pattern) == [path.relative_to(tree) for path in expected]


def test_a_link_to_its_own_folder_ends(tree: Path) -> None:
    before = globs.find(str(tree / "**/*"))
    (tree / "a" / "up").symlink_to("..")
    assert globs.find(str(tree / "**/*")) == before


def test_a_folder_that_cannot_be_read_is_an_error(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the system's refusal is played."""
    scan = os.scandir

    def refusing(folder: str) -> object:
        if folder == str(tree / "a" / "b"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder)
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(LakeError, match=r"a/b: Permission denied\. Make it readable"):
        globs.find(str(tree / "**/*"))
    assert globs.find(str(tree / "*")) == [tree / "q.x"]


def test_a_file_systems_own_folder_is_passed_over(tree: Path) -> None:
    (tree / "lost+found").mkdir()
    (tree / "lost+found" / "#17").touch()
    assert globs.find(str(tree / "lost*/*")) == [tree / "lost/x"]


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ('lake = "raw/lake"', "lake"),
        ('pseudonym_key = "raw/key"', "pseudonym_key"),
        ('curated = "raw/curated"', "curated"),
        ('[labels]\nurl = "sqlite:///raw/labels.db"', "labels.url"),
    ],
    ids=["lake", "key", "curated", "labels"],
)
def test_a_source_reads_nothing_that_winnow_writes(tmp_path: Path, settings: str, key: str) -> None:
    source = '[[sources]]\nname = "app"\npath = "raw/**/{}"\n'
    toml = tmp_path / "winnow.toml"
    toml.write_text(source.format("*") + settings if settings[0] == "[" else settings + "\n" + source.format("*"))
    with pytest.raises(SettingsError, match=rf'source "app" reads .*raw/\*\*/\*, where Winnow itself writes \({key}'):
        load(toml)
    toml.write_text(toml.read_text().replace("**/*", "**/*.log"))
    assert load(toml).sources[0].name == "app"
