"""Reads side-by-side battles: two responses to one prompt and a verdict, one judgement a record.

Three families of column names: `prompt, response_a, response_b, winner`; Tulu's human evaluation (`completion_a`,
`completion_b`, a `preference` of five grades, `evaluator`); Arena releases (`conversation_a`, `conversation_b`,
`winner`, `judge`, `tstamp`).
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from ingest.errors import RecordError
from ingest.readers import chat
from ingest.readers.fields import Fields
from ingest.readers.preference import Side, Verdict, common_prompt, judgement, turn
from ingest.readers.reading import Reading
from ingest.schema import Message

FORMS: Final = (("response_a", "winner"), ("completion_a", "preference"), ("conversation_a", "winner"))
"""Column of the first response, column of the verdict."""

VERDICTS: Final[Mapping[str, tuple[str, str, float | None]]] = {
    "a": ("choice", "a", None),
    "b": ("choice", "b", None),
    "model_a": ("choice", "a", None),
    "model_b": ("choice", "b", None),
    "response_a": ("choice", "a", None),
    "response_b": ("choice", "b", None),
    "a-is-better": ("choice", "a", 1.0),
    "b-is-better": ("choice", "b", 1.0),
    "a-is-slightly-better": ("choice", "a", 0.5),
    "b-is-slightly-better": ("choice", "b", 0.5),
    "tie": ("tie", "a", None),
    "tie (bothbad)": ("both_bad", "a", None),
    "bothbad": ("both_bad", "a", None),
    "both_bad": ("both_bad", "a", None),
}
"""Verdict -> signal, the side that is the target, and how much better it is."""

RATERS: Final = (("evaluator", "annotator"), ("annotator", "annotator"), ("user", "user"), ("judge", None))
"""Column -> kind of rater; of a judge the value says it."""


class Battles:
    """The reader of the format."""

    name: str = "battles"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether the record has the two columns of one family."""
        return any(first in record and verdict in record for first, verdict in FORMS)

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return both responses and the verdict on them; a tie's target is side a."""
        row = Fields(record)
        first, verdict = next((form for form in FORMS if form[0] in record and form[1] in record), FORMS[0])
        signal, winner, degree = VERDICTS[row.one_of(verdict, VERDICTS)]
        prompt, a, b = _conversations(row) if first == "conversation_a" else _responses(row, first)
        sides = {"a": Side(a, row.name("model_a")), "b": Side(b, row.name("model_b"))}
        rater_kind, rater = _rater(row)
        said = Verdict(
            signal=signal,
            degree=degree,
            rater_kind=rater_kind,
            rater=rater,
            # FastChat's arena shows model_a left; the other families do not say who stood where.
            position={"a": "left", "b": "right"}[winner] if first == "conversation_a" else None,
            event_time=_time(row),
        )
        loser = "b" if winner == "a" else "a"
        # `question_id` is no id of a judgement: MT-Bench has many judges, turns and pairs of models for one question.
        return judgement(row.maybe_id("id"), prompt, sides[winner], sides[loser], said, record=record)


def _responses(row: Fields, first: str) -> tuple[list[Message], list[Message], list[Message]]:
    """Return prompt and both responses where they stand in columns of their own."""
    values = row.values.get("prompt")
    prompt = chat.messages(row, "prompt") if isinstance(values, list) else [turn("user", row.text("prompt"))]
    columns = (first, first[:-1] + "b")
    a, b = ([turn("assistant", row.text(column))] for column in columns)
    return prompt, a, b


def _conversations(row: Fields) -> tuple[list[Message], list[Message], list[Message]]:
    """Return what two conversations share, and the turns of each after it."""
    a, b = chat.messages(row, "conversation_a"), chat.messages(row, "conversation_b")
    shared = common_prompt(a, b)
    return a[:shared], a[shared:], b[shared:]


def _rater(row: Fields) -> tuple[str | None, str | None]:
    """Return kind and id of who judged, None where no column says so."""
    for column, kind in RATERS:
        if (rater := row.maybe_id(column)) is not None:
            return ("user" if rater.startswith("arena_user") else None) if column == "judge" else kind, rater
    return None, None


def _time(row: Fields) -> datetime | None:
    """Return when it was judged. A time without a zone (Tulu's) is no instant, and no zone is guessed: None."""
    if row.has("tstamp"):
        return row.maybe_unix("tstamp")
    stamp = row.values.get("timestamp")
    if isinstance(stamp, int | float):
        return row.maybe_unix("timestamp")
    if stamp is None or isinstance(stamp, datetime):
        return stamp.astimezone(UTC) if stamp is not None and stamp.tzinfo is not None else None
    try:
        naive = datetime.fromisoformat(row.text("timestamp")).tzinfo is None
    except ValueError as error:
        raise RecordError("bad_value", "timestamp: expected an ISO 8601 time") from error
    return None if naive else row.time("timestamp")
