"""OpenAI chat completions: messages, requests and responses, as several log formats hold them.

Request and response are those of `POST /v1/chat/completions`; `choices[i].token_ids` is vLLM's extension.
"""

from collections.abc import Iterator
from typing import Final

from ingest.errors import RecordError
from ingest.readers.fields import Fields, json_text, kind_of
from ingest.readers.reading import Interaction
from ingest.schema import Message, canonical_json, content_id

ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")

SAMPLING: Final = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "n",
    "seed",
    "stop",
    "max_tokens",
    "max_completion_tokens",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "logit_bias",
    "response_format",
    "tool_choice",
    "function_call",
    "parallel_tool_calls",
    "reasoning_effort",
)
"""Request fields that decide how a response is drawn; the others are messages, tools, names and transport."""


def message(fields: Fields, *, role: str | None = None) -> Message:
    """Return one message; `role` stands in where the field is absent. Only an assistant may say nothing."""
    role = fields.one_of("role", ROLES) if role is None or fields.has("role") else role
    content = _content(fields)
    if role != "assistant" and content is None:
        raise RecordError("missing_field", f"{fields.path('content')}: expected text or parts of a {role} message")
    # A refusal comes in place of the content, in a field of its own; it is what the user saw.
    content = content or fields.maybe_text("refusal") or content
    return Message(
        role=role,
        content=content,
        tool_calls=_tool_calls(fields),
        tool_call_id=fields.name("tool_call_id"),
        name=fields.name("name"),
    )


def messages(fields: Fields, key: str) -> list[Message]:
    """Return the messages of a required, non-empty list."""
    found = [message(item) for item in fields.children(key)]
    if not found:
        fields.bad(key, "at least one message")
    return found


def _content(fields: Fields) -> str | None:
    """Return text as it is, text parts joined by newlines, and any other list of parts as its JSON text."""
    value = fields.values.get("content")
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, list):
        found = kind_of(value)
        raise RecordError("wrong_type", f"{fields.path('content')}: expected text or a list of parts, got {found}")
    parts = list(fields.children("content"))
    kinds = {part.text("type") for part in parts}
    if kinds <= {"text"}:
        return "\n".join(part.text("text") for part in parts)
    return json_text(value)


def _tool_calls(fields: Fields) -> str | None:
    """Return the tool calls as JSON text; the older `function_call` becomes the one call it is."""
    if fields.has("tool_calls"):
        calls = fields.items("tool_calls")
        return json_text(calls) if calls else None
    if (call := fields.maybe_child("function_call")) is not None:
        return json_text([{"type": "function", "function": dict(call.values)}])
    return None


def tools(request: Fields) -> str | None:
    """Return the offered tools as JSON text; the older `functions` become tools."""
    if request.has("tools"):
        offered = request.items("tools")
    elif request.has("functions"):
        offered = [{"type": "function", "function": dict(f.values)} for f in request.children("functions")]
    else:
        return None
    return json_text(offered) if offered else None


def interactions(request: Fields, response: Fields) -> Iterator[Interaction]:
    """Yield one interaction for each choice of a chat completion."""
    prompt = messages(request, "messages")
    offered = tools(request)
    sampling = {key: request.values[key] for key in SAMPLING if request.has(key)}
    usage = response.maybe_child("usage") or Fields({}, response.path("usage"))
    choices = list(response.children("choices"))
    model = response.name("model")
    requested = request.name("model")
    source_id = response.name("id")
    for i, choice in enumerate(choices):
        reply = _reply(choice)
        token_ids, token_logprobs = _tokens(choice)
        yield Interaction(
            source_id=source_id or content_id([prompt, [reply], model or requested]),
            choice_index=choice.integer("index") if choice.has("index") else i,
            prompt=prompt,
            response=[reply],
            user=request.maybe_id("user"),
            tools=offered,
            model=model,
            model_requested=requested,
            sampling=canonical_json(sampling).decode() if sampling else None,
            finish_reason=choice.name("finish_reason"),
            token_ids=token_ids,
            token_logprobs=token_logprobs,
            logprob_model=model if token_logprobs is not None else None,
            tokens_in=usage.maybe_integer("prompt_tokens"),
            # Of several choices the usage is their sum, which is the length of none.
            tokens_out=usage.maybe_integer("completion_tokens") if len(choices) == 1 else None,
            event_time=response.maybe_unix("created"),
        )


def _reply(choice: Fields) -> Message:
    """Return what a choice says. A content filter may leave the message out: then nothing was said."""
    if choice.has("message") or choice.values.get("finish_reason") != "content_filter":
        return message(choice.child("message"), role="assistant")
    return Message(role="assistant", content=None, tool_calls=None, tool_call_id=None, name=None)


def _tokens(choice: Fields) -> tuple[list[int] | None, list[float] | None]:
    """Return the sampled token ids and their log-probabilities (nats), aligned where both are there."""
    ids = choice.integers("token_ids") if choice.has("token_ids") else None
    logged = choice.maybe_child("logprobs")
    logprobs = None
    if logged is not None and logged.has("content"):
        logprobs = [token.number("logprob") for token in logged.children("content")]
        if ids is not None and len(ids) != len(logprobs):
            choice.bad("token_ids", f"one id for each of the {len(logprobs)} log-probabilities, got {len(ids)}")
    return ids, logprobs
