"""Log lines to Parquet: `python -m ingest run` against DuckDB's typed read_ndjson and COPY, on the same file.

Both read a gateway's chat log (request, response) and write compressed Parquet with prompt, response, model and
tokens. Winnow also redacts, hashes, makes keys, keeps the read position and pairs; DuckDB stops at the first bad line.
Gate: the same rows, models, tokens and characters. Baseline: DuckDB = 1.

    python -m bench.ingest --megabytes 200 --repeats 5
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

import duckdb
from rich.console import Console
from rich.table import Table

from bench.arms import Cost, in_turn, run
from ingest.lake import Lake

WORDS: Final = (
    "hub",
    "lamp",
    "scene",
    "account",
    "open",
    "settings",
    "restart",
    "wait",
    "please",
    "order",
    "plan",
    "the",
)

_DUCKDB: Final = """
COPY (
  SELECT request.messages AS prompt, response.choices[1].message AS response, response.model AS model,
         response.usage.completion_tokens AS tokens_out, response.created AS created, response.id AS source_id
  FROM read_ndjson('{log}', columns = {{
    request: 'STRUCT(model VARCHAR, messages STRUCT(role VARCHAR, content VARCHAR)[], temperature DOUBLE)',
    response: 'STRUCT(id VARCHAR, created BIGINT, model VARCHAR, usage STRUCT(completion_tokens INTEGER), '
      || 'choices STRUCT("index" INTEGER, finish_reason VARCHAR, message STRUCT(role VARCHAR, content VARCHAR))[])'
  }})
) TO '{out}' (FORMAT parquet, COMPRESSION zstd)
"""

_FACTS: Final = """
SELECT count(*)::BIGINT, count(DISTINCT model)::BIGINT, sum(tokens_out)::BIGINT, sum(len({response}))::BIGINT,
       sum(list_sum(list_transform(prompt, lambda m: len(m.content))))::BIGINT
FROM read_parquet($files)
"""


def main() -> None:
    """Write a log, run both arms in turn, compare what they wrote, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="winnow-bench-"))
    try:
        log = folder / "log.jsonl"
        write_log(log, arguments.megabytes * 1_000_000)
        (folder / "winnow.toml").write_text(
            f'lake = "lake"\n[[sources]]\nname = "gateway"\npath = "{log.name}"\nformat = "openai_chat"\n'
        )
        arms = {"DuckDB COPY": lambda: _duckdb(log, folder), "Winnow ingest": lambda: _winnow(folder)}
        costs = in_turn(arms, arguments.repeats)
        same = _facts([str(folder / "duckdb.parquet")], "response.content")
        ours = _facts(Lake(folder / "lake").files("interactions"), "response[1].content")
        if same != ours:
            sys.exit(f"FAIL, no speed: DuckDB wrote {same}, Winnow {ours} (rows, models, tokens, characters)")
        costs["Winnow, nothing new"] = run([sys.executable, "-m", "ingest", "run", "--config", f"{folder}/winnow.toml"])
        _print(costs, log.stat().st_size)
    finally:
        shutil.rmtree(folder)


def write_log(path: Path, size: int) -> None:
    """Write chat calls of about 3 KB each until `path` has `size` bytes; always the same ones."""
    rng, written = random.Random(0), 0
    with path.open("w", encoding="utf-8") as file:
        for number in range(size):
            if written >= size:
                return
            turns = [{"role": "system", "content": "You are the support assistant."}]
            turns += [{"role": "user", "content": _text(rng, 120)}]
            answer = {"role": "assistant", "content": _text(rng, 250)}
            usage = {"prompt_tokens": 130, "completion_tokens": 250, "total_tokens": 380}
            response = {
                "id": f"chatcmpl-{number}",
                "object": "chat.completion",
                "created": 1_790_000_000 + number,
                "model": f"support-{number % 3}",
                "choices": [{"index": 0, "message": answer, "finish_reason": "stop"}],
                "usage": usage,
            }
            request = {"model": "support", "messages": turns, "temperature": 0.7}
            written += file.write(json.dumps({"request": request, "response": response}) + "\n")


def _text(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(WORDS, k=words)) + f" {rng.getrandbits(40):x}"


def _duckdb(log: Path, folder: Path) -> Cost:
    statement = _DUCKDB.format(log=log, out=folder / "duckdb.parquet")
    return run([sys.executable, "-c", "import duckdb, sys; duckdb.execute(sys.argv[1])", statement])


def _winnow(folder: Path) -> Cost:
    shutil.rmtree(folder / "lake", ignore_errors=True)
    return run([sys.executable, "-m", "ingest", "run", "--config", str(folder / "winnow.toml")])


def _facts(files: list[str], response: str) -> tuple[int, ...]:
    rows = duckdb.execute(_FACTS.format(response=response), {"files": files}).fetchall()
    return tuple(rows[0])


def _print(costs: dict[str, Cost], size: int) -> None:
    table = Table(title=f"{size / 1e6:.0f} MB of chat log to Parquet; medians", title_justify="left")
    for name in ("arm", "CPU s", "ratio", "wall s", "MB per CPU s", "peak MiB"):
        table.add_column(name, justify="left" if name == "arm" else "right")
    baseline = costs["DuckDB COPY"].cpu_s
    for name, cost in costs.items():
        speed = f"{size / 1e6 / cost.cpu_s:.0f}"
        ratio = f"{cost.cpu_s / baseline:.2f}"
        table.add_row(name, f"{cost.cpu_s:.1f}", ratio, f"{cost.wall_s:.1f}", speed, f"{cost.peak_mib:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
