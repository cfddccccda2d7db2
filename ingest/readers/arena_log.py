"""Reads the raw log of FastChat's arena (`<date>-conv.json`): votes on two conversations side by side.

Rejects what `clean_battle_data.py` of lm-sys/FastChat rejects, each with its name there. Not rejected, since only a
deployment can say so: banned addresses and excluded models.
"""

import re
from collections.abc import Mapping
from typing import Final

from ingest.readers.dialects import text_of
from ingest.readers.fields import Fields
from ingest.readers.preference import common_prompt, turn
from ingest.readers.reading import Feedback, Interaction, Reading, Ref
from ingest.schema import Message, content_id

VOTES: Final = {
    "leftvote": ("choice", 0),
    "rightvote": ("choice", 1),
    "tievote": ("tie", 0),
    "bothbad_vote": ("both_bad", 0),
}
"""Type -> signal, and which side is the target."""
SIDES: Final = ("left", "right")
NAMES: Final = (
    *("vicuna", "lmsys", "koala", "uc berkeley", "open assistant", "laion", "chatglm", "chatgpt", "gpt-4", "openai"),
    *("anthropic", "claude", "bard", "palm", "lamda", "google", "llama", "qianwan", "alibaba", "mistral", "zhipu"),
    *("keg lab", "01.ai", "ai2", "tülu", "tulu"),
)
"""Who says one of these, anywhere, has told who is answering."""
ERRORS: Final = (
    "network error due to high traffic. please regenerate or refresh this page.",
    "$moderation$ your input violates our content moderation guidelines.",
    "api request error. please increase the number of max tokens.",
    "**api request error**",
)
CURSOR: Final = "▌"
"""Ends an answer that was still being written."""

_TITLE: Final = re.compile(r"^(?:<h3>|### )Model [AB]: (.*?)(?:</h3>)?\s*$", re.DOTALL)


class ArenaLog:
    """The reader of the format."""

    name: str = "arena_log"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether this is a line of the log: a vote on two states, or another event."""
        if not isinstance(record.get("type"), str) or "tstamp" not in record:
            return False
        return isinstance(record.get("states"), list) or isinstance(record.get("state"), Mapping)

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return both responses and the verdict, or why the vote does not count."""
        row = Fields(record)
        kind = row.text("type")
        if kind not in VOTES:
            return Reading(skipped="not_a_vote")
        states = list(row.children("states"))
        if len(states) != 2:
            row.bad("states", "two conversations")
        models = _models(row, states)
        turns = [_turns(state) for state in states]
        reason = "invalid" if models is None or not all(turns) else _reject(turns)
        if reason is not None or models is None:
            return Reading(skipped=reason)
        sides = [_messages(side) for side in turns]
        return _verdict(row, states, sides, models)


def _models(row: Fields, states: list[Fields]) -> tuple[str | None, str | None] | None:
    """Return the names of the two models, None where the vote names them inconsistently."""
    public = [_public(value) for value in row.items("models")]
    hidden = [state.name("model_name") for state in states]
    if len(public) != 2 or None in public:
        return None
    if hidden[0] is None:
        hidden = public
    anonymous = [name in ("", "Model A", "Model B") for name in public]
    if anonymous[0] != anonymous[1] or (not anonymous[0] and public != hidden):
        return None
    return hidden[0] or None, hidden[1] or None


def _public(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    titled = _TITLE.match(value)
    return titled[1] if titled else value


def _turns(state: Fields) -> list[object]:
    """Return the texts of the conversation behind the template's own first messages; roles alternate."""
    texts: list[object] = []
    for pair in state.items("messages")[state.maybe_integer("offset") or 0 :]:
        if not isinstance(pair, list) or len(pair) != 2:
            state.bad("messages", "pairs of role and text")
        texts.append(pair[1])
    return texts


def _reject(turns: list[list[object]]) -> str | None:
    """Return why the vote does not count, in the words of clean_battle_data.py."""
    if any(text is None for side in turns for text in side):
        return "none_msg"
    said = "\n".join(text_of(text).lower() for side in turns for text in side)
    if any(error in said for error in ERRORS):
        return "error"
    if any(text_of(side[-1]).endswith(CURSOR) for side in turns):
        return "unfinished"
    if any(len(side) % 2 for side in turns):
        return "invalid"
    return "leaked_identity" if any(name in said for name in NAMES) else None


def _messages(texts: list[object]) -> list[Message]:
    """Return the turns as messages; images beside a text are kept as JSON text."""
    return [turn("assistant" if i % 2 else "user", text_of(text)) for i, text in enumerate(texts)]


def _verdict(
    row: Fields, states: list[Fields], sides: list[list[Message]], models: tuple[str | None, str | None]
) -> Reading:
    shared = common_prompt(*sides)
    prompt = sides[0][:shared]
    conversations = [state.maybe_id("conv_id") for state in states]
    time = row.maybe_unix("tstamp")
    served = [
        Interaction(
            # A conversation that goes on, or is answered anew, keeps its id: the content tells its answers apart.
            source_id=content_id([conversation, prompt, side[shared:], model]),
            conversation_id=conversations[0],
            prompt=prompt,
            response=side[shared:],
            model=model,
            position=position,
            shown=True,
            user=row.maybe_id("ip"),
        )
        for conversation, side, model, position in zip(conversations, sides, models, SIDES, strict=True)
    ]
    signal, target = VOTES[row.text("type")]
    event = Feedback(
        source_id=content_id([*conversations, row.text("type"), row.values.get("tstamp"), row.values.get("ip")]),
        signal=signal,
        target=Ref(served[target].source_id),
        others=[Ref(served[1 - target].source_id)],
        rater_kind="user",
        rater=row.maybe_id("ip"),
        position=SIDES[target],
        event_time=time,
    )
    return Reading(interactions=tuple(served), feedback=(event,))
