"""Near-duplicate triples: the same judgement on almost the same texts is one row, the best of them.

Reads view triples, tables standing and questions (`curate.clusters`) and the ledger, where what bridges two splits is
already; writes table near_duplicates and the ledger; part of `python -m curate run`. Two triples are near duplicates
where question, chosen and rejected are each at least as similar as the threshold, side by side: a pair that prefers the
other response is a contradiction, not a duplicate.
System messages and offered tools must be the same.

Every triple that goes is compared exactly with the one that stays in its place; likeness is not handed on from one to
the next. Unlike an exact duplicate's, its votes and events stay its own, since they are about other texts.
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


def find(connection: duckdb.DuckDBPyConnection, threshold: float) -> None:
    """Enter every near duplicate but the best into the ledger; the detail names the survivor and how alike they are."""
    connection.execute(statement("near_duplicate_triples.sql"))
    responses = Texts(connection, "response_texts")
    groups = near_duplicates.group(responses.sketches(), responses.fetch, threshold)
    connection.register("labels", pa.table({"nr": np.arange(len(groups.label)), "label": groups.label}))
    connection.execute("""
        CREATE TEMP TABLE alike AS
        WITH labelled AS (SELECT key, nr, label FROM labels JOIN response_texts USING (nr)),
        placed AS (
            SELECT s.*, c.nr AS chosen, r.nr AS rejected,
                   dense_rank() OVER (ORDER BY question_label, surroundings, c.label, r.label) AS family
            FROM crowded s JOIN labelled c ON c.key = chosen_hash JOIN labelled r ON r.key = rejected_hash)
        SELECT * FROM placed QUALIFY count(*) OVER (PARTITION BY family) > 1""")
    connection.unregister("labels")
    connection.execute("CREATE TEMP TABLE near_duplicates (triple_id VARCHAR, survivor VARCHAR, detail VARCHAR)")
    questions = Texts(connection, "question_texts")
    while _round(connection, questions, responses, threshold):
        pass
    connection.execute("INSERT INTO ledger SELECT triple_id, 'near_duplicate', detail FROM near_duplicates")


def _round(connection: duckdb.DuckDBPyConnection, questions: Texts, responses: Texts, threshold: float) -> bool:
    """Compare each family's members with its best one; return whether any family is left to look at.

    The best stays, what is like it goes, and what is not makes a smaller family for the next round.
    """
    rows = connection.sql(statement("near_duplicate_round.sql")).to_arrow_table()
    if not rows.num_rows:
        return False
    sides = [
        _similarity(questions, rows["question"].to_numpy(), rows["best_question"].to_numpy()),
        _similarity(responses, rows["chosen"].to_numpy(), rows["best_chosen"].to_numpy()),
        _similarity(responses, rows["rejected"].to_numpy(), rows["best_rejected"].to_numpy()),
    ]
    like = np.min(sides, axis=0) >= threshold
    details = [
        f"like {best}: " + ", ".join(f"{side} {value:.2f}" for side, value in zip(SIDES, values, strict=True))
        for best, values in zip(rows["best"].to_pylist(), np.transpose(sides), strict=True)
    ]
    verdicts = {"triple_id": rows["triple_id"], "survivor": rows["best"], "like": pa.array(like), "detail": details}
    connection.register("verdicts_of_round", pa.table(verdicts))
    connection.execute("""
        INSERT INTO near_duplicates SELECT triple_id, survivor, detail FROM verdicts_of_round WHERE "like";
        DELETE FROM alike WHERE triple_id IN (SELECT survivor FROM verdicts_of_round
                                              UNION ALL SELECT triple_id FROM verdicts_of_round WHERE "like")""")
    connection.unregister("verdicts_of_round")
    return True


def _similarity(texts: Texts, left: I64, right: I64) -> F64:
    """Return the exact similarity of each pair of texts, each different pair computed once; of a text with itself 1."""
    result = np.ones(len(left))
    other = np.flatnonzero(left != right)
    low, high = np.minimum(left, right)[other], np.maximum(left, right)[other]
    distinct, places = np.unique(np.stack([low, high]), axis=1, return_inverse=True)
    pairs = Pairs(distinct[0], distinct[1], np.zeros(distinct.shape[1]))
    result[other] = near_duplicates.jaccard(pairs, texts.fetch)[places]
    return result
