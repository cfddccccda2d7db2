"""Label events of a real SQLite store -> feedback, exactly once."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from ingest.errors import SettingsError, StoreError
from ingest.labels import opened
from ingest.schema import LABEL_EVENT_COLUMNS, feedback_id
from ingest.settings import Labels

TYPES = {"seq": "INTEGER PRIMARY KEY", "late": "INTEGER", "scale": "INTEGER", "elapsed_ms": "INTEGER"}


class Store:
    """A label store with the contract's columns and nothing else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        columns = ", ".join(f"{name} {TYPES.get(name, 'TEXT')}" for name in LABEL_EVENT_COLUMNS)
        self.write(f"CREATE TABLE event ({columns})")

    def write(self, statement: str, values: tuple[Any, ...] = ()) -> None:
        connection = sqlite3.connect(self.path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(statement, values)
        connection.commit()
        connection.close()

    def add(self, event_id: str, verdict: str | None, **fields: Any) -> None:
        event = {
            "event_id": event_id,
            "event_time": "2026-10-05T09:30:00.250000+00:00",
            "annotator": "ann",
            "kind": "verdict",
            "verdict": verdict,
            "pair_id": "p",
            "left_interaction_id": "b2:left",
            "right_interaction_id": "b2:right",
            "late": 0,
            "purpose": "ask",
        } | fields
        names = ", ".join(event)
        self.write(f"INSERT INTO event ({names}) VALUES ({', '.join('?' * len(event))})", tuple(event.values()))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "labels.db")


def test_verdicts_become_feedback(workspace: Any, store: Store) -> None:
    store.add("e1", "left")
    store.add("e2", "right", annotator="bea", late=1)
    store.add("e3", "tie")
    store.add("e4", "both_bad")
    store.add("e5", "skip")
    summary = workspace.run()
    assert tuple(summary.totals().values()) == (5, 5, 0, 4, 0, 1)
    assert summary.skipped() == {"annotator_skip": 1}
    rows = {row["source_id"]: row for row in workspace.arrow("feedback").to_pylist()}
    told = {
        name: (row["signal"], row["interaction_id"], row["other_ids"], row["value"], row["position"])
        for name, row in rows.items()
    }
    assert told == {
        "e1": ("label", "b2:left", ["b2:right"], 1.0, "left"),
        "e2": ("label", "b2:right", ["b2:left"], 1.0, "right"),
        "e3": ("tie", "b2:left", ["b2:right"], None, "left"),
        "e4": ("both_bad", "b2:left", ["b2:right"], None, "left"),
    }
    first = rows["e1"]
    assert first["feedback_id"] == feedback_id("labels", "e1", 0)
    assert (first["source"], first["rater_kind"], first["revision"], first["retracted"]) == (
        "labels",
        "annotator",
        0,
        False,
    )
    assert (first["event_time"].isoformat(), first["day"]) == ("2026-10-05T09:30:00.250000+00:00", "2026-10-05")
    assert first["rater_id"].startswith("u:")
    assert first["rater_id"] == rows["e3"]["rater_id"] != rows["e2"]["rater_id"]
    assert (first["byte_offset"], first["reader"]) == (1, "label@2")


@pytest.mark.parametrize(
    ("scale", "verdict", "told"),
    [
        (1, "left", ("label", "b2:left", 1.0, 0.0, 1.0)),
        (2, "left", ("label", "b2:left", 2 / 3, 0.0, 1.0)),
        (3, "left", ("label", "b2:left", 1 / 3, 0.0, 1.0)),
        (4, "tie", ("tie", "b2:left", None, None, None)),
        (5, "right", ("label", "b2:right", 1 / 3, 0.0, 1.0)),
        (6, "right", ("label", "b2:right", 2 / 3, 0.0, 1.0)),
        (7, "right", ("label", "b2:right", 1.0, 0.0, 1.0)),
    ],
)
def test_a_place_on_the_scale_is_a_degree(
    workspace: Any, store: Store, scale: int, verdict: str, told: tuple[object, ...]
) -> None:
    store.add("e1", verdict, scale=scale)
    workspace.run()
    assert workspace.rows("feedback", "signal", "interaction_id", "value", "scale_min", "scale_max") == [told]


def test_an_improved_response_is_an_edit_besides_the_verdict(workspace: Any, store: Store) -> None:
    """Taking the verdict back takes the edit back. What an annotator writes is redacted, and placeholders of the text
    that was improved stay as they are."""
    store.add(
        "e1", "left", edited_side="right", edited_text="Ask <EMAIL_1> or zoe@example.org", rationale="bob@example.org!"
    )
    summary = workspace.run()
    assert (summary.totals()["lines"], summary.totals()["records"]) == (1, 2)
    rows = {row["source_id"]: row for row in workspace.arrow("feedback").to_pylist()}
    assert {
        name: (row["signal"], row["interaction_id"], row["other_ids"], row["text"], row["position"])
        for name, row in rows.items()
    } == {
        "e1": ("label", "b2:left", ["b2:right"], "<EMAIL_1>!", "left"),
        "e1/edit": ("edit", "b2:right", [], "Ask <EMAIL_1> or <EMAIL_2>", "right"),
    }
    assert [name for name, _ in rows["e1/edit"]["placeholders"]] == ["EMAIL_2"]
    store.add("e2", None, kind="retract", retracts="e1")
    workspace.run()
    taken_back = [row for row in workspace.arrow("feedback").to_pylist() if row["retracted"]]
    assert sorted((row["source_id"], row["signal"], row["revision"]) for row in taken_back) == [
        ("e1", "label", 1), ("e1/edit", "edit", 1),
    ]  # fmt: skip


def test_only_questions_become_feedback(workspace: Any, store: Store) -> None:
    for number, purpose in enumerate(("ask", "review", "gold", "attention", "repeat")):
        store.add(f"e{number}", "left", purpose=purpose)
    store.add("e5", "skip", purpose="gold")
    store.add("e6", None, kind="retract", retracts="e2", purpose="gold")
    assert workspace.run().skipped() == {"quality_check": 4, "quality_check_retracted": 1}
    assert sorted(workspace.rows("feedback", "source_id")) == ["e0", "e1"]


def test_events_are_read_once_and_on_from_the_last(workspace: Any, store: Store) -> None:
    store.add("e1", "left")
    assert workspace.run().totals()["feedback"] == 1
    before = workspace.versions()
    assert workspace.run().totals()["lines"] == 0
    assert workspace.versions() == before
    store.add("e2", "right")
    assert workspace.run().totals() == {
        "lines": 1, "records": 1, "interactions": 0, "feedback": 1, "quarantined": 0, "skipped": 0
    }  # fmt: skip


def test_a_retraction_is_the_next_revision_of_its_verdict(workspace: Any, store: Store) -> None:
    store.add("e1", "right")
    workspace.run()
    store.add("e2", None, kind="retract", retracts="e1", event_time="2026-10-05T09:31:00+00:00")
    store.add("e3", "skip")
    store.add("e4", None, kind="retract", retracts="e3")
    assert workspace.run().skipped() == {"annotator_skip": 1, "annotator_skip_retracted": 1}
    rows = sorted(workspace.rows("feedback", "source_id", "revision", "retracted", "signal", "interaction_id"))
    assert rows == [("e1", 0, False, "label", "b2:right"), ("e1", 1, True, "label", "b2:right")]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"verdict": "both"}, id="unknown verdict"),
        pytest.param({"kind": "vote"}, id="unknown kind"),
        pytest.param({"event_time": "yesterday"}, id="no time"),
        pytest.param({"event_time": "2026-10-05T09:30:00"}, id="time without a zone"),
        pytest.param({"kind": "retract", "verdict": None, "retracts": "e9"}, id="retracts nothing"),
        pytest.param({"kind": "retract", "verdict": None, "retracts": "e1"}, id="retracts itself"),
        pytest.param({"purpose": "fun"}, id="unknown purpose"),
        pytest.param({"purpose": None}, id="no purpose"),
        pytest.param({"scale": 4}, id="scale of another verdict"),
        pytest.param({"scale": 8, "verdict": "right"}, id="off the scale"),
        pytest.param({"edited_side": "left"}, id="edit without text"),
        pytest.param({"edited_side": "both", "edited_text": "x"}, id="edit of no side"),
    ],
)
def test_an_event_that_breaks_the_contract_is_quarantined(workspace: Any, store: Store, fields: dict[str, Any]) -> None:
    store.add("e1", **({"verdict": "left"} | fields))
    assert workspace.run().quarantined() == {"bad_value": 1}
    ((raw, path),) = workspace.rows("quarantine", "raw", "path")
    assert '"event_id": "e1"' in raw
    assert path == f"sqlite:///{store.path}"


def test_a_store_that_is_moved_is_the_same_and_a_new_one_is_another(workspace: Any, store: Store) -> None:
    store.add("e1", "left")
    workspace.run()
    moved = workspace.root / "moved.db"
    store.path.rename(moved)
    workspace.settings = workspace.settings.model_copy(update={"labels": Labels(url=f"sqlite:///{moved}")})
    assert workspace.run().totals()["lines"] == 0
    moved.unlink()
    Store(moved).add("n1", "left")  # its seq begins at 1 again
    assert workspace.run().totals()["feedback"] == 1


def test_reading_makes_no_store_and_changes_none(workspace: Any, tmp_path: Path) -> None:
    assert workspace.run().files == 0
    assert not (tmp_path / "labels.db").exists()
    store = Store(tmp_path / "labels.db")
    assert workspace.run().files == 0  # it has no events yet
    store.add("e1", "left")
    with opened(f"sqlite:///{store.path}") as labels:
        assert labels is not None
        with pytest.raises(Exception, match="readonly"):
            labels._connection.exec_driver_sql("DELETE FROM event")


def test_errors_are_clear(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"labels\.url"), opened("not a url"):
        pass
    (tmp_path / "text.db").write_text("no database, but text that is long enough to be taken for one" * 20)
    with pytest.raises(StoreError, match="Cannot read label events"), opened(f"sqlite:///{tmp_path}/text.db"):
        pass
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE event (seq INTEGER)").connection.close()
    with pytest.raises(StoreError, match="Cannot read label events"), opened(f"sqlite:///{tmp_path}/other.db"):
        pass
