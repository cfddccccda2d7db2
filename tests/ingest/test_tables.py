"""Tables of text: rows with their offsets, cells with their types, and every tabular format as CSV and as Parquet."""

import csv
import gzip
import io
import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ingest import tables
from ingest.errors import RecordError
from ingest.readers import cells, registry
from ingest.scan import LogFile
from tests.ingest.conftest import Workspace
from tests.ingest.test_readers_registry import EXAMPLES, FORMATS

TEXTS = st.lists(st.sampled_from(["a", ",", '"', "\t", "\n", "\r\n", "é", " "]), max_size=6).map("".join)


@given(
    st.lists(st.lists(TEXTS, min_size=2, max_size=3), min_size=1, max_size=5),
    st.sampled_from(list(tables.DELIMITERS.values())),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.randoms(use_true_random=False),
)
def test_rows_are_those_that_python_wrote(
    table: list[list[str]], delimiter: str, newline: str, quoting: Any, cuts: random.Random
) -> None:
    """Wherever the blocks are cut, and from whichever row on; only an unquoted empty cell is None."""
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator=newline, quoting=quoting).writerows(table)
    text = out.getvalue().encode()
    places = sorted({0, len(text), *(cuts.randrange(len(text) + 1) for _ in range(4))})
    blocks = [text[a:b] for a, b in itertools.pairwise(places)]
    spans = list(tables.rows(iter(blocks), 0, 10_000, delimiter))
    empty = "" if quoting == csv.QUOTE_ALL else None
    assert [tables.cells(span.raw, delimiter) for span in spans] == [[cell or empty for cell in row] for row in table]
    assert all(span.ended and text[span.start : span.start + span.length] == span.raw for span in spans)
    assert b"".join(span.raw + b"\n" for span in spans) == text
    last = spans[-1]
    assert list(tables.rows(iter([text[last.start :]]), last.start, 10_000, delimiter)) == [last]


@given(st.binary(max_size=60).map(lambda b: b.replace(b"\1", b'"').replace(b"\2", b"\n").replace(b"\3", b",")))
def test_no_byte_of_a_broken_table_is_lost(text: bytes) -> None:
    left = bytearray(text)
    for span in tables.rows(iter([text]), 0, 1000, ","):
        assert left[span.start : span.start + span.length] == span.raw
        left[span.start : span.end] = b"\0" * (span.end - span.start)
        try:
            assert tables.cells(span.raw, ",")
        except RecordError as problem:
            assert problem.reason in ("not_utf8", "not_csv", "torn")
    assert not left.strip(b"\0\n")


HEADER = b"prompt,chosen,rejected\n"
GOOD = b"p,c,r\n"
TOO_LONG = "The line has {} bytes. Raise limits.line_bytes to read it."
BAD_ROWS = [
    ("a cell too few", b"p,c\n", "not_csv", "It has 2 cells, the header 3."),
    ("a cell too many", b"p,c,r,s\n", "not_csv", "It has 4 cells, the header 3."),
    ("text behind a quote", b'"p"x,c,r\n', "not_csv", "Its quotes do not match."),
    ("a quote within text", b'5" disk,c,r\n', "not_csv", "Its quotes do not match."),
    ("an open quote", b'p,"c,r\np,"c",r\n', "not_csv", "Its quotes do not match."),
    ("latin-1", b"caf\xe9,c,r\n", "not_utf8", "Byte 3 begins no UTF-8 character."),
    ("oversized", b"p,c," + b"x" * 1000 + b"\n", "oversized", TOO_LONG.format(1004)),
    ("oversized in many lines", b'p,c,"' + b"x\n" * 500 + b'"\n', "oversized", TOO_LONG.format(1006)),
    ("a missing cell", b",c,r\n", None, None),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "reason", "detail"), [row[1:] for row in BAD_ROWS], ids=[row[0] for row in BAD_ROWS])
def test_a_bad_row_takes_no_neighbour(tmp_path: Path, bad: bytes, reason: str | None, detail: str | None) -> None:
    path = tmp_path / "pairs.csv"
    path.write_bytes(HEADER + GOOD + bad + GOOD)
    first, wrong, last = LogFile(path).lines(0, 1000, settled=True)
    assert first.record == last.record == {"prompt": "p", "chosen": "c", "rejected": "r"}
    assert (wrong.start, wrong.end, last.start) == (len(HEADER + GOOD), len(HEADER + GOOD + bad), wrong.end)
    assert (wrong.problem and wrong.problem.reason, wrong.problem and wrong.problem.detail) == (reason, detail)
    assert (wrong.record is None) == (reason is not None)


BAD_HEADERS = [
    ("utf-16", "prompt,chosen,rejected\np,c,r\n".encode("utf-16"), ["not_utf8", "not_csv"]),
    ("two alike", b"prompt,prompt\np,c\n", ["not_csv", "not_csv"]),
    ("open quote", b'prompt,"chosen\n', ["torn"]),
    ("oversized", b"x" * 1001 + b"\np\n", ["oversized", "not_csv"]),
]


@pytest.mark.parametrize(("content", "reasons"), [h[1:] for h in BAD_HEADERS], ids=[h[0] for h in BAD_HEADERS])
def test_without_a_header_every_row_is_quarantined(tmp_path: Path, content: bytes, reasons: list[str]) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    lines = list(LogFile(path).lines(0, 1000, settled=True))
    assert [line.problem.reason for line in lines if line.problem and line.raw.strip(b"\0")] == reasons
    assert all(line.record is None for line in lines)


@pytest.mark.parametrize(
    ("content", "records"),
    [
        pytest.param(b"", [], id="empty"),
        pytest.param(b"prompt,chosen", [], id="half a header"),
        pytest.param(HEADER, [], id="header alone"),
        pytest.param(b"\xef\xbb\xbfa,b\r\n1,2\r\n\r\n", [{"a": "1", "b": "2"}, None], id="byte order mark, CRLF"),
        pytest.param(b',a\n0,"x\r\ny"\n', [{"": "0", "a": "x\r\ny"}], id="index of a frame, CRLF within quotes"),
        pytest.param(b'a,b\n"",\n', [{"a": ""}], id="an empty text is no null"),
    ],
)  # fmt: skip
def test_rows_of(tmp_path: Path, content: bytes, records: list[dict[str, str] | None]) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(content))
    (tmp_path / "a.CSV.1.zst").write_bytes(zstandard.compress(content))
    for path in tmp_path.iterdir():
        lines = list(LogFile(path).lines(0, 1000, settled=True))
        assert ([line.record for line in lines], [line.problem for line in lines]) == (records, [None] * len(records))


@pytest.mark.parametrize(
    ("kind", "cell", "value"),
    [
        (cells.number, "1", 1),
        (cells.number, "-1.5e3", -1500.0),
        (cells.number, "NaN", "NaN"),
        (cells.number, "1,5", "1,5"),
        (cells.number, "٣", "٣"),
        (cells.number, "9" * 41, "9" * 41),
        (cells.flag, "True", True),
        (cells.flag, "FALSE", False),
        (cells.flag, "1", "1"),
        (cells.score, "1", 1),
        (cells.score, "true", True),
        (cells.score, "up", "up"),
        (cells.nested, '{"a":[1]}', {"a": [1]}),
        (cells.nested, '{"a":NaN}', '{"a":NaN}'),
        (cells.nested, "{'a': 1}", "{'a': 1}"),
        (cells.nested, "[" * 5000, "[" * 5000),
        (cells.messages, '[{"role":"user","content":"q"}]', [{"role": "user", "content": "q"}]),
        (cells.messages, "[1, 2]", "[1, 2]"),
        (cells.messages, "[]", "[]"),
        (cells.messages, '{"role":"user"}', '{"role":"user"}'),
    ],
)
def test_a_cell_is_what_its_column_holds_or_stays_text(kind: cells.Kind, cell: str, value: object) -> None:
    found = kind(cell)
    assert (found, type(found)) == (value, type(value))


TABULAR = {*(table.format for table in cells.TABLES), "hh_rlhf"}
NO_ROWS = {"data", "post", "trace", "context"}
"""Keys of pages, batches and API objects, which no exporter writes as tables."""
ROWS = [(name, record) for name, record in EXAMPLES if name in TABULAR and not NO_ROWS & record.keys()]


def as_csv(records: list[dict[str, Any]], path: Path) -> None:
    """Write the table as exporters do: nested values as JSON text, null as nothing."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(records[0]))
        writer.writeheader()
        for record in records:
            writer.writerow({k: json.dumps(v) if isinstance(v, dict | list | bool) else v for k, v in record.items()})


def as_parquet(records: list[dict[str, Any]], path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(records), path)


def stated(value: Any) -> Any:
    """Return the value without nulls and what holds nothing else: what tables do not keep."""
    if isinstance(value, dict):
        return {key: found for key, inner in value.items() if (found := stated(inner)) not in (None, {})}
    return [stated(inner) for inner in value] if isinstance(value, list) else value


def read(name: str, record: Any) -> Any:
    """Return what the record says; an event without an id is known by all of its record, nulls of nested rows too."""
    reading = registry.get(name).read(record)
    for number, event in enumerate(reading.feedback if "id" not in record else ()):
        event.source_id = str(number)
    return reading


@pytest.mark.parametrize(("suffix", "write"), [("csv", as_csv), ("parquet", as_parquet)])
@pytest.mark.parametrize(("name", "record"), ROWS, ids=[f"{name}-{i}" for i, (name, _) in enumerate(ROWS)])
def test_each_tabular_example_reads_from_a_table_as_from_a_line(
    tmp_path: Path, name: str, record: dict[str, Any], suffix: str, write: Callable[..., None]
) -> None:
    record = stated(record)
    write([record], tmp_path / f"table.{suffix}")
    (line,) = LogFile(tmp_path / f"table.{suffix}").lines(0, 1 << 20, settled=False)
    assert line.record is not None
    assert registry.detect(line.record) is registry.get(name)
    assert read(name, line.record) == read(name, record)


def documented() -> list[tuple[str, str]]:
    """Return (name of the section, table) for every csv block of docs/formats.md."""
    found = []
    for section in FORMATS.split("\n## ")[1:]:
        blocks = section.split("```csv\n")[1:]
        found += [(section.splitlines()[0], block.split("```")[0]) for block in blocks]
    return found


@pytest.mark.parametrize(("name", "table"), documented(), ids=[name for name, _ in documented()])
def test_each_documented_table_is_known_to_its_reader_alone_and_read(tmp_path: Path, name: str, table: str) -> None:
    (tmp_path / "table.csv").write_text(table)
    lines = list(LogFile(tmp_path / "table.csv").lines(0, 1 << 20, settled=False))
    assert lines
    for line in lines:
        assert line.record is not None
        assert [reader.name for reader in registry.READERS if reader.sniff(line.record)] == [name]
        reading = registry.get(name).read(line.record)
        assert reading.interactions or reading.feedback


def test_every_tabular_format_is_documented_as_a_table() -> None:
    assert {name for name, _ in documented()} == TABULAR


def test_a_growing_table_is_read_on_from_its_last_whole_row(workspace: Workspace) -> None:
    """A row is whole with its newline: before, its last cell may go on. Packed, it is the same table."""
    path = workspace.logs / "pairs.csv"
    rows = [b'p%d,"c\n%d",r%d\n' % (i, i, i) for i in range(4)]
    path.write_bytes(HEADER + rows[0] + rows[1][:-1])
    summary = workspace.run()
    assert (summary.totals()["lines"], summary.pending) == (1, {str(path): len(rows[1]) - 1})
    path.write_bytes(HEADER + b"".join(rows[:3]))
    assert workspace.run().totals()["lines"] == 2
    path.unlink()
    (workspace.logs / "pairs.csv.1.gz").write_bytes(gzip.compress(HEADER + b"".join(rows)))
    assert workspace.run().totals()["lines"] == 1
    starts = list(itertools.accumulate(map(len, rows), initial=len(HEADER)))[:4]
    assert sorted(workspace.rows("feedback", "byte_offset")) == starts
    assert workspace.run().totals()["lines"] == 0
    assert len(set(workspace.rows("files", "file_id"))) == 1


def test_tables_with_one_header_are_told_apart(workspace: Workspace) -> None:
    for number in range(3):
        (workspace.logs / f"{number}.tsv").write_bytes(HEADER.replace(b",", b"\t") + b"p%d\tc\tr\n" % number)
    assert workspace.run().totals()["lines"] == 3
    assert len({LogFile(path).head() for path in workspace.logs.iterdir()}) == 3
    assert workspace.run().totals()["lines"] == 0


def test_a_quarantined_row_keeps_the_names_of_its_columns(workspace: Workspace) -> None:
    (workspace.logs / "a.csv").write_bytes(
        b"prompt,completion,label,mail\np,c,true,bob@example.com\np,c,no,eve@example.com\n"
    )
    summary = workspace.run()
    assert summary.quarantined() == {"unknown_format": 1}
    [(offset, raw)] = workspace.rows("quarantine", "byte_offset", "raw")
    assert offset == 29 + 25
    assert json.loads(raw) == {"prompt": "p", "completion": "c", "label": "no", "mail": "<EMAIL_1>"}


def test_a_line_that_is_not_held_ends_its_row(tmp_path: Path) -> None:
    """Whether a quote is open behind it is not known."""
    (tmp_path / "a.csv").write_bytes(b"a,b\n" + b'1,"' + b"x" * 3_000_000 + b'\ny"\n2,3\n')
    big, rest, last = LogFile(tmp_path / "a.csv").lines(0, 1000, settled=True)
    assert (big.start, big.size, len(big.raw), big.problem and big.problem.reason) == (4, 3_000_003, 4096, "oversized")
    assert (rest.raw, rest.problem and rest.problem.reason, last.record) == (b'y"', "not_csv", {"a": "2", "b": "3"})
