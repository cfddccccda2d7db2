"""From a line of a log, through a click in a browser, to a triple in curated.parquet that names the click."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Page, WebSocket, expect

from ingest.schema import CANDIDATE, feedback_id, interaction_id
from tests.app.conftest import Workspace, look, sides, sit_down

MODELS = ("planted-model-alpha", "planted-model-omega")

RECIPE = """\
[gate]
min_rows = 1
chosen_longer_min = 0.0
chosen_longer_max = 1.0
"""


def served(number: int, side: int, question: str, answer: str) -> dict[str, object]:
    """One logged response; side 0 and 1 answer the same question."""
    return {
        "winnow": 1, "kind": "interaction", "id": f"int-{number}-{side}",
        "time": f"2026-10-01T08:{number:02d}:{side:02d}.000000Z", "conversation_id": f"conv-{number}",
        "parent_id": None, "turn_index": 0, "user_id": f"u-{number}", "consent": "training", "shown": True,
        "position": None, "arm": MODELS[side], "propensity": 0.5, "latency_ms": 300.0, "status": 200,
        "request": {"model": MODELS[side], "messages": [{"role": "user", "content": question}], "temperature": 1.0},
        "response": {
            "id": f"chatcmpl-{number}-{side}", "object": "chat.completion", "created": 1790000000,
            "model": MODELS[side],
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}
            ],
            "usage": {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18},
        },
        "logprob_model": None,
    }  # fmt: skip


def choice(number: int) -> dict[str, object]:
    """A user's own vote for side 0."""
    return {
        "winnow": 1, "kind": "feedback", "id": f"fb-{number}", "revision": 0, "time": "2026-10-01T09:00:00.000000Z",
        "signal": "choice", "target": {"id": f"int-{number}-0", "choice": 0},
        "others": [{"id": f"int-{number}-1", "choice": 0}], "value": 1.0, "scale": None, "text": None,
        "rater": {"kind": "user", "id": f"u-{number}"}, "position": "left", "retracted": False,
    }  # fmt: skip


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Twelve questions with two answers each; users voted on the first ten, the last two are left to annotators."""
    words = ["amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "islet", "jetty", "kayak", "larch"]
    records: list[dict[str, object]] = []
    for number, word in enumerate(words):
        question = f"What should I know about the {word} {word[::-1]} setting of lamp number {number}?"
        records += [
            served(number, 0, question, f"Open the menu {word}, choose {word[::-1]}, and press save."),
            served(number, 1, question, f"Nobody has ever asked about {word} before, sorry."),
        ]
        if number < 10:
            records.append(choice(number))
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "winnow.toml").write_text(
        'lake = "data/lake"\ncurated = "data/curated"\n'
        '[[sources]]\nname = "demo"\npath = "raw/*.jsonl"\nformat = "winnow"\n[labels]\nfile = "labels.toml"\n'
    )
    (tmp_path / "labels.toml").write_text('mode = "choice"\n')
    return Workspace(tmp_path)


def run(workspace: Workspace, *command: str) -> dict[str, Any]:
    """Run a command of Winnow on the workspace; return the summary it prints."""
    done = subprocess.run(
        [sys.executable, "-m", *command, "--config", str(workspace.config)],
        check=False, cwd=workspace.root, env=os.environ, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def refine(workspace: Workspace) -> tuple[dict[str, Any], dict[str, Any]]:
    """Ingest and curate whatever is new."""
    recipe = str(workspace.root / "recipe.toml")
    return run(workspace, "ingest", "run"), run(workspace, "curate", "run", "--recipe", recipe)


def test_a_click_becomes_a_triple_that_names_it(
    workspace: Workspace, page: Page, serve: Callable[[Workspace], str]
) -> None:
    ingested, curated = refine(workspace)
    assert ingested["triples"]["by_signal"] == {"choice": 10}
    assert curated["candidates"] == 2
    candidates = pq.read_table(workspace.root / "data/curated/latest/candidates.parquet")
    assert candidates.schema.names == CANDIDATE.names
    assert "model" not in " ".join(candidates.schema.names)

    frames: list[bytes] = []
    page.on("websocket", lambda socket: _listen(socket, frames))
    sit_down(page, serve(workspace))
    clicked, other = sides(page)
    look(page)
    page.get_by_role("button", name="Left is better").click()
    expect(page.locator(".notice")).to_have_text("Saved: left is better", timeout=20_000)
    (event,) = workspace.events()

    # Blind: neither the page nor anything that was sent to it knows a model, or which logged response is which.
    hidden = [*MODELS, str(event["left_interaction_id"]), str(event["right_interaction_id"])]
    sent = b"".join(frames)
    assert clicked.encode() in sent
    assert [name for name in hidden if name.encode() in sent or name in page.content()] == []

    ingested, curated = refine(workspace)
    assert (ingested["interactions"], ingested["feedback"]) == (0, 1)
    assert ingested["triples"]["by_signal"] == {"choice": 10, "label": 1}
    triples = pq.read_table(workspace.root / "data/curated/latest/curated.parquet").to_pylist()
    (triple,) = [row for row in triples if row["signal"] == "label"]
    assert triple["event_ids"] == [feedback_id("labels", str(event["event_id"]), 0)]
    assert [message["content"] for message in triple["chosen"]] == [clicked]
    assert [message["content"] for message in triple["rejected"]] == [other]
    assert triple["chosen_interaction_id"] == event["left_interaction_id"]
    logged = {interaction_id("demo", f"int-{number}-{side}") for number in (10, 11) for side in (0, 1)}
    assert {triple["chosen_interaction_id"], triple["rejected_interaction_id"]} <= logged
    assert curated["candidates"] == 1

    # Taking it back takes the triple out again; the events of both stay.
    look(page)
    page.keyboard.press("u")
    expect(page.locator(".notice")).to_have_text("Verdict taken back", timeout=20_000)
    assert run(workspace, "ingest", "run")["triples"]["by_signal"] == {"choice": 10}
    assert [row["kind"] for row in workspace.events()] == ["verdict", "retract"]


def _listen(socket: WebSocket, frames: list[bytes]) -> None:
    """Keep everything that the server sends."""
    socket.on("framereceived", lambda frame: frames.append(frame.encode() if isinstance(frame, str) else bytes(frame)))
