"""The ledger of erased users: what it names is skipped and counted, whatever is read again."""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingest.errors import SettingsError
from ingest.pseudonyms import Pseudonyms
from ingest.subjects import Subjects

Make = Callable[..., dict[str, Any]]
Log = Callable[..., bytes]


@pytest.fixture
def subjects(workspace: Any) -> Subjects:
    return ledger(workspace)


def ledger(workspace: Any) -> Subjects:
    return Subjects(workspace.settings.subjects, Pseudonyms(workspace.settings.pseudonym_key))


def erase(subjects: Subjects, user: str) -> None:
    pseudonym = subjects.pseudonyms.of(user)
    assert pseudonym
    subjects.erased.users.add(pseudonym)
    subjects.save("e1")


def test_records_of_an_erased_user_are_skipped_and_counted(
    workspace: Any, subjects: Subjects, interaction: Make, thumb: Make, log: Log
) -> None:
    """One log of ann and bob. Ann's: her response, her thumb on bob's, bob's on hers, a line of hers that is wrong.

    The rest of her conversation names no user; it comes before the line that does.
    """
    erase(subjects, "ann")
    records = [
        interaction(4, user_id=None, conversation_id="conv-1"),
        interaction(1, user_id="ann", conversation_id="conv-1"),
        interaction(2, user_id="bob"),
        thumb(1, 2, rater={"kind": "user", "id": "ann"}),
        thumb(2, 1, rater={"kind": "user", "id": "bob"}),
        thumb(3, 2, rater={"kind": "user", "id": "bob"}),
        thumb(4, 4, rater=None),
        {"winnow": 1, "kind": "interaction", "id": "i9", "user_id": "ann", "time": "bad"},
        {"winnow": 1, "kind": "interaction", "id": "i9", "user_id": "bob", "time": "bad"},
    ]
    (workspace.logs / "a.jsonl").write_bytes(log(*records))
    summary = workspace.run()
    assert summary.totals() == {
        "lines": 9, "records": 9, "interactions": 1, "feedback": 1, "quarantined": 1, "skipped": 6
    }  # fmt: skip
    assert summary.skipped() == {"erased": 6}
    assert workspace.rows("interactions", "source_id") == ["int-2"]
    assert workspace.rows("feedback", "source_id") == ["fb-3"]
    assert workspace.rows("files", "skipped_by_reason") == [[("erased", 6)]]
    files = [path for path in workspace.settings.lake.rglob("*") if path.is_file()]
    assert all(str(subjects.pseudonyms.of("ann")).encode() not in path.read_bytes() for path in files)


def test_what_was_recognised_once_is_recognised_later(
    workspace: Any, subjects: Subjects, interaction: Make, thumb: Make, log: Log
) -> None:
    """A later file holds what belongs to a conversation of ann that no run kept, and names her nowhere."""
    erase(subjects, "ann")
    (workspace.logs / "a.jsonl").write_bytes(log(interaction(1, user_id="ann", conversation_id="conv-1")))
    workspace.run()
    later = [
        interaction(2, user_id=None, conversation_id="conv-1"),
        interaction(3, user_id=None, conversation_id=None, parent_id="int-2"),
        thumb(1, 1, rater=None),
    ]
    (workspace.logs / "b.jsonl").write_bytes(log(*later))
    assert workspace.run().skipped() == {"erased": 3}


def test_the_ledger_is_private_and_holds_no_id(workspace: Any, subjects: Subjects, interaction: Make, log: Log) -> None:
    erase(subjects, "ann")
    (workspace.logs / "a.jsonl").write_bytes(log(interaction(1, user_id="ann")))
    workspace.run()
    path: Path = workspace.settings.subjects
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first, second, ended = (json.loads(line) for line in path.read_text().splitlines())
    assert (first["erasure"], first["users"]) == ("e1", [subjects.pseudonyms.of("ann")])
    assert [len(second[kind]) for kind in ("conversations", "responses")] == [1, 1]
    assert ended["removed"] == {}  # the lake held nothing of it
    assert not any(word in path.read_text() for word in ("ann", "conv-1", "int-1", "app"))
    again = ledger(workspace)
    assert again.erased.responses == set(second["responses"])
    again.save("e2")
    assert len(path.read_text().splitlines()) == 3


def test_a_line_that_a_kill_cut_is_written_over(workspace: Any, subjects: Subjects) -> None:
    erase(subjects, "ann")
    path: Path = workspace.settings.subjects
    path.write_bytes(path.read_bytes() + b'{"erasure": "e2", "us')
    again = ledger(workspace)
    assert again.erased.users == subjects.erased.users
    erase(again, "bob")
    assert [json.loads(line)["erasure"] for line in path.read_text().splitlines()] == ["e1", "e1"]


def test_a_ledger_that_cannot_be_read_stops_the_run(workspace: Any) -> None:
    workspace.settings.subjects.write_bytes(b"not json\n")
    with pytest.raises(SettingsError, match="would bring back who was erased"):
        workspace.run()
    assert not (workspace.settings.lake / "interactions").exists()
