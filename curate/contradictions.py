"""Contradictions: votes both ways on one pair of responses become one row, or none.

Reads table pairs, views triples and feedback; writes tables votes and scores, and the ledger; part of
`python -m curate run`.

The two responses are put in canonical order first, so that it does not matter which one a vote names first. Over all
votes on the pair, exact duplicates included:

- the majority stays: n_votes = all votes, n_agree = votes for it, agreement = n_agree / n_votes;
- the minority is dropped as contradiction_minority;
- in a deadlock both orders are dropped as contradiction_tied, and the pair becomes a candidate to label.

Where several raters of a pair are known their votes weigh as much as they are reliable (`curate.raters`): the side that
is right with at least the recipe's confidence stays, and label_noise is the probability that it is not. Elsewhere
votes are counted, and label_noise = (n_votes - n_agree + 1) / (n_votes + 2), Laplace's rule of succession for the
share of dissent; NULL for a single vote, which nothing could contradict (curate/kept.sql).

Where more than two responses are compared, `curate.rankings` scores them and finds cycles. A cycle is reported, and
dropped when the recipe says so: of A over B over C over A one vote at least is wrong, and nothing says which.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from curate import rankings, raters, recipe
from curate.rules import Reason
from curate.statements import statement
from ingest.errors import RecipeError

MINORITY: Final = Reason(
    name="contradiction_minority",
    version=2,
    reason="More votes, or those of more reliable raters, prefer the other response of this pair.",
)
TIED: Final = Reason(
    name="contradiction_tied",
    version=2,
    reason="As many votes prefer the other response, or its raters are too unreliable to tell: a candidate to label.",
)


CYCLE: Final = Reason(
    name="preference_cycle",
    version=1,
    reason="Its pair is part of a circle: A is preferred over B, B over C and C over A.",
)


@dataclass(frozen=True)
class Contests:
    """What the votes on pairs were like."""

    contradicted: int
    """Pairs with votes both ways."""
    weighed: int
    """Pairs of several known raters, decided by how reliable these are."""
    raters: int
    """Known raters of such pairs."""
    scored: int
    """Triples of prompts with more than two responses compared."""
    cycles: int
    in_cycles: int
    """Triples in them, whether the recipe drops them or not."""


def resolve(connection: duckdb.DuckDBPyConnection, settings: recipe.Contradictions, root: Path = Path()) -> None:
    """Count and weigh the votes of each pair both ways; enter minorities and deadlocks into the ledger.

    The recipe's file of checks is read from `root`. Raises RecipeError where it cannot be.
    """
    _read_checks(connection, root / settings.reliability if settings.reliability else None)
    connection.execute(statement("contradictions.sql"))
    ballots = connection.sql("FROM ballots ORDER BY contest, rater, low").to_arrow_table()
    contest, place = np.unique(ballots["contest"].to_numpy(), return_inverse=True)
    low = ballots["low"].to_numpy(zero_copy_only=False).astype(bool)
    rater = ballots["rater"].to_numpy()
    checks = raters.Checks(*(_per_rater(rater, ballots[name].to_numpy()) for name in ("n_right", "n_wrong")))
    found = raters.estimate(place, rater, low, _unnamed(connection), checks)
    # A tie of equals shall be one, whatever the last digit of a sum.
    verdicts = pa.table({"contest": contest, "chance": np.round(found.chance, 6)})
    connection.register("verdicts_of_raters", verdicts)
    connection.execute("CREATE TEMP TABLE verdicts_found AS FROM verdicts_of_raters")
    connection.unregister("verdicts_of_raters")
    connection.execute(statement("verdicts.sql"), {"confidence": settings.confidence})
    rankings.rank(connection, settings.confidence)
    if settings.cycles == "drop":
        connection.execute(f"""
            INSERT INTO ledger SELECT triple_id, '{CYCLE.name}', 'of a circle of preferences' FROM scores
            WHERE in_cycle AND triple_id NOT IN (SELECT triple_id FROM ledger WHERE name LIKE 'contradiction_%')""")


def _read_checks(connection: duckdb.DuckDBPyConnection, file: Path | None) -> None:
    """Make table checked(rater_id, n_right, n_wrong) of `file`; without one, nobody was checked."""
    connection.execute("CREATE TEMP TABLE checked (rater_id VARCHAR PRIMARY KEY, n_right BIGINT, n_wrong BIGINT)")
    if file is None:
        return
    try:
        connection.execute(
            "INSERT INTO checked SELECT rater_id, n_right, n_wrong FROM read_parquet($file)", {"file": str(file)}
        )
    except duckdb.Error as error:
        raise RecipeError(
            f"contradictions.reliability: {file} is no file of `python -m app quality --output`: {error}"
        ) from error


def _per_rater(rater: raters.I64, counts: raters.I64) -> raters.F64:
    """Return (raters,) the count that stands beside each vote of a rater."""
    found = np.zeros(int(rater.max(initial=-1)) + 1)
    found[rater] = counts
    return found


def _unnamed(connection: duckdb.DuckDBPyConnection) -> raters.F64:
    """Return, of each pair that is weighed, the votes of nobody known: those for low less those for high."""
    rows = connection.sql("""
        SELECT greatest(0, for_low - coalesce(sum(events) FILTER (b.low), 0))
               - greatest(0, for_high - coalesce(sum(events) FILTER (NOT b.low), 0)) AS more
        FROM ballots b JOIN contests USING (contest) GROUP BY contest, for_low, for_high ORDER BY contest""")
    more: raters.F64 = rows.to_arrow_table()["more"].to_numpy().astype(np.float64)
    return more


def contests(connection: duckdb.DuckDBPyConnection) -> Contests:
    """Count what `resolve` found."""
    (row,) = connection.execute("""
        SELECT (SELECT count(*) FROM contests WHERE for_low > 0 AND for_high > 0),
               (SELECT count(*) FROM verdicts_found),
               (SELECT count(DISTINCT rater) FROM ballots),
               count(*), count(DISTINCT circle) FILTER (in_cycle), count(*) FILTER (in_cycle)
        FROM scores""").fetchall()
    return Contests(*row)
