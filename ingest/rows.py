"""What readers found -> Arrow rows of the lake: redacted, pseudonymous, hashed, with their provenance.

Everything is redacted first, and every hash is of the text as it is stored. A record whose values no column can hold is
given back as a problem of its line; it never stops its neighbours.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
from msgspec import structs

from ingest import columns, consent, redact, redacted, schema
from ingest.entries import Block, Entry, Origin
from ingest.errors import RecordError
from ingest.pseudonyms import Pseudonyms
from ingest.readers.reading import Feedback, Reading, Ref
from ingest.schema import content_id, texts_id
from ingest.served import Served
from ingest.settings import Source

PIECE: Final = "piece"
"""Column beside the contract's: which piece of which file a row came from, to count by; never stored."""

UNFIT: Final = (pa.ArrowException, UnicodeError, ValueError, TypeError, OverflowError, RecursionError)
"""What a value raises that its column cannot hold."""

_AS_READ: Final = (
    *redacted.IDS,
    *redacted.SETTINGS,
    *("turn_index", "choice_index", "model", "model_requested", "finish_reason", "status", "token_ids"),
    *("token_logprobs", "logprob_model", "tokens_in", "tokens_out", "latency_ms", "arm", "propensity", "position"),
    "shown",
)
"""Fields of an interaction that are columns as they are, once redacted."""

UNFIT_VALUE: Final = RecordError("bad_value", "A value does not fit its column.")
"""What is said of it: the library's message may quote the value."""


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

    def build(self, entries: Sequence[Entry], blocks: Sequence[Block] = ()) -> Rows:
        """Return the rows of `entries` and `blocks`, in the order of their lines.

        A line of which one value does not fit is quarantined as a whole.
        """
        readings = [entry for entry in entries if isinstance(entry.outcome, Reading)]
        interactions, feedback, unfit = self._read(readings, blocks)
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
        return Rows(_ordered(pa.concat_tables(interactions)), pa.concat_tables(feedback), quarantine, folded)

    def _read(
        self, entries: Sequence[Entry], blocks: Sequence[Block] = ()
    ) -> tuple[list[pa.Table], list[pa.Table], list[Entry]]:
        """Return interactions and feedback, and the lines of which a value does not fit: found by halves."""
        events = [(e, f) for e in entries if isinstance(e.outcome, Reading) for f in e.outcome.feedback]
        try:
            return [self._interactions(entries, blocks)], [self._events(events)], []
        except UNFIT:
            if blocks:
                return self._read([*entries, *(entry for block in blocks for entry in block.entries())])
            if len(entries) == 1:
                return (
                    [with_piece(schema.INTERACTION).empty_table()],
                    [with_piece(schema.FEEDBACK).empty_table()],
                    [*entries],
                )
        middle = len(entries) // 2
        first, second = self._read(entries[:middle]), self._read(entries[middle:])
        return first[0] + second[0], first[1] + second[1], first[2] + second[2]

    def _interactions(self, entries: Sequence[Entry], blocks: Sequence[Block]) -> pa.Table:
        """Return the rows of what was served. Raises one of UNFIT as soon as one value does not fit."""
        one_by_one = [(e, i) for e in entries if isinstance(e.outcome, Reading) for i in e.outcome.interactions]
        parts = [block.served for block in blocks]
        if one_by_one or not parts:
            parts.append(Served.of([one for _, one in one_by_one], [entry.offset for entry, _ in one_by_one]))
        origins = [block.origin for block in blocks for _ in range(len(block.served))]
        readers: list[str | None] = [block.reader for block in blocks for _ in range(len(block.served))]
        origins += [entry.origin for entry, _ in one_by_one]
        readers += [entry.reader for entry, _ in one_by_one]
        return self._table(Served.concat(parts), origins, readers)

    def _table(self, served: Served, origins: Sequence[Origin], readers: Sequence[str | None]) -> pa.Table:
        """Return the rows; every hash is of what is stored."""
        rows, sources = len(served), [origin.source for origin in origins]
        counts, digests = redacted.interactions(served, lambda row: self._placeholders(sources[row]), self._id)
        prompt, prompt_hash = columns.conversations(served.prompt)
        response, response_hash = columns.conversations(served.response)
        stated = served.values
        event_time, day = columns.times(stated["event_time"], self.ingest_time)
        names = [source.name for source in sources]
        values: dict[str, Any] = {
            **{name: stated[name] for name in _AS_READ},
            "interaction_id": list(map(schema.interaction_id, names, stated["source_id"], stated["choice_index"])),
            "sibling_group": list(map(_siblings, names, stated["conversation_id"], prompt_hash)),
            "user_id": list(map(self.pseudonyms.of, stated["user"])),
            "prompt": prompt,
            "response": response,
            "prompt_hash": prompt_hash,
            "response_hash": response_hash,
            "consent": list(map(consent.stated, stated["consent"], sources)),
            "event_time": event_time,
            "redactions": columns.maps(counts, rows, schema.COUNTS),
            "placeholders": columns.maps(digests, rows, schema.DIGESTS),
            "source": names,
            "ingest_time": pa.repeat(pa.scalar(self.ingest_time, schema.TIME), rows),
            "file_id": [origin.file_id for origin in origins],
            "byte_offset": served.offsets,
            "reader": readers,
            "run_id": pa.repeat(pa.scalar(self.run_id, pa.string()), rows),
            PIECE: [origin.piece for origin in origins],
            "day": day,
        }
        contract = with_piece(schema.INTERACTION)
        return pa.Table.from_arrays(
            [value if isinstance(value := values[f.name], pa.Array) else pa.array(value, f.type) for f in contract],
            schema=contract,
        )

    def _events(self, events: Sequence[tuple[Entry, Feedback]]) -> pa.Table:
        """Return the rows of feedback. Raises one of UNFIT as soon as one value does not fit."""
        if not events:
            return with_piece(schema.FEEDBACK).empty_table()
        suspects = _suspects([[event.text] if event.text else [] for _, event in events])
        named = _suspects([_ids(event) for _, event in events], prose=0)
        rows = [self._feedback(e, f, *flags) for (e, f), *flags in zip(events, suspects, named, strict=True)]
        return pa.Table.from_pylist(rows, schema=with_piece(schema.FEEDBACK))

    def _feedback(self, entry: Entry, read: Feedback, suspect: bool, named: bool) -> Row:
        source = entry.origin.source
        if named:
            target, *others = (Ref(self._id(r.source_id), r.choice_index) for r in (read.target, *read.others))
            read = structs.replace(read, source_id=self._id(read.source_id), target=target, others=others)
        placeholders = self._placeholders(source)
        if entry.origin.keyed:  # an annotator saw, and may have edited, a text of the lake
            placeholders.keep(read.text or "")
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
            "placeholders": sorted(placeholders.digests.items()),
            **self._provenance(entry, read.event_time),
        }

    def _quarantined(self, entry: Entry) -> Row:
        assert isinstance(entry.outcome, RecordError)
        reason, detail = entry.outcome.reason, entry.outcome.detail
        placeholders = redact.Placeholders(self.pseudonyms.of)
        raw = None if reason == "oversized" else _raw(entry, placeholders)
        source = entry.origin.source.name
        return {
            "quarantine_id": self.quarantine_id(entry),
            "source": source,
            "reason": reason,
            "detail": redact.Placeholders().text(detail),  # it may name a key of the record
            "raw": raw,
            "redactions": sorted(placeholders.counts.items()),
            "raw_bytes": entry.size,
            "path": entry.origin.path,
            **self._provenance(entry, None),
        }

    def _placeholders(self, source: Source) -> redact.Placeholders:
        """Return an empty record's. Digests tell values apart within a source, and join nothing across sources."""
        return redact.Placeholders(digest=lambda value: self.pseudonyms.digest(f"placeholder\0{source.name}\0{value}"))

    def _id(self, value: str) -> str:
        """Return an id as it is stored and as keys are made of it: a pseudonym where it holds personal data.

        It is the same wherever the id is named, so that events find their responses, and responses their parents.
        """
        return "id:" + self.pseudonyms.digest(value) if redact.find(value, prose=False) else value

    def quarantine_id(self, entry: Entry) -> str:
        """Return the key of a quarantined line: its place and a keyed hash, for another line there is another one."""
        try:
            text = entry.raw()
        except UNFIT:
            text = ""
        line = self.pseudonyms.digest(f"{entry.size} {text}")
        return content_id(["quarantine", entry.origin.source.name, entry.origin.head, entry.offset, line])

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


def _raw(entry: Entry, placeholders: redact.Placeholders) -> str | None:
    """Return the text of a quarantined line, redacted; None where a row of Parquet has none."""
    try:
        raw = placeholders.json_text(entry.raw())
        raw.encode("utf-8")
    except UNFIT:
        return None
    return raw


def _siblings(source: str, conversation_id: str | None, prompt_hash: str) -> str:
    return texts_id(["siblings", source, conversation_id, prompt_hash])


def _ordered(rows: pa.Table) -> pa.Table:
    """Return the rows in the order of their lines, as they are where that is so already."""
    pieces, offsets = (rows[name].to_numpy() for name in (PIECE, "byte_offset"))
    steps, back = np.diff(pieces), np.diff(offsets) < 0
    if not (steps < 0).any() and not (back & (steps == 0)).any():
        return rows
    return rows.take(pa.array(np.lexsort((offsets, pieces))))


def _problem(entry: Entry) -> Entry:
    return structs.replace(entry, outcome=UNFIT_VALUE)


def _ids(read: Feedback) -> list[str]:
    return [read.source_id, *(ref.source_id for ref in (read.target, *read.others))]


def _suspects(texts: Sequence[Sequence[str]], *, prose: int | None = None) -> list[bool]:
    """Return for each row, given its texts, whether any may hold something to redact: one pass over all of them."""
    hits = iter(redact.suspects([text for row in texts for text in row], prose=prose))
    return [any([next(hits) for _ in row]) for row in texts]  # noqa: C419 - `any` over a generator would stop early


def _key(origin: Origin, ref: Ref) -> str:
    return ref.source_id if origin.keyed else schema.interaction_id(origin.source.name, ref.source_id, ref.choice_index)
