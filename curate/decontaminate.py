"""Decontamination: triples that hold what a model is evaluated on are dropped, each with the items it holds.

Reads view triples and the recipe's evaluation sets (`curate.evaluation_sets`); writes table contaminated, which becomes
decontaminated.parquet, and the ledger; part of `python -m curate run`. Prompt, chosen and rejected are three texts:

- overlap: more than `coverage` of an item's words stand in the text in runs of `ngram` words (GPT-3, arXiv:2005.14165,
  appendix C, with runs of 13; Tulu 3, arXiv:2411.15124, with runs of 8 and half of the item);
- exact: all of the item does, in one run. An item of fewer than `ngram` words is exact only where it is all of the
  prompt's last question: shorter texts stand in others by chance;
- reworded: the question and the item have a Jaccard similarity of their word triples of at least `reworded`, found by
  the MinHash of near duplicates and verified.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa

from curate import evaluation_sets
from curate.evaluation_sets import Items
from curate.ngrams import Index, ngrams, runs, whole_keys, word_counts
from curate.recipe import Decontamination
from curate.rewordings import Rewordings
from curate.rules import Reason
from curate.shingles import I64, WORDS, shingles
from curate.statements import statement

OVERLAP: Final = Reason(
    name="evaluation_overlap",
    version=1,
    reason="It holds an item of an evaluation set, whole, for the most part or reworded: to train on it is to cheat.",
)
FILE: Final = "decontaminated.parquet"
CONTAMINATED: Final = pa.schema(
    [
        ("triple_id", pa.string()),
        ("side", pa.string()),  # "prompt", "chosen" or "rejected"
        ("kind", pa.string()),  # "exact", "overlap" or "reworded"
        ("evaluation_set", pa.string()),
        ("record", pa.int64()),  # 0-based in the set's file
        ("part", pa.string()),  # "question", or of a list of texts "turns.1"
        ("words", pa.int64()),  # of the item
        ("covered", pa.int64()),  # of them in runs that the text holds; null where it is reworded
        ("longest", pa.int64()),  # of them in one run
        ("jaccard", pa.float64()),  # of question and item, where it is reworded
    ]
)
"""Columns of decontaminated.parquet: one row for each text and evaluation item that it holds."""
SIDES: Final = ("prompt", "chosen", "rejected")
BATCH: Final = 16_384
"""Triples whose texts are held at a time."""
TEXTS: Final = 2048
"""Texts that one thread looks through at a time."""
SHARED: Final = 100
"""Items that may share a run of words before it is a template's (curate/decontaminate.sql)."""
MATCHED: Final = 4_000_000
"""Runs found in texts that are held before they are matched with the items."""

Hits = tuple[I64, I64]
"""Place of a text (3 * triple + side) and number of a run that stands in it, row by row."""


@dataclass(frozen=True)
class _Needles:
    """What is looked for: the items' runs of n words, and the whole of those that are shorter."""

    ngram: int
    runs: Index
    whole: Index
    whole_items: I64
    """Member of `whole` -> the first item that is it."""


def find(connection: duckdb.DuckDBPyConnection, wanted: Decontamination, root: Path) -> None:
    """Enter every triple that holds an evaluation item into the ledger, and all it holds into table contaminated.

    `root` is the folder that the sets' paths are relative to. Raises RecipeError where a set cannot be read.
    """
    connection.execute(statement("contaminated.sql"))
    if not wanted.sets:
        return
    items = evaluation_sets.read(wanted.sets, root)
    with connection.cursor() as scratch:  # of the same memory and spill folder; `connection` is being read meanwhile
        found = _search(connection, scratch, items, wanted)
    connection.register("found", found)
    words = pl.Series("words", word_counts(items.rows["text"]))
    connection.register("items", items.rows.with_row_index("item").with_columns(words).to_arrow())
    connection.execute(statement("contaminated_ledger.sql"))
    connection.unregister("found")
    connection.unregister("items")
    connection.executemany(
        "INSERT INTO evaluation_sets VALUES (?, ?, ?)", [(one.name, one.sha256, one.items) for one in items.sets]
    )


def found(connection: duckdb.DuckDBPyConnection) -> pa.RecordBatchReader:
    """Return the rows of decontaminated.parquet."""
    rows = connection.sql("FROM contaminated ORDER BY triple_id, side, evaluation_set, record, part")
    return rows.to_arrow_reader(BATCH)


def sets(connection: duckdb.DuckDBPyConnection) -> list[dict[str, object]]:
    """Return name, sha256 and items of every set that was looked for: the manifest holds it."""
    rows = connection.execute("SELECT name, sha256, items FROM evaluation_sets ORDER BY name").fetchall()
    return [{"name": name, "sha256": digest, "items": items} for name, digest, items in rows]


def _search(
    connection: duckdb.DuckDBPyConnection, scratch: duckdb.DuckDBPyConnection, items: Items, wanted: Decontamination
) -> pa.Table:
    """Return what was found: triple_id, item, side, kind, words, covered, longest, jaccard."""
    needles = _needles(scratch, items, wanted.ngram)
    rewordings = Rewordings.of(items.rows["text"], wanted.reworded)
    parts: list[pl.DataFrame] = []
    ids: list[pl.Series] = []
    waiting: list[Hits] = []
    first = 0
    for batch in _batches(connection):
        texts = {name: pl.Series(batch.column(name)) for name in (*SIDES, "question")}
        for side, name in enumerate(SIDES):
            for begin, (text, run) in _run_hits(texts[name], needles):
                waiting.append((3 * (first + begin + text) + side, run))
        parts += [_whole(texts["question"], needles, first), rewordings.find(texts["question"], first)]
        ids.append(pl.Series(batch.column("triple_id")))
        first += batch.num_rows
        if sum(len(place) for place, _ in waiting) > MATCHED:
            parts.append(_match(scratch, waiting, wanted))
            waiting = []
    parts.append(_match(scratch, waiting, wanted))
    found = pl.concat([part.select(_COLUMNS) for part in parts])
    names = pl.concat(ids)
    return found.with_columns(
        names.gather(found["place"] // 3).alias("triple_id"),
        pl.lit(pl.Series(SIDES)).gather(found["place"] % 3).alias("side"),
    ).to_arrow()


_COLUMNS: Final = ("place", "item", "kind", "covered", "longest", "jaccard")


def _batches(connection: duckdb.DuckDBPyConnection) -> Iterator[pa.RecordBatch]:
    yield from connection.sql("""
        SELECT triple_id, conversation_text(prompt) AS prompt, conversation_text(chosen) AS chosen,
               conversation_text(rejected) AS rejected,
               coalesce(list_filter(prompt, lambda m: m.role = 'user')[-1].content, '') AS question
        FROM triples""").to_arrow_reader(BATCH)


def _needles(scratch: duckdb.DuckDBPyConnection, items: Items, n: int) -> _Needles:
    """Make tables runs and items of the items' texts, and what the triples' texts are looked through with."""
    triples = shingles(items.rows["text"])
    found = runs(triples, n)
    index = Index.of(found.hashes)
    sizes = np.diff(found.offsets)
    item = np.repeat(np.arange(len(sizes)), sizes)
    columns = {
        "item": item,
        "position": np.arange(len(item)) - np.repeat(found.offsets[:-1], sizes),
        "gram": np.searchsorted(index.members, found.hashes),
    }
    words = np.diff(triples.offsets) + WORDS - 1
    tables = {"runs": pa.table(columns), "items": pa.table({"item": np.arange(len(words)), "words": words})}
    for name, table in tables.items():
        scratch.register("made", table)
        scratch.execute(f"CREATE TEMP TABLE {name} AS FROM made")
        scratch.unregister("made")
    short, keys = whole_keys(triples, n)
    whole = Index.of(keys)
    members, firsts = np.unique(keys, return_index=True)
    assert np.array_equal(members, whole.members)
    return _Needles(n, index, whole, short[firsts])


def _run_hits(texts: pl.Series, needles: _Needles) -> Iterator[tuple[int, Hits]]:
    """Return for each piece of `texts` where it begins, and which of its texts hold which runs, each once."""
    begins = range(0, len(texts), TEXTS)

    def look(begin: int) -> Hits:
        found = ngrams(texts.slice(begin, TEXTS), needles.ngram)
        places, run = needles.runs.find(found.hashes)
        text = np.searchsorted(found.offsets, places, side="right") - 1
        pairs = np.unique(text * len(needles.runs.members) + run)
        return pairs // len(needles.runs.members), pairs % len(needles.runs.members)

    with ThreadPoolExecutor(os.cpu_count()) as threads:  # NumPy and Polars work without the interpreter's lock
        yield from zip(begins, threads.map(look, begins), strict=True)


def _whole(questions: pl.Series, needles: _Needles, first: int) -> pl.DataFrame:
    """Return the questions that are, word for word, an item of fewer than n words."""
    numbers = (questions.str.len_bytes() < 64 * needles.ngram).arg_true()
    found = shingles(questions.gather(numbers))
    texts, keys = whole_keys(found, needles.ngram)
    places, member = needles.whole.find(keys)
    held = numbers.to_numpy().astype(np.int64)[texts[places]]
    words = word_counts(questions.gather(held))
    return _frame(3 * (first + held), needles.whole_items[member], words, words).with_columns(kind=pl.lit("exact"))


def _match(scratch: duckdb.DuckDBPyConnection, hits: list[Hits], wanted: Decontamination) -> pl.DataFrame:
    """Return the texts that hold more than the wanted share of an item's words."""
    none = np.zeros(0, np.int64)
    places, grams = (np.concatenate([none, *(hit[column] for hit in hits)]) for column in (0, 1))
    scratch.register("hits", pa.table({"place": places, "gram": grams}))
    values = {"n": wanted.ngram, "coverage": wanted.coverage, "shared": SHARED}
    rows = scratch.sql(statement("decontaminate.sql"), params=values).to_arrow_table()
    scratch.unregister("hits")
    found = _frame(*(rows.column(name).to_numpy() for name in ("place", "item", "covered", "longest")))
    whole = pl.Series("whole", rows.column("longest").to_numpy() == rows.column("words").to_numpy())
    return found.with_columns(kind=pl.when(whole).then(pl.lit("exact")).otherwise(pl.lit("overlap")))


def _frame(place: I64, item: I64, covered: I64, longest: I64) -> pl.DataFrame:
    columns = {"place": place, "item": item, "covered": covered, "longest": longest}
    frame = pl.DataFrame({name: np.asarray(values, np.int64) for name, values in columns.items()})
    return frame.with_columns(jaccard=pl.lit(None, pl.Float64))
