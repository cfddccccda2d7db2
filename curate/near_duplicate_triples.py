"""Near-duplicate triples: the same judgement on almost the same texts is one row, the best of them.

Reads view triples, tables standing and questions (`curate.clusters`) and the ledger, where what bridges two splits is
already; writes the ledger; part of `python -m curate run`. Two triples are near duplicates where question, chosen and
rejected are each at least as similar as the threshold, side by side: a pair that prefers the other response is a
contradiction, not a duplicate. System messages and offered tools must be the same.

Families of triples that may be alike are made finer side by side: by question, then by chosen, then by rejected, so
that of most triples only the chosen response is sketched. Every triple that goes is compared exactly with the one that
stays in its place; likeness is not handed on from one to the next. Unlike an exact duplicate's, its votes and events
stay its own, since they are about other texts.
"""

from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from curate import near_duplicates
from curate.near_duplicates import F64, I64, Pairs
from curate.rules import Reason
from curate.statements import statement
from curate.texts import Texts

NEAR: Final = Reason(
    name="near_duplicate",
    version=3,
    reason="Another triple has almost the same question, chosen and rejected text, and stays in its place.",
)
SIDES: Final = ("question", "chosen", "rejected")
COMPARED: Final = 1 << 20
"""Pairs of triples that are compared at a time, about."""


def find(connection: duckdb.DuckDBPyConnection, threshold: float) -> None:
    """Enter every near duplicate but the best into the ledger; the detail names the survivor and how alike they are."""
    connection.execute(statement("near_duplicate_triples.sql"))
    chosen = _refine(connection, "chosen", "crowded", "close", threshold)
    rejected = _refine(connection, "rejected", "close", "alike", threshold)
    rows = connection.sql(statement("near_duplicate_order.sql")).to_arrow_table()
    if not rows.num_rows:
        return
    sides = []
    for name, texts in zip(SIDES, (_questions(connection), chosen, rejected), strict=True):
        numbers = rows[name].to_numpy()
        texts.hold(np.unique(numbers))
        sides.append((texts, numbers))
    survivor, likeness = _survivors(rows["family"].to_numpy(), sides, threshold)
    gone = np.flatnonzero(survivor >= 0)
    ids = rows["triple_id"].to_pylist()
    details = [
        f"like {ids[survivor[row]]}: " + ", ".join(f"{side} {x:.2f}" for side, x in zip(SIDES, values, strict=True))
        for row, values in zip(gone, likeness[gone], strict=True)
    ]
    connection.register("gone", pa.table({"triple_id": rows["triple_id"].take(pa.array(gone)), "detail": details}))
    connection.execute("INSERT INTO ledger SELECT triple_id, 'near_duplicate', detail FROM gone")
    connection.unregister("gone")


def _questions(connection: duckdb.DuckDBPyConnection) -> Texts:
    return Texts(connection, "question_texts", "question", "question_text(prompt)")


def _refine(connection: duckdb.DuckDBPyConnection, side: str, source: str, target: str, threshold: float) -> Texts:
    """Make table `target` of those in `source` whose family has others like it on `side`, in these finer families.

    Returns the texts of that side; their numbers are the column `side` of `target`.
    """
    connection.execute(f"""
        CREATE TEMP TABLE {side}_texts AS
        SELECT row_number() OVER (ORDER BY key) - 1 AS nr, key, triple_id
        FROM (SELECT {side}_hash AS key, min(triple_id) AS triple_id FROM {source} GROUP BY key)""")
    texts = Texts(connection, f"{side}_texts", "response", f"conversation_text({side})")
    groups = near_duplicates.group(texts.sketches(), texts.fetch, threshold, texts.hold)
    connection.register("labels", pa.table({"nr": np.arange(len(groups.label)), "label": groups.label}))
    connection.execute(f"""
        CREATE TEMP TABLE {target} AS
        WITH labelled AS (
            SELECT s.*, t.nr AS {side}, label
            FROM {source} s JOIN {side}_texts t ON t.key = s.{side}_hash JOIN labels USING (nr)
            QUALIFY count(*) OVER (PARTITION BY family, label) > 1)
        SELECT * EXCLUDE (family, label), dense_rank() OVER (ORDER BY family, label) AS family FROM labelled""")
    connection.unregister("labels")
    return texts


def _survivors(family: I64, sides: list[tuple[Texts, I64]], threshold: float) -> tuple[I64, F64]:
    """Return for each row which one stays in its place, or -1 where it stays itself, and [n, 3] how alike they are.

    Rows are sorted by family, the best first. In each round the first few of what is left of a family are compared with
    those behind them, twice as many as in the round before: one a round would be a query for each that stays.
    """
    survivor = np.full(len(family), -1, np.int64)
    likeness = np.zeros((len(family), len(sides)))
    left, breadth = np.arange(len(family)), 1
    while len(left):
        starts = np.flatnonzero(np.diff(family[left], prepend=-1))
        place = np.arange(len(left)) - np.repeat(starts, np.diff(starts, append=len(left)))
        breadth = min(breadth, max(1, COMPARED // len(left)))
        times = np.minimum(place, breadth)
        member = np.repeat(np.arange(len(left)), times)
        nth = np.arange(len(member)) - np.repeat(np.cumsum(times) - times, times)
        leader = member - place[member] + nth
        values = np.transpose([_similarity(texts, of[left[leader]], of[left[member]]) for texts, of in sides])
        like = values.min(axis=1, initial=1) >= threshold
        for rank in range(breadth):  # a leader that went itself takes nobody with it
            rows = np.flatnonzero(like & (nth == rank))
            rows = rows[(survivor[left[leader[rows]]] < 0) & (survivor[left[member[rows]]] < 0)]
            survivor[left[member[rows]]] = left[leader[rows]]
            likeness[left[member[rows]]] = values[rows]
        left = left[(place >= breadth) & (survivor[left] < 0)]
        breadth *= 2
    return survivor, likeness


def _similarity(texts: Texts, left: I64, right: I64) -> F64:
    """Return the exact similarity of each pair of texts, each different pair computed once; of a text with itself 1."""
    result = np.ones(len(left))
    other = np.flatnonzero(left != right)
    low, high = np.minimum(left, right)[other], np.maximum(left, right)[other]
    distinct, places = np.unique(np.stack([low, high]), axis=1, return_inverse=True)
    pairs = Pairs(distinct[0], distinct[1], np.zeros(distinct.shape[1]))
    result[other] = near_duplicates.jaccard(pairs, texts.fetch)[places]
    return result
