"""Curating a lake of synthetic triples by the default recipe, stage by stage: wall and CPU seconds, peak memory.

The lake is `bench.preference_lake`'s: about 1.6 KB of text a triple, with planted empty sides, duplicates, near
duplicates and contradictions, two responses or three behind each pair, prompts of heavily skewed popularity. Gate:
every reason drops as many triples as were planted for it, and no other reason drops any. Baseline: DuckDB reads the
triples and writes them sorted by id, as Parquet = 1.

    python -m bench.curate --triples 1000000
"""

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench import preference_lake
from bench.arms import run
from curate import recipe as recipes
from curate.curation import curate
from ingest import settings
from ingest.lake import Lake

_SORT: Final = """
import sys, duckdb
from pathlib import Path
from ingest.lake import Lake
with duckdb.connect(config={"memory_limit": "3GB", "temp_directory": sys.argv[2]}) as connection:
    Lake(Path(sys.argv[1])).view(connection, "triples")
    connection.execute(f"COPY (FROM triples ORDER BY triple_id) TO '{sys.argv[2]}.parquet' (COMPRESSION zstd)")
"""


class Clock:
    """Seconds and memory by stage; a stage ends where the next begins."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._name = "start"
        self._wall, self._cpu = time.perf_counter(), 0.0
        self._begun = self._wall

    def __call__(self, name: str) -> None:
        """End the stage that runs, and begin `name`."""
        wall, cpu = time.perf_counter(), time.process_time()
        stage = {"stage": self._name, "wall_s": wall - self._wall, "cpu_s": cpu - self._cpu, "peak_mib": _peak()}
        self.rows.append(stage)
        print(
            f"{stage['wall_s']:8.1f} s {stage['cpu_s']:8.1f} CPU s {stage['peak_mib']:7.0f} MiB  {self._name}",
            file=sys.stderr,
        )
        self._name, self._wall, self._cpu = name, wall, cpu
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak begins anew


def _peak() -> float:
    """Return the largest resident set, in MiB, since the last stage began."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Write the lake, curate it, check what was dropped, print the stages; or curate the lake of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--triples", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, help="Where the lake is, or is put and left; else a temporary folder.")
    parser.add_argument("--arm", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.arm:
        _arm(arguments.folder)
        return
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="winnow-bench-"))
    try:
        _bench(folder, arguments.triples - arguments.triples % 100)
    finally:
        if not arguments.folder:
            shutil.rmtree(folder)


def _bench(folder: Path, count: int) -> None:
    lake = Lake(folder / "lake")
    if not lake.files("triples"):
        preference_lake.write(lake, count)
    (folder / "winnow.toml").write_text('lake = "lake"\ncurated = "curated"\n', encoding="utf-8")
    shutil.rmtree(folder / "curated", ignore_errors=True)
    sort = run([sys.executable, "-c", _SORT, str(lake.path), str(folder / "sorted")])
    whole = run([sys.executable, "-m", "bench.curate", "--arm", "--folder", str(folder)])
    found = json.loads((folder / "stages.json").read_text(encoding="utf-8"))
    if problem := _difference(count, found["dropped"]):
        sys.exit(f"FAIL, no speed: {problem}")
    table = Table(title=f"{count:,} triples, the default recipe", title_justify="left")
    table.add_column("stage")
    for name in ("wall s", "ratio", "CPU s", "ratio", "peak MiB"):
        table.add_column(name, justify="right")
    rows = [("DuckDB sorts and writes", sort.wall_s, sort.cpu_s, sort.peak_mib)]
    rows += [(s["stage"], s["wall_s"], s["cpu_s"], s["peak_mib"]) for s in found["stages"]]
    peak = max(s["peak_mib"] for s in found["stages"])
    rows += [("curate run, all of it", whole.wall_s, whole.cpu_s, max(peak, whole.peak_mib))]
    for name, wall, cpu, memory in rows:
        ratios = f"{wall / sort.wall_s:.2f}", f"{cpu / sort.cpu_s:.2f}"
        table.add_row(name, f"{wall:.1f}", ratios[0], f"{cpu:.1f}", ratios[1], f"{memory:.0f}")
    Console(width=100).print(table)


def _arm(folder: Path) -> None:
    """Curate, and write what it took by stage and what was dropped."""
    clock = Clock()
    done = curate(settings.load(folder / "winnow.toml"), recipes.load(), clock)
    clock("end")
    dropped = {name: reach.first for name, reach in done.counts.by_reason.items()}
    found = {"stages": clock.rows, "dropped": dropped}
    (folder / "stages.json").write_text(json.dumps(found), encoding="utf-8")


def _difference(count: int, dropped: dict[str, int]) -> str | None:
    """Return which reasons did not drop what was planted for them."""
    planted = {name: share * count // 100 for name, share in preference_lake.PLANTED.items()}
    wrong = [
        f"{name}: {n:,}, planted {planted.get(name, 0):,}" for name, n in dropped.items() if n != planted.get(name, 0)
    ]
    return "; ".join(wrong)


if __name__ == "__main__":
    main()
