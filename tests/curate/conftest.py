"""Triples and lakes for the tests of curate/."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from curate import recipe as recipes
from curate.apply import apply
from curate.balance import balance
from curate.curation import Curation, curate
from curate.rules import RULES
from curate.statements import statement
from ingest import schema, settings
from ingest.lake import SCHEMAS, Lake

os.environ["GX_ANALYTICS_ENABLED"] = "False"

Row = dict[str, Any]
NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)


def _said(role: str, content: str | Sequence[Row]) -> list[Row]:
    if not isinstance(content, str):
        return list(content)
    return [{"role": role, "content": content, "tool_calls": None, "tool_call_id": None, "name": None}]


def make_triple(
    prompt: str | Sequence[Row] = "Hello?",
    chosen: str | Sequence[Row] = "yes",
    rejected: str | Sequence[Row] = "no",
    **columns: object,
) -> Row:
    """Return one row of the lake's triples as pairing would make it, with the given columns replaced."""
    asked, good, bad = _said("user", prompt), _said("assistant", chosen), _said("assistant", rejected)
    prompt_hash, chosen_hash, rejected_hash = (schema.messages_hash(messages) for messages in (asked, good, bad))
    rule = str(columns.get("rule", "choice"))
    row: Row = dict.fromkeys(schema.TRIPLE.names)
    return row | {
        "triple_id": schema.triple_id(prompt_hash, chosen_hash, rejected_hash, rule),
        "prompt": asked,
        "chosen": good,
        "rejected": bad,
        "prompt_hash": prompt_hash,
        "chosen_hash": chosen_hash,
        "rejected_hash": rejected_hash,
        "source": "raw",
        "signal": "choice",
        "rule": rule,
        "rule_version": 1,
        "strength": "strong",
        "weight": 1.0,
        "n_votes": columns.get("n_agree", 1),
        "n_agree": 1,
        "event_ids": ["e1"],
        "prompt_group": prompt_hash,
        "user_ids": ["u:1"],
        "consent": "training",
        "first_time": NOON,
        "last_time": NOON,
        **columns,
    }


def make_interaction(source_id: str, response: str, prompt: str = "Hello?", **columns: object) -> Row:
    """Return one row of the lake's interactions, with the given columns replaced."""
    asked, answer = _said("user", prompt), _said("assistant", response)
    source = str(columns.get("source", "raw"))
    row: Row = dict.fromkeys(schema.INTERACTION.names)
    return row | {
        "interaction_id": schema.interaction_id(source, source_id),
        "source": source,
        "source_id": source_id,
        "prompt": asked,
        "response": answer,
        "prompt_hash": schema.messages_hash(asked),
        "response_hash": schema.messages_hash(answer),
        "finish_reason": "stop",
        "status": "ok",
        "consent": "training",
        "event_time": NOON,
        **columns,
    }


def varied(count: int, start: int = 0) -> list[Row]:
    """Return triples of `count` different prompts that no rule drops, chosen longer in every other."""
    return [
        make_triple(f"Question {n}?", f"Answer {n}, indeed" if n % 2 else f"Ok {n}", f"Reply {n}.", last_time=NOON)
        for n in range(start, start + count)
    ]


@dataclass(frozen=True)
class Judged:
    """What curation made of triples, before anything is written."""

    curated: dict[str, Row]
    """triple_id -> row of curated.parquet."""
    dropped: dict[str, list[tuple[str, bool, str]]]
    """triple_id -> (reason's name, first, detail), in order."""

    def first(self, row: Row) -> str | None:
        """Return the reason that is counted for a triple, None when it is kept."""
        reasons = self.dropped.get(row["triple_id"], [])
        counted = [name for name, first, _ in reasons if first]
        assert len(counted) == (row["triple_id"] not in self.curated)
        return counted[0] if counted else None


def judge_triples(
    rows: Sequence[Row],
    recipe: recipes.Recipe | None = None,
    known: Mapping[str, str] | None = None,
    feedback: Sequence[Row] = (),
) -> Judged:
    """Run everything but the gate and the files over `rows`; without a recipe, by the default one of any strength.

    `known` is prompt group -> split published before; `feedback` names the raters of events.
    """
    recipe = recipe or recipes.Recipe(rules=tuple(rule.name for rule in RULES if rule.name != "weak_signal"))
    connection = duckdb.connect(config={"threads": 1})
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("triples", pa.Table.from_pylist(list(rows), schema=schema.TRIPLE))
        connection.register("feedback", pa.Table.from_pylist(list(feedback), schema=schema.FEEDBACK))
        connection.execute("CREATE TEMP TABLE known_splits (prompt_group VARCHAR, split VARCHAR)")
        if known:
            connection.executemany("INSERT INTO known_splits VALUES (?, ?)", list(known.items()))
        apply(connection, recipe.resolved_rules(("training",)), recipe)
        balance(connection, recipe.balance)
        connection.execute(statement("kept.sql"))
        curated = connection.sql(statement("curated.sql")).to_arrow_table()
        assert curated is not None
        dropped: dict[str, list[tuple[str, bool, str]]] = {}
        for key, *reason in connection.execute(
            "SELECT triple_id, name, first, detail FROM dropped ORDER BY triple_id, ordinal"
        ).fetchall():
            dropped.setdefault(key, []).append((reason[0], reason[1], reason[2]))
        return Judged({row["triple_id"]: row for row in curated.to_pylist()}, dropped)
    finally:
        connection.close()


@dataclass(frozen=True)
class Workspace:
    """A workspace on disk."""

    settings: settings.Settings

    @property
    def config(self) -> Path:
        return self.settings.root / "winnow.toml"

    def put(self, table: str, rows: Sequence[Row]) -> None:
        """Replace a table of the lake."""
        Lake(self.settings.lake).overwrite(table, pa.Table.from_pylist(list(rows), schema=SCHEMAS[table]))

    def curate(self, recipe: recipes.Recipe | None = None) -> Curation:
        return curate(self.settings, recipe or recipes.load(), lambda stage: None)


def make_workspace(folder: Path, triples: Sequence[Row] = ()) -> Workspace:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "winnow.toml").write_text('lake = "lake"\ncurated = "curated"\n', encoding="utf-8")
    made = Workspace(settings.load(folder / "winnow.toml"))
    if triples:
        made.put("triples", triples)
    return made


@pytest.fixture(autouse=True)
def keep_umask() -> Iterator[None]:
    """The lake sets the umask of its process; a test must not leave it to the next."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)
