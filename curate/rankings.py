"""Where votes compare more than two responses: how good each is, and where preferences go in circles.

Reads tables contests and verdicts_found (curate/contradictions.py); makes table scores(triple_id, chosen_score,
rejected_score, in_cycle), with the triples whose prompt has more than two connected responses; part of
`python -m curate run`.

A response's score is that of Bradley & Terry 1952: P(i beats j) = sigmoid(s_i - s_j). All votes count, those for the
loser too. Each score has a standard normal prior, so that there is one answer, finite also for who never lost: after
one vote the winner is better with probability 0.663, where Laplace's rule says 2 / 3. In [0, 1] the margin of a pair is
max(0, 2 P(chosen beats rejected) - 1): 0 where nothing is known or the others' votes say otherwise.

A cycle is A over B, B over C, C over A: a strongly connected component of the majorities.
"""

from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from curate.raters import F64, I64
from curate.statements import statement

DIGITS: Final = 6
"""Of scores as they are written: the last digits of sums depend on the machine."""


def rank(connection: duckdb.DuckDBPyConnection, confidence: float) -> None:
    """Make table scores. `confidence` is the probability from which raters' votes decide a contest."""
    connection.execute(statement("rankings.sql"))
    table = connection.sql("FROM edges ORDER BY low, high").to_arrow_table()
    low, high, for_low, for_high = (table[name].to_numpy() for name in ("low", "high", "for_low", "for_high"))
    chance = table["chance"].to_numpy(zero_copy_only=False).astype(np.float64)
    ((count,),) = connection.execute("SELECT count(*) FROM nodes").fetchall()
    score = np.round(bradley_terry(low, high, for_low.astype(float), for_high.astype(float), count), DIGITS) + 0.0
    decided = (chance >= confidence).astype(int) - (chance <= 1 - confidence)
    ahead = np.where(np.isnan(chance), np.sign(for_low - for_high), decided)
    circle = cycles(np.where(ahead > 0, low, high)[ahead != 0], np.where(ahead > 0, high, low)[ahead != 0], count)
    _, component = connected_components(coo_array((np.ones(len(low)), (low, high)), (count, count)), directed=False)
    several = np.bincount(component, minlength=1)[component] > 2 if count else np.zeros(0, bool)
    found = {"node": np.arange(count), "score": score, "circle": circle, "several": several}
    connection.register("found", pa.table(found))
    connection.execute("""
        CREATE TEMP TABLE scores AS
        WITH scored AS (SELECT prompt_hash, response, score, circle FROM found JOIN nodes USING (node) WHERE several)
        SELECT triple_id, c.score AS chosen_score, r.score AS rejected_score,
               c.circle >= 0 AND c.circle = r.circle AS in_cycle, c.circle
        FROM pairs p
        JOIN scored c ON c.prompt_hash = p.prompt_hash AND c.response = chosen_hash
        JOIN scored r ON r.prompt_hash = p.prompt_hash AND r.response = rejected_hash""")
    connection.unregister("found")


def bradley_terry(low: I64, high: I64, for_low: F64, for_high: F64, count: int) -> F64:
    """Return (count,) the scores of greatest posterior probability; edges (E,) with how often each side won.

    Maximises sum for_low log sigmoid(s_low - s_high) + for_high log sigmoid(s_high - s_low) - sum s^2 / 2, by Newton's
    method, each step by conjugate gradients: passes over the edges, whatever their shape.
    """
    score = np.zeros(count)
    value = _posterior(score, low, high, for_low, for_high)
    for _ in range(50):
        p = 1 / (1 + np.exp(score[high] - score[low]))
        pull = for_low * (1 - p) - for_high * p
        slope = np.bincount(low, pull, count) - np.bincount(high, pull, count) - score
        if np.abs(slope).max(initial=0.0) < 1e-10:
            break
        step = _conjugate(slope, low, high, (for_low + for_high) * p * (1 - p))
        while (new := _posterior(score + step, low, high, for_low, for_high)) < value - 1e-12 * abs(value):
            step /= 2
        score, value = score + step, new
    return score


def _posterior(score: F64, low: I64, high: I64, for_low: F64, for_high: F64) -> float:
    ahead = score[low] - score[high]
    return -float((for_low * np.logaddexp(0, -ahead) + for_high * np.logaddexp(0, ahead)).sum() + (score**2).sum() / 2)


def _conjugate(slope: F64, low: I64, high: I64, curvature: F64) -> F64:
    """Solve (L + I) x = slope, L being the Laplacian of the edges with weights `curvature`."""
    x, left = np.zeros_like(slope), slope.copy()
    way, size = left.copy(), float((left**2).sum())
    first = size
    for _ in range(1_000):
        if size <= 1e-22 * first:
            break
        flow = curvature * (way[low] - way[high])
        bent = np.bincount(low, flow, len(x)) - np.bincount(high, flow, len(x)) + way
        length = size / float((way * bent).sum())
        x += length * way
        left -= length * bent
        before, size = size, float((left**2).sum())
        way = left + (size / before) * way
    return x


def cycles(winner: I64, loser: I64, count: int) -> I64:
    """Return (count,) the number of the cycle that each response is in, -1 for none."""
    graph = coo_array((np.ones(len(winner)), (winner, loser)), (count, count))
    _, label = connected_components(graph, directed=True, connection="strong")
    size = np.bincount(label, minlength=1)
    return np.where(size[label] > 1, label, -1).astype(np.int64)
