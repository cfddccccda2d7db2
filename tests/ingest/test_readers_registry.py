"""Which reader knows which record; every example line of docs/formats.md."""

import copy
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.errors import RecordError, SettingsError
from ingest.readers import registry
from ingest.schema import QUARANTINE_REASONS

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


ODD: list[Any] = [None, True, 0, -1, 1.5, 1e300, 10**20, "", "x", "1", "[", '{"a":1}', "2020-01-01"]
ODD += [[], {}, [None], [[]], [{}], ["x"], {"a": 1}, {"type": "text"}, {"role": "user"}]


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every field and item of a record."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        yield (*above, key)
        yield from places(below, (*above, key))


def damaged(record: dict[str, Any], generator: random.Random) -> dict[str, Any]:
    """Return the record with up to three fields lost, or replaced by something odd."""
    record = copy.deepcopy(record)
    for _ in range(generator.choice((1, 1, 2, 3))):
        *path, last = generator.choice(list(places(record)) or [("new",)])
        parent: Any = record
        for key in path:
            parent = parent[key]
        if isinstance(parent, dict) and generator.random() < 0.25:
            parent.pop(last, None)
        else:
            parent[last] = copy.deepcopy(generator.choice(ODD))
    return record


@settings(deadline=None)
@given(st.randoms(use_true_random=False))
def test_no_damage_to_a_record_is_more_than_that_records_problem(generator: random.Random) -> None:
    """Whatever comes in place of what the format says, readers agree whose record it is, and give rows or a reason."""
    for _, record in EXAMPLES:
        broken = damaged(record, generator)
        readers = [reader for reader in registry.READERS if reader.sniff(broken)]
        assert len(readers) <= 1
        for reader in readers:
            try:
                reading = reader.read(broken)
            except RecordError as problem:
                assert problem.reason in QUARANTINE_REASONS
                continue
            said = reading.interactions or reading.feedback or reading.skipped_parts
            assert bool(said) is (reading.skipped is None)
            assert all(one.prompt and one.response for one in reading.interactions)
