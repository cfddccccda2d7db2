"""Reads Winnow's own log: `{"winnow": 1, "kind": "interaction" | "feedback", ...}`, one event a line."""

from collections.abc import Mapping
from typing import Final

from ingest.readers import apis, chat
from ingest.readers.fields import INT32_MAX, Fields
from ingest.readers.reading import Feedback, Interaction, Reading, Ref
from ingest.schema import RATER_KINDS

LOG_VERSION: Final = 1
KINDS: Final = ("interaction", "feedback", "loss")
LOSSES: Final = ("queue_full", "unserialisable", "write_failed", "closed", "internal_error", "not_logged")
"""Why `ingest.logger` loses an event."""
MOST_LOST: Final = 1_000_000_000
"""What one line may count: the accounts add such counts up."""
INT64_MAX: Final = 2**63 - 1
SIDES: Final = ("left", "right")
SIGNALS: Final = ("thumb", "rating", "choice", "tie", "both_bad", "edit", "regenerate", "accept", "copy")
SCALED: Final = ("thumb", "rating")
"""Signals that are a value on a scale."""
COMPARING: Final = ("choice", "tie", "both_bad", "regenerate")
"""Signals that compare the target with at least one other response."""


class Winnow:
    """The reader of the format."""

    name: str = "winnow"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether the record names itself so."""
        return "winnow" in record

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return the interactions of an exchange (one per choice), one feedback event, or what the log lost."""
        row = Fields(record)
        if row.integer("winnow") != LOG_VERSION:
            row.bad("winnow", f"version {LOG_VERSION} of the log")
        kind = row.one_of("kind", KINDS)
        if kind == "feedback":
            return Reading(feedback=(_feedback(row),))
        return _lost(row) if kind == "loss" else _exchange(row)


def _exchange(row: Fields) -> Reading:
    """Return the interactions of an exchange, or why nobody was answered."""
    if not row.has("status") and row.has("error"):
        return Reading(skipped="no_response")
    status = row.http_status("status")
    if status != 200:
        return Reading(skipped=f"http_status_{status}")
    if row.maybe_flag("cut_off"):
        return Reading(skipped="cut_off")
    request, response = row.child("request"), row.child("response")
    if request.has("messages") and response.has("choices"):
        if not response.items("choices"):
            return Reading(skipped="no_choice")
        served = Reading(interactions=tuple(chat.interactions(request, response)))
    else:
        served = apis.read(request.values, response.values)
    for interaction in served.interactions:
        _state(row, interaction)
    return served


def _lost(row: Fields) -> Reading:
    """Return the events that the deployment's log lost, each a record of its own in the accounts."""
    lost = row.child("lost")
    found = {f"lost_{reason}": lost.integer(reason) for reason in LOSSES if lost.has(reason)}
    if len(found) != len(lost.values) or any(number > MOST_LOST for number in found.values()):
        row.bad("lost", f"counts up to {MOST_LOST} of {', '.join(LOSSES)}")
    counted = {reason: number for reason, number in found.items() if number}
    return Reading(skipped_parts=counted) if counted else Reading(skipped="lost_nothing")


def _id(row: Fields) -> str:
    """Return what the deployment calls the record; by an empty id two records would be one."""
    return row.text("id") or row.bad("id", "a text that is not empty")


def _state(row: Fields, interaction: Interaction) -> None:
    """Add to the interaction what the deployment states around the exchange."""
    interaction.source_id = _id(row)
    interaction.event_time = row.time("time")
    interaction.conversation_id = row.name("conversation_id")
    if interaction.status == "ok":  # else the parent is the response that the prompt goes on from
        interaction.parent_id = row.name("parent_id")
    interaction.turn_index = row.maybe_integer("turn_index")
    interaction.user = row.maybe_id("user_id")
    interaction.consent = _consent(row)
    interaction.shown = row.maybe_flag("shown")
    interaction.position = _position(row)
    interaction.arm = row.name("arm")
    interaction.propensity = row.maybe_number("propensity")
    if interaction.propensity is not None and not 0 < interaction.propensity <= 1:
        row.bad("propensity", "a probability above 0, at most 1")
    interaction.latency_ms = row.maybe_number("latency_ms")
    interaction.logprob_model = row.name("logprob_model")


def _consent(row: Fields) -> str | None:
    """Return what the record says, with the version of the policy that it refers to; the empty text says something."""
    consent, policy = row.maybe_text("consent"), row.maybe_text("consent_policy")
    return f"{consent}@{policy}" if consent and policy else consent


def _feedback(row: Fields) -> Feedback:
    """Return one feedback event, or raise where its signal lacks what it needs."""
    signal = row.one_of("signal", SIGNALS)
    retracted = bool(row.maybe_flag("retracted"))  # what is taken back need not be said again
    others = [_ref(other) for other in row.children("others")] if row.has("others") else []
    if signal in COMPARING and not others and not retracted:
        row.bad("others", f"at least one response that a {signal} compares the target with")
    value, low, high = _scaled(row, required=signal in SCALED and not retracted)
    rater = row.maybe_child("rater")
    return Feedback(
        source_id=_id(row),
        revision=_revision(row),
        signal=signal,
        target=_ref(row.child("target")),
        others=others,
        value=value,
        scale_min=low,
        scale_max=high,
        text=row.text("text") if signal == "edit" and not retracted else row.maybe_text("text"),
        rater_kind=rater.one_of("kind", RATER_KINDS) if rater else None,
        rater=rater.maybe_id("id") if rater else None,
        position=_position(row),
        retracted=retracted,
        event_time=row.time("time"),
    )


def _revision(row: Fields) -> int:
    """Return the revision; one that is a time in microseconds needs more than 32 bits."""
    value = row.values.get("revision")
    if isinstance(value, int) and INT32_MAX < value <= INT64_MAX:
        return value
    return row.maybe_integer("revision") or 0


def _ref(fields: Fields) -> Ref:
    return Ref(fields.text("id"), fields.maybe_integer("choice") or 0)


def _position(row: Fields) -> str | None:
    return row.one_of("position", SIDES) if row.has("position") else None


def _scaled(row: Fields, *, required: bool) -> tuple[float | None, float | None, float | None]:
    """Return value, scale_min, scale_max; a value on a scale must lie on it."""
    value = row.number("value") if required else row.maybe_number("value")
    if not required and not row.has("scale"):
        return value, None, None
    ends = [Fields({"": end}, f"{row.path('scale')}[{i}]").number("") for i, end in enumerate(row.items("scale"))]
    if len(ends) != 2 or ends[0] >= ends[1]:
        row.bad("scale", "two numbers, the smaller first")
    if value is not None and not ends[0] <= value <= ends[1]:
        row.bad("value", "a number on the scale")
    return value, ends[0], ends[1]
