"""Which rows of the lake belong to erased users, and what they say.

A response is theirs where the ledger names its user, its conversation or itself; so is the rest of its conversation,
whoever wrote it, and what it follows or is followed by (`parent_id`). Feedback is theirs where they gave it, or where
it is about a response of theirs. A quarantined line is theirs where it names them, an id of a response or conversation
of theirs, or says what only they said.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ingest import labels, schema
from ingest.erasure.proof import PIECE, Needles, leaves
from ingest.lake import Lake
from ingest.subjects import Scope, Subjects

BATCH_ROWS: Final = 4096
SHORTEST_ID: Final = 6
"""Characters of an id by which a quarantined line is known: a shorter one may be any number in it."""
TEXTS: Final = {"interactions": ("prompt", "response", "tools", "sampling"), "feedback": ("text",)}
"""Table -> columns that hold what somebody said."""

_STRING: Final = re.compile(r'"((?:[^"\\]|\\.)*)"(?!\s*:)')
"""A string in JSON text that is no key."""

_THEIRS: Final = """
    CREATE TEMP TABLE served AS
    SELECT DISTINCT
        interaction_id, source, source_id, user_id, conversation_id, interaction_key(source, parent_id) AS parent
    FROM interactions;

    CREATE TEMP TABLE theirs AS
    SELECT interaction_id, source, conversation_id, parent FROM served
    WHERE user_id IN (FROM erased_users) OR response_digest(interaction_id) IN (FROM erased_responses)
        OR conversation_digest(source, conversation_id) IN (FROM erased_conversations);
"""
_MORE: Final = """
    INSERT INTO theirs
    SELECT interaction_id, source, conversation_id, parent FROM served
    WHERE interaction_id NOT IN (SELECT interaction_id FROM theirs) AND (
        (source, conversation_id) IN (SELECT (source, conversation_id) FROM theirs WHERE conversation_id IS NOT NULL)
        OR parent IN (SELECT interaction_id FROM theirs)
        OR interaction_id IN (SELECT parent FROM theirs WHERE parent IS NOT NULL))
"""
_FEEDBACK: Final = """
    WITH named AS (
        SELECT feedback_id, unnest(list_append(coalesce(other_ids, []), interaction_id)) AS key FROM feedback
    )
    SELECT feedback_id FROM feedback WHERE rater_id IN (FROM erased_users)
    UNION
    SELECT feedback_id FROM named
    WHERE key IN (SELECT interaction_id FROM theirs) OR response_digest(key) IN (FROM erased_responses)
    ORDER BY feedback_id
"""
_OTHERS: Final = """
    SELECT DISTINCT interaction_id FROM served SEMI JOIN theirs USING (interaction_id)
    WHERE user_id IS NOT NULL AND user_id NOT IN (FROM erased_users)
"""
_IDS: Final = """
    WITH named AS (
        SELECT source, unnest([source_id, conversation_id]) AS name FROM served SEMI JOIN theirs USING (interaction_id)
    )
    SELECT DISTINCT source, name FROM named WHERE length(name) >= $shortest
"""
_PLACES: Final = """
    WITH places AS (
        SELECT source, file_id, byte_offset FROM interactions SEMI JOIN theirs USING (interaction_id)
        UNION SELECT source, file_id, byte_offset FROM feedback SEMI JOIN their_feedback USING (feedback_id)
        UNION SELECT source, file_id, byte_offset FROM quarantine SEMI JOIN their_lines USING (quarantine_id)
    ),
    paths AS (SELECT file_id, max_by(path, ingest_time) AS path FROM files GROUP BY file_id)
    SELECT path, list(DISTINCT byte_offset ORDER BY byte_offset) FROM places JOIN paths USING (file_id)
    WHERE source <> $labels GROUP BY path ORDER BY path
"""
_MADE: Final = """
    SELECT {key} FROM {table}
    WHERE list_has_any(user_ids, (SELECT list(value) FROM erased_users))
        OR list_has_any(event_ids, (SELECT coalesce(list(feedback_id), []) FROM their_feedback)) OR {shown}
    ORDER BY ALL
"""
_SHOWN: Final = "{} IN (SELECT interaction_id FROM theirs)"
_TRIPLES: Final = _MADE.format(
    key="triple_id",
    table="triples",
    shown=" OR ".join(map(_SHOWN.format, ("chosen_interaction_id", "rejected_interaction_id"))),
)
_UNPAIRED: Final = _MADE.format(key="unpaired_id", table="unpaired", shown=_SHOWN.format("interaction_id"))


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows of erased users, by key."""

    interactions: list[str]
    feedback: list[str]
    quarantine: list[str]
    of_others: int
    """Interactions among them that name another user: they stand in an erased conversation."""
    triples: list[str]
    """Those in which they have a part; the next pairing makes them anew without them, or not at all."""
    unpaired: list[str]
    places: dict[str, list[int]] = field(repr=False)
    """Path of a log -> offsets of the records that the rows came from."""

    def keys(self) -> dict[str, list[str]]:
        """Return table -> keys; the rows by which the others are found come last."""
        tables = ("triples", "unpaired", "quarantine", "feedback", "interactions")
        return {table: getattr(self, table) for table in tables}


class Search:
    """A look at the lake for what is erased users', with the texts to prove that they are gone.

    `on_disk` looks at every file of the tables, also those of older versions, which an interrupted erasure left.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, lake: Lake, subjects: Subjects, *, on_disk: bool) -> None:
        self._connection = connection
        self._subjects = subjects
        for table in ("interactions", "feedback", "quarantine", "files"):
            lake.view(connection, table, files=_readable(lake.path / table) if on_disk else None)
        for table in ("triples", "unpaired"):
            lake.view(connection, table)
        text = "VARCHAR"
        connection.create_function("response_digest", subjects.response, [text], text)
        connection.create_function("conversation_digest", subjects.conversation, [text, text], text)
        connection.create_function("interaction_key", _interaction_key, [text, text], text)
        for kind in ("users", "conversations", "responses"):
            values = pa.table({"value": pa.array(sorted(getattr(subjects.erased, kind)), pa.string())})
            connection.register(f"given_{kind}", values)
            connection.execute(f"CREATE TEMP TABLE erased_{kind} AS FROM given_{kind}")
        connection.execute(_THEIRS)
        while connection.execute(_MORE).fetchall()[0][0]:
            pass
        connection.execute(f"CREATE TEMP TABLE their_feedback AS {_FEEDBACK}")

    def finds(self) -> bool:
        """Return whether any response or feedback is theirs."""
        return bool(self._column("SELECT 1 FROM theirs UNION ALL SELECT 1 FROM their_feedback LIMIT 1"))

    def extend(self, scope: Scope) -> None:
        """Add to `scope` their responses and conversations."""
        digest = self._subjects
        scope.responses |= {digest.response(key) for key in self._column("SELECT interaction_id FROM theirs")}
        conversations = "SELECT DISTINCT source, conversation_id FROM theirs WHERE conversation_id IS NOT NULL"
        scope.conversations |= {
            digest.conversation(*pair) for pair in self._connection.execute(conversations).fetchall()
        }

    def rows(self, needles: Needles, elsewhere: Iterable[str]) -> Rows:
        """Return the rows, and put into `needles` what they and the texts `elsewhere` say, and nobody else does."""
        theirs = (text for array in self._texts("IN") for text in array.to_pylist() if text)
        said = Needles.of((), (*theirs, *elsewhere))
        said.leave_out(self._texts("NOT IN"))
        lines = self._lines(said)
        raws = self._column("SELECT DISTINCT raw FROM quarantine SEMI JOIN their_lines USING (quarantine_id)")
        quarantined = Needles.of((), (text for raw in raws for text in _strings(raw)))
        quarantined.leave_out(self._texts("NOT IN"))
        quarantined.leave_out(self._raws())
        needles.add(said)
        needles.add(quarantined)
        return Rows(
            interactions=self._column("SELECT DISTINCT interaction_id FROM theirs ORDER BY ALL"),
            feedback=self._column("SELECT feedback_id FROM their_feedback"),
            quarantine=lines,
            of_others=len(self._column(_OTHERS)),
            triples=self._column(_TRIPLES),
            unpaired=self._column(_UNPAIRED),
            places=dict(self._connection.execute(_PLACES, {"labels": labels.SOURCE}).fetchall()),
        )

    def _lines(self, needles: Needles) -> list[str]:
        """Return the keys of their quarantined lines, and make table their_lines of them."""
        lines = self._connection.sql(
            "SELECT DISTINCT quarantine_id, source, raw FROM quarantine WHERE raw IS NOT NULL ORDER BY ALL"
        ).to_arrow_table()
        found = pl.Series(self._subjects.quarantine(lines), dtype=pl.Boolean)
        found |= pl.Series(needles.hold(lines["raw"].to_pylist()), dtype=pl.Boolean)
        table = pl.DataFrame(lines).with_columns(found=found)
        ids: dict[str, list[str]] = {}
        for source, name in self._connection.execute(_IDS, {"shortest": SHORTEST_ID}).fetchall():
            ids.setdefault(source, []).append(f'"{name}"')
        for source, names in ids.items():
            hit = (pl.col("source") == source) & pl.col("raw").str.contains_any(names)
            table = table.with_columns(found=pl.col("found") | hit)
        keys = table.filter("found")["quarantine_id"].to_list()
        self._connection.register("lines", pa.table({"quarantine_id": pa.array(keys, pa.string())}))
        self._connection.execute("CREATE TEMP TABLE their_lines AS FROM lines")
        return keys

    def _texts(self, membership: str) -> Iterator[pa.Array]:
        """Yield what their responses and feedback say ("IN"), or what those of others do ("NOT IN")."""
        for table, theirs in (("interactions", "theirs"), ("feedback", "their_feedback")):
            key, columns = f"{table.removesuffix('s')}_id", ", ".join(TEXTS[table])
            query = f"SELECT {columns} FROM {table} WHERE {key} {membership} (SELECT {key} FROM {theirs})"
            yield from self._leaves(query)

    def _raws(self) -> Iterator[pa.Array]:
        """Yield the quarantined lines that are not theirs."""
        yield from self._leaves("SELECT raw FROM quarantine ANTI JOIN their_lines USING (quarantine_id)")

    def _leaves(self, query: str) -> Iterator[pa.Array]:
        reader = self._connection.sql(query).to_arrow_reader(BATCH_ROWS)
        for batch in reader:
            for column in batch.columns:
                yield from leaves(column, but="role")

    def _column(self, query: str) -> list[Any]:
        return [value for (value,) in self._connection.execute(query).fetchall()]


def _interaction_key(source: str, source_id: str) -> str:
    return schema.interaction_id(source, source_id)


def _readable(folder: Path) -> list[str]:
    """Return the whole Parquet files of a table's folder; a kill may have left half a one, which no version names."""
    whole = []
    for path in sorted(folder.glob("*.parquet")):
        try:
            pq.read_metadata(path)
        except (OSError, pa.ArrowException):
            continue
        whole.append(str(path.absolute()))
    return whole


def _strings(raw: str) -> Iterator[str]:
    """Yield the strings of JSON text, torn or not, and of JSON within them, that are long and have spaces.

    The others are names of models, ids and times, which rows of others have, too.
    """
    for quoted in _STRING.findall(raw):
        try:
            text = str(json.loads(f'"{quoted}"', strict=False))
        except ValueError:
            text = quoted
        if text[:1] in ("{", "["):
            yield from _strings(text)
        elif len(text) >= PIECE and " " in text:
            yield text
