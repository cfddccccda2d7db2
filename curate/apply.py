"""Runs the rules: every triple stands or is in the ledger with every reason against it.

Reads view triples, writes tables features, reasons, ledger, pairs, duplicates, votes, standing, clusters and splits;
part of `python -m curate run`. Row rules judge all triples. Duplicates and contradictions are looked for among those
that no row rule dropped: a judgement that may not be used must neither vote nor survive in another's place. Near
duplicates are looked for last, among what will be published: what bridges two splits survives in no place either.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import duckdb

from curate import (
    balance,
    clusters,
    contradictions,
    decontaminate,
    exact_duplicates,
    near_duplicate_triples,
    own_columns,
    scripts,
    split,
    tokens,
)
from curate.recipe import Recipe
from curate.rules import Reason, Rule, Value
from curate.statements import statement
from ingest.errors import ContractError, RecipeError, RuleError

SET_REASONS: Final = (
    decontaminate.OVERLAP,
    exact_duplicates.DUPLICATE,
    contradictions.MINORITY,
    contradictions.TIED,
    contradictions.CYCLE,
    split.BRIDGE,
    near_duplicate_triples.NEAR,
    balance.OVER_CAP,
    balance.BALANCED_OUT,
)
"""Reasons that compare triples with each other, or with other files; counted after the row rules, in this order."""


def apply(
    connection: duckdb.DuckDBPyConnection, rules: Sequence[Rule], recipe: Recipe, root: Path = Path()
) -> tuple[Reason, ...]:
    """Judge every triple and give each group of prompts its split; return the reasons in the order in which they count.

    `rules` are the recipe's, resolved; its evaluation sets and reliability of raters are read from `root`. Table
    known_splits, where there is one, says what earlier snapshots published.

    Raises ContractError for triples that no rule could judge, RuleError when a rule gives NULL or drops everything,
    RecipeError for an own rule with the name of a reason that compares triples.
    """
    total = check_triples(connection)
    scripts.add_functions(connection)
    for name in ("style.sql", "signs.sql", "features.sql"):
        connection.execute(statement(name))
    tokens.count(connection, recipe.tokens, root)
    own_columns.compute(connection, recipe.own_columns)
    connection.execute("""
        CREATE TEMP VIEW judged AS
        SELECT * REPLACE (coalesce(tokens, 0) AS tokens)
        FROM triples JOIN features USING (triple_id) LEFT JOIN token_counts USING (triple_id)
            LEFT JOIN own_column_values USING (triple_id)""")
    reasons: tuple[Reason, ...] = (*rules, *SET_REASONS)
    _open_ledger(connection, reasons)
    _run_rules(connection, rules, total)
    decontaminate.find(connection, recipe.decontamination, root)
    connection.execute("""
        CREATE TEMP TABLE pairs AS
        SELECT triple_id, prompt_hash, chosen_hash, rejected_hash, strength, last_time, coalesce(n_agree, 1) AS votes
        FROM triples ANTI JOIN ledger USING (triple_id)""")  # a triple without a count is one vote: its own
    exact_duplicates.find(connection)
    contradictions.resolve(connection, recipe.contradictions, root)
    connection.execute("""
        CREATE TEMP TABLE standing AS
        SELECT triple_id, prompt_hash, prompt_group FROM triples ANTI JOIN ledger USING (triple_id)""")
    clusters.find(connection, recipe.near_duplicates.questions)
    split.assign(connection, recipe.split)
    near_duplicate_triples.find(connection, recipe.near_duplicates.triples)
    for reason in SET_REASONS:
        _refuse_total_loss(connection, reason, total)
    return reasons


def check_triples(connection: duckdb.DuckDBPyConnection) -> int:
    """Return how many triples there are. Raises ContractError where ids repeat or needed columns are null."""
    total, ids = _row(connection, "SELECT count(*), count(DISTINCT triple_id) FROM triples")
    if total != ids:
        raise ContractError(
            f"{total:,} triples have {ids:,} different triple_ids; each needs its own. Run `python -m ingest run`."
        )
    broken = connection.execute("""
        SELECT triple_id FROM triples
        WHERE prompt IS NULL OR chosen IS NULL OR rejected IS NULL OR prompt_hash IS NULL OR chosen_hash IS NULL
           OR rejected_hash IS NULL OR prompt_group IS NULL OR n_agree < 1
        ORDER BY triple_id""").fetchall()
    if broken:
        raise ContractError(
            f"{len(broken):,} triples lack a text, a hash, a prompt_group or a vote: {_some(broken)}. "
            "Triples are written by `python -m ingest run`; run it again."
        )
    return int(total)


def _open_ledger(connection: duckdb.DuckDBPyConnection, reasons: Sequence[Reason]) -> None:
    """Make table reasons, the empty table ledger, and view dropped: the ledger as dropped.parquet shows it.

    Raises RecipeError where two reasons have one name, by which the ledger tells them apart.
    """
    names = [reason.name for reason in reasons]
    if taken := sorted({name for name in names if names.count(name) > 1}):
        raise RecipeError(f"own_rules: {', '.join(taken)} is a reason of Winnow. Give your rule another name.")
    connection.execute("CREATE TEMP TABLE reasons (ordinal INTEGER, name VARCHAR, rule VARCHAR, reason VARCHAR)")
    connection.executemany(
        "INSERT INTO reasons VALUES (?, ?, ?, ?)",
        [(ordinal, reason.name, reason.id, reason.reason) for ordinal, reason in enumerate(reasons)],
    )
    connection.execute("CREATE TEMP TABLE ledger (triple_id VARCHAR, name VARCHAR, detail VARCHAR)")
    connection.execute("""
        CREATE TEMP VIEW dropped AS
        SELECT triple_id, name, rule, reason, detail, ordinal,
               ordinal = min(ordinal) OVER (PARTITION BY triple_id) AS first
        FROM ledger JOIN reasons USING (name)""")


def _run_rules(connection: duckdb.DuckDBPyConnection, rules: Sequence[Rule], total: int) -> None:
    """Judge every triple by every rule in one pass over the lake, then enter the verdicts rule by rule."""
    columns = "".join(
        f", ({rule.drop_if}\n) AS verdict_{index}, CASE WHEN verdict_{index} THEN {rule.detail}\nEND AS detail_{index}"
        for index, rule in enumerate(rules)
    )
    try:
        connection.execute(f"CREATE TEMP TABLE verdicts AS SELECT triple_id{columns} FROM judged", _parameters(rules))
    except duckdb.Error as error:
        raise _blamed(connection, rules, error) from error
    kinds = connection.execute("SELECT column_name, column_type FROM (DESCRIBE verdicts)").fetchall()
    for rule, kind in zip(rules, [kind for name, kind in kinds if name.startswith("verdict_")], strict=True):
        if kind != "BOOLEAN":
            raise RuleError(f"Rule {rule.id} gives {kind}, expected true or false: compare it with something.")
    for index, rule in enumerate(rules):
        unknown = connection.execute(
            f"SELECT triple_id FROM verdicts WHERE verdict_{index} IS NULL ORDER BY triple_id"
        ).fetchall()
        if unknown:
            raise RuleError(
                f"Rule {rule.id} gave NULL, neither true nor false, for {len(unknown):,} triples: {_some(unknown)}. "
                "Make its predicate say what a null column means, for instance with coalesce()."
            )
        connection.execute(
            f"INSERT INTO ledger SELECT triple_id, $name, detail_{index} FROM verdicts WHERE verdict_{index}",
            {"name": rule.name},
        )
        _refuse_total_loss(connection, rule, total)


def _blamed(connection: duckdb.DuckDBPyConnection, rules: Sequence[Rule], error: duckdb.Error) -> RuleError:
    """Return an error that names the first rule which cannot be run by itself."""
    for rule in rules:
        query = f"SELECT max(CASE WHEN ({rule.drop_if}\n) THEN {rule.detail}\nEND) FROM judged"
        try:
            connection.execute(query, _parameters([rule]))
        except duckdb.Error as found:
            return RuleError(f"Rule {rule.id} cannot be run: {found}")
    return RuleError(f"The rules cannot be run together: {error}")


def _parameters(rules: Sequence[Rule]) -> dict[str, Value | list[str]]:
    """Return all rules' parameters by name. Raises RuleError when two rules use one name."""
    parameters: dict[str, Value | list[str]] = {}
    for rule in rules:
        for name, value in rule.params.items():
            if name in parameters:
                raise RuleError(
                    f"Rule {rule.id} uses the parameter ${name} of another rule. Give it a name of its own."
                )
            parameters[name] = list(value) if isinstance(value, tuple) else value
    return parameters


def _refuse_total_loss(connection: duckdb.DuckDBPyConnection, reason: Reason, total: int) -> None:
    """Raise RuleError when `reason` alone drops every triple: then the rule, its setting or the input is wrong."""
    (dropped,) = _row(connection, "SELECT count(*) FROM ledger WHERE name = $name", {"name": reason.name})
    if not total or dropped < total:
        return
    seen = connection.execute(
        "SELECT coalesce(detail, ''), count(*) FROM ledger WHERE name = $name GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 3",
        {"name": reason.name},
    ).fetchall()
    raise RuleError(
        f"Rule {reason.id} drops all {total:,} triples: {reason.reason} "
        f"Seen: {'; '.join(f'{detail} ({count:,})' for detail, count in seen)}. Check its parameters and the input."
    )


def _row(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: Mapping[str, Value] | None = None
) -> tuple[int, ...]:
    """Return the one row of an aggregate."""
    (row,) = connection.execute(query, parameters or {}).fetchall()
    return tuple(row)


def _some(rows: Sequence[tuple[str, ...]]) -> str:
    """Return the first ids of `rows`, and that there are more."""
    return ", ".join(row[0] for row in rows[:5]) + (", ..." if len(rows) > 5 else "")
