"""Own predicates of a recipe: one expression of SQL, proven to be no more by DuckDB's parser before it is run.

An expression sees the columns of the triples and of curate/features.sql. It may hold no subquery, so it reads no file
and no other table; no window and no parameter; and no function whose result is not that of its arguments alone, such as
random() or now(), since the same input has to give the same data set.
"""

import json
from functools import cache
from typing import Any

import duckdb

_FORBIDDEN = {"SUBQUERY": "a subquery", "WINDOW": "a window", "PARAMETER": "a parameter", "STAR": "a *"}
_BARE = {
    *("current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"),
    *("current_catalog", "current_role", "current_schema", "current_user", "session_user", "user"),
}
"""Functions that are called by their bare name, as if they were columns."""
_OF_THE_MOMENT = _BARE | {"age", "ago", "currval", "current_setting", "getenv", "getvariable", "nextval"}
"""What DuckDB does not list as changing, and what asks for more than the arguments."""


def check(sql: str) -> None:
    """Raise ValueError where `sql` is not one expression of the kind that a recipe may state."""
    with duckdb.connect() as connection:
        ((answer,),) = connection.execute(
            "SELECT json_serialize_sql($sql)::VARCHAR", {"sql": f"SELECT ({sql}\n) FROM judged"}
        ).fetchall()
    parsed = json.loads(answer)
    if parsed["error"]:
        raise ValueError(f"{sql!r} is no expression: {parsed['error_message']}")
    node = parsed["statements"][0]["node"] if len(parsed["statements"]) == 1 else {}
    plain = (
        node.get("type") == "SELECT_NODE"
        and len(node["select_list"]) == 1
        and node["from_table"].get("table_name") == "judged"
        and not any(node[part] for part in ("where_clause", "group_expressions", "having", "qualify", "modifiers"))
        and not node["cte_map"]["map"]
    )
    if not plain:
        raise ValueError(f"{sql!r} is a statement or several expressions, expected one expression")
    _walk(sql, node["select_list"][0])


def _walk(sql: str, node: Any) -> None:
    """Look at every part of an expression."""
    if isinstance(node, list):
        for part in node:
            _walk(sql, part)
    if not isinstance(node, dict):
        return
    if (kind := node.get("class")) in _FORBIDDEN:
        raise ValueError(f"{sql!r} holds {_FORBIDDEN[kind]}, which a predicate over one row may not")
    called = node["function_name"] if kind == "FUNCTION" else None
    if kind == "COLUMN_REF" and node["column_names"][-1].lower() in _BARE:
        called = node["column_names"][-1]
    if called and called.lower() not in _functions():
        raise ValueError(f"{sql!r} calls {called}(), which is unknown or gives another result every time")
    for part in node.values():
        _walk(sql, part)


@cache
def _functions() -> frozenset[str]:
    """Return the scalar functions and macros whose result is that of their arguments alone."""
    with duckdb.connect() as connection:
        rows = connection.execute("""
            SELECT function_name FROM duckdb_functions()
            WHERE function_type = 'scalar' OR function_type = 'macro' AND schema_name = 'main'
            GROUP BY function_name
            HAVING bool_and(coalesce(stability, 'CONSISTENT') = 'CONSISTENT')""").fetchall()
    return frozenset(name.lower() for (name,) in rows) - _OF_THE_MOMENT
