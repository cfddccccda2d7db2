"""A line of a known shape reads as its reader reads it: every example of every format, and mutations of LiteLLM's."""

import copy
import json
import random
import re
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.litellm_log import Writer
from ingest.decoding import Line, decode
from ingest.entries import Origin
from ingest.errors import RecordError
from ingest.outcomes import TRIES, Ways, units
from ingest.readers import registry, shapes
from ingest.readers.reading import Reading
from ingest.rows import UNFIT
from ingest.served import Served
from ingest.settings import Source
from ingest.splitting import Run
from ingest.withheld import sift

FORMATS = (Path(__file__).resolve().parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
EXAMPLES = [json.loads(block) for block in re.findall(r"```json\n(.*?)\n```", FORMATS, re.DOTALL)]
PAYLOAD: dict[str, Any] = Writer(1).record(7)


def slowly(raw: bytes) -> Reading | None:
    """Return what the reader says that is found by looking at the whole record, None where it refuses the line."""
    try:
        record = decode(raw)
        reader = registry.detect(record)
        return sift(reader.read(record)) if reader else None
    except (RecordError, *UNFIT):
        return None


def agree(raw: bytes) -> bool:
    """Check that the shape gives what the reader gives, or nothing; return whether it gave something."""
    lines, fast = shapes.litellm(run_of([raw]))
    if lines:
        assert fast == served([slowly(raw)])
    return lines == [0]


def run_of(lines: Sequence[bytes], start: int = 0) -> Run:
    """Return whole lines as they come from a file."""
    return Run(
        start, b"".join(line + b"\n" for line in lines), list(accumulate((len(x) + 1 for x in lines), initial=0))
    )


def served(readings: Sequence[Reading | None], offsets: Sequence[int] = (0,)) -> Served | None:
    """Return what readers said by column, None where one of them refused its line, or found something else besides."""
    if not all(reading and reading.interactions and not reading.feedback for reading in readings):
        return None
    found = [
        (one, at) for reading, at in zip(readings, offsets, strict=True) if reading for one in reading.interactions
    ]
    return Served.of([one for one, _ in found], [at for _, at in found])


def test_a_plain_call_has_the_shape() -> None:
    writer = Writer(0)
    lines = [json.dumps(writer.record(i), ensure_ascii=i % 2 == 0).encode() for i in range(200)]
    assert all(agree(line) for line in lines)


@pytest.mark.parametrize("record", EXAMPLES, ids=range(len(EXAMPLES)))
def test_examples_of_all_formats(record: dict[str, Any]) -> None:
    assert agree(json.dumps(record).encode()) == (slowly(json.dumps(record).encode()) is not None and _plain(record))


def _plain(record: dict[str, Any]) -> bool:
    return "startTime" in record and "chat.completion" in json.dumps(record)


ODD: list[Any] = [
    *(None, True, False, 0, 1, -1, 3.0, 2.5, 1e18, 2**40, 10**400, "", "x", "0", "None", "True", [], {}, [1], {"a": 1}),
    *("redacted-by-litellm", "default-message-value", "__REDACTED__", "2026-10-01T10:00:00Z", "2026-10-01T10:00:00"),
    *([{"type": "text", "text": "hi"}], "tool", "failure", "aresponses", 1790000000, 1790000000123, 253402300799.5),
    *([{"role": "user", "content": "redacted-by-litellm"}], [{"role": "tool", "content": "x"}], "stop", "assistant"),
]
KEYS = (
    *("id", "call_type", "status", "startTime", "endTime", "messages", "response", "model", "model_group", "end_user"),
    *("trace_id", "prompt_tokens", "completion_tokens", "cache_hit", "model_parameters", "role", "content", "name"),
    *("tool_calls", "tool_call_id", "refusal", "function_call", "index", "finish_reason", "logprobs", "token_ids"),
    *("text", "message", "choices", "output", "parts", "candidates", "created", "usage", "object", "error", "request"),
    *(
        "winnow",
        "kind",
        "system",
        "user",
        "tools",
        "functions",
        "temperature",
        "stop",
        "seed",
        "metadata",
        "response_raw",
    ),
)


def _places(value: Any) -> list[Any]:
    """Return every object and list within `value`."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    found = [value] if isinstance(value, dict | list) else []
    return found + [place for item in inner for place in _places(item)]


def mutated(seed: int) -> dict[str, Any]:
    """Return a payload with one to three fields changed, added or removed anywhere within it."""
    rng = random.Random(seed)
    record = copy.deepcopy(PAYLOAD)
    for _ in range(rng.randint(1, 3)):
        place = rng.choice([place for place in _places(record) if place])
        key = rng.choice([*place, *KEYS]) if isinstance(place, dict) else rng.randrange(len(place))
        if rng.random() < 0.2:
            place.pop(key, None) if isinstance(place, dict) else place.pop(key)
        else:
            place[key] = copy.deepcopy(rng.choice(ODD))
    return record


@settings(max_examples=1500, deadline=None)
@given(st.integers(0, 2**40))
def test_mutations_read_the_same(seed: int) -> None:
    agree(json.dumps(mutated(seed)).encode())


@pytest.mark.parametrize(
    "place", [(), ("response",), ("response", "choices", 0), ("response", "choices", 0, "message")]
)
@pytest.mark.parametrize("key", KEYS)
def test_each_field_with_each_odd_value(place: tuple[str | int, ...], key: str) -> None:
    for odd in ODD:
        record: Any = copy.deepcopy(PAYLOAD)
        inner = record
        for step in place:
            inner = inner[step]
        inner[key] = odd
        agree(json.dumps(record).encode())


@pytest.mark.parametrize(
    "field",
    [
        pytest.param(b'"x":"\xff"', id="not UTF-8"),
        pytest.param(b'"\xff":1', id="key not UTF-8"),
        pytest.param(b'"x":"\\ud800"', id="half a surrogate pair"),
        pytest.param(b'"x":1e999', id="a number out of range"),
        pytest.param(b'"x":NaN', id="no number"),
        pytest.param(b'"x":' + b"[" * 3000 + b"]" * 3000, id="deep"),
        pytest.param(b'"id":7,"id":"a"', id="a key twice"),
        pytest.param(b'"messages":[1],"messages":[{"role":"user","content":"a"}]', id="messages twice"),
    ],
)
def test_what_is_passed_over_is_looked_at_all_the_same(field: bytes) -> None:
    line = json.dumps(PAYLOAD).encode()
    agree(b"{" + field + b"," + line[1:])
    agree(line[:-1] + b"," + field + b"}")
    refused = b"\xff" in field or b"\\ud" in field or b"NaN" in field or b"[[" in field
    assert (slowly(line[:-1] + b"," + field + b"}") is None) == refused


ODD_LINES = [
    b"",
    b"{}",
    b"garbage",
    json.dumps(PAYLOAD | {"cache_hit": True}).encode(),
    json.dumps(PAYLOAD | {"model_parameters": {"system": "Be brief."}}).encode(),
    json.dumps(PAYLOAD | {"messages": [{"role": "user", "content": "redacted-by-litellm"}]}).encode(),
    json.dumps(PAYLOAD | {"x": "CUT"}).encode().replace(b"CUT", b"\xff"),
]
PLAIN_LINES = [
    json.dumps(PAYLOAD).encode(),
    json.dumps(PAYLOAD | {"end_user": 7, "startTime": "2026-10-01T10:00:00Z", "endTime": None}).encode(),
    json.dumps(PAYLOAD | {"response": PAYLOAD["response"] | {"choices": PAYLOAD["response"]["choices"] * 3}}).encode(),
    json.dumps(PAYLOAD | {"startTime": 1790000000.0000005, "endTime": 1790000000.9999995}).encode(),
    json.dumps(PAYLOAD | {"messages": [{"role": "user", "content": "\u4f60\u597d"}]}, ensure_ascii=False).encode(),
]


@settings(deadline=None)
@given(st.lists(st.sampled_from([*ODD_LINES, *PLAIN_LINES]), max_size=12), st.integers(0, 2**40))
def test_odd_lines_among_others_are_left_out_and_change_none_of_them(lines: list[bytes], start: int) -> None:
    run = run_of(lines, start)
    fitting, fast = shapes.litellm(run)
    assert fitting == [i for i, line in enumerate(lines) if line in PLAIN_LINES]
    assert fast == served([slowly(lines[i]) for i in fitting], [run.offset(i) for i in fitting])


@settings(deadline=None)
@given(st.floats(1e-6, 253_402_300_799), st.floats(0, 1e6))
def test_times_are_rounded_as_datetime_rounds_them(start: float, seconds: float) -> None:
    agree(json.dumps(PAYLOAD | {"startTime": start, "endTime": start + seconds}).encode())


def test_a_shape_is_tried_where_lines_before_had_its_reader_and_given_up_where_none_has_it() -> None:
    line = json.dumps(PAYLOAD).encode()
    origin, run = Origin(1, Source(name="a", path="a"), "f", "a", "h"), run_of([line])
    ways = Ways("auto")
    assert not ways.know_a_shape
    assert ways.read(origin, run) is None
    ways.note(registry.get("litellm"))
    block = ways.read(origin, run)
    assert block is not None
    assert (block.reader, block.lines, block.served) == ("litellm@1", [0], served([slowly(line)]))
    assert [entry.outcome for entry in block.entries()] == [slowly(line)]
    mixed = run_of([b"{}"] * (TRIES - 1) + [line] + [b"{}"] * (TRIES - 1))
    assert ways.read(origin, mixed) is not None
    assert ways.know_a_shape
    assert ways.read(origin, run_of([b"{}"])) is None
    assert not ways.know_a_shape
    assert Ways("litellm").know_a_shape
    assert not Ways("openai_chat").know_a_shape


def test_lines_come_one_by_one_until_a_shape_is_known_and_then_as_many_as_there_is_room_for() -> None:
    ways, lines = Ways("auto"), [json.dumps(PAYLOAD | {"id": str(i)}).encode() for i in range(6)]
    run, found = run_of(lines, 100), []
    for unit in units([run], ways, lambda: 2 * len(lines[0])):
        found.append(1 if isinstance(unit, Line) else len(unit))
        if sum(found) == 2:
            ways.note(registry.get("litellm"))
    assert found == [1, 1, 2, 2]
    ends = [part.end for first in range(6) for part in [run.part(first, 1)]]
    assert ends == [100 + bound for bound in run.bounds[1:]]
