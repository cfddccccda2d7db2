"""Prompt, chosen and rejected -> token ids, as TRL 1.16 makes them.

A conversation is rendered with the model's own chat template: the prompt with the generation prompt at its end, and
prompt + response without. A plain text is tokenised as it is, its response ending in the end token. The response
starts where the tokens of prompt and of prompt + response part, on either side the earlier: templates and merges do
not always keep the prompt's last tokens.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from ingest.errors import ContractError, SettingsError

Side = str | Sequence[Mapping[str, object]]
"""A text or a list of messages."""


@dataclass(frozen=True)
class Row:
    """One pair as the file has it."""

    row_id: str
    """triple_id, or "row:N" ("validation:row:N" of --validation) where the file has none."""
    prompt: Side
    chosen: Side
    rejected: Side
    tools: str | None = None
    """JSON text of the tools the prompt offers."""


@dataclass(frozen=True)
class TokenisedPair:
    """Token ids of one pair; prompt + chosen and prompt + rejected are what the model reads."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]
    unread: list[int] = field(default_factory=list)
    """Tokens at the end of the prompt alone that prompt + response does not have: the model never reads them."""
    rewritten: bool = False
    """Whether the chat template changed what it was given: the prompt's last question, a response, or a prompt to which
    a response is added."""


def tokenise(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row]) -> list[TokenisedPair]:
    """Return the token ids of `rows`, in their order.

    Raises SettingsError for an unfit tokenizer, ContractError when tools or tool calls are not JSON, or the
    chat template refuses a conversation.
    """
    if not rows:
        return []
    chat = not isinstance(rows[0].prompt, str)
    rendered = [(_render_chat if chat else _render_text)(tokenizer, row) for row in rows]
    texts = [text for row in rendered for text in (row.prompt, row.with_chosen, row.with_rejected)]
    # A chat template writes the special tokens itself; a plain text gets the tokenizer's default ones.
    ids: list[list[int]] = tokenizer(
        texts, add_special_tokens=not chat, return_attention_mask=False, return_token_type_ids=False, verbose=False
    )["input_ids"]
    return [_split(*ids[3 * i : 3 * i + 3], rewritten=row.rewritten) for i, row in enumerate(rendered)]


@dataclass(frozen=True)
class _Rendered:
    """One pair as the texts that become tokens."""

    prompt: str
    with_chosen: str
    with_rejected: str
    rewritten: bool = False


def _split(prompt: list[int], with_chosen: list[int], with_rejected: list[int], *, rewritten: bool) -> TokenisedPair:
    """Cut both sequences where one of them first differs from the prompt alone."""
    length = min(_common_prefix(prompt, with_chosen), _common_prefix(prompt, with_rejected))
    return TokenisedPair(prompt[:length], with_chosen[length:], with_rejected[length:], prompt[length:], rewritten)


def _common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Return how many leading tokens are the same."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _render_text(tokenizer: PreTrainedTokenizerBase, row: Row) -> _Rendered:
    """Return prompt, prompt + chosen and prompt + rejected, the responses ending in the end token."""
    end = tokenizer.eos_token
    if end is None:
        raise SettingsError("The tokenizer has no end token, so a model trained on plain texts would never stop.")
    prompt = str(row.prompt)
    chosen, rejected = (text if text.endswith(end) else text + end for text in (str(row.chosen), str(row.rejected)))
    return _Rendered(prompt, prompt + chosen, prompt + rejected)


def _render_chat(tokenizer: PreTrainedTokenizerBase, row: Row) -> _Rendered:
    """Return what the chat template makes of prompt, prompt + chosen and prompt + rejected."""
    if tokenizer.chat_template is None:
        raise SettingsError(
            "The pairs are conversations, and the tokenizer has no chat template. Add the deployment's own "
            "chat_template.jinja to the model folder."
        )
    prompt, chosen, rejected = (
        messages_for_template(side, row.row_id) for side in (row.prompt, row.chosen, row.rejected)
    )
    tools = _json(row.tools, "tools", row.row_id) if row.tools is not None else None

    def render(messages: list[dict[str, Any]], *, generation: bool) -> str:
        try:
            return str(
                tokenizer.apply_chat_template(messages, tools=tools, add_generation_prompt=generation, tokenize=False)
            )
        except (TemplateError, TypeError) as error:  # TypeError: it adds a text to what is none, for instance
            raise ContractError(
                f"{row.row_id}: the model's chat template cannot render the conversation: {error}. "
                "Leave such rows out in curation, or correct chat_template.jinja in the model folder."
            ) from error

    start = render(prompt, generation=True)
    first, second = (render(prompt + side, generation=False) for side in (chosen, rejected))
    kept = first.startswith(start) and second.startswith(start)
    if not kept:  # what the template adds for generation may differ before a response, the prompt itself may not
        alone = render(prompt, generation=False)
        kept = first.startswith(alone) and second.startswith(alone)
    said = _says(start, prompt[-1:]) and _says(first, chosen) and _says(second, rejected)
    return _Rendered(start, first, second, rewritten=not (kept and said))


def _says(text: str, messages: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether `text` holds what users and assistants say in `messages`, but for white space."""
    spoken = (m.get("content") for m in messages if m.get("role") in ("user", "assistant"))
    compact = "".join(text.split())
    return all("".join(content.split()) in compact for content in spoken if isinstance(content, str))


def messages_for_template(messages: Side, row_id: str) -> list[dict[str, Any]]:
    """Return `messages` as templates expect them: without null keys, tool calls and their arguments as objects.

    APIs give a call's arguments as JSON text; transformers' templates expect the object and encode it (`| tojson`), so
    that text would be encoded twice. They ask `if message.tool_calls is defined`, so a null key would change
    the result.
    """
    cleaned = []
    for message in messages:
        if not isinstance(message, Mapping):
            raise ContractError(f"{row_id}: expected a list of messages with role and content, got {messages!r:.60}.")
        kept: dict[str, Any] = {key: value for key, value in message.items() if value is not None}
        if isinstance(kept.get("tool_calls"), str):
            kept["tool_calls"] = _json(kept["tool_calls"], "tool_calls", row_id)
        if isinstance(kept.get("tool_calls"), list):
            kept["tool_calls"] = [_with_arguments(call) for call in kept["tool_calls"]]
        cleaned.append(kept)
    return cleaned


def _with_arguments(call: Any) -> Any:
    """Return a tool call with its `function.arguments` as an object where they are JSON text of one, else as it is."""
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("arguments"), str):
        return call
    try:
        arguments = json.loads(function["arguments"])
    except (json.JSONDecodeError, RecursionError):  # a model may have written anything
        return call
    return {**call, "function": {**function, "arguments": arguments}} if isinstance(arguments, dict) else call


def _json(text: str, column: str, row_id: str) -> Any:
    """Parse JSON text of one row. Raises ContractError that names it."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ContractError(f"{row_id}: {column} is not JSON ({error}). It must be null or JSON text.") from error
