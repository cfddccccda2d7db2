"""Loading the pairs that `python -m curate run` wants judged into the label store.

Reads <settings.curated>/latest/candidates.parquet (`ingest.schema.CANDIDATE`), writes tables `pair` and `slot`.
Loading the same file again changes nothing; a newer file adds its pairs and moves priorities. A pair that a newer
file no longer names stays in the queue: it may still lack its second opinion.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from app.leases import forget_places
from app.store import QUEUE_LOCK, Store, lock
from app.tables import GOLD, OPEN, PAIR, SLOT
from ingest.errors import ContractError, StoreError
from ingest.schema import CANDIDATE
from ingest.settings import Settings

BATCH: Final = 20_000
"""Pairs that are read and written at a time."""
CACHE_KIB: Final = 256 * 1024
"""Of SQLite while it loads: the index of a million pairs' slots, whose order is random."""
ENOUGH_TO_ANALYZE: Final = 10_000
"""So many new pairs make PostgreSQL's statistics of the queue wrong."""

COLUMNS: Final = tuple(column.name for column in PAIR.c)


@dataclass(frozen=True)
class Loaded:
    """What a file of candidates changed; pairs = new + moved + unchanged."""

    pairs: int
    """Rows of the file."""
    new: int
    moved: int
    """Known pairs whose priority changed."""
    slots: int
    """Slots that were added: k per new pair, and more on old ones when k was raised."""

    @property
    def unchanged(self) -> int:
        """Pairs that the store already held with this priority."""
        return self.pairs - self.new - self.moved


def latest(settings: Settings) -> Path | None:
    """Return candidates.parquet of the snapshot that is published now; None when nothing was published yet."""
    file = settings.curated / "latest" / "candidates.parquet"
    return file.resolve() if file.is_file() else None


def load(store: Store, file: Path, *, k: int) -> Loaded:
    """Put the pairs of `file` into the store, with `k` slots each, in one transaction.

    Raises ContractError when the file does not keep `ingest.schema.CANDIDATE`.
    """
    _check(file)
    with duckdb.connect() as duck, store.writing() as connection:
        lock(connection, QUEUE_LOCK)
        if sqlite := connection.dialect.name == "sqlite":
            connection.exec_driver_sql(f"PRAGMA cache_size = -{CACHE_KIB}")
        duck.register("known", _known(connection))
        pairs, moved = _compare(duck, file)
        if moved:  # first, as app.leases takes its locks: annotators before slots
            forget_places(connection)
            _move(connection, moved)
        new = _insert(connection, _new(duck))
        slots = sum(_add_slots(connection, number) for number in range(k))
        if new or slots:
            forget_places(connection)
        if sqlite:
            connection.exec_driver_sql("PRAGMA cache_size = -2000")  # SQLite's own
        elif new >= ENOUGH_TO_ANALYZE:
            connection.exec_driver_sql("ANALYZE pair, slot")
    return Loaded(pairs=pairs, new=new, moved=len(moved), slots=slots)


def _check(file: Path) -> None:
    """Raise ContractError where the columns of `file` are not those of the contract."""
    try:
        schema = pq.read_schema(file)
    except (OSError, pa.ArrowInvalid) as error:
        raise ContractError(f"{file} is not a readable Parquet file: {error}. Run `python -m curate run`.") from error
    found = {field.name: field.type for field in schema}
    expected = {field.name: field.type for field in CANDIDATE}
    if found != expected:
        wrong = sorted(name for name in found | expected if found.get(name) != expected.get(name))
        raise ContractError(
            f"{file}: columns {', '.join(wrong)} are not those of ingest.schema.CANDIDATE. Run `python -m curate run`."
        )


def _known(connection: sa.Connection) -> pa.Table:
    """Return the pairs that the store has, with their priorities."""
    rows = connection.execute(sa.select(PAIR.c.pair_id, PAIR.c.priority)).all()
    ids, priorities = zip(*rows, strict=True) if rows else ((), ())
    return pa.table({"pair_id": pa.array(ids, pa.string()), "priority": pa.array(priorities, pa.float64())})


def _compare(duck: duckdb.DuckDBPyConnection, file: Path) -> tuple[int, list[tuple[Any, ...]]]:
    """Make view `arriving` of the file; return its rows, and (pair_id, priority, why) of known pairs that moved.

    Raises ContractError for a null where the store needs a value.
    """
    candidates = duck.read_parquet(str(file), file_row_number=True)
    needed = [column.name for column in PAIR.c if not column.nullable]
    nulls = ", ".join(f"count(*) - count({name})" for name in needed)
    ((rows, distinct, *missing),) = candidates.aggregate(f"count(*), count(DISTINCT pair_id), {nulls}").fetchall()
    for name, lacking in zip(needed, missing, strict=True):
        if lacking:
            raise ContractError(f"{file}: {lacking} pairs have no {name}. Run `python -m curate run` again.")
    if distinct < rows:  # a pair named twice in one file is one pair
        last = "row_number() OVER (PARTITION BY pair_id ORDER BY file_row_number DESC)"
        candidates = candidates.filter(f"{last} = 1")
    candidates.create_view("arriving")
    moved = duck.sql(
        "SELECT pair_id, arriving.priority, why FROM arriving JOIN known USING (pair_id)"
        " WHERE arriving.priority <> known.priority"
    )
    return rows, moved.fetchall()


def _new(duck: duckdb.DuckDBPyConnection) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the pairs that the store lacks, with conversations as JSON text.

    In the order of their keys: so the table and both keys made of it grow at their ends.
    """
    as_stored = (
        f"to_json({name})::VARCHAR" if pa.types.is_list(CANDIDATE.field(name).type) else name for name in COLUMNS
    )
    query = f"SELECT {', '.join(as_stored)} FROM arriving ANTI JOIN known USING (pair_id) ORDER BY pair_id"
    for batch in duck.sql(query).to_arrow_reader(BATCH):
        yield list(zip(*(column.to_pylist() for column in batch.columns), strict=True))


def _insert(connection: sa.Connection, batches: Iterator[list[tuple[Any, ...]]]) -> int:
    """Add pairs by the way that each database is fastest at; return how many."""
    names, added = ", ".join(COLUMNS), 0
    if connection.dialect.name == "sqlite":
        insert = f"INSERT INTO pair ({names}) VALUES ({', '.join('?' * len(COLUMNS))})"
        for rows in batches:
            connection.exec_driver_sql(insert, rows)
            added += len(rows)
        return added
    driver = connection.connection
    try:
        with driver.cursor() as cursor, cursor.copy(f"COPY pair ({names}) FROM STDIN") as copy:  # type: ignore[attr-defined]
            for rows in batches:
                for row in rows:
                    copy.write_row(row)
                added += len(rows)
    except connection.dialect.loaded_dbapi.Error as error:  # SQLAlchemy knows nothing of COPY
        raise StoreError(f"Not loaded: {' '.join(str(error).split())}. Nothing was changed; try again.") from error
    return added


def _move(connection: sa.Connection, moved: list[tuple[Any, ...]]) -> None:
    """Give known pairs the priority that the newer file gives them."""
    change = [
        {"moved": pair_id, "to": priority, "negated": -priority, "since": why} for pair_id, priority, why in moved
    ]
    this: sa.BindParameter[str] = sa.bindparam("moved")
    pairs = sa.update(PAIR).where(PAIR.c.pair_id == this)
    connection.execute(pairs.values(priority=sa.bindparam("to"), why=sa.bindparam("since")), change)
    connection.execute(sa.update(SLOT).where(SLOT.c.pair_id == this).values(rank=sa.bindparam("negated")), change)


def _add_slots(connection: sa.Connection, number: int) -> int:
    """Give slot `number` to every pair that lacks it; return how many did."""
    columns = {
        "pair_id": PAIR.c.pair_id, "slot": sa.literal(number, sa.Integer), "purpose": sa.literal("opinion"),
        "turn": sa.literal(number, sa.Integer), "rank": -PAIR.c.priority, "state": OPEN, "returned": sa.literal(0),
    }  # fmt: skip
    lacking = sa.select(*columns.values()).where(
        ~sa.exists().where(SLOT.c.pair_id == PAIR.c.pair_id, SLOT.c.slot == number),
        ~sa.exists().where(GOLD.c.pair_id == PAIR.c.pair_id),  # its answer is known
    )
    insert = sa.insert(SLOT).from_select(list(columns), lacking.order_by(PAIR.c.pair_id))
    return connection.execute(insert, execution_options={"preserve_rowcount": True}).rowcount
