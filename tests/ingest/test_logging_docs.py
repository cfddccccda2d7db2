"""docs/logging.md and its example work as written: the blocks of Python run in order, and ingest reads the log."""

import importlib.util
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from starlette.testclient import TestClient

from .collector_process import serving
from .conftest import Workspace
from .openai_stub import Stub, stub, tokens

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    with stub() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        yield server


@pytest.mark.usefixtures("server")
def test_blocks_of_python_log_what_they_say(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (DOCS / "logging.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) == 7
    monkeypatch.chdir(workspace.root)
    (workspace.root / "data").mkdir()
    (workspace.root / "data" / "raw").symlink_to(workspace.logs)
    monkeypatch.setitem(sys.modules, "litellm", ModuleType("litellm"))
    names: dict[str, Any] = {}
    with serving(workspace.logs) as (_, port):
        for block in blocks:
            exec(block.replace("127.0.0.1:4318", f"127.0.0.1:{port}"), names)
    names["client"].close()
    assert names["log"].close()
    summary = workspace.run()
    totals = summary.totals()
    assert (totals["interactions"], totals["quarantined"], totals["skipped"]) == (4, 0, 0)
    keys = dict(workspace.rows("interactions", "source_id", "interaction_id"))
    about = Counter(workspace.rows("feedback", "interaction_id"))
    given = {"answered": 3, "again": 4, "span_id": 1}  # a vote that is changed and taken back is three events
    assert about == {keys[names[name]]: number for name, number in given.items()} | {keys[names["turn"].id]: 1}


def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("serve", DOCS / "examples" / "serve.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.usefixtures("server")
def test_example_service_logs_answers_and_verdicts(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_RAW", str(workspace.logs))
    module = example()
    with TestClient(module.app) as browser:
        headers = {"x-conversation": "c-1", "x-user": "u-1", "x-consent": "training"}
        answer = browser.post("/chat", json={"text": "How?"}, headers=headers)
        verdict = {"interaction_id": answer.headers["x-interaction-id"], "up": True}
        event = browser.post("/feedback", json=verdict).json()
        assert browser.post("/feedback", json={**verdict, "up": False, **event}).json() == event
    assert answer.text == "".join(tokens(0))
    assert module.log.close()
    workspace.run()
    columns = ("source_id", "conversation_id", "consent", "shown")
    assert workspace.rows("interactions", *columns) == [(verdict["interaction_id"], "c-1", "training", True)]
    assert sorted(workspace.rows("feedback", "revision", "value"))[0] == (0, 1.0)
    assert sorted(workspace.rows("feedback", "revision", "value"))[1][1] == -1.0
