"""Turns feedback into triples and unpaired rows: runs every rule of ingest/rules over the lake.

Reads `interactions` and `feedback`, writes `triples`, `unpaired` and `outcomes`; part of `python -m ingest run`. A rule
is one .sql file whose header names it. It selects event_id, chosen_id, rejected_id, edited, margin and refused: an
event, the two served responses that it compares (or the edited messages in place of the chosen one), and why it makes
no pair. What the rules find is grouped here, the same for every rule: one triple for each (prompt, chosen,
rejected, rule), however many events support it.

A pair depends on the interactions of one prompt and on the events about them. So only prompts are paired again that
something new is about (`ingest.changes`, rules/touched.sql), and of them only rows that differ are written.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from ingest import numbering, schema
from ingest.changes import READ, WRITTEN, Changes, since_last_pairing, versions
from ingest.errors import SettingsError
from ingest.lake import SCHEMAS, Lake
from ingest.rulebook import LONE, RULES, STEPS
from ingest.schema import content_id
from ingest.settings import PairingPolicy
from ingest.sql_functions import add_functions

if TYPE_CHECKING:
    import duckdb

BATCH_ROWS: Final = 4096
TABLES: Final = (*READ, *WRITTEN, "outcomes")


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

_BLANKS: Final = tuple(
    schema.messages_hash([{"role": "assistant", "content": content, **calls}])
    for content in ("", None)
    for calls in ({}, {"tool_calls": "[]"})
)
"""response_hash of every response that says nothing."""

MOST: Final = 0.2
"""Where more of a table than this share changes, it is written anew; where less of it is read, it is held."""


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
    overdue: int
    """Of them, those that were read more than [pairing] orphan_days ago."""
    overdue_at: float | None
    """When the next of them will be, in seconds since 1970."""
    no_pair: dict[str, int]
    """Signal -> events that support nothing, and wait for nothing."""
    no_pair_reasons: dict[str, int]
    """Key of `schema.NO_PAIR_REASONS` -> such events; adds up to the same."""
    left_out: dict[str, int]
    """Key of `schema.NO_PAIR_REASONS` -> comparisons that are in no triple."""
    contradicted: int
    """Triples whose opposite somebody voted for."""
    suspicious: dict[str, int]
    """Key of `schema.SUSPICIONS` -> events that look like it; they count all the same."""

    @property
    def mismatched(self) -> int:
        """Comparisons of responses to different prompts, or with different tools: never a triple."""
        return self.left_out.get("mismatch", 0)

    @property
    def identical(self) -> int:
        """Comparisons of responses with the same text: never a triple."""
        return self.left_out.get("identical", 0)


NOTHING: Final = Pairing(
    total=0,
    new=0,
    removed=0,
    by_signal={},
    unpaired_total=0,
    events=0,
    superseded=0,
    paired=0,
    unpaired=0,
    orphans=0,
    overdue=0,
    overdue_at=None,
    no_pair={},
    no_pair_reasons={},
    left_out={},
    contradicted=0,
    suspicious={},
)
"""What pairing gives as long as there was never any feedback."""


def build(lake: Lake, run_id: str, policy: PairingPolicy | None = None) -> Pairing:
    """Pair what has changed in `lake` since the last time; the result is that of pairing everything.

    Triples and unpaired rows change only where a row does. Whatever else than rows that were added has changed (rows
    that were erased, a rule, a setting), everything is paired again. Raises SettingsError as `check` does.
    """
    policy = policy or PairingPolicy()
    check(policy)
    changes = since_last_pairing(lake, fingerprint(policy))
    if not any(changes.cursors[table] for table in ("feedback", *WRITTEN)):
        return NOTHING
    if changes.nothing:
        return count(lake, policy)
    with lake.database(run_id) as connection:
        add_functions(connection)
        for table in TABLES:
            lake.view(connection, table)
        _set_out(connection, policy)
        _find_touched(connection, lake, changes)
        _pair(connection, lake)
        fresh = changes.added is None
        place = "true" if fresh else "hash(prompt_hash) IN (FROM touched)"
        new, removed = _store(connection, lake, "triples", "made", place, STEPS["triple_texts"])
        _store(connection, lake, "unpaired", "made_unpaired", place, STEPS["unpaired_texts"])
        ids = "(SELECT feedback_id FROM {})"
        events = f"feedback_id IN {ids.format('relevant')} OR feedback_id NOT IN {ids.format('counted')}"
        rows = "SELECT m.* FROM made_outcomes AS m SEMI JOIN wanted ON m.feedback_id = wanted.key"
        cursors = {**changes.cursors, **{table: v for table, v in versions(lake).items() if table in WRITTEN}}
        # Last: as long as it lacks these cursors, the next run pairs the same prompts again.
        _store(connection, lake, "outcomes", "made_outcomes", "true" if fresh else events, rows, cursors)
    return replace(count(lake, policy), new=new, removed=removed)


def check(policy: PairingPolicy) -> None:
    """Raise SettingsError for a weight of a rule that does not exist."""
    if unknown := sorted(set(policy.weights) - {rule.name for rule in RULES}):
        names = ", ".join(rule.name for rule in RULES)
        raise SettingsError(f"[pairing] weights names {', '.join(unknown)}; the rules that make triples are {names}.")


def fingerprint(policy: PairingPolicy) -> int:
    """Return a number that changes with every setting, rule, statement and function by which pairs are made."""
    rules = [rule.sql for rule in (*RULES, LONE)]
    settings = policy.model_dump(exclude={"orphan_days"})
    functions = ("numbering.py", "sql_functions.py")
    code = [(resources.files("ingest") / name).read_text(encoding="utf-8") for name in functions]
    made_of = [schema.SCHEMA_VERSION, rules, list(STEPS.values()), code, settings]
    return int(content_id(made_of).removeprefix("b2:")[:15], 16)


def up_to_date(lake: Lake, policy: PairingPolicy) -> bool:
    """Return whether `build` would find nothing to do; opens the tables' logs and none of their files."""
    return since_last_pairing(lake, fingerprint(policy)).nothing


def count(lake: Lake, policy: PairingPolicy) -> Pairing:
    """Return what the last pairing gave; no triple is new to it."""
    with lake.database() as connection:
        for table in TABLES:
            lake.view(connection, table)
        return _count(connection, timedelta(days=policy.orphan_days))


def _set_out(connection: "duckdb.DuckDBPyConnection", policy: PairingPolicy) -> None:
    """Make the variables and tables by which rules know the settings."""
    for name, value in policy.model_dump(exclude={"weights", "orphan_days"}).items():
        connection.execute(f"SET VARIABLE {name} = {value!r}")
    connection.execute(
        "CREATE TEMP TABLE rules (name VARCHAR, version INTEGER, signal VARCHAR, strength VARCHAR, weight DOUBLE)"
    )
    known = [[r.name, r.version, r.signal, r.strength, policy.weights.get(r.name, 1.0)] for r in (*RULES, LONE)]
    connection.executemany("INSERT INTO rules VALUES (?, ?, ?, ?, ?)", known)
    connection.execute("CREATE TEMP TABLE blanks (response_hash VARCHAR)")
    connection.executemany("INSERT INTO blanks VALUES (?)", [[blank] for blank in _BLANKS])


def _find_touched(connection: "duckdb.DuckDBPyConnection", lake: Lake, changes: Changes) -> None:
    """Make `counted`, `judged`, `touched` and `changed`: which prompts are paired again, because of which events."""
    connection.execute(STEPS["counted"])
    connection.execute(STEPS["suspicion"])
    connection.execute(f"SET VARIABLE everything = {changes.added is None}")
    if changes.added is None:
        connection.execute("CREATE TEMP TABLE touched AS SELECT DISTINCT place FROM mentions")
        connection.execute("CREATE TEMP TABLE changed (said UBIGINT)")
        return
    for table, files in changes.added.items():
        lake.view(connection, table, name=f"new_{table}", files=files)
    connection.execute(STEPS["touched"])
    while connection.execute(_LINKED).fetchall()[0][0]:
        pass


_LINKED: Final = """
    INSERT INTO touched
    SELECT DISTINCT other.place FROM links AS one JOIN links AS other USING (said)
    WHERE one.place IN (FROM touched) AND other.place NOT IN (FROM touched)
"""
"""One step from the touched prompts to those that an event names with them."""


def _pair(connection: "duckdb.DuckDBPyConnection", lake: Lake) -> None:
    """Make `made`, `made_unpaired` and `made_outcomes`: every row of the touched prompts, without its text."""
    lake.view(connection, "interactions", name="placed_interactions")
    connection.execute(STEPS["events"])
    # From here on only files that hold a touched prompt are read, and of few prompts only once: text is what costs.
    files = [file for (file,) in connection.execute("SELECT DISTINCT file FROM served ORDER BY file").fetchall()]
    lake.view(connection, "interactions", files=files)
    [(few,)] = connection.execute(
        "SELECT count(*) < $most * (SELECT count(*) FROM placed_interactions) FROM served", {"most": MOST}
    ).fetchall()
    if few:
        connection.execute(
            "CREATE TABLE near AS SELECT i.* FROM interactions AS i SEMI JOIN served USING (interaction_id)"
        )
        connection.execute("CREATE OR REPLACE VIEW interactions AS FROM near")
    for rule in RULES:
        columns = "event_id, chosen_id, rejected_id, edited, margin, refused"
        connection.execute(f"INSERT INTO comparisons SELECT ?, {columns} FROM ({rule.sql})", [rule.name])
    _number_jointly(connection)
    connection.execute(STEPS["triples"])
    connection.execute(f"CREATE TEMP TABLE lone AS {LONE.sql}")
    connection.execute(STEPS["unpaired"])
    connection.execute(STEPS["outcome"])


def _number_jointly(connection: "duckdb.DuckDBPyConnection") -> None:
    """Make `numbered`, compared responses whose placeholders do not agree, and `numbered_texts`, what they become."""
    pairs, texts = [], {}
    for batch in connection.sql(STEPS["placeholders"]).to_arrow_reader(BATCH_ROWS):
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


def _store(
    connection: "duckdb.DuckDBPyConnection",
    lake: Lake,
    table: str,
    made: str,
    place: str,
    rows: str,
    cursors: Mapping[str, int] | None = None,
) -> tuple[int, int]:
    """Make the rows of `table` at `place` those of `made`, and note `cursors`, in one commit.

    `rows` selects rows of `made`, with their texts, whose keys are in `wanted`. Returns how many keys are new, and how
    many are gone. Where no row differs and no cursor moves, nothing is committed.
    """
    contract = SCHEMAS[table]
    key = contract.names[0]
    types = dict(zip(contract.names, connection.from_arrow(contract.empty_table()).types, strict=True))
    narrow = [name for (name, *_) in connection.execute(f"DESCRIBE {made}").fetchall()]
    told_by = ", ".join(f'CAST("{name}" AS {types[name]})' for name in narrow)
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE differing AS
        SELECT coalesce(before.key, after.key) AS key, before.key IS NULL AS fresh, after.key IS NULL AS gone
        FROM (SELECT {key} AS key, hash({told_by}) AS row FROM {table} WHERE {place}) AS before
        FULL JOIN (SELECT {key} AS key, hash({told_by}) AS row FROM {made}) AS after ON before.key = after.key
        WHERE before.row IS DISTINCT FROM after.row
        """
    )
    connection.execute("CREATE OR REPLACE TEMP TABLE wanted AS SELECT key FROM differing WHERE NOT gone")
    [(new, removed, differing, before)] = connection.execute(
        f"""SELECT count(*) FILTER (fresh), count(*) FILTER (gone), count(*), (SELECT count(*) FROM {table})
        FROM differing"""
    ).fetchall()
    columns = ", ".join(f'CAST("{name}" AS {kind}) AS "{name}"' for name, kind in types.items())
    selected = f"SELECT {columns} FROM ({rows})"
    if differing > MOST * before:
        rest = f"SELECT {columns} FROM {table} ANTI JOIN differing ON {key} = differing.key"
        batches = connection.sql(f"{selected} UNION ALL {rest}").to_arrow_reader(BATCH_ROWS)
        reader = pa.RecordBatchReader.from_batches(contract, (batch.cast(contract) for batch in batches))
        lake.overwrite(table, reader, cursors or {})
    elif new == differing:
        lake.append(table, connection.sql(selected).to_arrow_table().cast(contract), cursors or {})
    else:
        gone = [name for (name,) in connection.execute("SELECT key FROM differing WHERE gone").fetchall()]
        lake.exchange(table, connection.sql(selected).to_arrow_table().cast(contract), gone, cursors or {})
    return new, removed


def _count(connection: "duckdb.DuckDBPyConnection", patience: timedelta) -> Pairing:
    """Count what became of every event; those that have waited for longer than `patience` are overdue."""
    by_signal = _counts(connection, "SELECT signal, count(*) FROM triples GROUP BY signal ORDER BY signal")
    events = _counts(connection, "SELECT outcome, count(*) FROM outcomes GROUP BY outcome")
    [(unpaired, feedback, contradicted)] = connection.execute(
        """SELECT (SELECT count(*) FROM unpaired), (SELECT count(*) FROM feedback),
        (SELECT count(*) FROM triples WHERE contradicted)"""
    ).fetchall()
    [(overdue, next_overdue)] = connection.execute(
        """SELECT count(*) FILTER (ingest_time < $before), epoch(min(ingest_time) FILTER (ingest_time >= $before))
        FROM outcomes WHERE outcome = 'waits'""",
        {"before": datetime.now(UTC) - patience},
    ).fetchall()
    total = sum(events.values())
    return Pairing(
        total=sum(by_signal.values()),
        new=0,
        removed=0,
        by_signal=by_signal,
        unpaired_total=unpaired,
        events=total,
        superseded=feedback - total,
        paired=events.get("paired", 0),
        unpaired=events.get("unpaired", 0),
        orphans=events.get("waits", 0),
        overdue=overdue,
        overdue_at=None if next_overdue is None else next_overdue + patience.total_seconds(),
        no_pair=_counts(connection, _WITHOUT_PAIR.format(column="signal")),
        no_pair_reasons=_counts(connection, _WITHOUT_PAIR.format(column="reason")),
        left_out=_counts(
            connection,
            """SELECT reason, sum(left_out[reason])::BIGINT
            FROM (SELECT left_out, unnest(map_keys(left_out)) AS reason FROM outcomes)
            GROUP BY reason ORDER BY reason""",
        ),
        contradicted=contradicted,
        suspicious=_counts(
            connection,
            """SELECT mark, count(*) FROM (SELECT unnest(suspicious) AS mark FROM outcomes)
            GROUP BY mark ORDER BY mark""",
        ),
    )


_WITHOUT_PAIR: Final = """
    SELECT {column}, count(*) FROM outcomes WHERE outcome = 'no_pair' GROUP BY {column} ORDER BY {column}
"""


def _counts(connection: "duckdb.DuckDBPyConnection", query: str) -> dict[str, int]:
    return dict(connection.execute(query).fetchall())
