"""What an annotator says -> exactly one event -> through `python -m ingest run`, exactly these triples, or none."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest

from app.candidates import load
from app.sitting import Sitting
from app.store import Store
from app.task import Task
from app.voting import Desk
from ingest.lake import Lake
from ingest.schema import interaction_id
from ingest.settings import Labels
from tests.app.conftest import Workspace, candidate, write_candidates
from tests.app.test_end_to_end import served

A, B = "First answer {}.", "Second answer {}."


@dataclass(frozen=True)
class Case:
    """One pair and what is said of it."""

    name: str
    sent: dict[str, Any]
    triples: list[tuple[str, str, str, float | None]] = field(default_factory=list)
    """Rule, chosen, rejected, margin; "left" and "right" are what stood there, "improved" is the edit."""


def graded(place: int, **more: Any) -> dict[str, Any]:
    return {"verdict": "left" if place < 4 else "right" if place > 4 else "tie", "scale": place, **more}


IMPROVED = "It is improved."
CASES = [
    Case("much better left", graded(1), [("label", "left", "right", 1.0)]),
    Case("better left", graded(2), [("label", "left", "right", 2 / 3)]),
    Case("slightly better left", graded(3), [("label", "left", "right", 1 / 3)]),
    Case("tie", graded(4)),
    Case("slightly better right", graded(5), [("label", "right", "left", 1 / 3)]),
    Case("better right", graded(6), [("label", "right", "left", 2 / 3)]),
    Case("much better right", graded(7), [("label", "right", "left", 1.0)]),
    Case("both bad", {"verdict": "both_bad"}),
    Case("skip", {"verdict": "skip"}),
    Case(
        "better left, and improved",
        graded(2, edited_side="left", edited_text=IMPROVED, rationale="Nearly right."),
        [("edit", "improved", "left", None), ("label", "left", "right", 2 / 3)],
    ),
    Case(
        "both bad, and the right one improved",
        {"verdict": "both_bad", "edited_side": "right", "edited_text": IMPROVED},
        [("edit", "improved", "right", None)],
    ),
    Case("taken back", graded(1, edited_side="left", edited_text=IMPROVED)),
]


def row(number: int) -> dict[str, object]:
    """A candidate whose responses are those of the log."""
    found = candidate(number, a=A.format(number), b=B.format(number))
    keys = {A.format(number): 0, B.format(number): 1}
    for side in "ab":
        text = found[f"response_{side}"][0]["content"]  # type: ignore[index]
        found[f"interaction_{side}"] = interaction_id("demo", f"int-{number}-{keys[text]}")
    return found


@pytest.fixture
def logged(tmp_path: Path) -> Workspace:
    """A workspace whose log has two responses to each case's question."""
    records = [
        served(n, side, f"Question {n}?", text.format(n)) for n in range(len(CASES)) for side, text in enumerate((A, B))
    ]
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (tmp_path / "winnow.toml").write_text('[[sources]]\nname = "demo"\npath = "raw/*.jsonl"\nformat = "winnow"\n')
    write_candidates(tmp_path / "candidates.parquet", [row(n) for n in range(len(CASES))])
    return Workspace(tmp_path)


def test_each_verdict_is_one_event_and_its_triples(logged: Workspace, open_url: Callable[[str], Store]) -> None:
    store = open_url(logged.url)
    load(store, logged.root / "candidates.parquet", k=1)
    seconds = [0.0]
    sitting = Sitting(Desk(store, "ada", Labels(seed=1)), Task(), "component", clock=lambda: seconds[0])
    expected_events, expected = [], []
    for number, case in enumerate(CASES):
        showing = sitting.ensure()
        assert showing and showing.pair_id == row(number)["pair_id"]
        sitting.drawn()
        seconds[0] += 2
        event_id = str(uuid.uuid4())
        ballot = {"pair_id": showing.pair_id, "event_id": event_id, "elapsed_ms": 1_500, "sitting": sitting.name}
        sitting.cast(ballot | case.sent)
        assert sitting.notice and sitting.notice.kind == "saved", sitting.notice
        expected_events.append((event_id, case.sent["verdict"], case.sent.get("scale"), 1_500))
        if case.name == "taken back":
            sitting.undo(event_id)
        words = {"left": showing.left[-1]["content"], "right": showing.right[-1]["content"], "improved": IMPROVED}
        keys = {"left": showing.left_interaction_id, "right": showing.right_interaction_id, "improved": None}
        expected += [
            (number, rule, words[chosen], words[rejected], keys[chosen], keys[rejected], margin)
            for rule, chosen, rejected, margin in case.triples
        ]
    verdicts = [event for event in logged.events() if event["kind"] == "verdict"]
    assert [
        tuple(e[name] for name in ("event_id", "verdict", "scale", "elapsed_ms")) for e in verdicts
    ] == expected_events
    assert len(logged.events()) == len(CASES) + 1

    done = subprocess.run(
        [sys.executable, "-m", "ingest", "run", "--config", str(logged.config)],
        check=False, cwd=logged.root, env=os.environ, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with duckdb.connect() as connection:
        Lake(logged.root / "data/lake").view(connection, "triples")
        triples = connection.sql(
            "SELECT prompt[1].content, rule, chosen[-1].content, rejected[-1].content, chosen_interaction_id,"
            " rejected_interaction_id, CASE rule WHEN 'label' THEN round(margin, 12) END FROM triples ORDER BY ALL"
        ).fetchall()
    rounded = [
        (f"Question {number}?", *rest, None if margin is None else round(margin, 12))
        for number, *rest, margin in expected
    ]
    assert triples == sorted(rounded, key=lambda each: [str(value) for value in each])
