"""What annotators said in the labelling app -> feedback.

Reads table `event` of the label store (`ingest.schema.LABEL_EVENT_COLUMNS`) through SQLAlchemy and never writes to it.
The store's own `seq` is the read position. `app` writes the table; the two share nothing else.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ingest.errors import RecordError, SettingsError, StoreError
from ingest.readers.reading import Feedback, Reading, Ref
from ingest.schema import LABEL_EVENT_COLUMNS, LABEL_PURPOSES, content_id
from ingest.unchanged import sqlite_file

if TYPE_CHECKING:
    import sqlalchemy as sa  # of those who have a store: it is a fifth of a CPU second

SOURCE: Final = "labels"
READER: Final = "label@2"
ERASURE: Final = "erasure"
"""Table of the store's erasures (`ingest.erasure.label_store`)."""

_SAID: Final = ("kind", "verdict", "purpose", "scale", "edited_side", "edited_text", "rationale")
"""What a verdict says; a retraction takes all of it back."""
_EVENTS: Final = (
    f"SELECT {', '.join(f'e.{column}' for column in LABEL_EVENT_COLUMNS)}, "
    f"{', '.join(f'v.{column} AS {column}_taken_back' for column in _SAID)} FROM event AS e "
    "LEFT JOIN event AS v ON v.event_id = e.retracts WHERE e.seq >= :start ORDER BY e.seq"
)
_FIRST: Final = "SELECT event_id FROM event ORDER BY seq LIMIT 1"
_FIRST_EVER: Final = f"SELECT min(first_event_id) FROM {ERASURE}"
"""Every row has the same."""

ASKED: Final = ("ask", "review")
"""Purposes whose verdicts are preferences; the others measure annotators."""
TIE: Final = 4
"""The middle of the scale of 7: as good as each other. Its ends are much better."""
_VERDICTS: Final[Mapping[object, str]] = {n: "left" if n < TIE else "right" if n > TIE else "tie" for n in range(1, 8)}
"""Place on the scale -> verdict."""
_SIGNALS: Final = {"left": "label", "right": "label", "tie": "tie", "both_bad": "both_bad"}
"""Verdict -> signal; a skip has none."""


@dataclass(frozen=True, slots=True)
class LabelEvent:
    """One event as the store has it."""

    seq: int
    raw: str
    """Its columns as JSON text."""
    outcome: Reading | RecordError


class LabelStore:
    """A label store that has events."""

    def __init__(self, connection: "sa.Connection", first_event_id: str) -> None:
        self._connection = connection
        self.head = content_id(["label store", first_event_id])
        """Identifies the store wherever it is moved; a store made anew begins with another event."""
        self.path = connection.engine.url.render_as_string(hide_password=True)

    def events(self, start: int) -> Iterator[LabelEvent]:
        """Yield the events from `seq` `start` on, in order."""
        import sqlalchemy as sa

        rows = self._connection.execute(sa.text(_EVENTS), {"start": start}).mappings()
        for row in rows:
            raw = json.dumps({column: row[column] for column in LABEL_EVENT_COLUMNS}, ensure_ascii=False, default=str)
            yield LabelEvent(int(row["seq"]), raw, _outcome(row))


@contextmanager
def opened(url: str) -> Iterator[LabelStore | None]:
    """Open the store for reading; None where it does not exist yet or holds no event.

    Raises SettingsError for a URL that is none, StoreError where the store cannot be read.
    """
    if (file := sqlite_file(url)) and not Path(file).exists():
        yield None
        return
    import sqlalchemy as sa
    from sqlalchemy.exc import SQLAlchemyError

    try:
        address = sa.make_url(url)
        if is_absent(address):
            yield None
            return
        engine = sa.create_engine(address)
    except (SQLAlchemyError, ImportError) as error:
        raise SettingsError(f"labels.url does not name a store that can be opened: {error}.") from error
    try:
        with engine.connect() as connection:
            if address.get_backend_name() == "sqlite":
                connection.execute(sa.text("PRAGMA query_only = ON"))
            else:
                connection.execution_options(postgresql_readonly=True)
            first = first_event(connection)
            yield LabelStore(connection, str(first)) if first is not None else None
    except SQLAlchemyError as error:
        place = address.render_as_string(hide_password=True)
        raise StoreError(f"Cannot read label events from {place}: {type(error).__name__}. Is the store up?") from error
    finally:
        engine.dispose()


def first_event(connection: "sa.Connection") -> object:
    """Return the id of the event with which the store began, even if it was erased since; None where it has none."""
    import sqlalchemy as sa

    tables = sa.inspect(connection)
    first = connection.execute(sa.text(_FIRST_EVER)).scalar() if tables.has_table(ERASURE) else None
    return first or (connection.execute(sa.text(_FIRST)).scalar() if tables.has_table("event") else None)


def is_absent(address: "sa.URL") -> bool:
    """Return whether `address` is a SQLite file that is not there: connecting would make it."""
    return address.get_backend_name() == "sqlite" and not (address.database and Path(address.database).is_file())


def _outcome(row: "sa.RowMapping") -> Reading | RecordError:
    """Return what the event says; a retraction is revision 1 of the verdict it takes back."""
    retraction = row["kind"] == "retract"
    said = {column: row[f"{column}_taken_back" if retraction else column] for column in _SAID}
    try:
        _check(row, said)
        time = datetime.fromisoformat(str(row["event_time"]))
    except RecordError as problem:
        return problem
    except ValueError:
        return RecordError("bad_value", "event_time is not ISO 8601.")
    taken_back = "_retracted" if retraction else ""
    if said["purpose"] not in ASKED:
        return Reading(skipped=f"quality_check{taken_back}")
    if said["verdict"] == "skip":
        return Reading(skipped=f"annotator_skip{taken_back}")
    return Reading(feedback=tuple(_feedback(row, said, time)))


def _check(row: "sa.RowMapping", said: Mapping[str, Any]) -> None:
    """Raise RecordError for an event that the contract does not allow."""
    verdict, scale, side = said["verdict"], said["scale"], said["edited_side"]
    graded = scale is None or _VERDICTS.get(scale) == verdict
    edited = side in (None, "left", "right") and (side is None) == (said["edited_text"] is None)
    wrong = {
        "kind is neither verdict nor retract.": row["kind"] not in ("verdict", "retract"),
        "retracts names no verdict of this store.": said["kind"] != "verdict",
        f"purpose is none of {', '.join(LABEL_PURPOSES)}.": said["purpose"] not in LABEL_PURPOSES,
        f"verdict is none of {', '.join(_SIGNALS)}, skip.": verdict not in (*_SIGNALS, "skip"),
        "scale is not 1 to 3 of left, 4 of tie, 5 to 7 of right.": not graded,
        "edited_side is neither left nor right, or edited_text is missing.": not edited,
    }
    for problem, applies in wrong.items():
        if applies:
            raise RecordError("bad_value", problem)


def _feedback(row: "sa.RowMapping", said: Mapping[str, Any], time: datetime) -> Iterator[Feedback]:
    """Yield the verdict, and the edit where the annotator improved a response besides."""
    retraction = row["kind"] == "retract"
    verdict, scale, edited = said["verdict"], said["scale"], said["edited_side"]
    responses = {side: Ref(str(row[f"{side}_interaction_id"])) for side in ("left", "right")}
    better, worse = ("right", "left") if verdict == "right" else ("left", "right")
    signal = _SIGNALS[verdict]
    degree = abs(scale - TIE) / (TIE - 1) if scale is not None and signal == "label" else None
    verdict_of = Feedback(
        source_id=str(row["retracts"] if retraction else row["event_id"]),
        revision=int(retraction),
        signal=signal,
        target=responses[better],
        others=[responses[worse]],
        value=degree or (1.0 if signal == "label" else None),
        scale_min=None if degree is None else 0.0,
        scale_max=None if degree is None else 1.0,
        text=said["rationale"],
        rater_kind="annotator",
        rater=str(row["annotator"]),
        position=better,
        retracted=retraction,
        event_time=time,
    )
    yield verdict_of
    if edited is not None:
        yield Feedback(
            source_id=f"{verdict_of.source_id}/edit",
            revision=verdict_of.revision,
            signal="edit",
            target=responses[edited],
            text=str(said["edited_text"]),
            rater_kind="annotator",
            rater=verdict_of.rater,
            position=edited,
            retracted=retraction,
            event_time=time,
        )
