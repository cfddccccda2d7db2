"""One bad line, one hostile name: the run goes on, the line is quarantined, and every record is accounted for."""

import json
import os
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.redact import Placeholders

Make = Callable[..., dict[str, Any]]
Log = Callable[..., bytes]


def deep_tools(record: dict[str, Any], depth: int) -> bytes:
    return json.dumps(record).replace('"messages"', f'"tools": [{"[" * depth + "]" * depth}], "messages"').encode()


@pytest.mark.parametrize("where", ["auto", "winnow"])
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param({"time": "0001-01-01T00:00:00+05:00"}, "bad_value", id="time before the year 1"),
        pytest.param({"time": "9999-12-31T23:59:59-05:00"}, "bad_value", id="time after the year 9999"),
        pytest.param({"latency_ms": -(10**400)}, "bad_value", id="number of 401 digits below 0"),
        pytest.param(b'{"a":' + b"[" * 600 + b"]" * 600 + b"}", "unknown_format", id="unknown and nested"),
        pytest.param(b'{"a":"\\ud800 jane@example.com"}', "bad_value", id="half of a surrogate pair"),
    ],
)
def test_a_bad_line_is_quarantined_alone(
    workspace: Any, interaction: Make, log: Log, line: Any, reason: str, where: str
) -> None:
    bad = line if isinstance(line, bytes) else log(interaction(2, **line)).strip()
    (source,) = workspace.settings.sources
    sources = (source.model_copy(update={"format": where}),)
    workspace.settings = workspace.settings.model_copy(update={"sources": sources})
    (workspace.logs / "a.jsonl").write_bytes(log(interaction(1)) + bad + b"\n" + log(interaction(3)))
    summary = workspace.run()
    assert tuple(summary.totals().values()) == (3, 3, 2, 0, 1, 0)
    assert summary.quarantined() == {reason: 1}
    (raw,) = workspace.rows("quarantine", "raw")
    assert "jane@example.com" not in raw


def test_tools_nested_at_any_depth_are_read_or_quarantined(workspace: Any, interaction: Make, log: Log) -> None:
    depths = (100, 300, 500, *range(900, 1000, 5), 2000)
    (workspace.logs / "a.jsonl").write_bytes(
        b"\n".join([*(deep_tools(interaction(depth), depth) for depth in depths), log(interaction(1))])
    )
    totals = workspace.run().totals()
    assert totals["records"] == len(depths) + 1 == totals["interactions"] + totals["quarantined"]
    assert totals["interactions"] >= 2
    assert totals["quarantined"] >= 1


def test_names_of_any_bytes_are_two_files(workspace: Any, interaction: Make, log: Log) -> None:
    """Same size, same time: were both names shown as U+FFFD, the second file would pass for the first."""
    for number, name in enumerate((b"\xff.jsonl", b"\xfe.jsonl")):
        path = workspace.logs / os.fsdecode(name)
        path.write_bytes(log(interaction(number)) + b"bad%d\n" % number)
        os.utime(path, (1, 1))
    assert tuple(workspace.run().totals().values()) == (4, 4, 2, 0, 2, 0)
    logs = workspace.logs
    assert sorted(workspace.rows("quarantine", "path")) == [rf"{logs}/\xfe.jsonl", rf"{logs}/\xff.jsonl"]
    assert workspace.run().totals()["lines"] == 0


def test_a_row_of_parquet_with_nan_is_quarantined_alone(workspace: Any) -> None:
    answer: dict[str, Any] = {"id": "z", "object": "chat.completion", "model": "m"}
    answer |= {"choices": [{"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}]}
    rows = [
        {
            "request": {"model": "m", "temperature": t, "messages": [{"role": "user", "content": "q"}]},
            "response": answer | {"id": f"z{t}"},
        }
        for t in (0.5, float("nan"))
    ]
    pq.write_table(pa.Table.from_pylist(rows), workspace.logs / "a.parquet")
    summary = workspace.run()
    assert tuple(summary.totals().values()) == (2, 2, 1, 0, 1, 0)
    assert summary.quarantined() == {"bad_value": 1}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(r'{"a":"\ud800 bob@example.com"}', r'{"a": "\ud800 <EMAIL_1>"}', id="half of a surrogate pair"),
        pytest.param('["bob@example.com",' + "[" * 990 + "]" * 990 + "]", None, id="nested"),
        pytest.param('{"a":' + "9" * 5000 + ',"b":"bob@example.com"}', None, id="more digits than Python reads"),
    ],
)
def test_json_text_of_any_form_is_redacted(text: str, expected: str | None) -> None:
    placeholders = Placeholders()
    redacted = placeholders.json_text(text)
    redacted.encode("utf-8")
    assert redacted == (expected or text.replace("bob@example.com", "<EMAIL_1>"))
    assert placeholders.counts == {"email": 1}
