"""One model call as a tracing tool stored it, input and output -> interactions, one per answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ingest.readers import conversations, dialects
from ingest.readers.chat import SAMPLING
from ingest.readers.reading import Interaction, Reading
from ingest.schema import canonical_json

QUESTIONS: Final = frozenset(
    {"question", "query", "prompt", "message", "input", "text", "request", "user_input", "user_message", "user_query"}
)
"""Names of a function's one argument that is what its user said."""


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """What the tool states around the call; fields as in `ingest.readers.reading.Interaction`."""

    source_id: str
    conversation_id: str | None = None
    parent_id: str | None = None
    user: str | None = None
    model: str | None = None
    model_requested: str | None = None
    tools: str | None = None
    sampling: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    latency_ms: float | None = None
    event_time: datetime | None = None


def reading(stated: Exchange, asked: object, answered: object, *, where: tuple[str, str]) -> Reading:
    """Return an interaction for each answer, or the reason why there is none.

    `asked` and `answered` are of any form that `conversations` knows; `where` names their fields. Raises RecordError
    for other forms.
    """
    if asked is None or asked in ("", [], {}):
        return Reading(skipped="no_prompt")
    if answered is None or answered in ("", [], {}):
        return Reading(skipped="no_response")
    prompt = conversations.prompt(asked, where[0])
    return of(stated, prompt, conversations.replies(answered, where[1]))


def of(stated: Exchange, prompt: conversations.Prompt, replies: list[conversations.Reply]) -> Reading:
    """Return an interaction for each reply that says something."""
    said = [reply for reply in replies if reply.messages]
    if not prompt.messages:
        return Reading(skipped="no_prompt")
    if not said:
        return Reading(skipped="no_response")
    return Reading(
        interactions=tuple(
            Interaction(
                source_id=stated.source_id,
                choice_index=reply.index,
                conversation_id=stated.conversation_id,
                parent_id=stated.parent_id,
                user=stated.user,
                prompt=prompt.messages,
                response=reply.messages,
                tools=stated.tools or prompt.tools,
                model=stated.model,
                model_requested=stated.model_requested or prompt.model,
                sampling=stated.sampling or prompt.sampling,
                finish_reason=reply.finish_reason,
                tokens_in=stated.tokens_in,
                # Of several answers the usage is their sum, which is the length of none.
                tokens_out=stated.tokens_out if len(said) == 1 else None,
                latency_ms=stated.latency_ms,
                event_time=stated.event_time,
            )
            for reply in said
        )
    )


def sampling(parameters: object) -> str | None:
    """Return those of a call's parameters that decide how an answer is drawn, as canonical JSON."""
    parameters = dialects.unpacked(parameters)
    if not isinstance(parameters, Mapping):
        return None
    kept = {key: parameters[key] for key in SAMPLING if parameters.get(key) is not None}
    return canonical_json(kept).decode() if kept else None


def question(arguments: object) -> object:
    """Return what a traced function was asked: its one argument, where the name says so, else all arguments."""
    given = dialects.unpacked(arguments)
    if isinstance(given, Mapping):
        told = [(key, value) for key, value in given.items() if key != "self"]
        if len(told) == 1 and told[0][0] in QUESTIONS and isinstance(told[0][1], str):
            return told[0][1]
    return given
