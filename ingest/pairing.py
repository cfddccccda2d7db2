"""Turns feedback into triples and unpaired rows: runs every rule of ingest/rules over the lake.

Reads `interactions` and `feedback`, writes `triples` and `unpaired`; part of `python -m ingest run`. A rule is one .sql
file whose header names it. It selects event_id, chosen_id, rejected_id, edited and margin: an event, and the two served
responses that it compares (or the edited messages in place of the chosen one). What the rules find is grouped here, the
same for every rule: one triple for each (prompt, chosen, rejected, rule), however many events support it.
"""

import json
from dataclasses import dataclass
from importlib import resources
from typing import Final

import duckdb
import pyarrow as pa

from ingest import numbering, schema
from ingest.errors import ContractError
from ingest.lake import SCHEMAS, Lake

BATCH_ROWS: Final = 4096


@dataclass(frozen=True)
class Rule:
    """How one signal becomes triples, or unpaired rows."""

    name: str
    """snake_case; the file's name, and part of every triple_id made by it."""
    version: int
    """Raised whenever the same events pair differently."""
    signal: str
    """The feedback it reads."""
    strength: str
    """"strong", "medium" or "weak": how far to trust it (docs/signals.md)."""
    meaning: str
    """One sentence that an annotator can read."""
    sql: str
    """The SELECT over `events`, `served` and `interactions`."""


def _sql(name: str) -> str:
    return (resources.files("ingest") / "rules" / f"{name}.sql").read_text(encoding="utf-8")


def _rule(name: str) -> Rule:
    """Return the rule of one file; the first lines of its header are its fields."""
    sql = _sql(name)
    header = dict(line.removeprefix("-- ").split(": ", 1) for line in sql.splitlines()[:5])
    if header.get("rule") != name or set(header) != {"rule", "version", "signal", "strength", "meaning"}:
        raise ContractError(f"rules/{name}.sql begins with {sorted(header)}. Begin it as the other rules do.")
    return Rule(name, int(header["version"]), header["signal"], header["strength"], header["meaning"], sql)


_NUMBERED: Final = pa.schema(
    [
        ("chosen_id", pa.string()),
        ("rejected_id", pa.string()),
        ("same_prompt", pa.bool_()),
        ("chosen_text", pa.string()),  # hashes
        ("rejected_text", pa.string()),
    ]
)
_NUMBERED_TEXTS: Final = pa.schema([("response_hash", pa.string()), ("response", schema.MESSAGES)])

RULES: Final = tuple(_rule(name) for name in ("choice", "label", "edit", "sibling_thumbs"))
"""The rules that make triples."""
LONE: Final = _rule("lone_thumb")
"""The rule that makes unpaired rows of what no triple uses."""


@dataclass(frozen=True)
class Pairing:
    """What one pairing gave, and what gave nothing.

    Every event that counts is in exactly one of `paired`, `unpaired`, `orphans` and `no_pair`.
    """

    total: int
    """Triples in the lake after this run."""
    new: int
    """Of them, triples that were not there before."""
    removed: int
    """Triples that were there before and that no event supports any more."""
    by_signal: dict[str, int]
    """Signal -> triples; adds up to `total`."""
    unpaired_total: int
    """Unpaired rows in the lake after this run."""
    events: int
    """Feedback events that count: the latest revision of each, unless taken back."""
    superseded: int
    """Feedback rows that do not count: older revisions, and events taken back."""
    paired: int
    """Events that support at least one triple."""
    unpaired: int
    """Events that support an unpaired row."""
    orphans: int
    """Events that support nothing yet, because a response they name has not arrived; they wait."""
    no_pair: dict[str, int]
    """Signal -> events that support nothing, and wait for nothing."""
    mismatched: int
    """Comparisons of responses to different prompts, or with different tools: never a triple."""
    identical: int
    """Comparisons of responses with the same text: never a triple."""


def build(lake: Lake, run_id: str) -> Pairing:
    """Pair everything in `lake`; overwrite its triples and unpaired rows, each only where a row changed."""
    with lake.database(run_id) as connection:
        _add_functions(connection)
        for table in ("interactions", "feedback", "triples", "unpaired"):
            lake.view(connection, table)
        _pair(connection)
        new, removed = _store(connection, lake, "triples")
        _store(connection, lake, "unpaired")
        return _pairing(connection, new, removed)


def _add_functions(connection: duckdb.DuckDBPyConnection) -> None:
    """Make known to the rules' SQL the hashes of `ingest.schema`, and what redaction did to edits."""
    text = "VARCHAR"
    connection.create_function("messages_hash", _messages_hash, [text], text)
    connection.create_function("root_hash", _root_hash, [text], text)
    connection.create_function("triple_id", schema.triple_id, [text] * 4, text)
    connection.create_function("numbered_as", _numbered_as, [text] * 3, text)
    connection.create_function("unpaired_id", _unpaired_id, [text] * 2, text)


def _messages_hash(messages: str) -> str:
    return schema.messages_hash(json.loads(messages))


def _root_hash(prompt: str) -> str:
    return schema.prompt_group(json.loads(prompt))


def _numbered_as(text: str, own: str, kept: str) -> str:
    return numbering.numbered_as(text, json.loads(own), json.loads(kept))


def _unpaired_id(interaction: str, signal: str) -> str:
    return schema.content_id([interaction, signal])


def _pair(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `new_triples` and `new_unpaired`, with what `_pairing` counts."""
    connection.execute("CREATE TEMP TABLE rules (name VARCHAR, version INTEGER, signal VARCHAR, strength VARCHAR)")
    known = [[r.name, r.version, r.signal, r.strength] for r in (*RULES, LONE)]
    connection.executemany("INSERT INTO rules VALUES (?, ?, ?, ?)", known)
    connection.execute(_sql("events"))
    for rule in RULES:
        columns = "event_id, chosen_id, rejected_id, edited, margin"
        connection.execute(f"INSERT INTO comparisons SELECT ?, {columns} FROM ({rule.sql})", [rule.name])
    _number_jointly(connection)
    connection.execute(_sql("triples"))
    connection.execute(f"CREATE TEMP TABLE lone AS {LONE.sql}")
    connection.execute(_sql("unpaired"))


def _number_jointly(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `numbered`, compared responses whose placeholders do not agree, and `numbered_texts`, what they become."""
    pairs, texts = [], {}
    for batch in connection.sql(_sql("placeholders")).to_arrow_reader(BATCH_ROWS):
        for row in batch.to_pylist():
            chosen, rejected = (
                numbering.Side(row[name], row[f"{name}_hash"], dict(row[f"{name}_placeholders"]))
                for name in ("chosen", "rejected")
            )
            sides = numbering.paired(row["prompt"], row["tools"], (chosen, rejected))
            texts.update({side.response_hash: side.response for side in sides or ()})
            hashes = [side.response_hash for side in sides or (chosen, rejected)]
            pairs.append((row["chosen_id"], row["rejected_id"], sides is not None, *hashes))
    columns = [pa.array(column) for column in zip(*pairs, strict=True)] or None
    numbered = pa.Table.from_arrays(columns, schema=_NUMBERED) if columns else _NUMBERED.empty_table()
    connection.register("numbered", numbered)
    named = [{"response_hash": name, "response": messages} for name, messages in texts.items()]
    connection.register("numbered_texts", pa.Table.from_pylist(named, schema=_NUMBERED_TEXTS))


def _store(connection: duckdb.DuckDBPyConnection, lake: Lake, table: str) -> tuple[int, int]:
    """Overwrite `table` with `new_<table>` if any row differs; return how many keys are new and how many removed."""
    contract = SCHEMAS[table]
    key = contract.names[0]
    wanted = connection.from_arrow(contract.empty_table()).types
    columns = ", ".join(f'CAST("{n}" AS {kind}) AS "{n}"' for n, kind in zip(contract.names, wanted, strict=True))
    connection.execute(f"CREATE TEMP VIEW fresh_{table} AS SELECT {columns} FROM new_{table}")
    [(new, removed, changed)] = connection.execute(
        f"""
        SELECT
          count(*) FILTER (before.{key} IS NULL),
          count(*) FILTER (after.{key} IS NULL),
          count(*) FILTER (before.row IS DISTINCT FROM after.row)
        FROM (SELECT {key}, hash(t) AS row FROM {table} AS t) AS before
        FULL JOIN (SELECT {key}, hash(t) AS row FROM fresh_{table} AS t) AS after ON before.{key} = after.{key}
        """
    ).fetchall()
    if changed:
        rows = connection.sql(f"SELECT * FROM fresh_{table} ORDER BY {key}").to_arrow_reader(BATCH_ROWS)
        lake.overwrite(table, pa.RecordBatchReader.from_batches(contract, (batch.cast(contract) for batch in rows)))
    return new, removed


def _pairing(connection: duckdb.DuckDBPyConnection, new: int, removed: int) -> Pairing:
    """Count what became of every event and every comparison."""
    by_signal = _counts(connection, "SELECT signal, count(*) FROM new_triples GROUP BY signal ORDER BY signal")
    outcomes = connection.execute(_sql("outcome")).fetchall()
    events = {kind: sum(n for _, outcome, n in outcomes if outcome == kind) for kind in ("paired", "unpaired", "waits")}
    compared = _counts(
        connection,
        """SELECT outcome, count(*) FROM (SELECT DISTINCT rule, event_id, chosen_id, rejected_id, outcome FROM compared)
        GROUP BY outcome""",
    )
    rows = _counts(
        connection,
        """SELECT 'unpaired', count(*) FROM new_unpaired UNION ALL SELECT 'feedback', count(*) FROM feedback""",
    )
    counted = sum(n for _, _, n in outcomes)
    return Pairing(
        total=sum(by_signal.values()),
        new=new,
        removed=removed,
        by_signal=by_signal,
        unpaired_total=rows["unpaired"],
        events=counted,
        superseded=rows["feedback"] - counted,
        paired=events["paired"],
        unpaired=events["unpaired"],
        orphans=events["waits"],
        no_pair={signal: n for signal, outcome, n in sorted(outcomes) if outcome == "no_pair"},
        mismatched=compared.get("mismatch", 0),
        identical=compared.get("identical", 0),
    )


def _counts(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, int]:
    return dict(connection.execute(query).fetchall())
