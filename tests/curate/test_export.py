"""Exported files say what the snapshot says: read by Winnow's own readers, by TRL and by `datasets`, or left out."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from curate import published
from curate.export import Exported, comes_back, export
from curate.export_formats import FORMATS, REASONS, Said
from curate.recipe import Recipe
from ingest.errors import ContractError, SettingsError
from ingest.readers import registry
from ingest.schema import Message

from .conftest import Row, make_triple, make_workspace, varied

TOOLS = '[{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]'
CALL = '[{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]'


def say(role: str, content: str | None, **keys: str) -> Message:
    return Message(
        role=role,
        content=content,
        tool_calls=keys.get("tool_calls"),
        tool_call_id=keys.get("tool_call_id"),
        name=keys.get("name"),
    )


ASKED = [say("system", "Be brief."), say("user", "Hello?"), say("assistant", "Hi."), say("user", "  And \nnow? é😀")]
YES, NO = [say("assistant", "Yes.\n\nIndeed.")], [say("assistant", "No")]
WHY = say("user", "Why?")
PLAIN = Said(ASKED, YES, NO, None)
WITHOUT_SYSTEM = Said(ASKED[1:], YES, NO, None)
WITH_TOOLS = Said(ASKED[1:], YES, NO, TOOLS)
CALLS = [say("assistant", None, tool_calls=CALL), say("tool", "Rain.", tool_call_id="c1"), say("assistant", "Rain.")]
SEVERAL = Said(ASKED[1:], CALLS, NO, TOOLS)

ONE, UNREAD = "several_messages", "read_otherwise"
MARKED = {"hh": "marker_in_text"}
CASES: list[tuple[str, Said, dict[str, str | None]]] = [
    ("plain", PLAIN, {"trl": None, "openai": None, "kto": None, "sharegpt": None, "hh": "role"}),
    ("without a system", WITHOUT_SYSTEM, dict.fromkeys(FORMATS)),
    ("tools", WITH_TOOLS, dict.fromkeys(FORMATS) | {"hh": "tools_offered"}),
    ("calls of tools", SEVERAL, {"trl": None, "openai": ONE, "kto": None, "sharegpt": ONE, "hh": "tools_offered"}),
    ("a call alone", Said(ASKED, CALLS[:1], NO, None),
     dict.fromkeys(FORMATS) | {"sharegpt": "tool_calls", "hh": "role"}),
    ("two messages", Said(ASKED[1:], [*YES, *NO], NO, None),
     {"trl": None, "openai": ONE, "kto": None, "sharegpt": ONE, "hh": None}),
    ("a typed marker", Said([say("user", "Go on:\n\nHuman: hi")], YES, NO, None), dict.fromkeys(FORMATS) | MARKED),
    ("half a marker", Said([say("user", "Go on:\n")], YES, NO, None), dict.fromkeys(FORMATS) | MARKED),
    ("a named speaker", Said([say("user", "Hello?", name="ann")], YES, NO, None),
     dict.fromkeys(FORMATS) | {"sharegpt": "speaker_name", "hh": "speaker_name"}),
    ("a developer", Said([say("developer", "Brief."), *ASKED[1:]], YES, NO, None),
     dict.fromkeys(FORMATS) | {"sharegpt": "role", "hh": "role"}),
    ("two questions in a row", Said([ASKED[1], ASKED[1]], YES, NO, None),
     dict.fromkeys(FORMATS) | {"sharegpt": "order"}),
    ("no prompt", Said([], YES, NO, None),
     {"trl": UNREAD, "openai": UNREAD, "kto": UNREAD, "sharegpt": "order", "hh": "order"}),
    ("an assistant's turn last", Said(ASKED[1:3], YES, NO, None),
     dict.fromkeys(FORMATS) | {"sharegpt": "order", "hh": "order"}),
    ("tools that are no JSON", Said(ASKED[1:], YES, NO, "weather("),
     {"trl": None, "openai": "not_json", "kto": "not_json", "sharegpt": None, "hh": "tools_offered"}),
    ("responses that begin alike", Said(ASKED[1:], [*NO, WHY, *YES], [*NO, WHY, *NO], None),
     {"trl": None, "openai": ONE, "kto": None, "sharegpt": ONE, "hh": "read_otherwise"}),
]  # fmt: skip


def as_triple(said: Said, **columns: Any) -> Row:
    sides = ([dict(message) for message in messages] for messages in (said.prompt, said.chosen, said.rejected))
    return make_triple(*sides, tools=said.tools, **columns)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> published.Snapshot:
    """Every case and 40 plain triples; one of the weight 0.5. Of the cases one has no prompt, which curation keeps."""
    cases = [as_triple(said, rule=name) for name, said, _ in CASES]
    rows = [*(row | {"weight": 0.5} if n == 0 else row for n, row in enumerate(varied(40))), *cases]
    recipe = Recipe(rules=("empty_side",))
    done = make_workspace(tmp_path_factory.mktemp("export"), rows).curate(recipe)
    return published.find(done.folder, None)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("said", "reasons"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_each_format_can_say(name: str, said: Said, reasons: dict[str, str | None]) -> None:
    from curate.export_formats import Inexpressible

    write, reader = FORMATS[name]
    try:
        found = None if comes_back(said, write(said), registry.get(reader)) else "read_otherwise"
    except Inexpressible as refused:
        found = str(refused)
    assert found == reasons[name]
    assert found is None or found in REASONS


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", FORMATS)
def test_every_triple_is_exported_or_counted(name: str, snapshot: published.Snapshot, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    found = export(snapshot, name, out)
    assert found.triples == snapshot.manifest["counts"]["curated"]
    assert found.triples == found.exported + sum(found.left_out.values())
    assert found.records == len(lines(out)) == found.exported * (2 if name == "kto" else 1)
    assert found.weighted == 1
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    detected = {type(registry.detect(record)).__name__ for record in lines(out)}
    assert len(detected) == 1, "every line is known for what it is"
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_split_alone(snapshot: published.Snapshot, tmp_path: Path) -> None:
    sizes = {
        split: export(snapshot, "trl", tmp_path / split, split).triples for split in ("train", "validation", "test")
    }
    assert sizes == snapshot.manifest["counts"]["by_split"]


def test_openai_line(snapshot: published.Snapshot, tmp_path: Path) -> None:
    """Key by key, as the provider documents it."""
    export(snapshot, "openai", tmp_path / "out.jsonl")
    plain = next(line for line in lines(tmp_path / "out.jsonl") if line["input"]["messages"][0]["role"] == "system")
    assert plain["preferred_output"] == [{"role": "assistant", "content": "Yes.\n\nIndeed."}]
    assert plain["non_preferred_output"] == [{"role": "assistant", "content": "No"}]
    assert plain["input"]["messages"][1] == {"role": "user", "content": "Hello?"}


@pytest.mark.parametrize(("name", "size"), [("trl", 1), ("kto", 2)])
def test_datasets_and_trl_load_it(name: str, size: int, snapshot: published.Snapshot, tmp_path: Path) -> None:
    from datasets import load_dataset
    from trl.data_utils import is_conversational

    found = export(snapshot, name, tmp_path / "out.jsonl")
    rows = load_dataset("json", data_files=str(tmp_path / "out.jsonl"), cache_dir=str(tmp_path / "cache"))["train"]
    assert len(rows) == size * found.exported
    assert is_conversational(rows[0])
    said = {row["prompt"][-1]["content"] for row in rows}
    assert "  And \nnow? é😀" in said


def refusals(snapshot: published.Snapshot, tmp_path: Path) -> list[tuple[str, Path, str | None]]:
    return [("alpaca", tmp_path / "a", None), ("trl", tmp_path / "a", "dev"), ("trl", snapshot.folder, None)]


def test_what_cannot_be_asked_for(snapshot: published.Snapshot, tmp_path: Path) -> None:
    for name, out, split in refusals(snapshot, tmp_path):
        with pytest.raises(SettingsError):
            export(snapshot, name, out, split)
    with pytest.raises(SettingsError, match="cannot be written"):
        export(snapshot, "trl", tmp_path / "none" / "out.jsonl")
    assert not list(tmp_path.iterdir())


def test_nothing_that_can_be_said(tmp_path: Path) -> None:
    rows = [row | {"tools": TOOLS} for row in varied(40)]
    done = make_workspace(tmp_path, rows).curate()
    with pytest.raises(ContractError, match=r"hh can express none of the 40 triples: 40 tools_offered\."):
        export(published.find(done.folder, None), "hh", tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()
    exported: Exported = export(published.find(done.folder, None), "sharegpt", tmp_path / "out.jsonl")
    assert exported.exported == 40
