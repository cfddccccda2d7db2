"""Reads LangSmith: runs (API objects, rows of bulk exports, batches as its SDKs send them) and feedback.

Of runs only those of type llm are calls of a model. Feedback with a `feedback_group_id` compares runs: each row says
how one of them did, which is a rating by one rater; any other score is a thumb where its key says which way is up; a
correction is an edit.

Sources: langchain-ai/langsmith-sdk python/langsmith/schemas.py; docs.langchain.com/langsmith/data-export.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final

from ingest.readers import conversations, exchange, scores, times
from ingest.readers.dialects import unpacked
from ingest.readers.exchange import Exchange
from ingest.readers.fields import Fields
from ingest.readers.parts import Parts
from ingest.readers.reading import Feedback, Reading, Ref

THREADS: Final = ("session_id", "thread_id", "conversation_id")
"""Keys of a run's metadata that LangSmith takes for a conversation."""
RATERS: Final = {"app": "annotator", "model": "model", "auto_eval": "model"}
"""Type of a feedback's source -> kind of rater; what comes through the API may be anybody's."""
EDITED: Final = ("output", "content", "text", "answer", "response")
"""Keys under which a correction keeps the corrected text."""
UUID_LENGTH: Final = 36


class LangSmith:
    """The reader of the format."""

    name: str = "langsmith"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether this is a run, feedback, or a batch of runs."""
        if isinstance(record.get("post"), list) and isinstance(record.get("patch"), list):
            return True
        if "run_type" in record and "inputs" in record and "id" in record:
            return True
        return "run_id" in record and "key" in record and ("score" in record or "correction" in record)

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return what the record says; of a batch, and of a run with its children, what each run says."""
        row = Fields(record)
        if "post" in record:
            parts = Parts()
            for run in _batch(row):
                parts.try_to_add(partial(_run, run), "unreadable_run")
            return parts.reading("empty_batch")
        if "run_type" in record:
            if not record.get("child_runs"):
                return _run(row)
            parts = Parts()
            for run in _tree(row):
                parts.try_to_add(partial(_run, run), "unreadable_run")
            return parts.reading("no_run")
        return _feedback(row)


def _tree(run: Fields) -> Iterator[Fields]:
    yield run
    for child in run.children("child_runs") if run.has("child_runs") else ():
        yield from _tree(child)


def _batch(row: Fields) -> list[Fields]:
    """Return the runs of a batch: what was posted, completed by the patches that came later."""
    runs: dict[str, dict[str, object]] = {}
    for key in ("post", "patch"):
        for part in row.children(key):
            run_id = part.name("id") or part.text("dotted_order")[-UUID_LENGTH:]
            known = runs.setdefault(run_id, {"id": run_id})
            known.update({name: value for name, value in part.values.items() if value not in (None, {}, [])})
    return [Fields(run, f"run[{i}]") for i, run in enumerate(runs.values())]


def _json(row: Fields, key: str) -> Fields:
    """Return an object that bulk exports keep as JSON text; empty where it is absent."""
    value = unpacked(row.values.get(key))
    return Fields(value if isinstance(value, Mapping) else {}, row.path(key))


def _run(row: Fields) -> Reading:
    if row.text("run_type") != "llm":
        return Reading(skipped="not_an_llm_run")
    if row.values.get("error"):
        return Reading(skipped="error_response")
    extra = _json(row, "extra")
    metadata, parameters = _json(extra, "metadata"), _json(extra, "invocation_params")
    outputs = _json(row, "outputs")
    usage = _json(outputs, "usage_metadata")
    start = times.stated(row, "start_time", zone_is_utc=True)
    stated = Exchange(
        source_id=row.text("id"),
        conversation_id=next((metadata.maybe_id(key) for key in THREADS if metadata.has(key)), None),
        parent_id=row.name("parent_run_id"),
        user=metadata.maybe_id("user_id"),
        model=outputs.name("model") or metadata.name("ls_model_name"),
        model_requested=parameters.name("model") or parameters.name("model_name"),
        tools=conversations.tools(parameters.values.get("tools")),
        sampling=exchange.sampling(parameters.values),
        tokens_in=usage.maybe_integer("input_tokens") or row.maybe_integer("prompt_tokens"),
        tokens_out=usage.maybe_integer("output_tokens") or row.maybe_integer("completion_tokens"),
        latency_ms=times.latency_ms(start, times.stated(row, "end_time", zone_is_utc=True)),
        event_time=start,
    )
    where = (row.path("inputs"), row.path("outputs"))
    return exchange.reading(stated, unpacked(row.values.get("inputs")), dict(outputs.values), where=where)


def _feedback(row: Fields) -> Reading:
    if not row.has("run_id"):
        return Reading(skipped="feedback_of_no_run")
    parts = Parts()
    if (correction := row.values.get("correction")) is not None:
        text = _edited(correction)
        if text is None:
            parts.skipped["correction_without_text"] += 1
        else:
            parts.feedback.append(_event(row, ":correction", signal="edit", text=text))
    score, group = row.values.get("score"), row.name("feedback_group_id")
    if score is None and not row.has("value"):
        return parts.reading("no_score")
    if group is not None:
        parts.add(_compared(row, group))
    elif (value := scores.thumb(row.text("key"), score, _label(row))) is not None:
        ends = scores.THUMB_SCALE
        parts.feedback.append(_event(row, "", signal="thumb", value=value, scale_min=ends[0], scale_max=ends[1]))
    else:
        parts.skipped["score_not_a_thumb"] += 1
    return parts.reading("no_score")


def _label(row: Fields) -> str | None:
    value = row.values.get("value")
    return value if isinstance(value, str) else None


def _edited(correction: object) -> str | None:
    """Return the text of a correction: itself, or the one text in it that is known to be the output."""
    if isinstance(correction, str):
        return correction or None
    if isinstance(correction, Mapping):
        found = [correction[key] for key in EDITED if isinstance(correction.get(key), str) and correction[key]]
        return found[0] if len(found) == 1 else None
    return None


def _compared(row: Fields, group: str) -> Reading:
    """Return how one run did among those of its group: 1 preferred, 0 not, between for more than two runs."""
    score = row.number("score") if not isinstance(row.values.get("score"), bool) else float(row.values["score"] is True)
    if not 0 <= score <= 1:
        return Reading(skipped="score_out_of_scale")
    event = _event(row, "", signal="rating", value=score, scale_min=0.0, scale_max=1.0)
    # A group is one judgement: whoever is not named is still the same rater within it.
    event.rater = event.rater or f"feedback group {group}"
    return Reading(feedback=(event,))


def _event(
    row: Fields,
    suffix: str,
    *,
    signal: str,
    value: float | None = None,
    scale_min: float | None = None,
    scale_max: float | None = None,
    text: str | None = None,
) -> Feedback:
    source = row.maybe_child("feedback_source") or Fields({}, row.path("feedback_source"))
    return Feedback(
        source_id=row.text("id") + suffix,
        revision=times.revision(times.stated(row, "modified_at", zone_is_utc=True)),
        signal=signal,
        target=Ref(row.text("run_id")),
        value=value,
        scale_min=scale_min,
        scale_max=scale_max,
        text=text or row.maybe_text("comment") or None,
        rater_kind=RATERS.get(source.maybe_text("type") or ""),
        rater=source.maybe_id("user_id"),
        event_time=times.stated(row, "created_at", zone_is_utc=True),
    )
