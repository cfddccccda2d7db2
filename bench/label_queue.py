"""What the label queue costs: loading pairs, leasing the next one, also for an annotator with a long past.

    python -m bench.label_queue [--pairs 1000000] [--seconds 60] [--stores sqlite,postgresql]

Real SQLite and real PostgreSQL, k = 2, 50 annotators in 5 processes with 2 seconds of thought between lease and vote,
one of them with 200,000 judged pairs whose other slots are next in the queue. Targets: loading 15 s, lease p95 15 ms,
0 pairs twice for one annotator, 0 pairs with more than k leases and verdicts. CPU is that of the calling thread,
without the database's own processes: it says what a call costs on a machine that others keep busy.
"""

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import duckdb
import pyarrow.parquet as pq
import sqlalchemy as sa

from app.candidates import load
from app.store import Store, open_store
from app.tables import EVENT
from app.voting import Desk
from bench import postgres
from ingest.schema import CANDIDATE
from ingest.settings import Labels

K: Final = 2
THINK: Final = 2.0
PROCESSES: Final = 5
PEOPLE: Final = 50
PAST: Final = 200_000
VETERAN: Final = "annotator-0"


def candidates(file: Path, pairs: int) -> None:
    """Write pairs of 0.7 kB with priorities in random order."""
    says = "'content': {}, 'tool_calls': NULL::VARCHAR, 'tool_call_id': NULL::VARCHAR, 'name': NULL::VARCHAR"
    question = says.format("'Question ' || i || repeat(': why do things fall? ', 4)")
    first = says.format("'First answer ' || i || repeat(', because of gravity', 12)")
    second = says.format("'Second answer ' || i || repeat(', they do not; you do', 12)")
    table = (
        duckdb.connect()
        .sql(f"""
        SELECT 'b2:' || md5(i::VARCHAR) AS pair_id, [{{'role': 'user', {question}}}] AS prompt,
            [{{'role': 'assistant', {first}}}] AS response_a, [{{'role': 'assistant', {second}}}] AS response_b,
            'b2:' || md5('a' || i) AS interaction_a, 'b2:' || md5('b' || i) AS interaction_b, 'demo' AS source,
            'b2:' || md5('p' || i) AS prompt_group, (hash(i) % 1000003)::DOUBLE AS priority, 'unjudged' AS why
        FROM range({pairs}) AS numbers(i)
    """)
        .to_arrow_table()
    )
    pq.write_table(table.cast(CANDIDATE), file)


def give_a_past(store: Store, pairs: int) -> int:
    """Fill every first slot, the most urgent ones by the veteran; their second slots are then first in the queue."""
    past = min(PAST, pairs // 5)
    with store.writing() as connection:
        if store.engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA cache_size = -262144")
        urgent = f"SELECT pair_id FROM slot WHERE slot = 0 ORDER BY rank, pair_id LIMIT {past}"
        connection.exec_driver_sql(
            f"UPDATE slot SET state = 'done', annotator = '{VETERAN}' WHERE slot = 0 AND pair_id IN ({urgent})"
        )
        connection.exec_driver_sql(
            "UPDATE slot SET state = 'done', annotator = 'others' WHERE slot = 0 AND state = 'open'"
        )
        connection.exec_driver_sql(
            "INSERT INTO event (event_id, event_time, annotator, kind, verdict, pair_id, left_interaction_id,"
            " right_interaction_id, late, purpose) SELECT pair_id, '2026-11-01T00:00:00+00:00', annotator, 'verdict',"
            f" 'left', pair_id, 'a', 'b', 0, 'ask' FROM slot WHERE annotator = '{VETERAN}'"
        )
    if store.engine.dialect.name == "postgresql":
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")  # as its own worker does, in a shop of many weeks
    return past


def work(url: str, seconds: float, names: Sequence[str]) -> None:
    """Label as these annotators, a thread each; print what every lease and vote took, in milliseconds."""
    store = open_store(url)
    ends = time.monotonic() + seconds

    def label(name: str) -> dict[str, list[float]]:
        desk = Desk(store, name, Labels(url=url, annotators_per_pair=K))
        took: dict[str, list[float]] = {"lease": [], "vote": [], "lease_cpu": [], "vote_cpu": []}
        time.sleep(random.uniform(0, THINK))
        while time.monotonic() < ends:
            started, cpu = time.perf_counter(), time.thread_time()
            showing = desk.next()
            took["lease_cpu"].append(1000 * (time.thread_time() - cpu))
            took["lease"].append(1000 * (time.perf_counter() - started))
            if showing is None:
                break
            time.sleep(random.uniform(0.5, 1.5) * THINK)
            started, cpu = time.perf_counter(), time.thread_time()
            desk.vote(showing, random.choice(["left", "right", "tie"]))
            took["vote_cpu"].append(1000 * (time.thread_time() - cpu))
            took["vote"].append(1000 * (time.perf_counter() - started))
        return took

    with ThreadPoolExecutor(len(names)) as threads:
        print(json.dumps(dict(zip(names, threads.map(label, names), strict=True))))


def measure(name: str, url: str, file: Path, pairs: int, seconds: float) -> None:
    """Load, give a past, let 50 people label, check, and print."""
    store = open_store(url)
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    loaded = load(store, file, k=K)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{name}: loaded {loaded.new:,} pairs in {time.perf_counter() - started:.1f} s, {cpu:.1f} CPU s here")
    past = give_a_past(store, pairs)
    first = time.perf_counter()
    Desk(store, VETERAN, Labels(url=url, annotators_per_pair=K)).next()
    print(
        f"{name}: the first lease after loading, {past:,} judged pairs: {1000 * (time.perf_counter() - first):.0f} ms"
    )
    people = [f"annotator-{number}" for number in range(PEOPLE)]
    command = [sys.executable, "-m", "bench.label_queue", "--work", url, "--seconds", str(seconds), "--names"]
    running = [
        subprocess.Popen([*command, ",".join(people[number::PROCESSES])], stdout=subprocess.PIPE, text=True)
        for number in range(PROCESSES)
    ]
    took: dict[str, dict[str, list[float]]] = {}
    for process in running:
        took |= json.loads(process.communicate(timeout=seconds + 300)[0])
    votes = sum(len(person["vote"]) for person in took.values())
    print(f"{name}: {votes} labels in {seconds:.0f} s")
    for call in ("lease", "vote"):
        for kind in ("", "_cpu"):
            everyone = [each for person in took.values() for each in person[call + kind]]
            veteran = percentiles(took[VETERAN][call + kind])
            print(f"{name}: {call}{kind} ms {percentiles(everyone)}; with {past:,} judged pairs {veteran}")
    with store.reading() as connection:
        twice = sa.select(EVENT.c.pair_id).group_by(EVENT.c.pair_id, EVENT.c.annotator).having(sa.func.count() > 1)
        duplicates = len(connection.execute(twice).all())
        over = connection.exec_driver_sql(
            f"SELECT pair_id FROM slot WHERE state <> 'open' GROUP BY pair_id HAVING count(*) > {K}"
        ).all()
        stored = connection.execute(sa.select(sa.func.count()).select_from(EVENT)).scalar_one() - past
    print(f"{name}: duplicates {duplicates}, over k {len(over)}, acknowledged {votes}, stored {stored}")
    store.engine.dispose()


def percentiles(values: Sequence[float]) -> str:
    """Return the percentiles of some milliseconds."""
    if len(values) < 2:
        return "none"
    cut = statistics.quantiles(values, n=100, method="inclusive")
    return f"p50 {cut[49]:.1f} p95 {cut[94]:.1f} p99 {cut[98]:.1f} max {max(values):.0f}"


@contextmanager
def _store(kind: str, folder: Path) -> Iterator[str]:
    """Give the URL of an empty store."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/labels.db"
    else:
        with postgres.running() as url:
            yield url


def main(arguments: Sequence[str] = ()) -> None:
    """Measure both stores and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--stores", default="sqlite,postgresql")
    parser.add_argument("--work", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--names", default="", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.work:
        work(given.work, given.seconds, given.names.split(","))
        return
    with tempfile.TemporaryDirectory(prefix="winnow-bench-") as folder:
        file = Path(folder) / "candidates.parquet"
        candidates(file, given.pairs)
        for kind in given.stores.split(","):
            with _store(kind, Path(folder)) as url:
                measure(kind, url, file, given.pairs, given.seconds)


if __name__ == "__main__":
    main(sys.argv[1:])
