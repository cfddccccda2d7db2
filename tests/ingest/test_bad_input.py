"""Every kind of bad input that logs are known to hold: its exact outcome, in plain and in compressed files.

Each case is a source of its own in one workspace, read by one run. Its bad bytes stand between two good lines, and both
are read. lines in = lines read + quarantined + skipped, in all. Reasons alone, of more lines: test_scan.py.
"""

import gzip
import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from ingest.settings import Source
from tests.ingest.conftest import Workspace, _interaction


def log(*records: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


GOOD, LAST = log(_interaction(1)), log(_interaction(9))
AT = len(GOOD)


@dataclass(frozen=True)
class Case:
    """What stands between the good lines, or is the whole file, and what becomes of it."""

    content: bytes
    quarantined: tuple[tuple[str, int, str], ...] = ()
    """(reason, byte offset, detail) of each row of quarantine."""
    skipped: dict[str, int] = field(default_factory=dict)
    interactions: int = 2
    """Rows, those of the good lines among them."""
    lines: int = 3
    alone: bool = False
    """Whether `content` is the whole file."""
    suffix: str = ".jsonl"
    packs: bool = True
    """Whether it is read from compressed files, too."""

    @property
    def whole(self) -> bytes:
        return self.content if self.alone else GOOD + self.content + LAST


def bad(line: bytes, reason: str, detail: str) -> Case:
    """Return the case of one bad line."""
    return Case(line + b"\n", ((reason, AT, detail),))


def field_is(**fields: Any) -> bytes:
    """Return a line that is good but for one field."""
    return log(_interaction(2, **fields)).strip()


HALF = len(GOOD) // 2
SURROGATE = "A text in it holds half of a surrogate pair, which is no character."
INVALID = "JSON is malformed: invalid character (byte {})."
TRAILING = "JSON is malformed: trailing characters (byte {})."
COLON = "JSON is malformed: expected ':' (byte 200)."
TORN = "The line ends in the middle of a JSON value."
NESTED = "Its objects and arrays are nested too deeply."
OVERSIZED = "The line has 50008 bytes. Raise limits.line_bytes to read it."
KEYS = "JSON is malformed: object keys must be strings (byte 1)."
UNKNOWN = "No reader knows the form of this record."
SECOND = json.dumps(_interaction(2)).encode()
LATE_KEY = [_interaction(i, status=429) for i in range(29_999)] + [_interaction(2, propensity=0.25)]

CASES = {
    "garbage": bad(b"not json at all", "not_json", INVALID.format(4)),
    "html": bad(b"<html>502</html>", "not_json", INVALID.format(0)),
    "trailing_garbage": bad(SECOND + b" x", "not_json", TRAILING.format(len(SECOND) + 2)),
    "two_objects": bad(SECOND * 2, "not_json", TRAILING.format(len(SECOND) + 1)),
    "truncated": bad(SECOND[:-9], "torn", TORN),
    "torn_and_written_on": bad(SECOND[:200] + SECOND, "not_json", COLON),
    "lone_surrogate": bad(b'{"a":"\\ud800"}', "bad_value", SURROGATE),
    "lone_surrogate_within": bad(b'{"a":"\\ud800 and more","b":1}', "bad_value", SURROGATE),
    "lone_surrogate_second": bad(b'{"a":"\\udc00 and more","b":1}', "bad_value", SURROGATE),
    "lone_surrogate_twice": bad(b'{"a":"\\ud83d\\ud83d\\ude00 and more","b":1}', "bad_value", SURROGATE),
    "lone_surrogate_in_what_is_no_json": bad(
        b'{"a":"\\ud800 and more","b":tru}',
        "not_json",
        "JSON is malformed: unexpected end of escaped utf-16 surrogate pair (byte 12).",
    ),
    "encoded_surrogate": bad(b'{"a":"\xed\xa0\x80"}', "not_utf8", "Byte 6 begins no UTF-8 character."),
    "latin_1": bad(b'{"a":"caf\xe9 au lait"}', "not_utf8", "Byte 9 begins no UTF-8 character."),
    "nan": bad(b'{"a":NaN}', "not_json", INVALID.format(5)),
    "infinity": bad(b'{"a":-Infinity}', "not_json", INVALID.format(6)),
    "duplicate_key": Case(SECOND.replace(b'"id": "int-2"', b'"id": "int-1", "id": "int-2"') + b"\n", interactions=3),
    "byte_order_mark": Case(b"\xef\xbb\xbf" + GOOD, interactions=1, lines=1, alone=True),
    "byte_order_mark_within": bad(b"\xef\xbb\xbf" + SECOND, "not_json", INVALID.format(0)),
    "key_first_seen_at_line_30000": Case(log(*LATE_KEY), (), {"http_status_429": 29_999}, 3, 30_002, packs=False),
    "wrong_type": bad(field_is(request=[1]), "wrong_type", "request: expected an object, got a list"),
    "wrong_type_of_line": bad(b"[1]", "not_an_object", "It is a JSON list, expected an object."),
    "missing_field": bad(field_is(id=None), "missing_field", "id: expected text, and it is absent or null"),
    "unknown_format": bad(b'{"a":1}', "unknown_format", UNKNOWN),
    "nested_2000_deep": bad(b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}", "bad_value", NESTED),
    "nested_without_end": bad(b'{"a":' * 6000, "bad_value", NESTED),
    "number_of_401_digits": bad(field_is(latency_ms=10**400), "bad_value", "latency_ms: expected a finite number"),
    "number_beyond_float": bad(
        field_is(latency_ms=0).replace(b'"latency_ms": 0', b'"latency_ms": 1e999'),
        "bad_value", "latency_ms: expected a finite number",
    ),
    "number_beyond_float_in_a_field_that_is_not_read": Case(
        field_is(other=0).replace(b'"other": 0', b'"other": 1e999') + b"\n", interactions=3
    ),
    "nul_within": bad(b'{"a":"\0"}', "not_json", INVALID.format(6)),
    "nul_hole_of_copytruncate": Case(b"\0" * 100_000 + SECOND + b"\n", interactions=3),
    "crlf": Case((GOOD + SECOND + b"\n").replace(b"\n", b"\r\n") + b"\r\n", (), {"blank_line": 1}, 2, 3, alone=True),
    "blank_lines": Case(b"\n \n", (), {"blank_line": 2}, lines=4),
    "empty": Case(b"", interactions=0, lines=0, alone=True),
    "utf_16": Case(
        "{}\n".encode("utf-16-le"),
        (
            ("not_json", AT, KEYS),
            # The NUL of the newline stands before the next line, as a hole would.
        ),
    ),
    "binary": bad(bytes(b for b in range(1, 256) if b != 10), "not_utf8", "Byte 126 begins no UTF-8 character."),
    "no_newline_at_the_end": Case(GOOD + SECOND, interactions=2, lines=2, alone=True),
    "torn_at_the_end": Case(GOOD + SECOND[:50], (("torn", AT, TORN),), interactions=1, lines=2, alone=True),
    "oversized": bad(b'{"a":"' + b"x" * 50_000 + b'"}', "oversized", OVERSIZED),
    "array_with_a_bad_element": Case(
        b"[" + GOOD + b",{'a'},\n" + LAST + b"]", (("not_json", AT + 2, KEYS),),
        suffix=".json", alone=True,
    ),
    "array_without_an_end": Case(
        b"[" + GOOD + b"," + SECOND[:60], (("torn", AT + 2, TORN),), interactions=1, lines=2, suffix=".json", alone=True
    ),
}  # fmt: skip


def two_frames(pack: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Return what packs in two frames, the first of which ends in the middle of a line."""
    return lambda content: pack(content[:HALF]) + pack(content[HALF:]) if content else pack(content)


FORMS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "plain": ("", bytes),
    "gz": (".gz", gzip.compress),
    "zst": (".zst", zstandard.compress),
    "gz_frames": (".gz", two_frames(gzip.compress)),
    "zst_frames": (".zst", two_frames(zstandard.compress)),
}
"""Way a file is stored -> suffix of its name, what packs it."""

READ = [(name, form) for name, case in CASES.items() for form in FORMS if form == "plain" or case.packs]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Every case in every form, each a source, read by one run."""
    workspace = Workspace(tmp_path_factory.mktemp("bad"))
    sources = []
    for name, form in READ:
        suffix, pack = FORMS[form]
        path = workspace.logs / f"{name}-{form}{CASES[name].suffix}{suffix}"
        path.write_bytes(pack(CASES[name].whole))
        os.utime(path, (1, 1))
        sources.append(Source(name=f"{name}-{form}", path=str(path)))
    workspace.settings = workspace.settings.model_copy(update={"sources": tuple(sources)})
    workspace.limited(line_bytes=40_000)
    workspace.run()
    return workspace


@dataclass
class Outcome:
    """What became of one source."""

    files: list[dict[str, Any]] = field(default_factory=list)
    quarantine: list[dict[str, Any]] = field(default_factory=list)
    interactions: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture(scope="module")
def outcomes(lake: Workspace) -> dict[str, Outcome]:
    """What became of each source; the tables are read once for all cases."""
    found = {f"{name}-{form}": Outcome() for name, form in READ}
    for table in ("files", "quarantine", "interactions"):
        for row in lake.arrow(table).to_pylist():
            getattr(found[row["source"]], table).append(row)
    return found


@pytest.mark.parametrize(("name", "form"), READ, ids=[f"{name}-{form}" for name, form in READ])
def test_bad_input_has_its_exact_outcome(outcomes: dict[str, Outcome], name: str, form: str) -> None:
    case, found = CASES[name], outcomes[f"{name}-{form}"]
    quarantine = sorted((row["reason"], row["byte_offset"], row["detail"]) for row in found.quarantine)
    assert quarantine == sorted(case.quarantined)
    assert all((row["raw"] is None) == (row["reason"] == "oversized") for row in found.quarantine)
    assert len(found.interactions) == case.interactions
    assert len(found.files) == (case.lines > 0 or form != "plain")  # a file without a byte is not opened
    for row in found.files:
        assert (row["lines"], row["interactions"], row["feedback"]) == (case.lines, case.interactions, 0)
        assert dict(row["skipped_by_reason"]) == case.skipped
        # No line here holds two records, so that the equation of records is one of lines.
        assert row["lines"] == row["interactions"] + row["quarantined"] + row["skipped"] == row["records"]
        assert row["quarantined"] == len(case.quarantined)
        assert row["read_to"] == len(case.whole) or case.suffix == ".json" or name == "torn_at_the_end"


def test_of_two_keys_alike_the_last_counts_and_a_late_key_is_read(lake: Workspace) -> None:
    rows = lake.rows("interactions", "source", "source_id", "propensity")
    assert sorted(row[1] for row in rows if row[0] == "duplicate_key-plain") == ["int-1", "int-2", "int-9"]
    assert ("key_first_seen_at_line_30000-plain", "int-2", 0.25) in rows


def test_a_second_run_reads_none_of_it_again(lake: Workspace) -> None:
    assert lake.run().totals()["lines"] == 0


LONG = log(*(_interaction(i, answer="".join(map(str, range(i, i + 300)))) for i in range(100, 300)))
"""200 lines of about 1,500 bytes, which do not compress to nothing."""


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gz", "zst"])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_cut_archive_gives_all_that_can_be_decoded(workspace: Workspace, pack: Any, kept: float) -> None:
    """By how much that is the decompressor itself is asked, byte by byte."""
    stored = pack(LONG)[: int(len(pack(LONG)) * kept)]
    frame: Any = zlib.decompressobj(wbits=31) if pack is gzip.compress else zstandard.ZstdDecompressor().decompressobj()
    decoded = b"".join(frame.decompress(stored[i : i + 1]) for i in range(len(stored)))
    path = workspace.logs / "cut"
    path.write_bytes(stored)
    assert workspace.run().totals()["quarantined"] == 0
    os.utime(path, (1, 1))
    summary = workspace.run()
    assert summary.quarantined() == {"corrupt_archive": 1}
    whole = decoded.count(b"\n")
    assert len(workspace.rows("interactions", "source_id")) == whole < 200
    assert workspace.rows("quarantine", "byte_offset") == [decoded.rfind(b"\n") + 1]
    total = workspace.arrow("files").to_pylist()
    assert sum(row["lines"] for row in total) == sum(row["records"] for row in total) == whole + 1


def test_of_a_damaged_frame_what_can_be_decoded_is_read(workspace: Workspace) -> None:
    """The first of two frames is whole; in the second one a byte is wrong. All that was read is accounted for."""
    first, second = gzip.compress(GOOD), bytearray(gzip.compress(LONG))
    second[len(second) // 2] ^= 0xFF
    path = workspace.logs / "a.gz"
    path.write_bytes(first + second)
    os.utime(path, (1, 1))
    summary = workspace.run()
    assert summary.quarantined()["corrupt_archive"] == 1
    assert "int-1" in workspace.rows("interactions", "source_id")
    totals = summary.totals()
    assert 1 < totals["interactions"] < 201
    assert totals["lines"] == totals["interactions"] + totals["quarantined"] + totals["skipped"]


TABLE = [{"prompt": f"Q{i}", "chosen": f"Yes {i}", "rejected": f"No {i}"} for i in range(3)]


def parquet(rows: list[dict[str, Any]], path: Path) -> bytes:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("name", "spoil", "quarantined", "feedback"),
    [
        ("cut", lambda stored: stored[:-20], [("corrupt_archive", 0)], 0),
        ("footer_alone", lambda stored: b"PAR1" + stored[-20:], [("corrupt_archive", 0)], 0),
        ("magic_alone", lambda _stored: b"PAR1", [("corrupt_archive", 0)], 0),
        ("no_rows", None, [], 0),
        ("null", None, [("missing_field", 1)], 2),
        ("wrong_type", None, [("wrong_type", row) for row in range(3)], 0),
        ("other_columns", None, [("unknown_format", row) for row in range(3)], 0),
    ],
)  # fmt: skip
def test_parquet(
    workspace: Workspace, name: str, spoil: Any, quarantined: list[tuple[str, int]], feedback: int
) -> None:
    path = workspace.logs / "a.parquet"
    rows: Any = {
        "null": [TABLE[0], TABLE[1] | {"chosen": None}, TABLE[2]],
        "wrong_type": [row | {"chosen": i} for i, row in enumerate(TABLE)],
        "other_columns": [{"a": row["prompt"]} for row in TABLE],
    }.get(name, TABLE)
    stored = parquet(rows, path)
    if name == "no_rows":
        pq.write_table(pa.Table.from_pylist(TABLE).slice(0, 0), path)
    elif spoil:
        path.write_bytes(spoil(stored))
    os.utime(path, (1, 1))
    totals = workspace.run().totals()
    assert sorted(workspace.rows("quarantine", "reason", "byte_offset"), key=lambda row: row[1]) == quarantined
    assert (totals["lines"], totals["feedback"]) == (len(quarantined) + feedback, feedback)
    assert totals["records"] == totals["interactions"] + totals["feedback"] + totals["quarantined"] + totals["skipped"]
    assert workspace.run().totals()["lines"] == 0


PEAK = """
import re, sys
from pathlib import Path
from ingest.__main__ import main
sys.argv = ["ingest", "run", "--config", sys.argv[1]]
assert main() == 0
print(re.search(r"VmHWM:\\s+([0-9]+) kB", Path("/proc/self/status").read_text())[1])
"""
"""Not getrusage: what it says of a child begins with the parent's own memory."""


def peak_mb(folder: Path, *parts: bytes, repeated: int = 1) -> tuple[float, dict[str, Any]]:
    """Return what a process of its own holds at most while it ingests one file of GOOD, `parts` and LAST."""
    (folder / "logs").mkdir(parents=True)
    (folder / "winnow.toml").write_text('lake = "lake"\n[[sources]]\nname = "app"\npath = "logs/*"\n')
    with (folder / "logs" / "a.jsonl").open("wb") as file:
        file.write(GOOD + parts[0] if parts else GOOD)
        for _ in range(repeated):
            file.write(b"".join(parts[1:2]))
        file.write(b"".join(parts[2:]) + LAST)
    command = [sys.executable, "-c", PEAK, str(folder / "winnow.toml")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (folder / "logs" / "a.jsonl").unlink()
    summary, peak = done.stdout.strip().splitlines()
    return int(peak) / 1024, json.loads(summary)


MEBIBYTE = b"All work and no play. " * 47_662 + b"work"
assert len(MEBIBYTE) == 2**20 - 8


def test_a_line_of_40_mb_is_read_and_one_beyond_the_limit_is_never_held(tmp_path: Path) -> None:
    """The limit is 64 MiB: of a line of 240 MiB the process may hold so much, and not the line."""
    before, after = SECOND.split(b'"Answer"')
    small, _ = peak_mb(tmp_path / "small")
    _, read = peak_mb(tmp_path / "long", before + b'"', MEBIBYTE, b'"' + after + b"\n", repeated=40)
    assert (read["lines"], read["interactions"], read["quarantined_by_reason"]) == (3, 3, {})
    peak, refused = peak_mb(tmp_path / "longer", before + b'"', MEBIBYTE, b'"' + after + b"\n", repeated=240)
    assert (refused["lines"], refused["interactions"]) == (3, 2)
    assert refused["quarantined_by_reason"] == {"oversized": 1}
    assert peak < small + 150
