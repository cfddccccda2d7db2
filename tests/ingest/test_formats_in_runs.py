"""Formats through whole runs: what their feedback becomes, repeated rows, changed votes, parts of records."""

import json
from typing import Any

from tests.ingest.conftest import Workspace


def write(workspace: Workspace, name: str, *records: dict[str, Any]) -> None:
    """Write lines, or for a name that ends in .json one array."""
    text = json.dumps(records) if name.endswith(".json") else "".join(json.dumps(r) + "\n" for r in records)
    (workspace.logs / name).write_text(text)


def triples(workspace: Workspace) -> list[tuple[str, str, str, str]]:
    """Return (rule, last turn of the prompt, chosen, rejected)."""
    rows = workspace.rows("triples", "rule", "prompt", "chosen", "rejected")
    return sorted((rule, *(messages[-1]["content"] for messages in sides)) for rule, *sides in rows)


def webui(vote: str, rated: str, rating: int, updated: int) -> dict[str, Any]:
    said = {"q": ("user", "hi", None), "a": ("assistant", "hey", "q"), "b": ("assistant", "yo", "q")}
    messages = {
        key: {"id": key, "role": role, "content": text, "parentId": parent, "model": f"m-{key}", "done": True}
        for key, (role, text, parent) in said.items()
    }
    return {
        "id": vote,
        "user_id": "u",
        "type": "rating",
        "data": {"rating": rating},
        "meta": {"message_id": rated, "chat_id": "c"},
        "snapshot": {"chat": {"chat": {"history": {"messages": messages}}}},
        "updated_at": updated,
    }


def test_open_webui_a_vote_beats_the_sibling_that_was_shown_until_it_is_changed(workspace: Workspace) -> None:
    """Two votes repeat one chat: 4 answers of which 2 are copies, and 2 thumbs."""
    write(workspace, "votes.json", webui("f-1", "a", 1, 10), webui("f-2", "b", -1, 11))
    assert workspace.run().totals() == {
        "lines": 2,
        "records": 6,
        "interactions": 2,
        "feedback": 2,
        "quarantined": 0,
        "skipped": 2,
    }
    assert triples(workspace) == [("sibling_thumbs", "hi", "hey", "yo")]
    write(workspace, "later.json", webui("f-1", "a", -1, 20), webui("f-2", "b", 1, 21))
    summary = workspace.run()
    assert (summary.totals()["feedback"], summary.skipped()) == (2, {"duplicate": 4})
    assert triples(workspace) == [("sibling_thumbs", "hi", "yo", "hey")]


def test_langfuse_windows_overlap_and_a_correction_is_an_edit(workspace: Workspace) -> None:
    """The row on the edge of two windows comes twice; the correction comes from the API, before its observation."""
    observation = {
        "id": "o-1",
        "trace_id": "t-1",
        "type": "GENERATION",
        "start_time": "2026-10-01 08:00:00.000",
        "input": [{"role": "user", "content": "hi"}],
        "output": "hey",
    }
    span = observation | {"id": "o-2", "type": "SPAN"}
    correction = {
        "id": "c-1",
        "traceId": "t-1",
        "observationId": "o-1",
        "name": "output",
        "value": 0,
        "stringValue": "Hello.",
        "dataType": "CORRECTION",
        "timestamp": "2026-10-01T09:00:00Z",
    }
    write(workspace, "1.json", {"data": [correction], "meta": {"page": 1}})
    assert workspace.run().totals()["feedback"] == 1
    write(workspace, "2026-10-01T08.jsonl", observation, span)
    write(workspace, "2026-10-01T09.jsonl", observation)
    summary = workspace.run()
    assert (summary.totals()["interactions"], summary.skipped()) == (1, {"not_a_generation": 1, "duplicate": 1})
    assert triples(workspace) == [("edit", "hi", "Hello.", "hey")]


def test_an_arena_vote_is_a_choice_and_its_voter_is_a_pseudonym(workspace: Workspace) -> None:
    states = [
        {"conv_id": f"c-{i}", "model_name": f"m-{i}", "offset": 0, "messages": [["USER", "hi"], ["ASSISTANT", text]]}
        for i, text in enumerate(("hey", "yo"))
    ]
    vote = {"tstamp": 1760000000.5, "type": "rightvote", "models": ["", ""], "states": states, "ip": "203.0.113.7"}
    write(workspace, "2026-10-01-conv.json", vote)
    workspace.run()
    assert triples(workspace) == [("choice", "hi", "yo", "hey")]
    [rater] = workspace.rows("feedback", "rater_id")
    assert rater.startswith("u:")
    assert b"203.0.113.7" not in b"".join(p.read_bytes() for p in workspace.settings.lake.rglob("*") if p.is_file())


def test_a_trace_within_one_line_counts_each_of_its_parts(workspace: Workspace) -> None:
    """A line with 3 spans: one is read, two are skipped; a page that is printed over several lines is one record."""
    attributes = [
        {"key": "gen_ai.input.messages", "value": {"stringValue": '[{"role":"user","content":"hi"}]'}},
        {"key": "gen_ai.output.messages", "value": {"stringValue": '[{"role":"assistant","content":"hey"}]'}},
    ]
    spans = [{"spanId": "1", "attributes": attributes}, {"spanId": "2"}, {"spanId": "3"}]
    write(workspace, "spans.jsonl", {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]})
    score = {"id": "s", "traceId": "t", "name": "helpful", "value": 1, "dataType": "NUMERIC"}
    (workspace.logs / "page.json").write_text(json.dumps({"data": [score, score | {"id": None}], "meta": {}}, indent=2))
    summary = workspace.run()
    assert summary.totals() == {
        "lines": 2,
        "records": 5,
        "interactions": 1,
        "feedback": 1,
        "quarantined": 0,
        "skipped": 3,
    }
    assert summary.skipped() == {"not_a_genai_span": 2, "unreadable_row": 1}
    assert workspace.run().totals()["lines"] == 0
