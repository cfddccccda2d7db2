"""Forty planted personal data and secrets, in every field of every format: no byte of the workspace holds one.

Every example line of docs/formats.md is written once for each of its strings, that string with a canary behind it, and
once with a canary as a key of each object; JSON within strings is planted, too. What this breaks goes to quarantine.
Canaries also stand in numbers, in cells and column names of CSV and Parquet, and in the label store.
"""

import gzip
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from ingest.lake import Lake
from ingest.schema import LABEL_EVENT_COLUMNS
from tests.ingest.test_labels import TYPES, Store
from tests.ingest.test_readers_registry import EXAMPLES
from tests.ingest.test_tables import ROWS, as_csv, as_parquet, stated

FORMATS = (Path(__file__).resolve().parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")

CANARIES = (
    *("canary.one@mail.example.org", "Canary_Two+tag@firma.de", "c3@sub.domain.co.jp", "kanari@bücher.example"),
    *("o'canary@example.ie", "CANARY6@EXAMPLE.COM"),
    *(
        "+1 415-555-0132",
        "+49 30 901820131",
        "+44 20 7946 0133",
        "+33 1 99 00 01 34",
        "(415) 555-0135",
        "0033199000136",
    ),
    *("203.0.113.137", "198.51.100.138", "2001:db8:0:1::139", "2001:0db8:85a3:0000:0000:8a2e:0370:7140"),
    *("4111 1111 1111 1111", "5555-5555-5555-4444", "378282246310005", "6011111111111117", "3530111333300000"),
    *("DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "FR1420041010050500013M02606", "NL91ABNA0417164300"),
    "sk-proj-c4n4ryA1b2C3d4E5f6G7h8",
    "sk-ant-api03-c4n4ryB1b2C3d4E5f6G7h8",
    "AKIAC4N4RY7EXAMPLE12",
    "ghp_c4n4ryC1b2C3d4E5f6G7h8I9j0K1l2M3n4O5",
    "xoxb-123456789012-c4n4ryD1b2C3",
    "AIzac4n4ryE1b2C3d4E5f6G7h8I9j0K1l2M3n4O",
    "hf_c4n4ryF1b2C3d4E5f6G7h8I9j0K1l2M3n",
    "rk_live_c4n4ryG1b2C3d4E5f6",
    "glpat-c4n4ryH1b2C3d4E5f6G7",
    "npm_c4n4ryI1b2C3d4E5f6G7h8I9j0K1l2M3n4O5",
    "eyJhbGciOiJIUzI1NiJ9.eyJjNG40cnkiOiIxMjM0In0.c4n4ryJ1b2C3",
    "SG.c4n4ryK1b2C3d4E5f6G7h8.I9j0K1l2M3n4O5p6Q7r8",
    "https://canary:c4n4ryL1@db.example.org/",
    "password=c4n4ryM1b2C3d4",
    "-----BEGIN PRIVATE KEY-----\nMIIc4n4ryNb2C3d4\n-----END PRIVATE KEY-----",
)
SECRETS = tuple(
    re.search("canary:c4n4ryL1|c4n4ryM1b2C3d4|MIIc4n4ryNb2C3d4|$", canary)[0] or canary  # type: ignore[index]
    for canary in CANARIES
)
"""What of each canary must be gone; around it stand a URL, a cue or armour that may stay."""


def nested(text: str) -> Any:
    """Return the JSON within a string, None where it holds none."""
    try:
        return json.loads(text) if text.lstrip()[:1] in ("{", "[") else None
    except ValueError:
        return None


def planted(value: Any, canary: str) -> Iterator[Any]:
    """Yield copies of `value`, each with the canary in another place: behind a string, as a key."""
    if isinstance(value, str):
        yield f"{value} {canary}" if value else canary
        if (inner := nested(value)) is not None:
            yield from (json.dumps(copy) for copy in planted(inner, canary))
    elif isinstance(value, dict):
        yield value | {canary: "x"}
        for key, item in value.items():
            yield from (value | {key: copy} for copy in planted(item, canary))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from ([*value[:place], copy, *value[place + 1 :]] for copy in planted(item, canary))


def stored(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file, and what they are when they are decompressed."""
    yield path.read_bytes()
    if path.suffix == ".parquet":
        for row in pq.read_table(path).to_pylist():
            yield json.dumps(row, ensure_ascii=False, default=str).encode()
    elif path.suffix == ".gz":
        yield gzip.decompress(path.read_bytes())


def spellings() -> dict[bytes, str]:
    """Return each secret as bytes, and as JSON text escapes it."""
    return {form.encode(): secret for secret in SECRETS for form in (secret, json.dumps(secret)[1:-1])}


def ingested(root: Path) -> dict[str, Any]:
    """Ingest root/logs, twice, and curate; no file but those below logs, and nothing said, may hold a canary.

    Return what the first run printed.
    """
    (root / "winnow.toml").write_text(
        'lake = "lake"\ncurated = "curated"\n[[sources]]\nname = "app"\npath = "logs/*"\n'
        '[labels]\nurl = "sqlite:///logs/store/labels.db"\n'
    )
    said, summaries = b"", []
    for command in ("ingest", "ingest", "curate"):
        done = subprocess.run(
            [sys.executable, "-m", command, "run", "--config", str(root / "winnow.toml")],
            capture_output=True,
            check=False,
            env=os.environ | {"TMPDIR": str(root)},
        )
        said += done.stdout + done.stderr
        if command == "ingest":
            assert done.returncode == 0, done.stderr.decode()
            summaries.append(json.loads(done.stdout))
    first = summaries[0]
    assert first["records"] == sum(first[k] for k in ("interactions", "feedback", "quarantined", "skipped"))
    files = [path for path in root.rglob("*") if path.is_file() and root / "logs" not in path.parents]
    forms = spellings()
    pattern = re.compile(b"|".join(map(re.escape, forms)))
    held = {(str(path.relative_to(root)), data[max(0, found.start() - 60) : found.end() + 20])
            for path in files for data in stored(path) for found in pattern.finditer(data)}  # fmt: skip
    assert not held, "\n".join(map(str, sorted(held)[:40]))
    assert not pattern.findall(said)
    assert isinstance(first, dict)
    return first


def test_no_byte_of_the_workspace_holds_a_canary(tmp_path: Path) -> None:
    assert len(CANARIES) == len(set(CANARIES)) == len(set(SECRETS)) == 40
    logs = tmp_path / "logs"
    logs.mkdir()
    lines = 0
    for number, block in enumerate(re.findall(r"^```json\n(.*?)^```", FORMATS, flags=re.DOTALL | re.MULTILINE)):
        with (logs / f"{number}.jsonl").open("w", encoding="utf-8") as file:
            for line in block.splitlines():
                copies = len(list(planted(json.loads(line), "")))
                for place in range(copies):
                    canary = CANARIES[(lines + place) % len(CANARIES)]
                    copy = next(c for i, c in enumerate(planted(json.loads(line), canary)) if i == place)
                    file.write(json.dumps(copy, ensure_ascii=place % 2 == 0) + "\n")
                lines += copies
    torn = "".join(json.dumps({"a": "x", "b": canary}, ensure_ascii=False)[:-1] + "\n" for canary in CANARIES)
    (logs / "torn.jsonl").write_text(torn, encoding="utf-8")
    summary = ingested(tmp_path)
    assert {"interactions", "feedback", "quarantine", "triples"} <= {path.parent.name for path in tmp_path.rglob("*")}
    assert summary["lines"] == lines + len(CANARIES)
    assert lines > 20 * len(CANARIES)


NUMBERS = tuple(int(canary) for canary in CANARIES if canary.isdecimal() and canary[0] != "0")
"""Canaries that are cards, as numbers of JSON."""


def numbered(value: Any, number: int) -> Iterator[Any]:
    """Yield copies of `value`, each with the number in another object, also in JSON within strings."""
    if isinstance(value, str) and (inner := nested(value)) is not None:
        yield from (json.dumps(copy) for copy in numbered(inner, number))
    elif isinstance(value, dict):
        yield value | {"card": number}
        for key, item in value.items():
            yield from (value | {key: copy} for copy in numbered(item, number))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from ([*value[:place], copy, *value[place + 1 :]] for copy in numbered(item, number))


def write_numbers(path: Path) -> int:
    """Write every object of every format with a card in it, return how many lines."""
    numbers = itertools.cycle(NUMBERS)
    lines = [json.dumps(copy) for _, record in EXAMPLES for copy in numbered(record, next(numbers))]
    path.write_text("".join(f"{line}\n" for line in lines))
    return len(lines)


def write_tables(folder: Path) -> int:
    """Write every tabular format as CSV and Parquet, canaries in cells and names of columns; return how many rows."""
    canaries, count = itertools.cycle(CANARIES), 0
    for number, (_, record) in enumerate(ROWS):
        row = stated(record)
        copies = [
            row | {key: copy}
            for key in row
            for copy in itertools.islice(planted(row[key], next(canaries)), 4)
            if isinstance(copy, str)
        ]
        for name, rows in (("cells", [row, *copies]), ("names", [row | {next(canaries): "x"}])):
            as_csv(rows, folder / f"{number}-{name}.csv")
            as_parquet(rows, folder / f"{number}-{name}.parquet")
            count += 2 * len(rows)
    return count


def write_labels(path: Path) -> int:
    """Write canaries into each column of text, as whoever writes to the store can; return how many events."""
    store = Store(path)
    canaries = itertools.cycle(CANARIES)
    columns = [name for name in LABEL_EVENT_COLUMNS if name not in TYPES]
    for number, column in enumerate(columns * 4):
        store.add(**{"event_id": f"event {number}", "verdict": "left", column: next(canaries)})
    return 4 * len(columns)


def test_numbers_tables_and_the_label_store(tmp_path: Path) -> None:
    (tmp_path / "logs" / "store").mkdir(parents=True)
    lines = write_numbers(tmp_path / "logs" / "numbers.jsonl") + write_tables(tmp_path / "logs")
    lines += write_labels(tmp_path / "logs" / "store" / "labels.db")
    summary = ingested(tmp_path)
    assert summary["lines"] == lines
    assert summary["redactions"]["card"] > len(NUMBERS)
    with duckdb.connect() as connection:
        Lake(tmp_path / "lake").view(connection, "feedback")
        connection.execute("SELECT DISTINCT source_id[:3] FROM feedback WHERE source = 'labels' ORDER BY 1")
        assert connection.fetchall() == [("eve",), ("id:",)]
