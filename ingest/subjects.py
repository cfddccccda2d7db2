"""Who was erased, and who took consent back: a ledger beside the pseudonym key, which outlives the lake.

So raw logs that are read again bring nobody back.

Reads and appends to `subjects.jsonl` in the folder of the pseudonym key, mode 0600; `ingest.erase` writes the first
line of an erasure, and runs that read the raw logs again append what they recognise. A line is a JSON object:

    {"erasure": id, "time": ISO 8601, "users": [pseudonym], "conversations": [digest], "responses": [digest],
     "lines": [digest]}
    {"erasure": id, "time": ISO 8601, ..., "began": true}                         an erasure begins
    {"erasure": id, "time": ISO 8601, "removed": {place: count}, "proof": {...}}  it ended, and was proven
    {"user": pseudonym, "time": ISO 8601, "withdrawn": consent}                   consent to all before was taken back

Digests are keyed (HMAC-SHA256 with the pseudonym key) hashes of ids; no line holds a text or a source's own id.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from ingest.errors import SettingsError
from ingest.pseudonyms import Pseudonyms
from ingest.schema import canonical_json, interaction_id
from ingest.settings import Settings

REASON: Final = "erased"
"""Of records that are skipped because their user was erased."""
PSEUDONYM: Final = re.compile("u:[0-9a-f]{32}")
KINDS: Final = ("users", "conversations", "responses", "lines")


@dataclass
class Scope:
    """What belongs to users who were erased."""

    users: set[str] = field(default_factory=set)
    """Pseudonyms."""
    conversations: set[str] = field(default_factory=set)
    """Keyed digests of (source, conversation_id)."""
    responses: set[str] = field(default_factory=set)
    """Keyed digests of interaction_id."""
    lines: set[str] = field(default_factory=set)
    """Keyed digests of quarantine_id."""

    def __bool__(self) -> bool:
        return any(getattr(self, kind) for kind in KINDS)

    def add(self, other: "Scope") -> None:
        """Add everything of `other`."""
        for kind in KINDS:
            getattr(self, kind).update(getattr(other, kind))

    def less(self, other: "Scope") -> "Scope":
        """Return what is not in `other`."""
        return Scope(*(getattr(self, kind) - getattr(other, kind) for kind in KINDS))


@dataclass(frozen=True)
class Withdrawal:
    """A user takes back the consent to everything they said until a time."""

    user: str
    """Pseudonym."""
    time: datetime
    consent: str = "none"
    """What the consent becomes."""


class Subjects:
    """The ledger. What it names is skipped by every run, and counted.

    Raises SettingsError for a ledger that cannot be read.
    """

    def __init__(self, path: Path, pseudonyms: Pseudonyms) -> None:
        self.path = path
        self.pseudonyms = pseudonyms
        self.erased = Scope()
        """Of all erasures so far."""
        self._stored = Scope()
        entries = _entries(path)
        self.withdrawals = [
            Withdrawal(entry["user"], datetime.fromisoformat(entry["time"]), entry["withdrawn"])
            for entry in entries
            if "withdrawn" in entry
        ]
        """Consent that was taken back by hand."""
        entries = [entry for entry in entries if "withdrawn" not in entry]
        last = max((index for index, entry in enumerate(entries) if "removed" in entry), default=-1)
        self.pending = last < len(entries) - 1
        """Whether something was named since the last erasure that was proven: the lake may hold rows of it."""
        self.interrupted = any("began" in entry for entry in entries[last + 1 :])
        """Whether an erasure began and did not end: every place may hold something."""
        for entry in entries:
            self._stored.add(Scope(*(set(entry.get(kind, ())) for kind in KINDS)))
        self.erased.add(self._stored)

    def conversation(self, source: str, conversation_id: str) -> str:
        """Return the digest of a conversation."""
        return self.pseudonyms.digest(canonical_json(["conversation", source, conversation_id]).decode())

    def response(self, key: str) -> str:
        """Return the digest of a response's interaction_id."""
        return self.pseudonyms.digest(f"response {key}")

    def line(self, key: str) -> str:
        """Return the digest of a quarantined line's quarantine_id."""
        return self.pseudonyms.digest(f"line {key}")

    def save(self, erasure: str, **more: object) -> None:
        """Append, durably, `more` and what `erased` holds and the file does not; nothing where there is nothing."""
        new = self.erased.less(self._stored)
        if new or more:
            values = {kind: sorted(getattr(new, kind)) for kind in KINDS if getattr(new, kind)}
            time = datetime.now(UTC).isoformat(timespec="seconds")
            _append(self.path, {"erasure": erasure, "time": time, **values, **more})
            self._stored.add(new)
            self.pending = "removed" not in more

    def withdraw(self, withdrawal: Withdrawal) -> None:
        """Append, durably, that a user takes back their consent."""
        time = withdrawal.time.isoformat()
        _append(self.path, {"user": withdrawal.user, "time": time, "withdrawn": withdrawal.consent})
        self.withdrawals.append(withdrawal)

    def interactions(self, rows: pa.Table) -> list[bool]:
        """Return for each row of `interactions` whether it is an erased user's, and note what belongs to it.

        It is where its user, its conversation, itself or the response it follows was erased; so is, then, the rest of
        its conversation.
        """
        if not self.erased:
            return [False] * rows.num_rows
        names = ("interaction_id", "source", "user_id", "conversation_id", "parent_id")
        places = [self._places(*row) for row in zip(*(rows[name].to_pylist() for name in names), strict=True)]
        while True:
            found = [
                user in self.erased.users
                or response in self.erased.responses
                or conversation in self.erased.conversations
                or parent in self.erased.responses
                for user, response, conversation, parent in places
            ]
            theirs = [place for place, hit in zip(places, found, strict=True) if hit]
            conversations = {conversation for _, _, conversation, _ in theirs if conversation}
            more = Scope(conversations=conversations, responses={place[1] for place in theirs}).less(self.erased)
            if not more:
                return found
            self.erased.add(more)

    def _places(
        self, key: str, source: str, user: str | None, conversation: str | None, parent: str | None
    ) -> tuple[str | None, str, str | None, str | None]:
        """Return the user, and the digests of response, conversation and parent."""
        return (
            user,
            self.response(key),
            self.conversation(source, conversation) if conversation else None,
            self.response(interaction_id(source, parent)) if parent else None,
        )

    def feedback(self, rows: pa.Table) -> list[bool]:
        """Return for each row of `feedback` whether an erased user gave it, or it is about a response of one."""
        if not self.erased:
            return [False] * rows.num_rows
        columns = (rows[name].to_pylist() for name in ("rater_id", "interaction_id", "other_ids"))
        return [
            rater in self.erased.users or any(self.response(key) in self.erased.responses for key in (target, *others))
            for rater, target, others in zip(*columns, strict=True)
        ]

    def quarantine(self, rows: pa.Table) -> list[bool]:
        """Return for each row of `quarantine` whether its text names an erased user, or the line itself was erased."""
        if not self.erased:
            return [False] * rows.num_rows
        return [
            not self.erased.users.isdisjoint(PSEUDONYM.findall(raw or "")) or self.line(key) in self.erased.lines
            for raw, key in zip(rows["raw"].to_pylist(), rows["quarantine_id"].to_pylist(), strict=True)
        ]


def named(settings: Settings, user: str | None, pseudonym: str | None) -> tuple[str, Pseudonyms]:
    """Return the pseudonym of a user whom a command names in one of two ways, and the key's pseudonyms.

    Raises SettingsError for none, both, or where there is no key: a new one would name nobody.
    """
    if (user is None) == (pseudonym is None):
        raise SettingsError("Name one user: --user ID as the logs name them, or --pseudonym u:... as the lake does.")
    if pseudonym is not None and not PSEUDONYM.fullmatch(pseudonym):
        raise SettingsError(
            f'"{pseudonym}" is no pseudonym: "u:" and 32 hex digits. Use --user for the logs\' own ids.'
        )
    if user is not None and any("\ud800" <= character <= "\udfff" for character in user):
        raise SettingsError(f"The name {user!r} is not UTF-8, as every name in a log is. Give it as the logs do.")
    if not settings.pseudonym_key.is_file():
        raise SettingsError(f"No pseudonym key at {settings.pseudonym_key}: without it nobody can be found by name.")
    pseudonyms = Pseudonyms(settings.pseudonym_key)
    return pseudonym or str(pseudonyms.of(user)), pseudonyms


def _entries(path: Path) -> list[Mapping[str, Any]]:
    """Return the lines of the ledger, less one that a kill left without its end: nothing was erased by it yet."""
    try:
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith(b"\n")]
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"Cannot read the ledger of erased users {path}: {error}. Restore it from a backup: without it, "
            "the next run would bring back who was erased."
        ) from error


def _append(path: Path, entry: Mapping[str, object]) -> None:
    """Add a line, on disk when this returns; what a kill left of an earlier one is overwritten."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        whole = file.read()
        file.seek(whole.rfind(b"\n") + 1)
        file.truncate()
        file.write(json.dumps(entry).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
