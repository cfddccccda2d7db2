"""Lines of log files, and the reason why one holds no record."""

import gzip
import json
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.decoding import Line, decode
from ingest.errors import RecordError
from ingest.globs import find
from ingest.scan import LogFile
from ingest.schema import QUARANTINE_REASONS

BAD_LINES = [
    ("garbage", b"not json at all", "not_json"),
    ("html", b"<html>502</html>", "not_json"),
    ("trailing garbage", b'{"a":1} x', "not_json"),
    ("two objects", b'{"a":1}{"b":2}', "not_json"),
    ("torn and written on", b'{"a":"xy{"a":1}', "not_json"),
    ("not a number", b'{"a":NaN}', "not_json"),
    ("trailing comma", b'{"a":1,}', "not_json"),
    ("wrong escape at the end", b'{"a":"\\x', "not_json"),
    ("single quotes", b"{'a':1}", "not_json"),
    ("control character", b'{"a":"\x00"}', "not_json"),
    ("torn in a key", b'{"a', "torn"),
    ("torn in a text", b'{"a":"x', "torn"),
    ("torn before a value", b'{"a":', "torn"),
    ("torn in a number", b'{"a":1.', "torn"),
    ("torn behind a sign", b'{"a":-', "torn"),
    ("torn in an escape", b'{"a":"\\u00', "torn"),
    ("torn in a character", b'{"a":"\xf0\x9f', "torn"),
    ("latin-1", b'{"a":"caf\xe9 au lait"}', "not_utf8"),
    ("surrogate as UTF-8", b'{"a":"\xed\xa0\x80"}', "not_utf8"),
    ("half a surrogate pair", b'{"a":"\\ud800"}', "bad_value"),
    ("number out of range, and none", b'{"a":1e999,"b":NaN}', "bad_value"),
    ("nested too deeply", b'{"a":' + b"[" * 3000 + b"]" * 3000 + b"}", "bad_value"),
    ("array", b"[1]", "not_an_object"),
    ("text", b'"a"', "not_an_object"),
    ("null", b"null", "not_an_object"),
]


@pytest.mark.parametrize(("raw", "reason"), [pytest.param(raw, reason, id=name) for name, raw, reason in BAD_LINES])
def test_a_bad_line_has_its_reason(raw: bytes, reason: str) -> None:
    with pytest.raises(RecordError) as problem:
        decode(raw)
    assert problem.value.reason == reason
    assert reason in QUARANTINE_REASONS


@pytest.mark.parametrize(
    ("raw", "record"),
    [
        pytest.param(b'{"a":1}\r', {"a": 1}, id="carriage return"),
        pytest.param(b' {"a":1} ', {"a": 1}, id="spaces"),
        pytest.param(b'{"a":1,"a":2}', {"a": 2}, id="the last of two keys counts"),
        pytest.param(b'{"a":123456789012345678901234567890}', {"a": 123456789012345678901234567890}, id="long number"),
        pytest.param(b'{"a":1e999}', {"a": math.inf}, id="a number out of range is for its reader to refuse"),
        pytest.param(b'{"a":"\\ud83d\\ude00"}', {"a": "\U0001f600"}, id="surrogate pair"),
    ],
)
def test_a_good_line_is_read(raw: bytes, record: dict[str, object]) -> None:
    assert decode(raw) == record


@given(st.dictionaries(st.text(), st.text() | st.integers(-(10**18), 10**18) | st.none()), st.data())
def test_a_prefix_of_a_record_is_torn(record: dict[str, object], data: st.DataObject) -> None:
    raw = json.dumps(record, ensure_ascii=False).encode("utf-8", "replace")
    length = data.draw(st.integers(1, len(raw) - 1))
    with pytest.raises(RecordError) as problem:
        decode(raw[:length])
    assert problem.value.reason == "torn"


@given(st.binary())
def test_any_bytes_are_a_record_or_a_problem_that_quotes_nothing(raw: bytes) -> None:
    try:
        decode(raw)
    except RecordError as problem:
        assert problem.reason in QUARANTINE_REASONS
        assert len(problem.detail) < 100


def reasons(lines: list[Line]) -> list[str | None]:
    return [line.problem.reason if line.problem else None for line in lines]


def read(path: Path, *, settled: bool = False, start: int = 0) -> tuple[list[Line], LogFile]:
    file = LogFile(path)
    return list(file.lines(start, 1000, settled=settled)), file


@pytest.mark.parametrize(
    ("tail", "settled", "whole", "pending"),
    [
        pytest.param(b'{"b":2}', False, [None], 0, id="a whole record needs no newline"),
        pytest.param(b'{"b":', False, [], 5, id="a torn record may go on"),
        pytest.param(b'{"b":', True, ["torn"], 0, id="in an old file it will not"),
        pytest.param(b"12", False, [], 2, id="a number may go on"),
        pytest.param(b"12", True, ["not_an_object"], 0, id="in an old file it is one"),
        pytest.param(b"x" * 1001, False, [], 1001, id="an oversized line may go on"),
        pytest.param(b"x" * 1001, True, ["oversized"], 0, id="oversized"),
    ],
)
def test_the_last_line_of_a_plain_file(
    tmp_path: Path, tail: bytes, settled: bool, whole: list[str | None], pending: int
) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"a":1}\n' + tail)
    lines, file = read(path, settled=settled)
    assert reasons(lines) == [None, *whole]
    assert (file.pending, file.complete) == (pending, pending == 0)


def test_a_torn_line_at_the_end_of_an_archive_cannot_grow(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a":1}\n{"b":'))
    lines, file = read(path)
    assert reasons(lines) == [None, "torn"]
    assert (file.pending, file.complete) == (0, True)


def test_offsets_are_of_the_plain_bytes(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(b'\xef\xbb\xbf{"a":1}\n\n {"b":2}\r\n') + gzip.compress(b'{"c":3}'))
    lines, _ = read(path)
    assert [(line.start, line.end, line.size) for line in lines] == [(0, 11, 10), (11, 12, 0), (12, 22, 9), (22, 29, 7)]
    assert [line.record for line in lines] == [{"a": 1}, None, {"b": 2}, {"c": 3}]
    assert read(path, start=12)[0] == lines[2:]


def test_a_cut_archive_is_read_as_far_as_it_goes_and_the_rest_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(b'{"a":1}\n') + gzip.compress(b'{"b":2}\n{"c":3}\n')[:-12])
    lines, file = read(path)
    assert (reasons(lines), file.complete) == ([None] * (len(lines)), False)
    assert file.pending >= 1
    settled, file = read(path, settled=True)
    assert settled[: len(lines)] == lines
    assert reasons(settled[len(lines) :]) == ["corrupt_archive"]
    assert file.complete


def test_arrays_and_parquet_are_read_as_records(tmp_path: Path) -> None:
    records = [{"a": i, "text": "é"} for i in range(1200)]
    (tmp_path / "array.json").write_text(json.dumps(records, indent=1))
    (tmp_path / "packed.json.gz").write_bytes(gzip.compress(json.dumps(records).encode()))
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "table.parquet")
    for name in ("array.json", "packed.json.gz", "table.parquet"):
        lines, file = read(tmp_path / name)
        assert [line.record for line in lines] == records
        assert file.complete
        half = lines[600]
        assert read(tmp_path / name, start=half.start)[0] == lines[600:] or name == "table.parquet"
    lines, _ = read(tmp_path / "table.parquet", start=700)
    assert [line.start for line in lines] == list(range(700, 1200))
    assert [line.record for line in lines] == records[700:]


def test_objects_printed_over_several_lines_are_records(tmp_path: Path) -> None:
    records = [{"a": i, "text": "é}"} for i in range(3)]
    path = tmp_path / "printed.json"
    path.write_text("\n".join(json.dumps(record, indent=1) for record in records))
    lines, file = read(path)
    assert [line.record for line in lines] == records
    assert file.complete
    assert read(path, start=lines[1].start)[0] == lines[1:]
    path.write_text(json.dumps(records[0], indent=1)[:-1])
    assert reasons(read(path, settled=True)[0]) == ["torn"]
    lines, file = read(path)
    assert (lines, file.pending) == ([], len(json.dumps(records[0], indent=1)) - 2)  # without its last newline


def test_files_printed_over_several_lines_are_told_apart_by_their_first_record(tmp_path: Path) -> None:
    for name, content in {"a": [1, 2], "b": [1, 2, 3], "c": [4], "d": {"e": 1}, "f": {"e": 2}}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content, indent=1))
    heads = [LogFile(tmp_path / f"{name}.json").head() for name in "abcdf"]
    assert heads[0] == heads[1]
    assert len(set(heads)) == 4


def test_the_hole_before_a_line_is_no_part_of_it(tmp_path: Path) -> None:
    """copytruncate cuts a file to nothing; its writer goes on at its old offset, and NULs fill the gap."""
    (tmp_path / "log.jsonl").write_bytes(b"\0" * 300_000 + b'{"a":1}\n\0\0\n{"a":"\\u0000"}\n')
    lines, _ = read(tmp_path / "log.jsonl")
    assert [line.record for line in lines] == [{"a": 1}, None, {"a": "\0"}]
    assert [line.problem for line in lines] == [None] * 3
    assert [line.start for line in lines] == [300_000, 300_010, 300_011]


def test_json_lines_in_a_json_file_are_lines(tmp_path: Path) -> None:
    (tmp_path / "log.json").write_bytes(b'{"a":[1]}\n[2]\n')
    lines, _ = read(tmp_path / "log.json")
    assert reasons(lines) == [None, "not_an_object"]


def test_a_broken_parquet_file_is_one_line_once_it_has_settled(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"a": list(range(100))}), path)
    path.write_bytes(path.read_bytes()[:-20])
    lines, file = read(path)
    assert (lines, file.complete) == ([], False)
    lines, file = read(path, settled=True)
    assert (reasons(lines), file.complete) == (["corrupt_archive"], True)


def test_the_first_line_names_a_file_whatever_becomes_of_the_rest(tmp_path: Path) -> None:
    first = b'{"first":1}'
    contents = {
        "short": first,
        "grown": first + b"\n" + b'{"second":2}\n' * 10,
        "packed": gzip.compress(first + b"\n" + b"more\n" * 100_000),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    assert len({LogFile(tmp_path / name).head() for name in contents}) == 1
    (tmp_path / "other").write_bytes(b'{"first":2}\n')
    assert LogFile(tmp_path / "other").head() != LogFile(tmp_path / "short").head()


def test_files_are_found_in_order_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", ".a.jsonl.part", "deep/c.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find(str(tmp_path / "**" / "*")) == [tmp_path / "a.jsonl", tmp_path / "b.jsonl", tmp_path / "deep/c.jsonl"]
