"""Train, validation and test by prompt group, never by row.

Reads table kept, writes table splits(prompt_group, split); part of `python -m curate run`.

Where a group goes is a hash of the seed and the group alone: the first 52 bits of sha256("seed:group"), as a number in
[0, 1). Below `test` it is test, below `test + validation` validation, else train. So a group never moves when rows are
added, and all that grows from one conversation root is on one side.
"""

import duckdb

from curate.recipe import Split


def assign(connection: duckdb.DuckDBPyConnection, split: Split) -> None:
    """Give every prompt group of table kept its split."""
    connection.execute(
        """
        CREATE TEMP TABLE splits AS
        WITH places AS (
            SELECT prompt_group,
                   ('0x' || left(sha256(concat($seed::BIGINT, ':', prompt_group)), 13))::BIGINT / 2.0::DOUBLE ** 52
                       AS place
            FROM (SELECT DISTINCT prompt_group FROM kept))
        SELECT prompt_group,
               CASE WHEN place < $test::DOUBLE THEN 'test'
                    WHEN place < $test::DOUBLE + $validation::DOUBLE THEN 'validation'
                    ELSE 'train' END AS split
        FROM places""",
        {"seed": split.seed, "test": split.test, "validation": split.validation},
    )
