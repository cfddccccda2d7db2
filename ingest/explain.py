"""Where a triple comes from, and why an event made none: down to the file, the line and its text, and the rule.

Reads the lake and the log files that its rows came from; writes nothing.

    python -m ingest explain b2:0123...     the id of a triple, an unpaired row or a feedback event

A file is found under the name that it has now: by its first line and what stood before the position up to which it was
read (`ingest.positions`). Its text is redacted before it is shown, as it was before it was stored.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import duckdb
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from ingest import labels, redact, rulebook, schema
from ingest.entries import raw_record, raw_text
from ingest.errors import SettingsError
from ingest.globs import find
from ingest.lake import Lake
from ingest.positions import Positions
from ingest.pseudonyms import Pseudonyms
from ingest.scan import LogFile
from ingest.settings import Settings

TABLES: Final = ("triples", "unpaired", "outcomes", "feedback", "interactions", "files")
SHOWN: Final = 400
"""Characters of a line, and of a text, that are shown."""

_PLACE: Final = ("source", "file_id", "byte_offset", "reader", "run_id", "ingest_time")
_EVENT: Final = (
    "feedback_id", "source_id", "revision", "retracted", "signal", "value", "scale_min", "scale_max", "text",
    "interaction_id", "other_ids", "rater_kind", "rater_id", "event_time",
)  # fmt: skip
_RESPONSE: Final = (
    "interaction_id", "source_id", "choice_index", "conversation_id", "model", "model_requested", "sampling",
    "finish_reason", "status", "shown", "position", "consent", "user_id", "prompt_hash", "response_hash", "event_time",
)  # fmt: skip


def explain(settings: Settings, ident: str) -> dict[str, Any]:
    """Return what `python -m ingest explain` prints, by the kind of id: triple, unpaired row or event.

    Raises SettingsError for an id that the lake does not hold.
    """
    lake = Lake(settings.lake)
    with lake.database() as connection:
        for table in TABLES:
            lake.view(connection, table)
        origins = _Origins(settings, connection)
        for table, describe in (("triples", _triple), ("unpaired", _unpaired), ("feedback", _event)):
            # An id is ASCII; what a terminal sends may be no text at all, which DuckDB does not take.
            if ident.isascii() and (found := _rows(connection, f"FROM {table} WHERE {_key_of(table)} = $id", id=ident)):
                return describe(connection, origins, found[0])
    raise SettingsError(
        f"The lake {settings.lake} has no triple, unpaired row or feedback event {ident!r}. Ids begin with b2:, and a "
        "triple that no event supports any more is gone."
    )


def explained_table(found: Mapping[str, Any]) -> Table:
    """Return what `explain` found as a table: one row for the rule, one for each event and each response."""
    (kind, ident), *_ = found.items()
    table = Table(title=Text(f"{kind.removesuffix('_id')} {ident}"), box=SIMPLE_HEAD)
    for name in ("what", "is", "stands in"):
        table.add_column(name, overflow="fold")
    for what, text, place in _lines(found):
        table.add_row(Text(what), Text(text), Text(place))
    return table


def _lines(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    if rule := found.get("rule"):
        yield "rule", f"{rule['name']} v{rule['version']}, {rule['strength']}: {rule['meaning']}", rule["sql"]
    else:
        yield "outcome", f"{found['outcome']}: {found['meaning']}", "; ".join(found.get("triples", ()))
    for event in found["events"]:
        by = f"by {event['rater_id'] or 'nobody named'} at {event['event_time'] or 'no stated time'}"
        yield "event", f"{event['signal']} {by}, revision {event['revision']}", _where(event["at"])
    for side, response in found["responses"].items():
        if isinstance(response, str):
            yield side, response, ""
        else:
            yield side, f"{response['model'] or 'unknown model'}: {response['text'][:80]}", _where(response["at"])


def _where(place: Mapping[str, Any]) -> str:
    if place["line"] is None:
        return f"{place['path']}, byte {place['byte_offset']}. {place['note']}"
    return f"{place['path']}:{place['line']}, byte {place['byte_offset']}"


def _key_of(table: str) -> str:
    """Return the name of the table's key."""
    return {"triples": "triple_id", "unpaired": "unpaired_id", "feedback": "feedback_id"}[table]


def _triple(connection: duckdb.DuckDBPyConnection, origins: "_Origins", row: Mapping[str, Any]) -> dict[str, Any]:
    sides = {side: row[f"{side}_interaction_id"] for side in ("chosen", "rejected")}
    names = (
        "signal", "strength", "margin", "weight", "n_votes", "n_agree", "contradicted", "off_policy", "consent",
        "prompt_hash",
    )  # fmt: skip
    return {
        "triple_id": row["triple_id"],
        "rule": _rule(row["rule"], row["rule_version"]),
        **{name: row[name] for name in names},
        "suspicious": {mark: schema.SUSPICIONS[mark] for mark in row["suspicious"]},
        **{side: _said(row[side]) for side in sides},
        "events": [origins.event(found) for found in _events(connection, row["event_ids"])],
        "responses": {
            side: origins.response(connection, key) if key else "written by the event's rater: no model served it"
            for side, key in sides.items()
        },
    }


def _unpaired(connection: duckdb.DuckDBPyConnection, origins: "_Origins", row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "unpaired_id": row["unpaired_id"],
        "rule": _rule(row["rule"], row["rule_version"]),
        **{name: row[name] for name in ("signal", "label", "consent", "prompt_hash")},
        "completion": _said(row["completion"]),
        "events": [origins.event(found) for found in _events(connection, row["event_ids"])],
        "responses": {"completion": origins.response(connection, row["interaction_id"])},
    }


def _event(connection: duckdb.DuckDBPyConnection, origins: "_Origins", row: Mapping[str, Any]) -> dict[str, Any]:
    """Describe an event: what became of it, why, and its other revisions."""
    ident = row["feedback_id"]
    revisions = _rows(
        connection,
        "FROM feedback WHERE source = $source AND source_id = $name ORDER BY revision",
        source=row["source"],
        name=row["source_id"],
    )
    outcomes = _rows(connection, "FROM outcomes WHERE feedback_id = $id", id=ident)
    triples = _rows(
        connection,
        "SELECT triple_id FROM triples WHERE list_contains(event_ids, $id) ORDER BY triple_id",
        id=ident,
    )
    return {
        "feedback_id": ident,
        **_outcome(row, outcomes[0] if outcomes else None),
        "triples": [found["triple_id"] for found in triples],
        "events": [origins.event(found) for found in revisions],
        "responses": {key: origins.response(connection, key) for key in (row["interaction_id"], *row["other_ids"])},
    }


def _outcome(row: Mapping[str, Any], outcome: Mapping[str, Any] | None) -> dict[str, Any]:
    if outcome is None:
        why = "It was taken back." if row["retracted"] else "A later revision counts in its place, or none was paired."
        return {"outcome": "does_not_count", "meaning": why}
    reason = outcome["reason"]
    meaning = schema.NO_PAIR_REASONS[reason] if reason else schema.OUTCOMES[outcome["outcome"]]
    return {
        "outcome": outcome["outcome"],
        "reason": reason,
        "meaning": meaning,
        "pairs": outcome["pairs"],
        "left_out": {
            name: {"comparisons": count, "meaning": schema.NO_PAIR_REASONS[name]}
            for name, count in sorted(dict(outcome["left_out"]).items())
        },
        "suspicious": {mark: schema.SUSPICIONS[mark] for mark in outcome["suspicious"]},
    }


def _rule(name: str, version: int) -> dict[str, Any]:
    """Describe the rule as it is now; `version` is the one that made the row."""
    rule = next(rule for rule in (*rulebook.RULES, rulebook.LONE) if rule.name == name)
    return {
        "name": name,
        "version": version,
        "strength": rule.strength,
        "meaning": rule.meaning,
        "sql": f"ingest/rules/{name}.sql",
        "documented": f"docs/signals.md#{name}",
    }


def _said(messages: list[dict[str, Any]]) -> str:
    """Return the beginning of a response."""
    return "\n".join(message["content"] or message["tool_calls"] or "" for message in messages)[:SHOWN]


def _events(connection: duckdb.DuckDBPyConnection, ids: list[str]) -> list[dict[str, Any]]:
    query = "FROM feedback WHERE list_contains($ids, feedback_id) ORDER BY event_time, feedback_id"
    return _rows(connection, query, ids=ids)


def _rows(connection: duckdb.DuckDBPyConnection, query: str, **values: object) -> list[dict[str, Any]]:
    found = connection.sql(query, params=values).to_arrow_table().to_pylist()  # DuckDB's own times would need pytz
    return list(found)


class _Origins:
    """Finds the lines that rows came from."""

    def __init__(self, settings: Settings, connection: duckdb.DuckDBPyConnection) -> None:
        self._settings = settings
        self._pseudonyms = Pseudonyms(settings.pseudonym_key)
        redact.use(settings.redaction)
        self._positions = Positions.load(Lake(settings.lake), settings.root)
        self._paths: dict[str, list[str]] = {}
        for file, path in connection.execute("SELECT file_id, path FROM files ORDER BY ingest_time DESC").fetchall():
            self._paths.setdefault(file, []).append(path)
        self._files: dict[str, Path | None] = {}

    def event(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Describe one feedback row."""
        return {**{name: _plain(row[name]) for name in _EVENT}, "at": self._place(row)}

    def response(self, connection: duckdb.DuckDBPyConnection, key: str) -> dict[str, Any] | str:
        """Describe one served response."""
        found = _rows(connection, "FROM interactions WHERE interaction_id = $key", key=key)
        if not found:
            return "has not arrived"
        return {
            **{name: _plain(found[0][name]) for name in _RESPONSE},
            "text": _said(found[0]["response"]),
            "at": self._place(found[0]),
        }

    def _place(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the file, line, offset and text of the record that a row was read from."""
        place = {name: _plain(row[name]) for name in _PLACE}
        if row["source"] == labels.SOURCE:
            return place | self._label(row["byte_offset"])
        read_from = self._paths.get(row["file_id"], ["unknown"])[0]
        path = self._find(row["source"], row["file_id"])
        if path is None:
            gone = "The file is gone, or its beginning has changed since it was read."
            return place | {"path": read_from, "line": None, "text": None, "note": gone}
        file = LogFile(path)
        line = next(file.lines(row["byte_offset"], self._settings.limits.line_bytes, settled=True), None)
        if line is None or line.start != row["byte_offset"]:
            return place | {"path": file.name, "line": None, "text": None, "note": "No record begins at this offset."}
        raw = raw_text(line.raw) if line.raw or line.record is None else raw_record(line.record)
        number = row["byte_offset"] + 1 if file.is_parquet else _line_number(file, row["byte_offset"])
        return place | {"path": file.name, "line": number, "text": self._shown(raw)}

    def _find(self, source: str, file_id: str) -> Path | None:
        """Return where the file is now: under a name that it was read by, or another that the source's glob matches."""
        if file_id not in self._files:
            patterns = [known.path for known in self._settings.sources if known.name == source]
            known = [Path(path) for path in self._paths.get(file_id, ())]
            candidates = [*known, *(path for pattern in patterns for path in map(Path, find(pattern)))]
            matching = (path for path in dict.fromkeys(candidates) if self._is(path, source, file_id))
            self._files[file_id] = next(matching, None)
        return self._files[file_id]

    def _is(self, path: Path, source: str, file_id: str) -> bool:
        try:
            return self._positions.locate(source, LogFile(path))[0].file_id == file_id
        except OSError:
            return False

    def _label(self, seq: int) -> dict[str, Any]:
        """Return the place of a label event: its number in the store."""
        with labels.opened(self._settings.labels.url) as store:
            event = None if store is None else next(store.events(seq), None)
            if store is None or event is None or event.seq != seq:
                return {"path": self._settings.labels.url.rsplit("@")[-1], "line": None, "text": None,
                        "note": "The label store does not hold the event any more."}  # fmt: skip
            return {"path": store.path, "line": seq, "text": self._shown(event.raw)}

    def _shown(self, raw: str) -> str:
        return redact.Placeholders(self._pseudonyms.of).json_text(raw)[:SHOWN]


def _line_number(file: LogFile, offset: int) -> int:
    """Return the number of the line, from 1, that the byte at `offset` of the plain file is in."""
    number, left = 1, offset
    for block in file.stream.blocks():
        number += block[:left].count(b"\n")
        left -= len(block)
        if left <= 0:
            break
    return number


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: times as ISO 8601 in UTC."""
    return value.isoformat() if hasattr(value, "isoformat") else value
