"""Own columns of a recipe: Python functions that say something of every triple, for its own rules to judge by.

Reads view triples, makes table own_column_values(triple_id, <name>, ...); part of `python -m curate run`. A function is
named as "module:function", importable where curation runs. It is given an Arrow record batch with the columns of
`ingest.schema.TRIPLE`, at most BATCH rows, and returns an Arrow array with one value for each of them, in their order.
It has to give the same for the same triple every time: a snapshot's hash covers the column's version, not the code.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Final

import duckdb
import pyarrow as pa

from curate.recipe import OwnColumn
from ingest.errors import RecipeError, RuleError

BATCH: Final = 4096
"""Triples that a function is given at a time, at most."""

Function = Callable[[pa.RecordBatch], pa.Array]


def compute(connection: duckdb.DuckDBPyConnection, columns: Sequence[OwnColumn]) -> None:
    """Call the functions on every triple, batch by batch.

    Raises RecipeError for a function that cannot be imported or a name that triples have already, RuleError for one
    that fails or gives anything but one value per triple.
    """
    if not columns:
        connection.execute("CREATE TEMP TABLE own_column_values (triple_id VARCHAR)")
        return
    _refuse_taken(connection, columns)
    functions = [_imported(column) for column in columns]
    found: list[pa.RecordBatch] = []
    for batch in connection.sql("FROM triples").to_arrow_reader(BATCH):
        values = [_called(column, function, batch) for column, function in zip(columns, functions, strict=True)]
        names = ["triple_id", *(column.name for column in columns)]
        found.append(pa.record_batch([batch.column("triple_id"), *values], names=names))
    try:
        connection.register("computed", pa.Table.from_batches(found))
    except pa.ArrowInvalid as error:
        raise RuleError(
            f"An own column changes its type from batch to batch: {error}. Let it return one type."
        ) from error
    connection.execute("CREATE TEMP TABLE own_column_values AS FROM computed")
    connection.unregister("computed")


def _refuse_taken(connection: duckdb.DuckDBPyConnection, columns: Sequence[OwnColumn]) -> None:
    """Raise RecipeError where an own column is named like one that rules see already."""
    rows = connection.execute("""
        SELECT column_name FROM (DESCRIBE triples) UNION SELECT column_name FROM (DESCRIBE features)
        UNION SELECT 'tokens'""").fetchall()
    if taken := sorted({name for (name,) in rows} & {column.name for column in columns}):
        raise RecipeError(f"own_columns: triples have {', '.join(taken)} already. Give the column another name.")


def _imported(column: OwnColumn) -> Function:
    """Return the function that `column` names."""
    module, _, name = column.function.partition(":")
    try:
        function = getattr(import_module(module), name)
    except Exception as error:  # importing runs the operator's code: whatever it raises, the recipe names it
        raise RecipeError(
            f"own_columns.{column.name}: {column.function} cannot be imported: {error}. Install its module where "
            "`python -m curate run` runs."
        ) from error
    if not callable(function):
        raise RecipeError(
            f"own_columns.{column.name}: {column.function} is no function but a {type(function).__name__}."
        )
    return function  # type: ignore[no-any-return]


def _called(column: OwnColumn, function: Function, batch: pa.RecordBatch) -> pa.Array:
    """Return what `function` says of `batch`, one value per row."""
    try:
        values = function(batch)
    except Exception as error:
        raise RuleError(
            f"own_columns.{column.name}: {column.function} failed on {batch.num_rows:,} triples from "
            f"{batch.column('triple_id')[0]}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(values, pa.Array) or len(values) != batch.num_rows:
        given = f"an array of {len(values):,}" if isinstance(values, pa.Array) else f"a {type(values).__name__}"
        raise RuleError(
            f"own_columns.{column.name}: {column.function} gave {given} for {batch.num_rows:,} triples, expected a "
            "pyarrow.Array with one value for each."
        )
    return values
