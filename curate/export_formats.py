"""A triple in the formats that others train from: a function for each, which refuses what its format cannot say.

Part of `python -m curate export`. Nothing is changed to fit: where a format has no place for something, Inexpressible
says what. `curate.export` reads every record back with Winnow's own reader, so that the promise is kept row by row.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ingest.readers.hh_rlhf import MARKER, render
from ingest.schema import MESSAGE_KEYS, Message

Record = dict[str, Any]
"""One line of JSON."""

REASONS: Final[Mapping[str, str]] = {
    "tools_offered": "tools were offered to the model, and the format has no place for them",
    "tool_calls": "a message calls a tool, or answers a call, and the format cannot say which",
    "several_messages": "a response is more than one message, and the format holds one",
    "no_text": "a message has no text",
    "role": "a message is of a role that the format does not have",
    "speaker_name": "a message names its speaker, and the format has no place for it",
    "order": "turns do not alternate, or the prompt does not end with a user's",
    "marker_in_text": "a text holds the words by which the format marks who speaks",
    "not_json": "tools or tool calls are no JSON",
    "read_otherwise": "a reader of the format would understand something else",
}
"""Why a triple is left out -> in words."""


class Inexpressible(Exception):  # noqa: N818 - no error of anybody's: the format is too small
    """A format cannot say what a triple is; `args[0]` is a key of REASONS."""


@dataclass(frozen=True)
class Said:
    """What of a triple is exported."""

    prompt: Sequence[Message]
    chosen: Sequence[Message]
    rejected: Sequence[Message]
    tools: str | None
    """JSON text."""


def trl(said: Said) -> list[Record]:
    """TRL's conversational preference: messages as they are; tools as JSON text, which `datasets` keeps as it is."""
    record: Record = {
        "prompt": _messages(said.prompt),
        "chosen": _messages(said.chosen),
        "rejected": _messages(said.rejected),
    }
    return [record | ({"tools": said.tools} if said.tools else {})]


def kto(said: Said) -> list[Record]:
    """TRL's unpaired preference: two records, the chosen response labelled true and the rejected one false."""
    offered = {"tools": _json(said.tools)} if said.tools else {}
    return [
        {"prompt": _messages(said.prompt), "completion": _messages(response), "label": label} | offered
        for response, label in ((said.chosen, True), (said.rejected, False))
    ]


def openai(said: Said) -> list[Record]:
    """OpenAI's preference fine-tuning: one message of an assistant on each side."""
    asked: Record = {"messages": _messages(said.prompt)}
    if said.tools:
        asked["tools"] = _json(said.tools)
    sides = {"preferred_output": said.chosen, "non_preferred_output": said.rejected}
    return [{"input": asked} | {key: _messages([_only(response)]) for key, response in sides.items()}]


def sharegpt(said: Said) -> list[Record]:
    """ShareGPT with two answers, as LLaMA-Factory reads it: turns of human and gpt, the system's beside them."""
    system = said.prompt[0]["content"] if said.prompt and said.prompt[0]["role"] == "system" else None
    turns = [_plain(message) for message in said.prompt[system is not None :]]
    roles = [role for role, _ in turns]
    if roles != ["user", "assistant"] * (len(roles) // 2) + ["user"]:
        raise Inexpressible("order")
    speakers = {"user": "human", "assistant": "gpt"}
    record: Record = {"conversations": [{"from": speakers[role], "value": text} for role, text in turns]}
    for side, response in (("chosen", said.chosen), ("rejected", said.rejected)):
        role, text = _plain(_only(response))
        record[side] = {"from": speakers[role], "value": text}
    return [record | ({"system": system} if system else {}) | ({"tools": said.tools} if said.tools else {})]


def hh(said: Said) -> list[Record]:
    """HH-RLHF: two transcripts that begin alike; roles are words in the text."""
    if said.tools:
        raise Inexpressible("tools_offered")
    for message in (*said.prompt, *said.chosen, *said.rejected):
        _, text = _plain(message)
        if MARKER.search(f"{text}\n\n") or text.endswith("\n"):
            raise Inexpressible("marker_in_text")
    if not said.prompt or said.prompt[-1]["role"] != "user":
        raise Inexpressible("order")
    return [{side: render([*said.prompt, *getattr(said, side)]) for side in ("chosen", "rejected")}]


FORMATS: Final[Mapping[str, tuple[Callable[[Said], list[Record]], str]]] = {
    "trl": (trl, "trl_preference"),
    "openai": (openai, "openai_preference"),
    "kto": (kto, "kto"),
    "sharegpt": (sharegpt, "sharegpt_preference"),
    "hh": (hh, "hh_rlhf"),
}
"""--format -> what writes a triple, and the name of the reader that reads it."""


def _messages(messages: Sequence[Message]) -> list[Record]:
    """Return messages without their null fields, calls of tools as JSON values."""
    return [
        {key: _json(message[key]) if key == "tool_calls" else message[key] for key in MESSAGE_KEYS if message[key]}
        | ({} if message["tool_calls"] else {"content": message["content"]})
        for message in messages
    ]


def _json(text: str | None) -> Any:
    try:
        return json.loads(text or "null")
    except ValueError as error:
        raise Inexpressible("not_json") from error


def _only(response: Sequence[Message]) -> Message:
    """Return a response that is one message of an assistant."""
    if len(response) != 1:
        raise Inexpressible("several_messages")
    if response[0]["role"] != "assistant":
        raise Inexpressible("role")
    return response[0]


def _plain(message: Message) -> tuple[str, str]:
    """Return role and text of a user's or an assistant's message that is only text."""
    if message["tool_calls"] or message["tool_call_id"]:
        raise Inexpressible("tool_calls")
    if message["role"] not in ("user", "assistant"):
        raise Inexpressible("role")
    if message["name"]:
        raise Inexpressible("speaker_name")
    if message["content"] is None:
        raise Inexpressible("no_text")
    return message["role"], message["content"]
