"""Contradictions: votes both ways on one pair of responses become one row, or none.

Reads table pairs, writes table votes and the ledger; part of `python -m curate run`.

The two responses are put in canonical order first, so that it does not matter which one a vote names first. Over all
votes on the pair, exact duplicates included:

- the majority stays: n_votes = all votes, n_agree = votes for it, agreement = n_agree / n_votes;
- the minority is dropped as contradiction_minority;
- in a deadlock both orders are dropped as contradiction_tied, and the pair becomes a candidate to label.

label_noise = (n_votes - n_agree + 1) / (n_votes + 2), Laplace's rule of succession for the share of dissent; NULL for
a single vote, which nothing could contradict (curate/curated.sql).
"""

from typing import Final

import duckdb

from curate.rules import Reason
from curate.statements import statement

MINORITY: Final = Reason(
    name="contradiction_minority",
    version=1,
    reason="More votes prefer the other response of this pair.",
)
TIED: Final = Reason(
    name="contradiction_tied",
    version=1,
    reason="As many votes prefer the other response of this pair; it becomes a candidate to label.",
)


def resolve(connection: duckdb.DuckDBPyConnection) -> None:
    """Count the votes of each pair both ways; enter minorities and deadlocks into the ledger."""
    connection.execute(statement("contradictions.sql"))
