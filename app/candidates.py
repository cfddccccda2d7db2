"""Loading the pairs that `python -m curate run` wants judged into the label store.

Reads <settings.curated>/latest/candidates.parquet (`ingest.schema.CANDIDATE`), writes tables `pair` and `slot`.
Loading the same file again changes nothing; a newer file adds its pairs and moves priorities. A pair that a newer
file no longer names stays in the queue: it may still lack its second opinion.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from app.store import OPEN, PAIR, QUEUE_LOCK, SLOT, Store, lock
from ingest.errors import ContractError
from ingest.schema import CANDIDATE
from ingest.settings import Settings

BATCH: Final = 5_000
"""Pairs that are read and written at a time; their ids are the parameters of one query."""


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
    source = _checked(file)
    pairs = new = moved = 0
    with store.writing() as connection:
        lock(connection, QUEUE_LOCK)
        for batch in source.iter_batches(batch_size=BATCH):
            added, changed = _write(connection, _rows(file, batch))
            pairs, new, moved = pairs + batch.num_rows, new + added, moved + changed
        slots = sum(_add_slots(connection, number) for number in range(k))
    return Loaded(pairs=pairs, new=new, moved=moved, slots=slots)


def _checked(file: Path) -> pq.ParquetFile:
    """Open `file`, or say which columns are not those of the contract."""
    try:
        source = pq.ParquetFile(file)
    except (OSError, pa.ArrowInvalid) as error:
        raise ContractError(f"{file} is not a readable Parquet file: {error}. Run `python -m curate run`.") from error
    found = {field.name: field.type for field in source.schema_arrow}
    expected = {field.name: field.type for field in CANDIDATE}
    if found != expected:
        wrong = sorted(name for name in found | expected if found.get(name) != expected.get(name))
        raise ContractError(
            f"{file}: columns {', '.join(wrong)} are not those of ingest.schema.CANDIDATE. Run `python -m curate run`."
        )
    return source


def _rows(file: Path, batch: pa.RecordBatch) -> list[dict[str, object]]:
    """Return the rows as the store keeps them: conversations as JSON text.

    Raises ContractError for a null where the store needs a value.
    """
    for name in (column.name for column in PAIR.c if not column.nullable):
        if missing := batch.column(name).null_count:
            raise ContractError(f"{file}: {missing} pairs have no {name}. Run `python -m curate run` again.")
    columns = [column.name for column in PAIR.c]
    return [{name: _stored(row[name]) for name in columns} for row in batch.to_pylist()]


def _stored(value: object) -> object:
    """Return a conversation as JSON text and everything else as it is."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value


def _write(connection: sa.Connection, rows: Iterable[Mapping[str, object]]) -> tuple[int, int]:
    """Add the rows that are new and move those whose priority changed; return how many of each."""
    by_id = {str(row["pair_id"]): row for row in rows}  # a pair named twice in one file is one pair
    query = sa.select(PAIR.c.pair_id, PAIR.c.priority).where(PAIR.c.pair_id.in_(by_id))
    known = {row.pair_id: row.priority for row in connection.execute(query)}
    new = [row for key, row in by_id.items() if key not in known]
    moved = [row for key, row in by_id.items() if key in known and known[key] != row["priority"]]
    if new:
        connection.execute(sa.insert(PAIR), new)
    if moved:
        change = [{"moved": row["pair_id"], "to": row["priority"], "since": row["why"]} for row in moved]
        to: sa.BindParameter[float] = sa.bindparam("to")
        this: sa.BindParameter[str] = sa.bindparam("moved")
        pairs = sa.update(PAIR).where(PAIR.c.pair_id == this).values(priority=to, why=sa.bindparam("since"))
        connection.execute(pairs, change)
        connection.execute(sa.update(SLOT).where(SLOT.c.pair_id == this).values(priority=to), change)
    return len(new), len(moved)


def _add_slots(connection: sa.Connection, number: int) -> int:
    """Give slot `number` to every pair that lacks it; return how many did."""
    lacking = sa.select(PAIR.c.pair_id, sa.literal(number, sa.Integer), PAIR.c.priority, OPEN).where(
        ~sa.exists().where(SLOT.c.pair_id == PAIR.c.pair_id, SLOT.c.slot == number)
    )
    insert = sa.insert(SLOT).from_select(["pair_id", "slot", "priority", "state"], lacking)
    return connection.execute(insert, execution_options={"preserve_rowcount": True}).rowcount
