"""What a deployment imports to log what it serves and what its users say of it.

Writes files of lines in Winnow's own format (docs/formats.md), which `python -m ingest run` reads:

    log = DeploymentLog("data/raw")
    with log.turn(conversation_id="c-7", user_id="u-1", consent="training") as turn:
        turn.log(request, response)      # or a client of ingest.logged_openai
    log.thumb(turn.id, up=True)

No method waits for a disk or raises into the serving path: what cannot be logged is counted (`counters`), reported by a
warning of the logger "winnow.logger", and written into the log itself. docs/logging.md is the guide.
Imports the standard library and msgspec only.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypedDict, Unpack, cast, get_args

import msgspec

from ingest.errors import SettingsError
from ingest.log_writer import Counters, Fsync, LineWriter, WriterSettings

LOG_VERSION: Final = 1
Target = str | tuple[str, int]
"""The id of a logged interaction; with the index of one of its choices, 0 where it is not named."""


class Stated(TypedDict, total=False):
    """What a deployment states around an exchange. What it does not know it leaves out; nothing is guessed."""

    conversation_id: str | None
    parent_id: str | None
    turn_index: int | None
    user_id: str | None
    consent: str | None
    """The user's consent in the words of the deployment; winnow.toml says which allow training."""
    shown: bool | None
    position: str | None
    """"left" or "right" of the screen."""
    arm: str | None
    propensity: float | None
    latency_ms: float | None
    logprob_model: str | None
    """Exact name and version of the model that the log-probabilities are of."""


class Rated(TypedDict, total=False):
    """What any feedback may state besides itself."""

    rater: str | None
    rater_kind: str
    """"user" where it is not stated; "annotator", "model" or "code"."""
    text: str | None
    position: str | None
    id: str | None
    """The id of the event that this one replaces (the later one counts), or one of the product's own."""
    revision: int | None
    """Which of two events of one id is the later; where it is not stated: 0 without `id`, else microseconds."""


@dataclass
class Turn:
    """What holds for the calls of one turn, and the ids under which they were logged."""

    recorder: "DeploymentLog"
    stated: Stated
    ids: list[str] = field(default_factory=list)

    @property
    def id(self) -> str | None:
        """The id of the last call that was logged in this turn."""
        return self.ids[-1] if self.ids else None

    def note(self, source_id: str, *, answered: bool) -> None:
        """Keep the id of a call, or forget that of one that got no answer: nobody can say anything of it."""
        if answered and source_id not in self.ids:
            self.ids.append(source_id)
        elif not answered and source_id in self.ids:
            self.ids.remove(source_id)

    def log(self, request: Any, response: Any, *, status: int | None = 200, **stated: Unpack[Stated]) -> str:
        """Log one exchange of this turn and return its id."""
        return self.recorder.interaction(request, response, status=status, **stated)


class DeploymentLog:
    """Appends interactions and feedback to files of `folder`; safe for threads, processes and forks."""

    def __init__(self, folder: str | Path, *, prefix: str = "winnow", **settings: Any) -> None:
        """`settings` are those of `ingest.log_writer.WriterSettings`. Raises SettingsError for a wrong one."""
        try:
            chosen = WriterSettings(**settings)
        except TypeError as error:
            known = ", ".join(WriterSettings.__dataclass_fields__)
            raise SettingsError(f"The log's settings are {known}: {error}.") from error
        if chosen.fsync not in get_args(Fsync):
            raise SettingsError(f'fsync is "{chosen.fsync}", expected one of {", ".join(get_args(Fsync))}.')
        self._writer = LineWriter(Path(folder).absolute(), prefix, chosen)

    @contextmanager
    def turn(self, **stated: Unpack[Stated]) -> Iterator[Turn]:
        """State once what holds for every call that is logged within; a turn within a turn adds to it."""
        outer = _TURN.get()
        turn = Turn(self, cast(Stated, {**(outer.stated if outer else {}), **stated}))
        token = _TURN.set(turn)
        try:
            yield turn
        finally:
            _TURN.reset(token)

    def interaction(
        self,
        request: Any,
        response: Any,
        *,
        id: str | None = None,  # noqa: A002
        time: datetime | None = None,
        status: int | None = 200,
        error: str | None = None,
        cut_off: bool = False,
        **stated: Unpack[Stated],
    ) -> str:
        """Log a served exchange and return its id, for feedback.

        `request` and `response` are those of chat completions, responses or any API that docs/formats.md names, as
        mappings or as objects with `model_dump`. A call that failed has its HTTP `status`, or None and the `error`'s
        name. `cut_off` says that the caller left a stream before its end.
        """
        turn = _TURN.get()
        source_id = id or new_id("int")
        if turn is not None:
            turn.note(source_id, answered=status == 200 and not cut_off)
        self._put(
            "interaction",
            source_id,
            time,
            {
                **(turn.stated if turn else {}),
                **stated,
                "status": status,
                "error": error,
                "cut_off": cut_off or None,
                "request": request,
                "response": response,
            },
        )
        return source_id

    def thumb(self, target: Target, *, up: bool, **rated: Unpack[Rated]) -> str:
        """Log a thumb and return the event's id; with `id` of an earlier thumb it replaces that one."""
        return self._feedback("thumb", target, rated, value=1 if up else -1, scale=(-1, 1))

    def rating(self, target: Target, value: float, scale: tuple[float, float], **rated: Unpack[Rated]) -> str:
        """Log a rating on a scale from its lower to its upper end."""
        return self._feedback("rating", target, rated, value=value, scale=scale)

    def choice(self, chosen: Target, others: Sequence[Target], **rated: Unpack[Rated]) -> str:
        """Log that `chosen` was preferred to the others that were shown with it."""
        return self._feedback("choice", chosen, rated, others=others)

    def tie(self, target: Target, others: Sequence[Target], **rated: Unpack[Rated]) -> str:
        """Log that responses were found equally good."""
        return self._feedback("tie", target, rated, others=others)

    def both_bad(self, target: Target, others: Sequence[Target], **rated: Unpack[Rated]) -> str:
        """Log that responses were all found bad."""
        return self._feedback("both_bad", target, rated, others=others)

    def edit(self, target: Target, edited: str, **rated: Unpack[Rated]) -> str:
        """Log the text that a user made of the response."""
        rated["text"] = edited
        return self._feedback("edit", target, rated)

    def regenerate(self, kept: Target, earlier: Sequence[Target], **rated: Unpack[Rated]) -> str:
        """Log that a user had the answer made again, and kept it in place of the earlier ones."""
        return self._feedback("regenerate", kept, rated, others=earlier)

    def accept(self, target: Target, **rated: Unpack[Rated]) -> str:
        """Log that a suggestion was taken over."""
        return self._feedback("accept", target, rated)

    def copied(self, target: Target, **rated: Unpack[Rated]) -> str:
        """Log that the response was copied."""
        return self._feedback("copy", target, rated)

    def retract(self, event_id: str, signal: str, target: Target, **rated: Unpack[Rated]) -> str:
        """Take back the feedback `event_id`, which was of this signal about this response."""
        rated["id"] = event_id
        return self._feedback(signal, target, rated, retracted=True)

    def snapshot(self, value: object) -> msgspec.Raw | None:
        """Return a value in JSON as it is now, for a later line; None for one that JSON cannot hold."""
        try:
            return msgspec.Raw(_ENCODER.encode(value))
        except Exception:
            return None

    def record(self, record: Mapping[str, object]) -> None:
        """Log one record of another format that Winnow reads, as it is."""
        try:
            self._writer.put(_ENCODER.encode(record) + b"\n")
        except Exception as error:
            self._lose(error)

    def not_logged(self) -> None:
        """Count an event that passed in a form that is not logged; for wrappers of clients."""
        self._writer.lose("not_logged")

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until what was logged before is in the files (and synced, but for fsync="never"); whether it is."""
        return self._writer.flush(timeout)

    def close(self, timeout: float = 5.0) -> bool:
        """Write what is queued and end. Called by itself when the process ends."""
        return self._writer.close(timeout)

    def counters(self) -> Counters:
        """Return what became of this process's events."""
        return self._writer.counters()

    def _feedback(self, signal: str, target: Target, rated: Rated, **fields: Any) -> str:
        source_id = rated.get("id") or new_id("fb")
        revision = rated.get("revision")
        if revision is None:
            revision = time.time_ns() // 1000 if rated.get("id") else 0
        try:
            others = [_reference(other) for other in fields.pop("others", ())]
            stated = {
                "revision": revision,
                "signal": signal,
                "target": _reference(target),
                "others": others,
                "rater": {"kind": rated.get("rater_kind", "user"), "id": rated.get("rater")},
                "text": rated.get("text"),
                "position": rated.get("position"),
                **fields,
            }
        except Exception as error:
            self._lose(error)
        else:
            self._put("feedback", source_id, None, stated)
        return source_id

    def _put(self, kind: str, source_id: str, moment: datetime | None, fields: Mapping[str, object]) -> None:
        """Encode and queue one line of Winnow's own format; count what cannot be."""
        stated = {name: value for name, value in fields.items() if value is not None}
        try:
            at = (moment or datetime.now(UTC)).isoformat()
            record = {"winnow": LOG_VERSION, "kind": kind, "id": source_id, "time": at, **stated}
            self._writer.put(_ENCODER.encode(record) + b"\n")
        except Exception as error:
            self._lose(error)

    def _lose(self, error: Exception) -> None:
        known = isinstance(error, msgspec.MsgspecError | UnicodeError | TypeError | ValueError | OverflowError)
        self._writer.lose("unserialisable" if known else "internal_error")


def new_id(kind: str) -> str:
    """Return an id that no other process gives; `kind` begins it."""
    return f"{kind}-{os.urandom(16).hex()}"


def current_turn() -> Turn | None:
    """Return the turn that the running code is in."""
    return _TURN.get()


def _reference(target: Target) -> dict[str, object]:
    source_id, choice = (target, 0) if isinstance(target, str) else target
    return {"id": source_id, "choice": choice}


def _plain(value: object) -> object:
    """Return an object of a client library as plain values. Raises TypeError for what has none."""
    if isinstance(value, Mapping):
        return dict(value)
    dump = getattr(value, "model_dump", None)
    if dump is None or isinstance(value, type):
        raise TypeError(f"a {type(value).__name__} has no form in JSON")
    return dump(mode="json", warnings=False)  # a server's own fields are no concern of the caller's


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_plain)
_TURN: Final[ContextVar[Turn | None]] = ContextVar("winnow_turn", default=None)
