"""`explain`: from a triple of every format back to the line it was read from, wherever that is now."""

import copy
import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingest import schema
from ingest.errors import SettingsError
from ingest.explain import explain
from ingest.readers import registry
from ingest.run import run
from ingest.settings import Source

from .conftest import Workspace
from .test_labels import Store
from .test_readers_registry import EXAMPLES


def edit(response: str, choice: int = 0, **fields: Any) -> dict[str, Any]:
    """One saved edit, in Winnow's own format: what makes a triple of any single response."""
    return {
        "winnow": 1,
        "kind": "feedback",
        "id": f"edit of {response}",
        "revision": 0,
        "time": "2026-10-02T00:00:00Z",
        "signal": "edit",
        "target": {"id": response, "choice": choice},
        "others": [],
        "text": "As it should have been.",
        "rater": {"kind": "user", "id": "editor"},
    } | fields


def text_at(place: dict[str, Any]) -> bytes:
    """Read the line that a place names with nothing of Winnow's; line and byte offset must agree."""
    stored = Path(place["path"]).read_bytes()
    plain = gzip.decompress(stored) if place["path"].endswith(".gz") else stored
    line: bytes = plain.split(b"\n")[place["line"] - 1]
    assert plain[place["byte_offset"] :].split(b"\n")[0] == line
    return line


@pytest.fixture(scope="module")
def formats(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, dict[str, dict[str, Any]]]:
    """Every example of docs/formats.md as a source of its own, behind another line, with an edit of what it served."""
    workspace = Workspace(tmp_path_factory.mktemp("formats"))
    sources, records = [], {}
    for number, (name, record) in enumerate(copy.deepcopy(EXAMPLES)):
        for part in ("request", "response") if name == "openai_responses" else ():
            record[part].pop("previous_response_id", None)  # it would wait for that one
        reading = registry.get(name).read(record)
        source = f"{name}-{number}"
        lines = [json.dumps(edit("no such response", text="Grüße")), json.dumps(record)]
        whole = [i for i in reading.interactions if i.status == "ok" and i.response]
        if whole:
            # A text of its own: else examples that say the same would be one triple.
            lines.append(json.dumps(edit(whole[0].source_id, whole[0].choice_index, text=f"Better: {source}")))
            records[source] = record
        (workspace.logs / f"{source}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        sources.append(Source(name=source, path=str(workspace.logs / f"{source}.jsonl")))
    workspace.settings = workspace.settings.model_copy(update={"sources": tuple(sources)})
    run(workspace.settings)
    return workspace, records


def test_a_triple_of_each_format_leads_to_its_record(
    formats: tuple[Workspace, dict[str, dict[str, Any]]],
) -> None:
    workspace, records = formats
    seen: set[str] = set()
    for triple, rule in workspace.rows("triples", "triple_id", "rule"):
        found = explain(workspace.settings, triple)
        assert found["rule"]["name"] == rule
        responses = [r for r in found["responses"].values() if isinstance(r, dict)]
        for row in responses:
            source = row["at"]["source"]
            assert json.loads(text_at(row["at"])) == records[source]
            read = registry.get(source.rsplit("-", 1)[0]).read(records[source])
            assert (row["source_id"], row["choice_index"]) in {(i.source_id, i.choice_index) for i in read.interactions}
            seen.add(source)
        for event in found["events"]:
            said = json.loads(text_at(event["at"]))
            assert said == records[event["at"]["source"]] or said["id"] == event["source_id"]
    assert seen == records.keys()
    assert {source.rsplit("-", 1)[0] for source in seen} == {reader.name for reader in registry.READERS}


@pytest.fixture
def voted(
    workspace: Workspace, interaction: Callable[..., dict[str, Any]], log: Callable[..., bytes]
) -> tuple[Workspace, str]:
    """One triple, of two responses and a vote; the second response's text holds an address."""
    vote = edit("int-1", signal="choice", others=[{"id": "int-2", "choice": 0}], id="vote", text=None)
    served = [interaction(1, "Q", "A"), interaction(2, "Q", "B to jo@example.com", conversation_id="conv-1")]
    (workspace.logs / "a.jsonl").write_bytes(log(*served, vote))
    workspace.run()
    [triple] = workspace.rows("triples", "triple_id")
    return workspace, triple


def test_it_says_who_voted_and_shows_no_personal_data(voted: tuple[Workspace, str]) -> None:
    workspace, triple = voted
    found = explain(workspace.settings, triple)
    assert (found["chosen"], found["rejected"]) == ("A", "B to <EMAIL_1>")
    [event] = found["events"]
    assert (event["signal"], event["revision"], event["at"]["line"]) == ("choice", 0, 3)
    assert event["rater_id"].startswith("u:")
    places = [event["at"], *(response["at"] for response in found["responses"].values())]
    assert [place["line"] for place in places] == [3, 1, 2]
    assert "<EMAIL_1>" in places[2]["text"] or len(places[2]["text"]) == 400
    assert "jo@example.com" not in json.dumps(found)
    assert "editor" not in json.dumps(found)


def test_a_file_is_found_under_its_new_name(voted: tuple[Workspace, str]) -> None:
    workspace, triple = voted
    old = workspace.logs / "a.jsonl"
    (workspace.logs / "a.jsonl.1.gz").write_bytes(gzip.compress(old.read_bytes()))
    old.unlink()
    place = explain(workspace.settings, triple)["events"][0]["at"]
    assert Path(place["path"]).name == "a.jsonl.1.gz"
    assert json.loads(text_at(place))["id"] == "vote"


def test_a_file_that_is_gone_or_another_is_said(voted: tuple[Workspace, str]) -> None:
    workspace, triple = voted
    for content in (b'{"another": "file"}\n', None):
        path = workspace.logs / "a.jsonl"
        path.write_bytes(content) if content else path.unlink()
        place = explain(workspace.settings, triple)["events"][0]["at"]
        assert (place["text"], place["line"], Path(place["path"]).name) == (None, None, "a.jsonl")
        assert place["note"].startswith("The file is gone, or its beginning has changed")


def test_a_label_leads_to_its_row_of_the_store(voted: tuple[Workspace, str]) -> None:
    workspace, _ = voted
    store = Store(workspace.root / "labels.db")
    one, two = (schema.interaction_id("app", name) for name in ("int-1", "int-2"))
    store.add("e1", "right", left_interaction_id=one, right_interaction_id=two)
    workspace.run()
    [triple] = [name for name, rule in workspace.rows("triples", "triple_id", "rule") if rule == "label"]
    place = explain(workspace.settings, triple)["events"][0]["at"]
    assert (place["source"], place["line"]) == ("labels", 1)
    assert '"kind": "verdict", "verdict": "right"' in place["text"]  # the row's beginning


OUTCOMES = [
    ("waits", {"target": {"id": "int-9", "choice": 0}}, "waits", None),
    ("changes nothing", {"text": "A"}, "no_pair", "identical"),
    ("no rule", {"signal": "copy"}, "no_pair", "no_rule"),
    ("taken back", {"retracted": True}, "does_not_count", None),
    ("made a triple", {}, "paired", None),
]


@pytest.mark.parametrize(("fields", "outcome", "reason"), [o[1:] for o in OUTCOMES], ids=[o[0] for o in OUTCOMES])
def test_an_event_says_what_became_of_it(
    fields: dict[str, Any], outcome: str, reason: str | None, voted: tuple[Workspace, str], log: Callable[..., bytes]
) -> None:
    workspace, _ = voted
    (workspace.logs / "b.jsonl").write_bytes(log(edit("int-1", **fields)))
    workspace.run()
    found = explain(workspace.settings, schema.feedback_id("app", "edit of int-1"))
    assert (found["outcome"], found.get("reason")) == (outcome, reason)
    assert found["meaning"].endswith(".")
    assert len(found["triples"]) == (outcome == "paired")
    assert [event["at"]["line"] for event in found["events"]] == [1]


def test_the_command_prints_json_and_a_table(voted: tuple[Workspace, str]) -> None:
    workspace, triple = voted
    toml = workspace.root / "winnow.toml"
    toml.write_text('lake = "lake"\npseudonym_key = "pseudonym.key"\n[[sources]]\nname = "app"\npath = "logs/*"\n')
    command = [sys.executable, "-m", "ingest", "explain", "--config", str(toml)]
    done = subprocess.run([*command, triple], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["triple_id"] == triple
    assert "choice by u:" in done.stderr
    unknown = subprocess.run([*command, "b2:0"], capture_output=True, text=True, check=False)
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "has no triple, unpaired row or feedback event 'b2:0'" in unknown.stderr


@pytest.mark.parametrize("ident", ["b2:0", "", "b2:\0", "b2:\udcff"], ids=["unknown", "empty", "NUL", "no text"])
def test_an_unknown_id_is_refused(workspace: Workspace, ident: str) -> None:
    with pytest.raises(SettingsError, match="has no triple"):
        explain(workspace.settings, ident)
