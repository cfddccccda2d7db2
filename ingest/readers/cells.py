"""What the cells of a text table (CSV, TSV) mean: numbers, flags, JSON or text, by the columns of each format.

A cell is only text. A column that a reader reads as anything else is named here; of a column that is not named the text
is taken as it stands. A cell that is not what its column holds stays text, which the reader then refuses by name.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

Kind = Callable[[str], object]
"""The text of a cell -> its value."""

_NUMBER: Final = re.compile(r"-?[0-9]+(?P<part>\.[0-9]+)?(?P<power>[eE][+-]?[0-9]{1,3})?")


def number(cell: str) -> object:
    """Return a number as JSON writes it; any other text, NaN too, as it is."""
    found = _NUMBER.fullmatch(cell)
    if found is None or len(cell) > 40:
        return cell
    return float(cell) if found["part"] or found["power"] else int(cell)


def flag(cell: str) -> object:
    """Return true or false, in any case; any other text as it is."""
    return {"true": True, "false": False}.get(cell.lower(), cell)


def nested(cell: str) -> object:
    """Return the object or list that a JSON text holds; any other text as it is."""
    if cell.lstrip()[:1] in ("{", "["):
        try:
            return msgspec.json.decode(cell)
        except (msgspec.MsgspecError, RecursionError):
            return cell
    return cell


def messages(cell: str) -> object:
    """Return the turns that a JSON text holds, a list of objects with a role; any other text, JSON or not, as it is."""
    found = nested(cell)
    turns = isinstance(found, list) and found and all(isinstance(turn, dict) and "role" in turn for turn in found)
    return found if turns else cell


def score(cell: str) -> object:
    """Return a number, else a flag, else the text."""
    found = number(cell)
    return flag(cell) if found is cell else found


@dataclass(frozen=True)
class Columns:
    """The columns of one format."""

    format: str
    """Name of its reader."""
    known_by: frozenset[str]
    """Columns that every table of the format has."""
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    """Column -> what its cells hold, where that is not text."""


_TURNS: Final = {"prompt": messages, "chosen": messages, "rejected": messages, "tools": nested}
_SIDES: Final = {
    "conversation_a": nested, "conversation_b": nested, "prompt": messages,
    "tstamp": number, "turn": number, "anony": flag,
}  # fmt: skip

TABLES: Final = (
    Columns("helicone", frozenset({"request_id", "request_body", "response_body", "response_status"}), {
        "response_status": number, "delay_ms": number, "feedback_rating": flag,
        "request_properties": nested, "scores": nested,
    }),
    Columns("langfuse", frozenset({"id", "name", "value", "data_type"}), {"value": number}),
    Columns("langfuse", frozenset({"id", "name", "value", "dataType"}), {"value": number}),
    Columns("langsmith", frozenset({"run_id", "key"}), {
        "score": score, "value": score, "correction": nested, "feedback_source": nested,
    }),
    Columns("langsmith", frozenset({"id", "run_type", "inputs"}), {
        "prompt_tokens": number, "completion_tokens": number,
    }),
    Columns("sharegpt_preference", frozenset({"conversations", "chosen", "rejected"}), {
        "conversations": nested, "chosen": nested, "rejected": nested, "tools": nested,
    }),
    Columns("trl_preference", frozenset({"chosen", "rejected"}), _TURNS),
    Columns("openai_preference", frozenset({"input", "preferred_output", "non_preferred_output"}), {
        "input": nested, "preferred_output": nested, "non_preferred_output": nested,
    }),
    Columns("llmbar", frozenset({"input", "output_1", "output_2", "label"}), {"label": number}),
    Columns("kto", frozenset({"completion", "label"}), {
        "prompt": messages, "completion": messages, "label": flag, "tools": nested,
    }),
    Columns("kto", frozenset({"messages", "label"}), {"messages": nested, "label": flag, "tools": nested}),
    Columns("ultrafeedback", frozenset({"instruction", "completions"}), {"completions": nested, "models": nested}),
    Columns("battles", frozenset({"response_a", "winner"}), _SIDES),
    Columns("battles", frozenset({"completion_a", "preference"}), _SIDES),
    Columns("battles", frozenset({"conversation_a", "winner"}), _SIDES),
    Columns("openinference", frozenset({"context.span_id"}), {
        "attributes.llm.input_messages": nested, "attributes.llm.output_messages": nested,
        "attributes.llm.token_count.prompt": number, "attributes.llm.token_count.completion": number,
    }),
    Columns("openinference", frozenset({"annotator_kind", "result"}), {"result": nested, "metadata": nested}),
)  # fmt: skip
"""Every tabular format; a table is the first one whose columns it has. hh_rlhf has trl_preference's columns."""


def kinds(header: Collection[str]) -> Mapping[str, Kind]:
    """Return what the columns of a table with this header hold, where that is not text."""
    return next((table.kinds for table in TABLES if table.known_by <= set(header)), {})


def typed(row: Mapping[str, str], kinds: Mapping[str, Kind]) -> dict[str, object]:
    """Return the row with each cell as what its column holds."""
    return {name: kinds[name](cell) if name in kinds else cell for name, cell in row.items()}
