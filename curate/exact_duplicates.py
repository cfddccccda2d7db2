"""Exact duplicates: one judgement that several rules or sources made is one row, the best of them.

Reads table pairs, writes table duplicates and the ledger; part of `python -m curate run`. The survivor takes over the
others' events, users and votes (curate/curated.sql), so that nothing that was said is lost.
"""

from typing import Final

import duckdb

from curate.rules import Reason
from curate.statements import statement

DUPLICATE: Final = Reason(
    name="exact_duplicate",
    version=1,
    reason="Another triple has the same prompt, chosen and rejected text, and stays in its place.",
)


def find(connection: duckdb.DuckDBPyConnection) -> None:
    """Enter every duplicate but the best into the ledger, with the survivor's id as detail."""
    connection.execute(statement("exact_duplicates.sql"))
