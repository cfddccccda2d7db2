"""Evaluation sets that must not be trained on: files of prompts, read into one table of items.

Reads Parquet, JSON lines, CSV and plain text (one item a line), all but Parquet also gzipped, as the recipe's
[decontamination] names them; part of `python -m curate run`. A record with a list of texts, such as MT-Bench's turns,
is an item for each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import polars as pl
import pyarrow as pa

from curate.recipe import EvaluationSet
from curate.snapshot import file_hash
from ingest.errors import RecipeError

FIELDS: Final = ("prompt", "question", "instruction", "turns", "problem", "input", "query", "text")
"""Where a set's texts are looked for, the first of them that there is, unless the recipe names its fields."""

_READERS: Final = {
    ".parquet": "read_parquet($path)",
    ".jsonl": "read_json($path, format = 'newline_delimited', maximum_object_size = 67108864)",
    ".csv": "read_csv($path, header = {header}, all_varchar = true)",
    ".tsv": "read_csv($path, header = {header}, all_varchar = true, delim = '\t')",
    ".txt": "read_csv($path, header = false, columns = {{'text': 'VARCHAR'}}, delim = '\x02', quote = '', escape = '')",
}
"""Ending of a file, without .gz -> how DuckDB reads it."""


@dataclass(frozen=True)
class Read:
    """What was read of one set."""

    name: str
    sha256: str
    """Of the file's bytes, in hex."""
    items: int
    """Texts in it, empty ones left out."""


@dataclass(frozen=True)
class Items:
    """The texts of all sets."""

    rows: pl.DataFrame
    """set, record (0-based in its file), part ("turns" or "turns.1": the field, and the place in its list), text."""
    sets: tuple[Read, ...]


def read(sets: Sequence[EvaluationSet], root: Path) -> Items:
    """Return the items of `sets`, whose paths are relative to `root`. Raises RecipeError naming the set."""
    parts: list[pl.DataFrame] = []
    found: list[Read] = []
    for one in sets:
        path = root / one.path
        try:
            digest = file_hash(path)
            rows = _rows(one, path)
        except (OSError, duckdb.Error) as error:
            raise RecipeError(f"The evaluation set {one.name} cannot be read from {path}: {error}") from error
        if not len(rows):
            raise RecipeError(f"The evaluation set {one.name} holds no text in {', '.join(one.fields) or path.name}.")
        parts.append(rows)
        found.append(Read(one.name, digest, len(rows)))
    return Items(pl.concat(parts), tuple(found))


def _rows(one: EvaluationSet, path: Path) -> pl.DataFrame:
    """Return the items of one file."""
    suffix = next((s.lower() for s in reversed(path.suffixes) if s.lower() not in (".gz", ".zst")), "")
    reader = _READERS.get({".ndjson": ".jsonl", ".text": ".txt"}.get(suffix, suffix))
    if reader is None:
        raise RecipeError(f"The evaluation set {one.name} is a {suffix or 'nameless'} file, expected {_names()}.")
    table = reader.format(header=str(one.header).lower())
    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as connection:
        described = connection.execute(f"DESCRIBE SELECT * FROM {table}", {"path": str(path)}).fetchall()
        columns = {str(name): str(kind) for name, kind, *_ in described}
        fields = _fields(one, columns)
        quoted = ", ".join('"' + field.replace('"', '""') + '"' for field in fields)
        rows = connection.sql(f"SELECT {quoted} FROM {table}", params={"path": str(path)}).to_arrow_table()
    return pl.concat([_texts(one.name, field, rows.column(place)) for place, field in enumerate(fields)])


def _fields(one: EvaluationSet, columns: dict[str, str]) -> Sequence[str]:
    """Return the fields to read, of text or lists of text. Raises RecipeError where there are none."""
    fields = one.fields or next(((name,) for name in FIELDS if name in columns), ())
    missing = [field for field in fields if field not in columns]
    if missing or not fields:
        raise RecipeError(
            f"The evaluation set {one.name} has no field {', '.join(missing) or ' or '.join(FIELDS)}; it has "
            f"{', '.join(columns)}. Name its texts' fields in `fields`."
        )
    odd = [f"{field} is {columns[field]}" for field in fields if columns[field] not in ("VARCHAR", "VARCHAR[]")]
    if odd:
        raise RecipeError(f"The evaluation set {one.name}: {', '.join(odd)}, expected a text or a list of texts.")
    return fields


def _texts(name: str, field: str, values: pa.ChunkedArray) -> pl.DataFrame:
    """Return the items of one field: set, record, part, text; texts without any letter or digit are none."""
    texts = pl.Series("text", values)
    frame = pl.DataFrame({"record": pl.int_range(len(texts), dtype=pl.Int64, eager=True), "text": texts})
    part = pl.lit(field)
    if isinstance(texts.dtype, pl.List):
        frame = frame.with_columns(place=pl.int_ranges(pl.col("text").list.len())).explode("text", "place")
        part = pl.concat_str(pl.lit(f"{field}."), pl.col("place").cast(pl.String))
    frame = frame.filter(pl.col("text").str.contains(r"[\p{L}\p{N}]"))
    return frame.select(set=pl.lit(name), record="record", part=part, text="text")


def _names() -> str:
    return ", ".join(_READERS) + ", all but .parquet also with .gz"
