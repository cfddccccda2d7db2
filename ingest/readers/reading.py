"""What a reader gives back: interactions and feedback as its source states them.

A reader only reads. Redaction, pseudonyms, hashes and keys come afterwards, the same for every format, so the text in
these objects is still raw and must not be written anywhere.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

import msgspec

from ingest.schema import Message

# Structs and no dataclasses: a log has millions of them, and they are made in a tenth of the time. They are never part
# of a cycle, so the garbage collector need not look at them.


class Ref(msgspec.Struct, frozen=True, gc=False):
    """A served response as its own source names it."""

    source_id: str
    choice_index: int = 0


class Interaction(msgspec.Struct, kw_only=True, gc=False):
    """One served response. Fields are those of `ingest.schema.INTERACTION`; None where the source is silent."""

    source_id: str
    """The source's own id; where it has none, `ingest.schema.content_id` of prompt, response and model."""
    prompt: list[Message]
    response: list[Message]
    choice_index: int = 0
    conversation_id: str | None = None
    parent_id: str | None = None
    status: str = "ok"
    """"awaits_parent" where `prompt` is only what was added after the response that `parent_id` names."""
    turn_index: int | None = None
    user: str | None = None
    """The source's own user id, not yet a pseudonym."""
    tools: str | None = None
    model: str | None = None
    model_requested: str | None = None
    sampling: str | None = None
    finish_reason: str | None = None
    token_ids: list[int] | None = None
    token_logprobs: list[float] | None = None
    logprob_model: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    latency_ms: float | None = None
    arm: str | None = None
    propensity: float | None = None
    position: str | None = None
    shown: bool | None = None
    consent: str | None = None
    event_time: datetime | None = None


class Feedback(msgspec.Struct, kw_only=True, gc=False):
    """One event about a served response. Fields are those of `ingest.schema.FEEDBACK`."""

    source_id: str
    signal: str
    target: Ref
    others: list[Ref] = []
    revision: int = 0
    value: float | None = None
    scale_min: float | None = None
    scale_max: float | None = None
    text: str | None = None
    rater_kind: str | None = None
    rater: str | None = None
    """The source's own id of the rater, not yet a pseudonym."""
    position: str | None = None
    retracted: bool = False
    event_time: datetime | None = None


class Reading(msgspec.Struct, frozen=True, gc=False):
    """Everything one record says: rows, or the reason why it says nothing Winnow keeps."""

    interactions: tuple[Interaction, ...] = ()
    feedback: tuple[Feedback, ...] = ()
    skipped: str | None = None
    """Reason code, set exactly when all else is empty: "http_status_429", "no_response", ..."""
    skipped_parts: Mapping[str, int] = {}
    """Reason code -> parts of the record, such as spans of a trace, that say nothing Winnow keeps. Each is a record of
    its own in the accounts, as are interactions and feedback."""
    skipped_days: Mapping[tuple[str, str], int] = {}
    """(reason code, ISO date of the call) -> how many of what is skipped; without those whose record states no time."""


class Reader(Protocol):
    """One log format."""

    name: str
    """What `format` in winnow.toml calls it."""
    version: int
    """Raised whenever the same record reads differently."""

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether this record has the form of this format. Cheap: looks at keys, never at long text."""

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return what the record says. Raises RecordError for one that the format does not allow."""
