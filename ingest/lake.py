"""The lake: one Delta table per contract, Parquet files plus a transaction log, in one folder.

Reads and writes `<lake>/<table>/`. Rows and the read positions they come from land in one commit, so a run that is
killed leaves either both or neither. Column statistics are off, because Delta would copy text into its log, where it
would outlive an erased row. Folders are 0700 and files 0600.

DuckDB reads the files that `Lake.files` lists. Never glob the folder: it also holds files of killed and replaced
commits.
"""

import fcntl
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Schema, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from ingest import schema, table_files
from ingest.errors import ContractError, LakeBusyError, LakeError

if TYPE_CHECKING:
    import duckdb

SCHEMAS: Final[Mapping[str, pa.Schema]] = {
    "interactions": schema.INTERACTION,
    "feedback": schema.FEEDBACK,
    "quarantine": schema.QUARANTINE,
    "files": schema.FILE,
    "triples": schema.TRIPLE,
    "unpaired": schema.UNPAIRED,
    "outcomes": schema.OUTCOME,
}
"""Table -> contract."""

CONFIGURATION: Final = {
    "delta.dataSkippingNumIndexedCols": "0",
    "delta.logRetentionDuration": "interval 0 days",
    "delta.deletedFileRetentionDuration": "interval 1 days",
}
"""No text in the log; old log entries go at each checkpoint; a reader may hold replaced files open for a day."""

WRITER: Final = WriterProperties(compression="ZSTD", compression_level=table_files.LEVEL)


_GONE: Final = "_gone"
"""Column of what `exchange` merges: whether the row goes."""

MEMORY_LIMIT: Final = "2GB"
"""What DuckDB may hold before it spills to the lake's folder."""
SPILL_PREFIX: Final = ".spill-"


class Lake:
    """The tables in the folder `path`; the folder is made with the first write.

    Raises LakeError for a path that deltalake cannot take.
    """

    def __init__(self, path: Path) -> None:
        if set("%[]") & set(
            str(path.absolute())
        ):  # deltalake 1.6 takes a path for a URL: it writes elsewhere, or panics
            raise LakeError(f"The lake's path {path.absolute()} holds one of % [ ]. Choose one without.")
        self.path = path

    def files(self, table: str) -> list[str]:
        """Return the absolute paths of the Parquet files of the current version, [] where there is no table yet."""
        delta = self._open(table)
        folder = (self.path / table).absolute()
        # Tables are not partitioned. A URI is no path: it escapes what a folder's name may hold.
        return [] if delta is None else sorted(str(folder / uri.rsplit("/", 1)[-1]) for uri in delta.file_uris())

    def version(self, table: str) -> int | None:
        """Return the number of the table's last commit, None where there is no table yet."""
        delta = self._open(table)
        return None if delta is None else delta.version()

    def view(
        self,
        connection: "duckdb.DuckDBPyConnection",
        table: str,
        *,
        name: str | None = None,
        files: Sequence[str] | None = None,
    ) -> None:
        """Make, or replace, the view `table` with the contract's columns; it has no rows where there is no table yet.

        The view stays at today's version. It also sets the connection's time zone to UTC, in which all times are.
        A view of some `files` alone can be made; one with a `name` of its own says in column `file` where a row is.
        """
        connection.execute("SET TimeZone = 'UTC'")
        contract = _contract(table)
        files = self.files(table) if files is None else files
        if files:
            columns = ", ".join(f'"{column}"' for column in contract.names) + (", filename AS file" if name else "")
            # A view takes no parameters, and a path is a glob to DuckDB.
            literal = [re.sub(r"([*?])", r"[\1]", path).replace("'", "''") for path in files]
            paths = ", ".join(f"'{path}'" for path in literal)
            query = f"SELECT {columns} FROM read_parquet([{paths}])"
        else:
            columns = ", ".join(f'CAST(NULL AS {sql_type(field.type)}) AS "{field.name}"' for field in contract)
            query = f"SELECT {columns}{', CAST(NULL AS VARCHAR) AS file' if name else ''} WHERE false"
        connection.execute(f'CREATE OR REPLACE VIEW "{name or table}" AS {query}')

    @contextmanager
    def database(self, run_id: str = "reading") -> Iterator["duckdb.DuckDBPyConnection"]:
        """Open a database in memory that loads no extension, and spills, if it must, into the lake's private folder.

        Spilled text is users' text: it goes with the connection, and what a killed run left of it when the next one
        takes the lock.
        """
        import duckdb  # only here: a small run does without

        connection = duckdb.connect(
            config={
                "memory_limit": MEMORY_LIMIT,
                "threads": min(os.cpu_count() or 1, 8),
                # DuckDB makes the folder when it first spills, and removes it.
                "temp_directory": str(self.path / f"{SPILL_PREFIX}{run_id}-{secrets.token_hex(4)}"),
                "preserve_insertion_order": False,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            }
        )
        try:
            yield connection
        finally:
            connection.close()

    def append(self, table: str, data: pa.Table, cursors: Mapping[str, int]) -> None:
        """Add `data`, and note that each file_id of `cursors` is read up to its byte offset, in one commit.

        Without rows and without a cursor that moves nothing is committed. Raises ContractError for other columns or
        types than the contract's, LakeError where the folder cannot be written.
        """
        _check(table, data.schema)
        _check_keys(table, data)
        before = self.cursors(table, list(cursors))
        moved = [Transaction(file, offset) for file, offset in cursors.items() if before[file] != offset]
        if data.num_rows == 0 and not moved:
            return
        with _writing(table):
            delta = self._open_or_create(table)
            added: list[AddAction | RemoveAction] = []
            if data.num_rows:
                added.append(table_files.write(self.path / table, data))
            properties = CommitProperties(app_transactions=moved)
            delta.create_write_transaction(added, "append", delta.schema(), commit_properties=properties)

    def read(self, table: str, columns: Sequence[str]) -> pa.Table:
        """Return some columns of a table, without a database: what is small, or looked at by every run."""
        contract = pa.schema([_contract(table).field(name) for name in columns])
        found = []
        for path in self.files(table):
            with pq.ParquetFile(path) as file:
                found.append(file.read(columns=list(columns)).select(list(columns)).cast(contract))
        return pa.concat_tables(found) if found else contract.empty_table()

    def cursor(self, table: str, file_id: str) -> int:
        """Return the byte offset up to which `table` holds the file, 0 for a file it knows nothing of."""
        return self.cursors(table, [file_id])[file_id]

    def cursors(self, table: str, file_ids: list[str]) -> dict[str, int]:
        """Return file_id -> `cursor`, for many files at once."""
        delta = self._open(table)
        return {file: (delta.transaction_version(file) or 0) if delta else 0 for file in file_ids}

    def overwrite(
        self, table: str, reader: pa.RecordBatchReader | pa.Table, cursors: Mapping[str, int] | None = None
    ) -> None:
        """Replace every row of `table`, and note `cursors`, in one commit; files replaced a day ago are deleted.

        Raises ContractError and LakeError as `append` does.
        """
        _check(table, reader.schema)
        with _writing(table):
            write_deltalake(
                self._open_or_create(table),
                reader,
                mode="overwrite",
                writer_properties=WRITER,
                commit_properties=_noting(cursors or {}),
            )
            _delete_replaced(self.path / table)

    def replace(self, table: str, data: pa.Table) -> None:
        """Replace the rows of `table` that have the keys of `data`, in one commit; old files go as in `overwrite`.

        Raises ContractError and LakeError as `append` does.
        """
        _check(table, data.schema)
        key = _contract(table).names[0]
        with _writing(table):
            merge = self._open_or_create(table).merge(
                data,
                predicate=f"new.{key} = old.{key}",
                source_alias="new",
                target_alias="old",
                writer_properties=WRITER,
            )
            merge.when_matched_update_all().execute()
            _delete_replaced(self.path / table)

    def delete(self, table: str, keys: Sequence[str], cursors: Mapping[str, int] | None = None) -> int:
        """Remove the rows of `table` that have one of `keys`, and note `cursors`, in one commit; return how many went.

        Of keys that are not there nothing goes, so a deletion that was killed can be done again. The files that held
        the rows stay on disk as in `overwrite`. Raises LakeError as `append` does.
        """
        delta = self._open(table)
        if delta is None or not keys:
            return 0
        key = _contract(table).names[0]
        with _writing(table):
            done = (
                delta.merge(
                    pa.table({"key": pa.array(sorted(set(keys)), pa.string())}),
                    predicate=f"gone.key = old.{key}",
                    source_alias="gone",
                    target_alias="old",
                    writer_properties=WRITER,
                    commit_properties=CommitProperties(
                        app_transactions=[Transaction(name, version) for name, version in (cursors or {}).items()]
                    ),
                )
                .when_matched_delete()
                .execute()
            )
            _delete_replaced(self.path / table)
        return int(done["num_target_rows_deleted"])

    def purge(self, table: str) -> None:
        """Delete every file that the current version of `table` does not need, and the log of how it came to be.

        Whoever reads an older version fails. Raises LakeError as `append` does.
        """
        delta = self._open(table)
        if delta is None:
            return
        with _writing(table):
            delta.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False, full=True)
            delta.create_checkpoint()
            delta.cleanup_metadata()

    def exchange(self, table: str, rows: pa.Table, gone: Sequence[str], cursors: Mapping[str, int]) -> None:
        """Put in `rows`, in place of those of the same keys, remove those with the keys `gone`, and note `cursors`.

        All of it in one commit. Raises ContractError and LakeError as `append` does.
        """
        _check(table, rows.schema)
        key = _contract(table).names[0]
        lost = pa.table({key: pa.array(gone, pa.string())})
        changes = pa.concat_tables(
            [
                rows.append_column(_GONE, pa.array([False] * rows.num_rows, pa.bool_())),
                lost.append_column(_GONE, pa.array([True] * lost.num_rows, pa.bool_())),
            ],
            promote_options="permissive",
        )
        with _writing(table):
            merge = self._open_or_create(table).merge(
                changes,
                predicate=f"new.{key} = old.{key}",
                source_alias="new",
                target_alias="old",
                writer_properties=WRITER,
                commit_properties=_noting(cursors),
            )
            (
                merge.when_matched_delete(predicate=f"new.{_GONE}")
                .when_matched_update_all(predicate=f"NOT new.{_GONE}", except_cols=[_GONE])
                .when_not_matched_insert_all(predicate=f"NOT new.{_GONE}", except_cols=[_GONE])
                .execute()
            )
            _delete_replaced(self.path / table)

    @contextmanager
    def locked(self, run_id: str) -> Iterator[None]:
        """Hold the lake for one writing run. Raises LakeBusyError, naming the holder, where another run has it."""
        self._make_folder()
        # "a+" neither truncates what the holder wrote nor fails where the file is new.
        with (self.path / ".lock").open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                holder = file.read().strip() or "a run that has just begun"
                raise LakeBusyError(
                    f"Another run holds {self.path}: {holder}. Wait until it ends; its lock goes with its process."
                ) from error
            file.truncate(0)
            started = datetime.now(UTC).isoformat(timespec="seconds")
            file.write(json.dumps({"pid": os.getpid(), "run_id": run_id, "since": started}))
            file.flush()
            for left in self.path.glob(f"{SPILL_PREFIX}*"):
                shutil.rmtree(left, ignore_errors=True)
            yield

    def _open(self, table: str) -> DeltaTable | None:
        _contract(table)
        path = self.path / table
        if not (path / "_delta_log").is_dir():
            return None
        try:
            delta = DeltaTable(str(path))
        except DeltaError as error:
            # Killed while it made the table: the log has no entry yet, and nothing was written.
            if isinstance(error, TableNotFoundError) and not any(path.glob("*.parquet")):
                return None
            raise LakeError(
                f"{path} is not a readable Delta table: {_said(error)}. Restore it from a backup."
            ) from error
        _check_stored(path, delta.schema(), _contract(table))
        return delta

    def _open_or_create(self, table: str) -> DeltaTable:
        self._make_folder()
        with _writing(table):
            return self._open(table) or DeltaTable.create(
                str(self.path / table), _contract(table), mode="ignore", configuration=CONFIGURATION
            )

    def _make_folder(self) -> None:
        """Make the folder private, and everything that this process writes from now on."""
        os.umask(0o077)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o700)
        except OSError as error:
            raise LakeError(f"Cannot make the lake's folder {self.path}: {error.strerror}. Name another.") from error


def _noting(cursors: Mapping[str, int]) -> CommitProperties:
    return CommitProperties(app_transactions=[Transaction(name, value) for name, value in cursors.items()])


def _delete_replaced(path: Path) -> None:
    """Delete the files of the table at `path` that were replaced longer ago than a reader may hold them."""
    table = DeltaTable(str(path))
    if table.vacuum(dry_run=True, full=True):
        table.vacuum(dry_run=False, full=True)


_SQL_TYPES: Final = {
    pa.string(): "VARCHAR",
    pa.bool_(): "BOOLEAN",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    schema.TIME: "TIMESTAMP WITH TIME ZONE",
}


def sql_type(kind: pa.DataType) -> str:
    """Return what DuckDB calls a contract's type. Asking DuckDB costs a fifth of a second: it loads pyarrow.dataset."""
    if pa.types.is_map(kind):
        return f"MAP({sql_type(kind.key_type)}, {sql_type(kind.item_type)})"
    if pa.types.is_list(kind):
        return f"{sql_type(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        return "STRUCT(" + ", ".join(f'"{field.name}" {sql_type(field.type)}' for field in kind) + ")"
    return _SQL_TYPES[kind]


def _contract(table: str) -> pa.Schema:
    try:
        return SCHEMAS[table]
    except KeyError as error:
        raise LakeError(f'The lake has no table "{table}". It has {", ".join(SCHEMAS)}.') from error


def _check(table: str, given: pa.Schema) -> None:
    """Compare names and types."""
    contract = _contract(table)
    wrong = [
        f"{name}: {given.field(name).type if name in given.names else 'absent'}, not {contract.field(name).type}"
        for name in contract.names
        if name not in given.names or given.field(name).type != contract.field(name).type
    ]
    extra = [name for name in given.names if name not in contract.names]
    if wrong or extra or given.names != contract.names:
        problems = "; ".join([*wrong, *(f"{name}: unknown" for name in extra)]) or "columns in another order"
        raise ContractError(f"Rows for {table} do not keep its contract: {problems}. Cast them to lake.SCHEMAS.")


def _check_keys(table: str, data: pa.Table) -> None:
    """Refuse rows without a key. What Delta writes itself it checks itself."""
    key = _contract(table).names[0]
    if data[key].null_count:
        raise ContractError(f"Rows for {table} do not keep its contract: {data[key].null_count} have no {key}.")


def _check_stored(path: Path, stored: Schema, contract: pa.Schema) -> None:
    """Compare the columns of the table at `path` with its contract's."""
    wanted = Schema.from_arrow(contract)
    if stored != wanted:
        have, want = ({f.name: f.type for f in each.fields} for each in (stored, wanted))
        differ = sorted(name for name in have.keys() | want.keys() if have.get(name) != want.get(name))
        raise ContractError(
            f"The table {path} does not keep its contract: {', '.join(differ) or 'the order'} of its columns differs. "
            "Another version of Winnow wrote it, or another program: use that one, or name a new lake."
        )


@contextmanager
def _writing(table: str) -> Iterator[None]:
    try:
        yield
    except (DeltaError, OSError) as error:
        raise LakeError(
            f"Cannot write {table}: {_said(error)}. Nothing of this commit is in the lake; run again."
        ) from error


def _said(error: Exception) -> str:
    """Return what went wrong, without the stack of Rust frames that deltalake adds where RUST_BACKTRACE is set."""
    return str(error).partition("\n")[0]
