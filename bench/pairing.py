"""Pairing a lake of interactions, all of it, after one per cent more and after nothing, against DuckDB reading it.

The lake has two responses to every prompt, of about 1 KB, and feedback on three in five of every tenth prompt
(--every): side-by-side votes, thumbs on both, ratings, regenerations and edits of a few words. Baseline: DuckDB reads
every column of the interactions and groups them by prompt = 1. Gates: the triples of a sample of prompts are those of a
naive pairing in Python, and pairing everything after the increment changes no row.

    python -m bench.pairing --interactions 1000000
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import duckdb
from rich.console import Console
from rich.table import Table

from bench.arms import Cost, run
from ingest.lake import SCHEMAS, Lake

CHUNK: Final = 50_000
"""Prompts that are written at once."""
SAMPLE: Final = 5_000
"""Prompts that are paired in Python, too."""

_INTERACTIONS: Final = """
    SELECT 'b2:' || md5('i' || p || '.' || side) AS interaction_id, 'bench' AS source, p || '.' || side AS source_id,
      'b2:' || md5('g' || p) AS sibling_group, 'u:' || md5('user' || p % 20000) AS user_id,
      [{'role': 'user', 'content': 'How? ' || p || ' ' || words(p, 12)}] AS prompt,
      [{'role': 'assistant', 'content': words(p * 2 + side + 1000000000, 20)}] AS response,
      'b2:' || md5('p' || p) AS prompt_hash, 'b2:' || md5('r' || p || '.' || side) AS response_hash,
      'm' || side AS model, '{"temperature":1.0}' AS sampling, 'stop' AS finish_reason, 'ok' AS status,
      true AS shown, 'training' AS consent,
      TIMESTAMPTZ '2026-10-01 00:00:00Z' + to_seconds(p) AS event_time
    FROM range($first::BIGINT, $last::BIGINT) AS prompts(p), range(2) AS sides(side)
"""
_FEEDBACK: Final = """
    SELECT 'b2:' || md5('f' || p || '.' || n) AS feedback_id, 'bench' AS source, p || '.' || n AS source_id,
      0 AS revision, said.signal, 'b2:' || md5('i' || p || '.' || target) AS interaction_id,
      CASE WHEN said.signal IN ('choice', 'regenerate') THEN ['b2:' || md5('i' || p || '.' || (1 - target))] ELSE [] END
        AS other_ids,
      said.value AS value, said.low AS scale_min, said.high AS scale_max,
      CASE said.signal WHEN 'edit' THEN replace(words(p * 2 + 1000000000, 20), 'a b', 'an edit') END AS text,
      'user' AS rater_kind, 'u:' || md5('user' || p % 20000) AS rater_id, false AS retracted,
      TIMESTAMPTZ '2026-10-02 00:00:00Z' + to_seconds(p) AS event_time
    FROM (
      SELECT p, unnest(CASE (p // $every) % 20
        WHEN 6 THEN [{'n': 0, 't': 0, 'signal': 'rating', 'value': 5.0, 'low': 1.0, 'high': 5.0},
                     {'n': 1, 't': 1, 'signal': 'rating', 'value': 2.0, 'low': 1.0, 'high': 5.0}]
        WHEN 7 THEN [{'n': 0, 't': 0, 'signal': 'regenerate', 'value': NULL, 'low': NULL, 'high': NULL}]
        WHEN 8 THEN [{'n': 0, 't': 0, 'signal': 'edit', 'value': NULL, 'low': NULL, 'high': NULL}]
        ELSE CASE
          WHEN (p // $every) % 20 < 6
          THEN [{'n': 0, 't': p % 2, 'signal': 'choice', 'value': 1.0, 'low': 0.0, 'high': 1.0}]
          WHEN (p // $every) % 20 < 12
          THEN [{'n': 0, 't': 0, 'signal': 'thumb', 'value': 1.0, 'low': -1.0, 'high': 1.0},
                {'n': 1, 't': 1, 'signal': 'thumb', 'value': -1.0, 'low': -1.0, 'high': 1.0}]
          ELSE [] END
        END) AS said
      FROM range($first::BIGINT, $last::BIGINT) AS prompts(p) WHERE p % $every = 0
    ), LATERAL (SELECT said.n AS n, said.t AS target)
"""
_WORDS: Final = """
    CREATE MACRO words(seed, n) AS array_to_string(list_transform(range(n), lambda i: md5(seed || '.' || i)), ' ')
"""
_READ: Final = """
    SELECT bit_xor(content), max(responses) FROM (
      SELECT prompt_hash, bit_xor(hash(i)) AS content, count(*) AS responses
      FROM read_parquet($files) AS i GROUP BY prompt_hash
    )
"""
_PAIR: Final = """
import sys
from pathlib import Path
from ingest import pairing
from ingest.lake import Lake
print(pairing.build(Lake(Path(sys.argv[1])), "bench").total)
"""


def main() -> None:
    """Write the lake, run the arms, check what they made, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--interactions", type=int, default=200_000)
    parser.add_argument("--every", type=int, default=10)
    arguments = parser.parse_args()
    prompts, every = arguments.interactions // 2, arguments.every
    folder = Path(tempfile.mkdtemp(prefix="winnow-bench-"))
    try:
        lake = Lake(folder / "lake")
        write_lake(lake, 0, prompts, every)
        imports = run([sys.executable, "-c", "from ingest import pairing"])
        costs = {"DuckDB reads and groups": _read(lake), "imports alone": imports, "pairing, everything": _pair(lake)}
        write_lake(lake, prompts, prompts + prompts // 100, every)
        costs["pairing, 1 % more"] = _pair(lake)
        costs["pairing, nothing new"] = _pair(lake)
        if problem := _difference(lake):
            sys.exit(f"FAIL, no speed: {problem}")
        _print(costs, 2 * prompts)
    finally:
        shutil.rmtree(folder)


def write_lake(lake: Lake, first: int, last: int, every: int) -> None:
    """Append the interactions and feedback of the prompts from `first` to before `last`."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(_WORDS)
        for begin in range(first, last, CHUNK):
            for table, query, options in (
                ("interactions", _INTERACTIONS, {}),
                ("feedback", _FEEDBACK, {"every": every}),
            ):
                contract = SCHEMAS[table]
                types = connection.from_arrow(contract.empty_table()).types
                given = connection.sql(query, params={"first": begin, "last": min(begin + CHUNK, last), **options})
                columns = ", ".join(
                    f'CAST({_column(name, given.columns)} AS {kind}) AS "{name}"'
                    for name, kind in zip(contract.names, types, strict=True)
                )
                lake.append(table, given.project(columns).to_arrow_table().cast(contract), {})


def _column(name: str, given: list[str]) -> str:
    """Return the expression of a contract's column: messages get the keys that they lack."""
    if name in ("prompt", "response"):
        whole = "tool_calls := NULL, tool_call_id := NULL, name := NULL"
        return f"list_transform({name}, lambda m: struct_pack(role := m.role, content := m.content, {whole}))"
    return f'"{name}"' if name in given else "NULL"


def _read(lake: Lake) -> Cost:
    code = "import duckdb, json, sys; duckdb.sql(sys.argv[1], params={'files': json.loads(sys.argv[2])}).fetchall()"
    files = str(lake.files("interactions")).replace("'", '"')
    return run([sys.executable, "-c", code, _READ, files])


def _pair(lake: Lake) -> Cost:
    """Pair in a process of its own; its imports are in the cost."""
    return run([sys.executable, "-c", _PAIR, str(lake.path)])


def _difference(lake: Lake) -> str | None:
    """Return what is wrong with the triples, None where nothing is."""
    with lake.database() as connection:
        for table in ("interactions", "feedback", "triples"):
            lake.view(connection, table)
        some = f"(SELECT DISTINCT prompt_hash FROM interactions ORDER BY prompt_hash LIMIT {SAMPLE})"
        served = connection.execute(
            f"SELECT interaction_id, prompt_hash FROM interactions WHERE prompt_hash IN {some}"
        ).fetchall()
        ids = "(SELECT interaction_id FROM interactions WHERE prompt_hash IN " + some + ")"
        said = connection.execute(
            f"SELECT signal, interaction_id, other_ids, value, scale_max FROM feedback WHERE interaction_id IN {ids}"
        ).fetchall()
        made = connection.execute(
            f"SELECT rule, chosen_interaction_id, rejected_interaction_id FROM triples WHERE prompt_hash IN {some}"
        ).fetchall()
    expected = naive(dict(served), said)
    if set(made) != expected or len(made) != len(expected):
        return f"{len(set(made) ^ expected)} of {len(expected)} triples differ from a naive pairing"
    before = lake.version("triples"), lake.version("unpaired")
    shutil.rmtree(lake.path / "outcomes")  # what was paired last is forgotten: everything is paired again
    _pair(lake)
    after = lake.version("triples"), lake.version("unpaired")
    return None if before == after else "pairing everything again changed a row"


def naive(prompts: dict[str, str], said: list[tuple[Any, ...]]) -> set[tuple[str, str | None, str]]:
    """Pair by the rules' plain meaning: (rule, chosen, rejected) of each triple."""
    found: set[tuple[str, str | None, str]] = set()
    for signal, target, others, value, best in said:
        if signal == "choice":
            found |= {("choice", target, other) for other in others}
        elif signal == "regenerate":
            found |= {("regenerate", other, target) for other in others}
        elif signal == "edit":
            found.add(("edit", None, target))
        for other_signal, other_target, _, other_value, _ in said if signal in ("thumb", "rating") else ():
            if other_signal == signal and prompts[other_target] == prompts[target] and value == best > other_value:
                found.add(({"thumb": "sibling_thumbs"}.get(signal, signal), target, other_target))
    return found


def _print(costs: dict[str, Cost], interactions: int) -> None:
    table = Table(title=f"pairing {interactions:,} interactions", title_justify="left")
    for name in ("arm", "CPU s", "ratio", "wall s"):
        table.add_column(name, justify="left" if name == "arm" else "right")
    baseline = costs["DuckDB reads and groups"].cpu_s
    for name, cost in costs.items():
        ratio = f"{cost.cpu_s / baseline:.2f}"
        table.add_row(name, f"{cost.cpu_s:.1f}", ratio, f"{cost.wall_s:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
