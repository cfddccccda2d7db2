"""Every command that README.md and docs/ show is run, in a copy of the workspace."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
"""README first: it fills the lake that the other pages' commands read."""

RUN_ELSEWHERE = {
    "make demo": "tests/test_demo.py runs the Makefile's line",
    "make test": "is what runs this test",
    "python -m ingest collect": "tests/ingest/collector_process.py starts it, and stops it",
    "streamlit run app/label.py": "tests/app/test_label_page.py types it and clicks",
}
"""Commands that are not run here -> who runs them."""


def commands(page: Path) -> list[str]:
    """Return the command lines of a page's ```sh blocks; a line that ends in a backslash goes on."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that commands name, the sample's logs where a user would put logs."""
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(REPOSITORY / "data" / "sample", folder / "data" / "sample")
    shutil.copytree(REPOSITORY / "data" / "sample" / "log", folder / "data" / "raw")
    shutil.copy(REPOSITORY / "winnow.toml", folder)
    return folder


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_commands_work_as_written(page: Path, workspace: Path) -> None:
    for command in commands(page):
        if command in RUN_ELSEWHERE:
            continue
        words = command.split()
        assert words[:2] == ["python", "-m"], f"{page.name} shows a command no test runs: {command}"
        done = subprocess.run(
            [sys.executable, *words[1:]], cwd=workspace, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, f"{command}\n{done.stderr[-3000:]}"


def test_readme_starts_with_the_two_commands() -> None:
    assert commands(REPOSITORY / "README.md")[:2] == ["make demo", "make test"]


def test_readme_tree_names_every_folder_of_the_top_level() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    folders = {line.split("/")[0] + "/" for line in tracked.splitlines() if "/" in line and line[0] != "."}
    tree = re.search(r"## The tree\n\n```text\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)
    assert tree
    assert set(re.findall(r"^(\w+/) ", tree[1], re.MULTILINE)) == folders
