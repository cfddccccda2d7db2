"""Two records of one id: the same content is a duplicate, another content goes to quarantine with its line."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.ingest.conftest import Workspace

Make = Callable[..., dict[str, Any]]
Log = Callable[..., bytes]


def chat(response_id: str, prompt: str, *answers: str) -> dict[str, Any]:
    choices = [
        {"index": i, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}
        for i, answer in enumerate(answers)
    ]
    return {
        "request": {"model": "m", "messages": [{"role": "user", "content": prompt}]},
        "response": {"id": response_id, "object": "chat.completion", "model": "m", "choices": choices},
    }


def counted(workspace: Workspace) -> tuple[int, ...]:
    """Run; return records, interactions, feedback, quarantined, skipped."""
    totals = workspace.run().totals()
    assert totals["records"] == sum(totals[name] for name in ("interactions", "feedback", "quarantined", "skipped"))
    return tuple(totals[name] for name in ("records", "interactions", "feedback", "quarantined", "skipped"))


def test_a_response_id_that_a_server_gives_again_loses_no_answer(workspace: Workspace, log: Log) -> None:
    first, second = chat("chatcmpl-123", "q1", "a1"), chat("chatcmpl-123", "q2", "a2")
    (workspace.logs / "a.jsonl").write_bytes(log(first, second, first))
    assert counted(workspace) == (3, 1, 0, 1, 1)
    [(reason, raw)] = workspace.rows("quarantine", "reason", "raw")
    assert (reason, json.loads(raw)) == ("id_conflict", second)
    assert workspace.rows("interactions", "byte_offset") == [0]
    (workspace.logs / "b.jsonl").write_bytes(log(second, first))
    assert counted(workspace) == (2, 0, 0, 1, 1)


def test_all_that_conflicts_in_one_line_is_one_quarantined_record(workspace: Workspace, log: Log) -> None:
    """Choices 0 and 1 conflict, choice 2 is the same, choice 3 is new."""
    (workspace.logs / "a.jsonl").write_bytes(log(chat("c", "q", "a", "b", "c")))
    (workspace.logs / "b.jsonl").write_bytes(log(chat("c", "q", "A", "B", "c", "d")))
    assert counted(workspace) == (3 + 3, 3 + 1, 0, 1, 1)


def test_a_vote_with_the_id_of_another_is_no_duplicate(
    workspace: Workspace, interaction: Make, thumb: Make, log: Log
) -> None:
    votes = thumb(1, 1), thumb(1, 1), thumb(1, 1, value=-1), thumb(1, 2), thumb(1, 1, revision=1)
    (workspace.logs / "a.jsonl").write_bytes(log(interaction(1), *votes))
    assert counted(workspace) == (6, 1, 2, 2, 1)


def test_a_vote_on_a_conflicting_response_of_its_own_line_is_not_given_to_the_other(
    workspace: Workspace, log: Log
) -> None:
    """The second snapshot of a chat holds another text under the id of the rated message."""

    def vote(number: str, answer: str) -> dict[str, Any]:
        said = {"q": ("user", "hi", None), "a": ("assistant", answer, "q")}
        messages = {
            key: {"id": key, "role": role, "content": text, "parentId": parent, "model": "m", "done": True}
            for key, (role, text, parent) in said.items()
        }
        return {
            "id": number,
            "user_id": "u",
            "type": "rating",
            "data": {"rating": 1},
            "meta": {"message_id": "a", "chat_id": "c"},
            "snapshot": {"chat": {"chat": {"history": {"messages": messages}}}},
            "updated_at": 10,
        }

    (workspace.logs / "a.jsonl").write_bytes(log(vote("f-1", "hey"), vote("f-2", "rewritten")))
    assert counted(workspace) == (3, 1, 1, 1, 0)


def test_a_prompt_that_was_rebuilt_is_no_conflict(workspace: Workspace, log: Log) -> None:
    def turn(number: int, previous: str | None) -> dict[str, Any]:
        content = [{"type": "output_text", "text": f"a{number}", "annotations": []}]
        message = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": content}
        response = {"id": f"r{number}", "object": "response", "created_at": 1760000000, "status": "completed"}
        return {
            "request": {"model": "m", "input": f"q{number}", "previous_response_id": previous},
            "response": response | {"model": "m", "previous_response_id": previous, "output": [message]},
        }

    lines = turn(1, None), turn(2, "r1")
    (workspace.logs / "a.jsonl").write_bytes(log(*lines))
    assert counted(workspace) == (2, 2, 0, 0, 0)
    assert set(workspace.rows("interactions", "status")) == {"ok"}
    (workspace.logs / "b.jsonl").write_bytes(log(*reversed(lines)))
    assert counted(workspace) == (2, 0, 0, 0, 2)


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_a_run_that_ends_between_two_commits_counts_conflicts_once(
    workspace: Workspace, interaction: Make, thumb: Make, log: Log, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    records = interaction(1, answer="a"), interaction(1, answer="b"), thumb(1, 1), thumb(1, 1, value=-1)
    (workspace.logs / "a.jsonl").write_bytes(log(*records, interaction(1, answer="a")))
    workspace.run_until(monkeypatch, commits=stop_after)
    assert counted(workspace) == (5, 1, 1, 2, 1)
    assert workspace.rows("quarantine", "reason") == ["id_conflict"] * 2
    assert [m[0]["content"] for m in workspace.rows("interactions", "response")] == ["a"]
