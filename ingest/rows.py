"""What readers found -> Arrow rows of the lake: redacted, pseudonymous, hashed, with their provenance.

Everything is redacted first, and every hash is of the text as it is stored. A record whose values no column can hold is
given back as a problem of its line; it never stops its neighbours.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa

from ingest import consent, redact, schema
from ingest.errors import RecordError
from ingest.pseudonyms import Pseudonyms
from ingest.readers.reading import Feedback, Interaction, Reading, Ref
from ingest.schema import Message, content_id, messages_hash
from ingest.settings import Source

PIECE: Final = "piece"
"""Column beside the contract's: which piece of which file a row came from, to count by; never stored."""

UNFIT: Final = (pa.ArrowException, UnicodeError, ValueError, TypeError, OverflowError, RecursionError)
"""What a value raises that its column cannot hold."""


IDS: Final = ("source_id", "conversation_id", "parent_id")
"""Fields of an interaction by which others find it."""
NAMES: Final = ("model", "model_requested", "finish_reason", "logprob_model", "arm", "consent")
"""Fields of an interaction that hold a name, by which nothing is joined."""
TEXTS: Final = ("content", "tool_calls", "name", "tool_call_id")
"""Fields of a message that hold text."""


@dataclass(frozen=True, slots=True)
class Origin:
    """One piece of one file, read in one go."""

    piece: int
    source: Source
    file_id: str
    path: str
    head: str
    """What identifies the file's beginning, under any name."""
    keyed: bool = False
    """Whether feedback names its targets by interaction_id: so do labels, which come from the lake's own rows."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line that a reader has read, or could not."""

    origin: Origin
    offset: int
    size: int
    raw: Callable[[], str]
    """Its text, for quarantine."""
    reader: str | None
    """"name@version", None where no reader was asked."""
    outcome: Reading | RecordError


@dataclass(frozen=True)
class Rows:
    """Rows of the three tables that lines become, each with the column `piece`."""

    interactions: pa.Table
    feedback: pa.Table
    quarantine: pa.Table
    folded: Counter[int] = field(default_factory=Counter)
    """Piece -> so many fewer records than read, because lines whose values do not fit are quarantined as one record."""

    @staticmethod
    def concat(parts: "Sequence[Rows]") -> "Rows":
        """Return all rows of `parts`, in order."""
        return Rows(
            pa.concat_tables([with_piece(schema.INTERACTION).empty_table(), *(p.interactions for p in parts)]),
            pa.concat_tables([with_piece(schema.FEEDBACK).empty_table(), *(p.feedback for p in parts)]),
            pa.concat_tables([with_piece(schema.QUARANTINE).empty_table(), *(p.quarantine for p in parts)]),
        )


def with_piece(contract: pa.Schema) -> pa.Schema:
    """Return the contract's columns and `piece`."""
    return contract.append(pa.field(PIECE, pa.int64()))


Row = dict[str, object]


class RowBuilder:
    """Makes the rows of one run."""

    def __init__(self, run_id: str, ingest_time: datetime, pseudonyms: Pseudonyms) -> None:
        self.run_id = run_id
        self.ingest_time = ingest_time
        self.pseudonyms = pseudonyms

    def build(self, entries: Sequence[Entry]) -> Rows:
        """Return the rows of `entries`; a line of which one value does not fit is quarantined as a whole."""
        readings = [entry for entry in entries if isinstance(entry.outcome, Reading)]
        try:
            interactions, feedback = self._read(readings)
            unfit: list[Entry] = []
        except UNFIT:
            interactions, feedback, unfit = self._read_singly(readings)
        folded = Counter({entry.origin.piece: 0 for entry in unfit})
        for entry in unfit:
            assert isinstance(entry.outcome, Reading)
            folded[entry.origin.piece] += len(entry.outcome.interactions) + len(entry.outcome.feedback) - 1
        failed = sorted(
            [*(entry for entry in entries if isinstance(entry.outcome, RecordError)), *map(_problem, unfit)],
            key=lambda entry: (entry.origin.piece, entry.offset),
        )
        quarantine = pa.Table.from_pylist(
            [self._quarantined(entry) for entry in failed], schema=with_piece(schema.QUARANTINE)
        )
        return Rows(interactions, feedback, quarantine, folded)

    def _read(self, entries: Sequence[Entry]) -> tuple[pa.Table, pa.Table]:
        """Return interactions and feedback. Raises one of UNFIT as soon as one value does not fit."""
        served = [(e, i) for e in entries if isinstance(e.outcome, Reading) for i in e.outcome.interactions]
        events = [(e, f) for e in entries if isinstance(e.outcome, Reading) for f in e.outcome.feedback]
        suspects = _suspects([_texts(interaction) for _, interaction in served])
        named = _suspects([_names(interaction) for _, interaction in served])
        rows = [self._interaction(e, i, *flags) for (e, i), *flags in zip(served, suspects, named, strict=True)]
        suspects = _suspects([[event.text] if event.text else [] for _, event in events])
        named = _suspects([[] if e.origin.keyed else _ids(event) for e, event in events])
        more = [self._feedback(e, f, *flags) for (e, f), *flags in zip(events, suspects, named, strict=True)]
        return (
            pa.Table.from_pylist(rows, schema=with_piece(schema.INTERACTION)),
            pa.Table.from_pylist(more, schema=with_piece(schema.FEEDBACK)),
        )

    def _read_singly(self, entries: Sequence[Entry]) -> tuple[pa.Table, pa.Table, list[Entry]]:
        """Do as `_read` does, line by line, and give back the lines that do not fit."""
        interactions = [with_piece(schema.INTERACTION).empty_table()]
        feedback = [with_piece(schema.FEEDBACK).empty_table()]
        unfit = []
        for entry in entries:
            try:
                served, events = self._read([entry])
            except UNFIT:
                unfit.append(entry)
                continue
            interactions.append(served)
            feedback.append(events)
        return pa.concat_tables(interactions), pa.concat_tables(feedback), unfit

    def _interaction(self, entry: Entry, read: Interaction, suspect: bool, named: bool) -> Row:
        source = entry.origin.source
        placeholders = redact.Placeholders()
        redacted = _Redacted(read.prompt, read.response, read.tools, read.sampling)
        if suspect:
            redacted = _redacted(read, placeholders)
        if named:
            stored: dict[str, Any] = {name: self._id(value) for name in IDS if (value := getattr(read, name))}
            stored |= {name: placeholders.text(value) for name in NAMES if (value := getattr(read, name))}
            read = replace(read, **stored)
        prompt_hash = messages_hash(redacted.prompt)
        # Tokens and log-probabilities belong to the text as it was sampled: of another text they would be wrong.
        kept = not redacted.response_changed
        row: Row = {name: getattr(read, name, None) for name in schema.INTERACTION.names}
        return row | {
            "interaction_id": schema.interaction_id(source.name, read.source_id, read.choice_index),
            "source": source.name,
            "sibling_group": content_id(["siblings", source.name, read.conversation_id, prompt_hash]),
            "user_id": self.pseudonyms.of(read.user),
            "prompt": redacted.prompt,
            "response": redacted.response,
            "tools": redacted.tools,
            "sampling": redacted.sampling,
            "prompt_hash": prompt_hash,
            "response_hash": messages_hash(redacted.response),
            "status": read.status,
            "token_ids": read.token_ids if kept else None,
            "token_logprobs": read.token_logprobs if kept else None,
            "consent": consent.stated(read.consent, source),
            "redactions": sorted(placeholders.counts.items()),
            **self._provenance(entry, read.event_time),
        }

    def _feedback(self, entry: Entry, read: Feedback, suspect: bool, named: bool) -> Row:
        source = entry.origin.source
        if named:
            target, *others = (replace(ref, source_id=self._id(ref.source_id)) for ref in (read.target, *read.others))
            read = replace(read, source_id=self._id(read.source_id), target=target, others=others)
        placeholders = redact.Placeholders()
        row: Row = {name: getattr(read, name, None) for name in schema.FEEDBACK.names}
        return row | {
            "feedback_id": schema.feedback_id(source.name, read.source_id, read.revision),
            "source": source.name,
            "target_kind": "interaction",
            "target_id": read.target.source_id,
            "interaction_id": _key(entry.origin, read.target),
            "other_ids": [_key(entry.origin, other) for other in read.others],
            "text": placeholders.text(read.text) if suspect and read.text else read.text,
            "rater_id": self.pseudonyms.of(read.rater),
            "redactions": sorted(placeholders.counts.items()),
            **self._provenance(entry, read.event_time),
        }

    def _quarantined(self, entry: Entry) -> Row:
        assert isinstance(entry.outcome, RecordError)
        reason, detail = entry.outcome.reason, entry.outcome.detail
        raw = None if reason == "oversized" else self._raw(entry)
        source = entry.origin.source.name
        return {
            "quarantine_id": self.quarantine_id(entry),
            "source": source,
            "reason": reason,
            "detail": detail,
            "raw": raw,
            "raw_bytes": entry.size,
            "path": entry.origin.path,
            **self._provenance(entry, None),
        }

    def _id(self, value: str) -> str:
        """Return an id as it is stored and as keys are made of it: a pseudonym where it holds personal data.

        It is the same wherever the id is named, so that events find their responses, and responses their parents.
        """
        return "id:" + self.pseudonyms.digest(value) if redact.find(value) else value

    def quarantine_id(self, entry: Entry) -> str:
        """Return the key of a quarantined line: its place and a keyed hash, for another line there is another one."""
        try:
            text = entry.raw()
        except UNFIT:
            text = ""
        line = self.pseudonyms.digest(f"{entry.size} {text}")
        return content_id(["quarantine", entry.origin.source.name, entry.origin.head, entry.offset, line])

    def _raw(self, entry: Entry) -> str | None:
        """Return the text of a quarantined line, redacted; None where a row of Parquet has none."""
        try:
            raw = redact.Placeholders(self.pseudonyms.of).json_text(entry.raw())
            raw.encode("utf-8")
        except UNFIT:
            return None
        return raw

    def _provenance(self, entry: Entry, event_time: datetime | None) -> Row:
        if event_time is not None and event_time.tzinfo is None:
            raise ValueError("A time without a zone is no point in time.")
        return {
            "ingest_time": self.ingest_time,
            "file_id": entry.origin.file_id,
            "byte_offset": entry.offset,
            "reader": entry.reader,
            "run_id": self.run_id,
            "day": (event_time or self.ingest_time).astimezone(UTC).date().isoformat(),
            PIECE: entry.origin.piece,
        }


def _problem(entry: Entry) -> Entry:
    problem = RecordError("bad_value", "A value does not fit its column.")  # the library's message may quote the value
    return replace(entry, outcome=problem)


@dataclass(frozen=True, slots=True)
class _Redacted:
    """The texts of an interaction as they are stored."""

    prompt: list[Message]
    response: list[Message]
    tools: str | None
    sampling: str | None
    response_changed: bool = False


def _redacted(read: Interaction, placeholders: redact.Placeholders) -> _Redacted:
    prompt = [_message(message, placeholders) for message in read.prompt]
    before = placeholders.counts.total()
    response = [_message(message, placeholders) for message in read.response]
    changed = placeholders.counts.total() > before
    tools = placeholders.json_text(read.tools) if read.tools else read.tools
    sampling = placeholders.json_text(read.sampling) if read.sampling else read.sampling
    return _Redacted(prompt, response, tools, sampling, changed)


def _message(message: Message, placeholders: redact.Placeholders) -> Message:
    redacted = message.copy()
    if content := message["content"]:
        redacted["content"] = placeholders.text(content)
    if calls := message["tool_calls"]:
        redacted["tool_calls"] = placeholders.json_text(calls)
    if name := message["name"]:
        redacted["name"] = placeholders.text(name)
    if call_id := message["tool_call_id"]:
        redacted["tool_call_id"] = placeholders.text(call_id)
    return redacted


def _texts(read: Interaction) -> list[str]:
    """Return every text of an interaction that a user or a model may have written."""
    messages = (m.get(key) for m in (*read.prompt, *read.response) for key in TEXTS)
    return [text for text in (*messages, read.tools, read.sampling) if isinstance(text, str)]


def _names(read: Interaction) -> list[str]:
    """Return every short text of an interaction that its source sets: ids, and names of models and choices."""
    values = (getattr(read, name) for name in (*IDS, *NAMES))
    return [value for value in values if value]


def _ids(read: Feedback) -> list[str]:
    return [read.source_id, *(ref.source_id for ref in (read.target, *read.others))]


def _suspects(texts: Sequence[Sequence[str]]) -> list[bool]:
    """Return for each row, given its texts, whether any may hold something to redact: one pass over all of them."""
    hits = iter(redact.suspects([text for row in texts for text in row]))
    return [any([next(hits) for _ in row]) for row in texts]  # noqa: C419 - `any` over a generator would stop early


def _key(origin: Origin, ref: Ref) -> str:
    return ref.source_id if origin.keyed else schema.interaction_id(origin.source.name, ref.source_id, ref.choice_index)


def raw_text(raw: bytes) -> str:
    """Return a line as text; bytes that are no UTF-8 show as U+FFFD."""
    return raw.decode("utf-8", errors="replace")


def raw_record(record: object) -> str:
    """Return a row of Parquet as JSON text."""
    return json.dumps(record, ensure_ascii=False, default=str)
