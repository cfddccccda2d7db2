"""Reads Helicone's requests, as its API and its exporter give them: bodies, a thumb, scores.

Bodies are of any API. Where Helicone keeps them elsewhere it gives a stub in their place: the call is skipped, what was
said of it is kept.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import structs

from ingest import withheld
from ingest.errors import RecordError
from ingest.readers import apis, dialects, scores, times
from ingest.readers.fields import Fields
from ingest.readers.parts import Parts
from ingest.readers.reading import Feedback, Interaction, Reading, Ref

STUB: Final = "helicone_message"
"""The one key of a body that is elsewhere."""

FEEDBACK_SCORE: Final = "helicone-score-feedback"
"""The score as which the analytical database keeps the thumb: 1 or 0."""

NO_CACHE: Final = "00000000-0000-0000-0000-000000000000"


class Helicone:
    """The reader of the format."""

    name: str = "helicone"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether the record is one of Helicone's requests."""
        return {"request_id", "request_body", "response_body", "response_status"} <= record.keys()

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return the interactions, and a thumb for the rating and for each score whose name says which way is up."""
        row = Fields(record)
        parts = Parts()
        parts.add(_served(row))
        _add_thumb(row, parts)
        moment = apis.zoned_time(row, "request_created_at")
        skipped_days: dict[tuple[str, str], int] = {}
        for reason in withheld.REASONS.keys() & parts.skipped.keys():
            skipped_days |= withheld.days(reason, moment)
        if not (parts.interactions or parts.feedback) and parts.skipped.total() == 1:
            return Reading(skipped=next(iter(parts.skipped)), skipped_days=skipped_days)
        return structs.replace(parts.reading("no_response"), skipped_days=skipped_days)


def _served(row: Fields) -> Reading:
    """Return the interactions, or why there are none."""
    status = row.number("response_status")
    if status != 200:
        # Negative numbers are Helicone's own: still running, cancelled, refused as a threat.
        return Reading(skipped=f"http_status_{row.http_status('response_status')}" if status > 0 else "no_response")
    request, response = _body(row, "request_body"), _body(row, "response_body")
    if STUB in request or STUB in response:
        return Reading(skipped="stub_body")
    if not request or not response:
        return Reading(skipped="no_response" if request else "no_prompt")
    found = apis.read(request, response)
    if row.name("cache_reference_id") not in (None, NO_CACHE):
        apis.mark_cached(found.interactions)
    for one in found.interactions:
        _state(row, one)
    return found


def _body(row: Fields, key: str) -> Mapping[str, object]:
    """Return a body, an object or its JSON text; empty where it is absent."""
    value = dialects.unpacked(row.values.get(key))
    if value is None or value == "":
        return {}
    if not isinstance(value, Mapping):
        raise RecordError("wrong_type", f"{key}: expected an object or its JSON text")
    return value


def _state(row: Fields, one: Interaction) -> None:
    """Add to the interaction what Helicone states around the exchange."""
    properties = row.maybe_child("request_properties") or Fields({})
    one.source_id = row.text("request_id")
    one.conversation_id = properties.maybe_id("Helicone-Session-Id")
    one.user = row.maybe_id("request_user_id") or one.user
    one.model = one.model or row.name("response_model")
    one.model_requested = one.model_requested or row.name("request_model")
    one.latency_ms = row.maybe_number("delay_ms")
    one.event_time = apis.zoned_time(row, "request_created_at") or one.event_time


def _add_thumb(row: Fields, parts: Parts) -> None:
    """Add the rating, and the scores; the thumb that stands in both is one."""
    stated = row.maybe_child("scores") or Fields({})
    rating = row.maybe_flag("feedback_rating")
    for name in stated.values:
        value = _value(stated, name)
        if name == FEEDBACK_SCORE and value in (0, 1):
            rating = bool(value) if rating is None else rating
        elif (thumb := scores.thumb(name, value)) is not None:
            parts.feedback.append(_thumb(row, f"{row.text('request_id')}:{name}", thumb, None))
        else:
            parts.skipped["score_not_a_thumb"] += 1
    if rating is not None:
        name = row.maybe_id("feedback_id") or f"{row.text('request_id')}:feedback"
        parts.feedback.append(_thumb(row, name, 1.0 if rating else -1.0, "user"))


def _value(stated: Fields, name: str) -> float | None:
    """Return a score's number: it stands alone, or beside its type."""
    return stated.child(name).maybe_number("value") if isinstance(stated.values[name], Mapping) else stated.number(name)


def _thumb(row: Fields, source_id: str, value: float, rater_kind: str | None) -> Feedback:
    """Return a thumb; an export made after it changed, where it says so, has a later revision."""
    moment = apis.zoned_time(row, "feedback_created_at") if rater_kind else None
    changed = max(times.revision(moment), times.revision(apis.zoned_time(row, "updated_at")))
    return Feedback(
        source_id=source_id,
        revision=changed,
        signal="thumb",
        target=Ref(row.text("request_id")),
        value=value,
        scale_min=-1.0,
        scale_max=1.0,
        rater_kind=rater_kind,
        event_time=moment,
    )
