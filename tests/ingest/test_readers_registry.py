"""Which reader knows which record; every example line of docs/formats.md."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ingest.errors import SettingsError
from ingest.readers import registry

FORMATS = (Path(__file__).resolve().parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")


def examples() -> list[tuple[str, dict[str, Any]]]:
    """Return (name of the section, record) for every json block of the page."""
    found = []
    for section in FORMATS.split("\n## ")[1:]:
        name = section.splitlines()[0]
        found += [(name, json.loads(block)) for block in re.findall(r"```json\n(.*?)\n```", section, re.DOTALL)]
    return found


EXAMPLES = examples()


@pytest.mark.parametrize(("name", "record"), EXAMPLES, ids=[f"{n}-{i}" for i, (n, _) in enumerate(EXAMPLES)])
def test_each_example_is_known_to_its_reader_alone_and_read(name: str, record: dict[str, Any]) -> None:
    assert [reader.name for reader in registry.READERS if reader.sniff(record)] == [name]
    detected = registry.detect(record)
    assert detected is registry.get(name)
    reading = detected.read(record)
    assert reading.skipped is None
    assert reading.interactions or reading.feedback


def test_every_reader_has_a_section_with_an_example() -> None:
    assert {name for name, _ in EXAMPLES} == {reader.name for reader in registry.READERS}


def test_names_are_unique() -> None:
    assert len({reader.name for reader in registry.READERS}) == len(registry.READERS)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"No reader is named \"csv\".*winnow.*battles"):
        registry.get("csv")


UNKNOWN: list[tuple[str, dict[str, Any]]] = [
    ("nothing", {}),
    ("chat messages only", {"messages": []}),
    ("another recorded API", {"kind": "cohere", "request": {}, "response_raw": "{}", "status": 200}),
    ("a response without its request", {"id": "resp_1", "object": "response", "output": []}),
    ("alpaca", {"instruction": "a", "input": "", "chosen": "It is b", "rejected": "It is c"}),
]


@pytest.mark.parametrize("record", [u[1] for u in UNKNOWN], ids=[u[0] for u in UNKNOWN])
def test_other_forms_are_known_to_no_reader(record: dict[str, Any]) -> None:
    assert registry.detect(record) is None
