"""Log lines to Parquet: `python -m ingest run` against readers that only parse, on the same file and the same columns.

The file is a LiteLLM log (`bench.litellm_log` says what is in it). DuckDB reads it with typed read_ndjson and COPY,
Polars with scan_ndjson and sink_parquet; both write prompt, response, parameters, ids, models, tokens and times, 13
columns, to Parquet in Zstandard at their default level, 3. Winnow writes these and 26 more (keys, hashes, provenance)
at level 1, so a second arm of DuckDB has that level, too. Winnow also redacts, hashes, makes keys, looks them up, keeps
the read position and pairs, and it goes on behind a bad line. Arms run in turn; each number is the median. Baseline:
DuckDB's CPU seconds at its default = 1.

Gate: the same rows, models, tokens and times, and in all rows that nothing was redacted in the same ids and characters.
Besides: a run with nothing new, one after 1 % was appended, and where the CPU seconds of a run go (`bench.stages`).
"Without redaction" is the run less that stage, for the product has no switch for it.

    python -m bench.ingest --megabytes 600 --repeats 5
"""

import argparse
import json
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final

import duckdb
from rich.console import Console
from rich.table import Table

from bench import litellm_log
from bench.arms import Cost, in_turn, run
from ingest.lake import Lake

BASELINE: Final = "DuckDB COPY"
WORKERS: Final = 2
"""Processes that read in the last arm; files below 64 MB are read by one all the same."""

_MESSAGE: Final = "STRUCT(role VARCHAR, content VARCHAR, tool_calls JSON, tool_call_id VARCHAR, name VARCHAR)"
_DUCKDB: Final = f"""
COPY (
  SELECT id AS source_id, trace_id AS conversation_id, end_user AS user_id, messages AS prompt,
    list_transform(response.choices, lambda c: c.message) AS response,
    response.choices[1].finish_reason AS finish_reason, response.model AS model, model_group AS model_requested,
    model_parameters AS sampling, response.usage.prompt_tokens AS tokens_in,
    response.usage.completion_tokens AS tokens_out, startTime AS started, endTime AS ended
  FROM read_ndjson($log, columns = {{
    id: 'VARCHAR', trace_id: 'VARCHAR', startTime: 'DOUBLE', endTime: 'DOUBLE', model_group: 'VARCHAR',
    end_user: 'VARCHAR', model_parameters: 'JSON', messages: '{_MESSAGE}[]',
    response: 'STRUCT(model VARCHAR, usage STRUCT(prompt_tokens INTEGER, completion_tokens INTEGER), '
      || 'choices STRUCT(finish_reason VARCHAR, message {_MESSAGE})[])'
  }})
) TO 'OUT' (FORMAT parquet, COMPRESSION zstdLEVEL)
"""

_POLARS: Final = """
import sys, polars as pl
text, number = pl.String, pl.Int32
message = pl.Struct({"role": text, "content": text})
response = pl.Struct({
    "model": text,
    "usage": pl.Struct({"prompt_tokens": number, "completion_tokens": number}),
    "choices": pl.List(pl.Struct({"finish_reason": text, "message": message})),
})
schema = {
    "id": text, "trace_id": text, "startTime": pl.Float64, "endTime": pl.Float64, "model_group": text, "end_user": text,
    "model_parameters": pl.Struct({"temperature": pl.Float64, "max_tokens": number, "user": text}),
    "messages": pl.List(message), "response": response,
}
answered = pl.col("response").struct
pl.scan_ndjson(sys.argv[1], schema=schema).select(
    source_id="id", conversation_id="trace_id", user_id="end_user", prompt="messages", sampling="model_parameters",
    response=answered.field("choices").list.eval(pl.element().struct.field("message")),
    finish_reason=answered.field("choices").list.first().struct.field("finish_reason"),
    model=answered.field("model"), model_requested="model_group",
    tokens_in=answered.field("usage").struct.field("prompt_tokens"),
    tokens_out=answered.field("usage").struct.field("completion_tokens"), started="startTime", ended="endTime",
).sink_parquet(sys.argv[2], compression="zstd")
"""

_FACTS: Final = """
WITH rows AS (SELECT *, round({started} * 1000)::BIGINT AS time FROM read_parquet($files)),
same AS (SELECT * FROM rows ANTI JOIN changed USING (time))
SELECT count(*)::BIGINT, count(DISTINCT model)::BIGINT, sum(tokens_in)::BIGINT, sum(tokens_out)::BIGINT,
  sum(time)::BIGINT,
  (SELECT bit_xor(hash(source_id, conversation_id)) FROM same),
  (SELECT sum(list_sum(list_transform(prompt, lambda m: len(m.content))))::BIGINT FROM same),
  (SELECT sum(list_sum(list_transform(response, lambda m: len(m.content))))::BIGINT FROM same)
FROM rows
"""
_CHANGED: Final = """
CREATE TABLE changed AS SELECT round(epoch(event_time) * 1000)::BIGINT AS time FROM read_parquet($files)
WHERE cardinality(redactions) > 0 OR source_id LIKE 'id:%' OR conversation_id LIKE 'id:%'
"""
"""Rows, by their time, in which something was redacted, or an id that looks like a phone number was replaced."""


def main() -> None:
    """Write a log, run the arms in turn, compare what they wrote, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="winnow-bench-"))
    try:
        _compare(folder, arguments.megabytes * 1_000_000, arguments.repeats)
    finally:
        shutil.rmtree(folder)


def _compare(folder: Path, size: int, repeats: int) -> None:
    log = folder / "log.jsonl"
    litellm_log.write(log, size)
    size = log.stat().st_size
    for workers in (1, WORKERS):
        (folder / str(workers)).mkdir()
        (folder / str(workers) / "winnow.toml").write_text(
            f'lake = "lake"\n[limits]\nworkers = {workers}\n[[sources]]\nname = "gateway"\npath = "../{log.name}"\n'
        )
    alone = folder / "1"
    arms = {
        BASELINE: lambda: _duckdb(log, folder / "duckdb.parquet"),
        "DuckDB COPY, level 1": lambda: _duckdb(log, folder / "level_1.parquet", ", COMPRESSION_LEVEL 1"),
        "Polars scan, sink": lambda: run([sys.executable, "-c", _POLARS, str(log), str(folder / "polars.parquet")]),
        "Winnow": lambda: _winnow(alone, fresh=True),
        f"Winnow, {WORKERS} workers": lambda: _winnow(folder / str(WORKERS), fresh=True),
    }
    costs = in_turn(arms, repeats)
    # In a process of its own: a child's peak memory counts what its parent held when it was started.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        if differing := pool.submit(_differing, folder).result():
            sys.exit(f"FAIL, no speed: {differing}")
    costs["Winnow, nothing new"] = in_turn({"": lambda: _winnow(alone)}, repeats)[""]
    with log.open("ab") as file:
        litellm_log.write(folder / "more.jsonl", size // 100, seed=1)
        file.write((folder / "more.jsonl").read_bytes())
    costs["Winnow, 1 % appended"] = _winnow(alone)
    shutil.rmtree(alone / "lake")
    stages = _stages(alone)
    with log.open("rb") as lines:
        _print(costs, size)
        _print_stages(stages, sum(1 for _ in lines))


def _duckdb(log: Path, out: Path, level: str = "") -> Cost:
    code = "import duckdb, sys; duckdb.execute(sys.argv[1], {'log': sys.argv[2]})"
    return run([sys.executable, "-c", code, _DUCKDB.replace("OUT", str(out)).replace("LEVEL", level), str(log)])


def _winnow(folder: Path, *, fresh: bool = False) -> Cost:
    if fresh:
        shutil.rmtree(folder / "lake", ignore_errors=True)
    return run([sys.executable, "-m", "ingest", "run", "--config", str(folder / "winnow.toml")])


def _stages(folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.stages", str(folder / "winnow.toml")]
    stages = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    found: dict[str, float] = json.loads(stages)
    return found


def _differing(folder: Path) -> dict[str, object]:
    """Return what the arms wrote, unless it is the same."""
    ours, theirs = (Lake(folder / str(workers) / "lake").files("interactions") for workers in (1, WORKERS))
    others = {BASELINE: [str(folder / "duckdb.parquet")], "Polars": [str(folder / "polars.parquet")]}
    facts: dict[str, object] = {}
    with duckdb.connect() as connection:
        connection.execute(_CHANGED, {"files": ours})
        for arm, files in {**others, "Winnow": ours, "workers": theirs}.items():
            query = _FACTS.format(started="started" if arm in others else "epoch(event_time)")
            facts[arm] = connection.execute(query, {"files": files}).fetchall()
        [(rows,)] = connection.execute("SELECT count(*) FROM changed").fetchall()
    if any(found != facts[BASELINE] for found in facts.values()):
        return facts
    same = f"rows, models, tokens, times, and ids and characters of all but {rows} redacted rows agree"
    print(f"{same}: {facts[BASELINE]}", flush=True)
    return {}


def _print(costs: dict[str, Cost], size: int) -> None:
    table = Table(title=f"{size / 1e6:.0f} MB of LiteLLM log to Parquet; medians", title_justify="left")
    for name in ("arm", "CPU s", "ratio", "wall s", "wall ratio", "MB per CPU s", "peak MB"):
        table.add_column(name, justify="left" if name == "arm" else "right")
    base = costs[BASELINE]
    for name, cost in costs.items():
        speed = "" if "new" in name or "appended" in name else f"{size / 1e6 / cost.cpu_s:.0f}"
        ratio, wall = cost.cpu_s / base.cpu_s, cost.wall_s / base.wall_s
        peak = f"{cost.peak_mib * 1.048576:.0f}"
        table.add_row(name, f"{cost.cpu_s:.2f}", f"{ratio:.2f}", f"{cost.wall_s:.2f}", f"{wall:.2f}", speed, peak)
    Console(width=110).print(table)


def _print_stages(stages: dict[str, float], lines: int) -> None:
    table = Table(title="Where Winnow's CPU seconds go, the clocks' own cost included", title_justify="left")
    for name in ("stage", "CPU s", "us a line", "share"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    total = sum(stages.values())
    rows = {**stages, "all": total, "without redaction": total - stages["redact"]}
    for name, seconds in rows.items():
        table.add_row(name, f"{seconds:.2f}", f"{seconds / lines * 1e6:.1f}", f"{seconds / total:.0%}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
