"""Whatever stands in a record, a reader reads it, skips it or raises RecordError: nothing else stops a run."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.errors import RecordError
from ingest.readers import registry
from ingest.schema import QUARANTINE_REASONS

FORMATS = Path(__file__).resolve().parents[2] / "docs" / "formats.md"
EXAMPLES = [json.loads(block.split("\n```")[0]) for block in FORMATS.read_text("utf-8").split("```json\n")[1:]]
REPLACEMENTS: tuple[Any, ...] = (None, "", "x", "{", '[{"role":1}]', -1, 1.5, 10**30, True, [], [None], {}, {"x": [1]})


def paths(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value within `value`."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*above, key)
        yield from paths(item, (*above, key))


def changed(record: Any, path: tuple[Any, ...], replacement: Any) -> Any:
    record = copy.deepcopy(record)
    node = record
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = replacement
    return record


@pytest.mark.parametrize("record", EXAMPLES, ids=[f"example-{i}" for i in range(len(EXAMPLES))])
def test_any_value_in_any_place_is_read_skipped_or_refused(record: dict[str, Any]) -> None:
    reader = registry.detect(record)
    assert reader is not None
    for path in paths(record):
        for replacement in REPLACEMENTS:
            mutant = changed(record, path, replacement)
            for other in registry.READERS:
                other.sniff(mutant)
            try:
                reading = reader.read(mutant)
            except RecordError as error:
                assert error.reason in QUARANTINE_REASONS
                continue
            rows = len(reading.interactions) + len(reading.feedback) + sum(reading.skipped_parts.values())
            assert (reading.skipped is None) == (rows > 0), (path, replacement)
            assert all(one.prompt and one.response for one in reading.interactions), (path, replacement)
            assert all(count > 0 for count in reading.skipped_parts.values()), (path, replacement)
