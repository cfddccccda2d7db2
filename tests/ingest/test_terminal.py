"""What others wrote is shown on a terminal, never obeyed by it."""

import io
import json
import subprocess
import sys
from typing import Any

import pytest
from rich.text import Text

from ingest.terminal import Narration, shown

HOSTILE = "a\x1b[31mred\x1b]0;title\x07\u202etxt\x9b2J\r.jsonl"
HARMLESS = r"a\x1b[31mred\x1b]0;title\x07\u202etxt\x9b2J\r.jsonl"


def test_escapes_stand_in_place_of_what_a_terminal_obeys() -> None:
    assert shown(HOSTILE) == HARMLESS
    assert shown("zwölf 👍 例\nsecond line") == "zwölf 👍 例\nsecond line"


def test_rich_still_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    Narration().print(Text("\x1b[5m!", style="red"))
    assert stderr.getvalue() == "\x1b[31m\\x1b[5m!\x1b[0m\n"


def test_names_and_values_of_logs(workspace: Any, interaction: Any, log: Any) -> None:
    """A file's name, a consent and a source's pattern reach stderr in tables, notes and errors; none with an escape."""
    config = workspace.root / "winnow.toml"
    config.write_text('lake = "lake"\n[[sources]]\nname = "app"\npath = "logs/*"\n')
    record = interaction(1) | {"consent": "no\x1b[2J"}
    for number in range(1, 6):
        if number != 3:
            (workspace.logs / f"{HOSTILE}{number}").write_bytes(log(record) if number == 1 else b"bad\n")

    def ingest(*arguments: str) -> str:
        command = [sys.executable, "-m", "ingest", *arguments, "--config", str(config)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert json.loads(done.stdout)
        return done.stderr

    said = ingest("run"), ingest("status"), ingest("replay")
    assert all("\x1b" not in text and "\x07" not in text and "\u202e" not in text for text in said)
    assert r"a\x1b[31mred" in said[0]
    assert r"no\x1b[2J 1" in said[1]
