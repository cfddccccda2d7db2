"""The rows of a data set that are worth a look: its largest clusters of prompts, and those it should trust least.

Reads the staged curated.parquet: narrow columns, and of ten rows the question; part of the report. Questions are shown
as the lake holds them, redacted, and cut after EXCERPT characters; only curated rows are shown, so that erasing a user
withdraws this with the snapshot.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow.compute as pc
import pyarrow.parquet as pq

CLUSTERS: Final = 5
WORST: Final = 6
"""Rows of each kind."""
EXCERPT: Final = 120


@dataclass(frozen=True)
class Cluster:
    """Prompts that are alike, and are in one split."""

    name: str
    split: str
    triples: int
    prompts: int
    examples: tuple[str, ...]
    """The questions of two of them."""


@dataclass(frozen=True)
class Suspect:
    """A curated row that says little, or something else than it seems to."""

    triple_id: str
    why: str


def clusters(connection: duckdb.DuckDBPyConnection, curated: Path) -> list[Cluster]:
    """Return the largest clusters of more than one prompt."""
    rows = connection.execute(
        """
        SELECT cluster_id, any_value(split), count(*), count(DISTINCT prompt_hash),
               [arg_min(triple_id, prompt_hash), arg_max(triple_id, prompt_hash)]
        FROM (SELECT cluster_id, split, prompt_hash, min(triple_id) OVER (PARTITION BY prompt_hash) AS triple_id
              FROM read_parquet($curated))
        GROUP BY cluster_id HAVING count(DISTINCT prompt_hash) > 1 ORDER BY 4 DESC, 3 DESC, 1 LIMIT $clusters""",
        {"curated": str(curated), "clusters": CLUSTERS},
    ).fetchall()
    said = _questions(curated, [key for row in rows for key in row[4]])
    return [Cluster(row[0], row[1], row[2], row[3], tuple(said[key] for key in row[4])) for row in rows]


def _questions(curated: Path, keys: list[str]) -> dict[str, str]:
    """Return the beginning of the last user's message of some rows; only their row groups are read."""
    if not keys:
        return {}
    table = pq.read_table(curated, columns=["triple_id", "prompt"], filters=pc.field("triple_id").isin(keys))
    return {row["triple_id"]: _excerpt(row["prompt"]) for row in table.to_pylist()}


def _excerpt(prompt: list[dict[str, Any]]) -> str:
    said = next((m["content"] for m in reversed(prompt) if m["role"] == "user" and m["content"]), "")
    line = " ".join(str(said).split())
    return line if len(line) <= EXCERPT else f"{line[: EXCERPT - 1]}…"


def suspects(connection: duckdb.DuckDBPyConnection, curated: Path) -> list[Suspect]:
    """Return the rows on which votes disagree most, and those of the most unequal lengths."""
    rows = connection.execute(
        """
        WITH rows AS (SELECT triple_id, n_votes, n_agree, label_noise, chosen_chars, rejected_chars,
                             greatest(chosen_chars, rejected_chars) / greatest(least(chosen_chars, rejected_chars), 1)
                             AS times
                      FROM read_parquet($curated)),
        noisy AS (SELECT 1 AS kind, label_noise AS badness, triple_id,
                         format('{:d} of {:d} votes for it, label noise {:.2f}', n_agree, n_votes, label_noise) AS why
                  FROM rows WHERE n_agree < n_votes AND label_noise IS NOT NULL
                  ORDER BY label_noise DESC, triple_id LIMIT $worst),
        uneven AS (SELECT 2, times, triple_id,
                          format('{:d} characters chosen, {:d} rejected', chosen_chars, rejected_chars)
                   FROM rows WHERE times >= 4 ORDER BY times DESC, triple_id LIMIT $worst)
        SELECT triple_id, why FROM (FROM noisy UNION ALL FROM uneven) ORDER BY kind, badness DESC, triple_id""",
        {"curated": str(curated), "worst": WORST},
    ).fetchall()
    return [Suspect(*row) for row in rows]
