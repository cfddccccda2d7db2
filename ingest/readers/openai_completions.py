"""Reads OpenAI text completions: `{"request": {"prompt": ...}, "response": {"choices": [{"text": ...}]}}`.

Also rows of a gateway that recorded the bytes (`ingest.readers.recorded`), streams joined; those of Writer too, whose
chunks are `{"value": ...}`. The prompt becomes a user's message, the completion an assistant's, as in TRL's rows.
"""

from collections.abc import Iterator, Mapping

from ingest.readers import event_stream, recorded
from ingest.readers.chat import SAMPLING
from ingest.readers.fields import Fields
from ingest.readers.preference import turn
from ingest.readers.reading import Interaction, Reading
from ingest.schema import canonical_json, content_id

KIND = "openai_completions"


class OpenAICompletions:
    """The reader of the format."""

    name: str = "openai_completions"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether this is a prompt with its completion."""
        return recorded.sniff(record, KIND, _is_completion)

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return one interaction for each choice; a call without an answer is skipped with its reason."""
        call = recorded.exchange(record, KIND, join)
        if call.skipped is not None:
            return Reading(skipped=call.skipped)
        if call.request.has("suffix") and call.request.text("suffix"):
            return Reading(skipped="fill_in_the_middle")
        if not call.response.values.get("choices"):
            return Reading(skipped="no_choice")
        return Reading(interactions=tuple(interactions(call.request, call.response)))


def _is_completion(request: Mapping[str, object], response: object) -> bool:
    return "prompt" in request and isinstance(response, Mapping) and "choices" in response


def interactions(request: Fields, response: Fields) -> Iterator[Interaction]:
    """Yield one interaction for each choice of `POST /v1/completions`; n choices to the first prompt come first."""
    prompts = _prompts(request)
    sampling = {key: request.values[key] for key in (*SAMPLING, "best_of", "echo") if request.has(key)}
    usage = response.maybe_child("usage") or Fields({}, response.path("usage"))
    choices = list(response.children("choices"))
    each = max(1, len(choices) // len(prompts))
    model, requested = response.name("model"), request.name("model")
    for i, choice in enumerate(choices):
        index = choice.maybe_integer("index") if choice.has("index") else i
        assert index is not None
        if index // each >= len(prompts):
            choice.bad("index", f"the number of one of the {len(choices)} choices to {len(prompts)} prompts")
        asked = prompts[index // each]
        text, logprobs = _said(choice, asked, echoed=bool(request.maybe_flag("echo")))
        prompt, reply = [turn("user", asked)], [turn("assistant", text)]
        yield Interaction(
            source_id=response.name("id") or content_id([prompt, reply, model or requested]),
            choice_index=index,
            prompt=prompt,
            response=reply,
            user=request.maybe_id("user"),
            model=model,
            model_requested=requested,
            sampling=canonical_json(sampling).decode() if sampling else None,
            finish_reason=choice.name("finish_reason"),
            token_logprobs=logprobs,
            logprob_model=model if logprobs is not None else None,
            # Usage is the sum over prompts and choices.
            tokens_in=usage.maybe_integer("prompt_tokens") if len(prompts) == 1 else None,
            tokens_out=usage.maybe_integer("completion_tokens") if len(choices) == 1 else None,
            event_time=response.maybe_unix("created"),
        )


def _prompts(request: Fields) -> list[str]:
    """Return the prompts; token ids, which are no text, are refused."""
    if isinstance(request.values.get("prompt"), str):
        return [request.text("prompt")]
    prompts = [
        Fields({"": v}, f"{request.path('prompt')}[{i}]").text("") for i, v in enumerate(request.items("prompt"))
    ]
    if not prompts:
        request.bad("prompt", "at least one text")
    return prompts


def _said(choice: Fields, asked: str, *, echoed: bool) -> tuple[str, list[float] | None]:
    """Return the completion and its log-probabilities (nats), without the prompt that `echo` puts before them."""
    text = choice.text("text")
    if echoed:
        if not text.startswith(asked):
            choice.bad("text", "a text that begins with the prompt, since the request says echo")
        text = text[len(asked) :]
    logged = choice.maybe_child("logprobs")
    if logged is None or not logged.has("token_logprobs") or echoed:
        return text, None
    values = logged.items("token_logprobs")
    return text, [Fields({"": v}, f"{logged.path('token_logprobs')}[{i}]").number("") for i, v in enumerate(values)]


def join(body: str, where: str) -> Fields:
    """Return the completion that the events of `body` spell; it has `error` where the stream says that it failed."""
    joined: dict[str, object] = {}
    choices: dict[int, dict[str, object]] = {}
    for event in event_stream.events(body, where):
        if event.has("error"):
            return Fields({"error": event.values["error"]}, where)
        for key in ("id", "model", "created"):
            joined[key] = joined.get(key) or event.values.get(key)
        if event.has("usage"):
            joined["usage"] = event.values["usage"]
        if event.has("value"):  # Writer's chunk: only text
            _extend(choices.setdefault(0, {"text": ""}), Fields({"text": event.text("value")}))
        for choice in event.children("choices") if event.has("choices") else ():
            _extend(choices.setdefault(choice.maybe_integer("index") or 0, {"text": ""}), choice)
    joined["choices"] = [choices[i] | {"index": i} for i in sorted(choices)]
    return Fields(joined, where)


def _extend(choice: dict[str, object], part: Fields) -> None:
    """Add one chunk's part of a choice."""
    choice["text"] = f"{choice['text']}{part.maybe_text('text') or ''}"
    choice["finish_reason"] = part.name("finish_reason") or choice.get("finish_reason")
    logged = part.maybe_child("logprobs")
    if logged is not None and logged.has("token_logprobs"):
        known = choice.setdefault("logprobs", {"token_logprobs": []})
        assert isinstance(known, dict)
        known["token_logprobs"] += logged.items("token_logprobs")
