"""Reads Gemini's generateContent: `{"request": {"contents": [...]}, "response": {"candidates": [...]}}`.

Also rows of a gateway that recorded the bytes (`ingest.readers.recorded`), streams joined: events, or a JSON array of
chunks. Its field `path_only` names the requested model, as the API's URL does.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final

from ingest.errors import RecordError
from ingest.readers import event_stream, recorded
from ingest.readers.fields import Fields, json_text
from ingest.readers.reading import Interaction, Reading
from ingest.readers.turns import Turns, function_call, function_tool
from ingest.schema import Message, canonical_json, content_id

KIND = "gemini"

FINISH: Final[Mapping[object, str]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    1: "stop",  # the same as numbers of the protocol buffer's enumeration
    2: "length",
    3: "content_filter",
    4: "content_filter",
}
"""finishReason -> finish reason; another one stays as it came."""

_MODEL: Final = re.compile(r"/models/([^/:]+)")


class Gemini:
    """The reader of the format."""

    name: str = "gemini"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether this is a request with contents and its candidates."""
        return recorded.sniff(record, KIND, _is_gemini)

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return one interaction for each candidate; a call without an answer is skipped with its reason."""
        call = recorded.exchange(record, KIND, join, _is_stream)
        if call.skipped is not None:
            return Reading(skipped=call.skipped)
        if not call.response.values.get("candidates"):
            return Reading(skipped="prompt_blocked" if call.response.has("promptFeedback") else "no_choice")
        path = Fields(record).maybe_text("path_only") or ""
        found = _MODEL.search(path)
        requested = call.request.name("model") or (found[1] if found else None)
        return Reading(interactions=tuple(interactions(call.request, call.response, requested)))


def _is_gemini(request: Mapping[str, object], response: object) -> bool:
    return "contents" in request and (response is None or isinstance(response, Mapping))


def _is_stream(body: str) -> bool:
    return body.lstrip().startswith("[") or event_stream.is_event_stream(body)


def interactions(request: Fields, response: Fields, requested: str | None) -> Iterator[Interaction]:
    """Yield one interaction for each candidate."""
    prompt = _prompt(request)
    config = _either(request, "generationConfig", "generation_config") or Fields({})
    sampling = {key: value for key, value in config.values.items() if value is not None}
    usage = response.maybe_child("usageMetadata") or Fields({}, response.path("usageMetadata"))
    candidates = list(response.children("candidates"))
    model = response.name("modelVersion")
    for i, candidate in enumerate(candidates):
        said = Turns("assistant")
        content = candidate.maybe_child("content")
        if content is not None and content.has("parts"):
            _add(said, content)
        reply = said.messages(reply=True)
        logprobs = _logprobs(candidate)
        yield Interaction(
            source_id=response.name("responseId") or content_id([prompt, reply, model or requested]),
            choice_index=candidate.integer("index") if candidate.has("index") else i,
            prompt=prompt,
            response=reply,
            tools=_tools(request),
            model=model,
            model_requested=requested,
            sampling=canonical_json(sampling).decode() if sampling else None,
            finish_reason=_finish(candidate),
            token_logprobs=logprobs,
            logprob_model=model if logprobs is not None else None,
            tokens_in=usage.maybe_integer("promptTokenCount"),
            tokens_out=_tokens_out(usage) if len(candidates) == 1 else None,
            event_time=response.time("createTime") if response.has("createTime") else None,
        )


def _either(fields: Fields, name: str, older: str) -> Fields | None:
    """Return an object under its name or the snake_case that the API also takes."""
    return fields.maybe_child(name) or fields.maybe_child(older)


def _prompt(request: Fields) -> list[Message]:
    system = Turns("system")
    if (instruction := _either(request, "systemInstruction", "system_instruction")) is not None:
        _add(system, instruction)
    prompt = system.messages()
    for content in request.children("contents"):
        role = content.one_of("role", ("user", "model", "function")) if content.has("role") else "user"
        turns = Turns("assistant" if role == "model" else "user")
        _add(turns, content)
        prompt += turns.messages()
    if not prompt:
        request.bad("contents", "at least one part")
    return prompt


def _add(turns: Turns, content: Fields) -> None:
    """Add the parts of a content in their order; thoughts are not kept."""
    for part in content.children("parts"):
        called = _either(part, "functionCall", "function_call")
        result = _either(part, "functionResponse", "function_response")
        if part.maybe_flag("thought"):
            continue
        if called is not None:
            turns.call(function_call(called.text("name"), called.values.get("args"), called.name("id")))
        elif result is not None:
            value = json_text(result.values.get("response"))
            turns.result(value, call_id=result.name("id"), name=result.name("name"))
        elif part.has("text"):
            turns.say(part.text("text"), part.values)
        elif set(part.values) - {"thoughtSignature"}:
            turns.show(part.values)


def _tools(request: Fields) -> str | None:
    """Return the offered tools in OpenAI's form; those that the provider runs stay as they came."""
    offered: list[object] = []
    for tool in request.children("tools") if request.has("tools") else ():
        for key in ("functionDeclarations", "function_declarations"):
            for declared in tool.children(key) if tool.has(key) else ():
                names = ("parameters", "parametersJsonSchema", "parameters_json_schema")
                parameters = next((declared.values[name] for name in names if declared.has(name)), None)
                offered.append(function_tool(declared.text("name"), declared.name("description"), parameters))
        rest = {k: v for k, v in tool.values.items() if k not in ("functionDeclarations", "function_declarations")}
        offered += [rest] if rest else []
    return json_text(offered) if offered else None


def _finish(candidate: Fields) -> str | None:
    reason = candidate.values.get("finishReason")
    return FINISH.get(reason, str(reason)) if isinstance(reason, str | int) else None


def _tokens_out(usage: Fields) -> int | None:
    """Return what was generated, thoughts included."""
    if not usage.has("candidatesTokenCount"):
        return None
    return usage.integer("candidatesTokenCount") + (usage.maybe_integer("thoughtsTokenCount") or 0)


def _logprobs(candidate: Fields) -> list[float] | None:
    result = candidate.maybe_child("logprobsResult")
    if result is None or not result.has("chosenCandidates"):
        return None
    return [token.number("logProbability") for token in result.children("chosenCandidates")]


def join(body: str, where: str) -> Fields:
    """Return the response that the chunks of `body` spell; it has `error` where the stream says that it failed."""
    joined: dict[str, object] = {}
    candidates: dict[int, dict[str, object]] = {}
    for chunk in _chunks(body, where):
        if chunk.has("error"):
            return Fields({"error": chunk.values["error"]}, where)
        for key in ("responseId", "modelVersion", "createTime", "usageMetadata", "promptFeedback"):
            if chunk.has(key):
                joined[key] = chunk.values[key]
        for candidate in chunk.children("candidates") if chunk.has("candidates") else ():
            index = candidate.maybe_integer("index") or 0
            known = candidates.setdefault(index, {"index": index, "content": {"role": "model", "parts": []}})
            _extend(known, candidate)
    joined["candidates"] = [candidates[i] for i in sorted(candidates)]
    return Fields(joined, where)


def _chunks(body: str, where: str) -> Iterator[Fields]:
    if not body.lstrip().startswith("["):
        yield from event_stream.events(body, where)
        return
    try:
        chunks = json.loads(body)
    except ValueError as error:
        raise RecordError("bad_value", f"{where}: expected a JSON array of chunks") from error
    yield from Fields({where: chunks}).children(where)


def _extend(known: dict[str, object], candidate: Fields) -> None:
    content = candidate.maybe_child("content")
    if content is not None and content.has("parts"):
        whole = known["content"]
        assert isinstance(whole, dict)
        whole["parts"] += content.items("parts")
    if candidate.has("finishReason"):
        known["finishReason"] = candidate.values["finishReason"]
    if (result := candidate.maybe_child("logprobsResult")) is not None and result.has("chosenCandidates"):
        tokens = known.setdefault("logprobsResult", {"chosenCandidates": []})
        assert isinstance(tokens, dict)
        tokens["chosenCandidates"] += result.items("chosenCandidates")
