"""What balancing looks at: the rows that stand, as narrow columns, and the cells that no target tells apart.

Reads view triples, tables features, clusters and ledger, view feedback where annotators matter; makes tables
balance_rows and balance_cells. Every SQL text here is this file's own; values of a recipe are parameters.
"""

from collections.abc import Mapping
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from curate import recipe
from curate.calibration import Cells, Target

STYLES: Final = ("list", "bold", "markdown", "link", "emoji", "exclamation", "affirmative")
"""The bits of curate/style.sql, lowest first."""
COLUMNS: Final[Mapping[str, str]] = {
    "prompt": "t.prompt_hash",
    "source": "t.source",
    "model": "t.chosen_model",
    "signal": "t.signal",
    "language": "f.language",
    "cluster": "c.cluster_id",
    "user": "t.user_ids[1]",
    "annotator": "a.annotator",
    "week": "strftime(t.last_time AT TIME ZONE 'UTC', '%G-W%V')",
}
"""What rows can be capped and shared out by -> DuckDB expression; NULL where a triple does not say."""
UNKNOWN: Final = "unknown"
"""What a recipe's shares call NULL."""
RATIO_BIN: Final = 0.1
"""Width of a cell in ln(chosen / rejected), up to e^3 either way."""
_RATIO: Final = "ln(greatest(chosen_chars, 1) / greatest(rejected_chars, 1))"


def open_rows(connection: duckdb.DuckDBPyConnection, settings: recipe.Balance) -> int:
    """Make table balance_rows of what stands and has a weight; return how many rows that is."""
    columns = [name for name in COLUMNS if name in settings.caps or name in settings.shares]
    chosen = "".join(f', {COLUMNS[name]} AS "{name}"' for name in columns)
    annotated = ""
    if "annotator" in columns:
        annotated = """
            LEFT JOIN (SELECT v.triple_id, min(rater_id) AS annotator
                       FROM (SELECT triple_id, unnest(event_ids) AS feedback_id FROM triples) v
                       JOIN feedback USING (feedback_id) WHERE rater_kind = 'annotator' GROUP BY v.triple_id) a
            USING (triple_id)"""
    connection.execute(f"""
        CREATE TEMP TABLE balance_rows AS
        SELECT t.triple_id, coalesce(t.weight, 1)::DOUBLE AS weight, f.chosen_chars, f.rejected_chars,
               f.chosen_style, f.rejected_style{chosen}
        FROM triples t JOIN features f USING (triple_id) {annotated}
        {"LEFT JOIN clusters c ON c.prompt_group = t.prompt_group" if "cluster" in columns else ""}
        WHERE coalesce(t.weight, 1) > 0 AND NOT EXISTS (FROM ledger WHERE ledger.triple_id = t.triple_id)""")
    return len_of(connection)


def len_of(connection: duckdb.DuckDBPyConnection) -> int:
    """Return how many rows balance_rows has."""
    ((count,),) = connection.execute("SELECT count(*) FROM balance_rows").fetchall()
    return int(count)


def cap(connection: duckdb.DuckDBPyConnection, column: str, most: int, settings: recipe.Balance) -> int:
    """Drop rows beyond `most` of each value of `column`, into the ledger; return how many.

    The heaviest stay, among equals those of the smallest seeded hash. Of one prompt's, where length is balanced, the
    pairs of most equal lengths: which of k responses are compared is free, so there nothing is lost by it.
    """
    by_length = column == "prompt" and (settings.means or "length" in settings.chosen_has_more)
    order = f"abs({_RATIO}), " if by_length else ""
    connection.execute(
        f"""
        CREATE TEMP TABLE over_cap AS
        WITH many AS (SELECT "{column}" AS value, count(*) AS rows FROM balance_rows
                      WHERE "{column}" IS NOT NULL GROUP BY 1 HAVING count(*) > $most::BIGINT)
        SELECT triple_id, rows FROM balance_rows JOIN many ON value = "{column}"
        QUALIFY row_number() OVER (PARTITION BY value ORDER BY {order}weight DESC,
                                   sha256(concat($seed::BIGINT, ':', triple_id)), triple_id) > $most::BIGINT""",
        {"most": most, "seed": settings.seed},
    )
    connection.execute(
        """INSERT INTO ledger
           SELECT triple_id, 'over_cap', format('one of {:d} with this {}, {:d} allowed', rows, $column, $most::BIGINT)
           FROM over_cap""",
        {"column": column, "most": most},
    )
    connection.execute("DELETE FROM balance_rows WHERE triple_id IN (SELECT triple_id FROM over_cap)")
    ((count,),) = connection.execute("SELECT count(*) FROM over_cap").fetchall()
    connection.execute("DROP TABLE over_cap")
    return int(count)


def cells(connection: duckdb.DuckDBPyConnection, settings: recipe.Balance) -> tuple[Cells, tuple[Target, ...]]:
    """Make table balance_cells, and return the cells and the recipe's targets over them, in its order."""
    connection.execute("DROP TABLE IF EXISTS balance_cells")
    keys, parameters = _keys(settings)
    names = ", ".join(keys)
    # Numbers of a cell are in the order of its keys. Sums are of integers: those of floats depend on the order of rows.
    connection.execute(
        f"""
        CREATE TEMP TABLE balance_cells AS
        WITH keyed AS (SELECT {", ".join(f"{what} AS {name}" for name, what in keys.items())},
                              round(1e6 * {_RATIO})::BIGINT AS millionths FROM balance_rows),
        counted AS (SELECT {names}, count(*) AS rows, sum(millionths)::BIGINT AS millionths FROM keyed GROUP BY ALL)
        SELECT *, row_number() OVER (ORDER BY {names}) - 1 AS cell FROM counted ORDER BY cell""",
        parameters,
    )
    table = connection.sql("FROM balance_cells ORDER BY cell").to_arrow_table()
    found = Cells(rows=table["rows"].to_numpy().astype(np.int64), weight=table["weight"].to_numpy().astype(np.float64))
    return found, tuple(_targets(table, found, settings))


def place_rows(connection: duckdb.DuckDBPyConnection, settings: recipe.Balance) -> None:
    """Make table balance_places(triple_id, weight, cell): the cell of each row."""
    keys, parameters = _keys(settings)
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE balance_places AS
        WITH keyed AS (SELECT triple_id, {", ".join(f"{what} AS {name}" for name, what in keys.items())}
                       FROM balance_rows)
        SELECT triple_id, weight, cell FROM keyed JOIN balance_cells USING ({", ".join(keys)})""",
        parameters,
    )


def _keys(settings: recipe.Balance) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return what makes two rows one cell: name -> DuckDB expression that is never NULL, and their parameters."""
    keys, parameters = {"weight": "weight"}, {}
    for column, shares in settings.shares.items():
        value = f"coalesce(\"{column}\", '{UNKNOWN}')"
        keys[f"is_{column}"] = f"if(list_contains($is_{column}::VARCHAR[], {value}), {value}, '')"
        parameters[f"is_{column}"] = list(shares)
    for feature in settings.chosen_has_more:
        if feature == "length":
            keys["more_length"] = "sign(chosen_chars - rejected_chars)::TINYINT"
        else:
            bit = 1 << STYLES.index(feature)
            keys[f"more_{feature}"] = f"(chosen_style & {bit} > 0)::TINYINT - (rejected_style & {bit} > 0)::TINYINT"
    if settings.means:
        keys["ratio"] = f"floor(greatest(-3, least(2.99, {_RATIO})) / {RATIO_BIN})::TINYINT"
    return keys, parameters


def _targets(table: pa.Table, cells: Cells, settings: recipe.Balance) -> list[Target]:
    ones = np.ones(len(cells.rows))
    tolerance = settings.tolerance
    found = []
    for feature, goal in settings.chosen_has_more.items():
        more = table[f"more_{feature}"].to_numpy()
        whole = (more != 0).astype(np.float64)
        found.append(Target(f"chosen_has_more.{feature}", goal, tolerance, (more > 0).astype(np.float64), whole))
    for mean, goal in settings.means.items():
        ratio = table["millionths"].to_numpy() / 1e6 / cells.rows
        found.append(Target(f"means.{mean}", goal, tolerance, ratio, ones))
    for column, shares in settings.shares.items():
        values = np.array(table[f"is_{column}"].to_pylist(), dtype=object)
        found += [
            Target(f"shares.{column}.{value}", goal, tolerance, (values == value).astype(np.float64), ones)
            for value, goal in shares.items()
        ]
    return found
