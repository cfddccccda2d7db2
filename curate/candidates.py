"""Pairs worth labelling: two responses to one prompt, of one source, that no vote decided.

Reads views interactions, feedback and triples, and what `curate.apply` found; writes candidates.parquet
(`ingest.schema.CANDIDATE`), best to ask first; part of `python -m curate run`. `why` is one of

- contradicted: as many votes for the one as for the other; one more settles it;
- unjudged: nobody has compared them;
- tied: somebody called them equal, or both bad.

Both responses were served without error, say something, were not cut off, and may be trained on: what an annotator
answers can be used.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import duckdb
import pyarrow as pa

from curate import recipe
from curate.statements import statement
from ingest.schema import CANDIDATE, pair_id, prompt_group

BATCH_ROWS: Final = 1024


@dataclass(frozen=True)
class Offer:
    """How many undecided pairs there are, and how many of them are offered."""

    offered: int
    """Rows of candidates.parquet."""
    left_out: int
    """Undecided pairs beyond the recipe's caps."""


def find(
    connection: duckdb.DuckDBPyConnection,
    caps: recipe.Candidates,
    *,
    cut_off: Sequence[str],
    consent_allow: Sequence[str],
) -> Offer:
    """Make table `offered`: the undecided pairs within the caps.

    `cut_off` holds the finish reasons, `consent_allow` the consents that decide whether a response is usable.
    """
    connection.execute("SET VARIABLE cut_off = $value::VARCHAR[]", {"value": list(cut_off)})
    connection.execute("SET VARIABLE consent_allow = $value::VARCHAR[]", {"value": list(consent_allow)})
    connection.execute("SET VARIABLE per_prompt = $value::BIGINT", {"value": caps.per_prompt})
    connection.execute("SET VARIABLE total = $value::BIGINT", {"value": caps.total})
    connection.execute(statement("candidates.sql"))
    ((offered, pairs),) = connection.execute("""
        SELECT (SELECT count(*) FROM offered),
               (SELECT coalesce(sum(siblings * (siblings - 1) // 2), 0)::BIGINT
                FROM (SELECT DISTINCT point, siblings FROM sides)) - (SELECT count(*) FROM decided)
        """).fetchall()
    return Offer(offered=offered, left_out=pairs - offered)


def read(connection: duckdb.DuckDBPyConnection) -> pa.RecordBatchReader:
    """Return the rows of candidates.parquet, `offered` with its texts."""
    rows = connection.sql("""
        SELECT a.prompt, a.prompt_hash, a.source, o.why, o.priority,
               a.response AS response_1, a.response_hash AS hash_1, a.interaction_id AS interaction_1,
               b.response AS response_2, b.response_hash AS hash_2, b.interaction_id AS interaction_2
        FROM offered o
        JOIN interactions a ON a.interaction_id = o.low_id
        JOIN interactions b ON b.interaction_id = o.high_id
        ORDER BY o.place""").to_arrow_reader(BATCH_ROWS)
    return pa.RecordBatchReader.from_batches(CANDIDATE, _candidates(rows))


def _candidates(rows: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """Put the response with the smaller hash first; add the ids that only Python can hash."""
    for batch in rows:
        candidates = []
        for row in batch.to_pylist():
            low, high = sorted((row[f"hash_{n}"], n) for n in (1, 2))
            candidates.append(
                {
                    "pair_id": pair_id(row["prompt_hash"], low[0], high[0]),
                    "prompt": row["prompt"],
                    "response_a": row[f"response_{low[1]}"],
                    "response_b": row[f"response_{high[1]}"],
                    "interaction_a": row[f"interaction_{low[1]}"],
                    "interaction_b": row[f"interaction_{high[1]}"],
                    "source": row["source"],
                    "prompt_group": prompt_group(row["prompt"]),
                    "priority": row["priority"],
                    "why": row["why"],
                }
            )
        yield pa.RecordBatch.from_pylist(candidates, schema=CANDIDATE)
