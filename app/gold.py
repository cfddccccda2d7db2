"""Pairs whose answer is known: loaded from a file, or marked in the queue by an administrator.

Reads JSON Lines or Parquet, writes tables `pair` and `gold`; `python -m app gold FILE` runs it. Such a pair has no
slots of its own: `app.checks` gives it to each annotator once, at the share that [labels] gold_share states.

A row of the file:

    prompt, better, worse   messages (role, content), or the text of the one message
    purpose                 "gold" (unset), or "attention": `worse` is plainly wrong
    answer                  unset: `better` is; "tie" or "both_bad": neither is
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from app.store import QUEUE_LOCK, Store, lock
from app.tables import ASKED, GOLD, OPEN, PAIR, SLOT
from ingest.errors import ContractError, StoreError
from ingest.schema import Message, interaction_id, messages_hash, pair_id

Text = Annotated[str, msgspec.Meta(min_length=1)]
ANSWERS: Final = ("a", "b", "tie", "both_bad")


class Turn(msgspec.Struct, frozen=True):
    """A message; further keys are ignored."""

    role: str
    content: str


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of the file."""

    prompt: Text | list[Turn]
    better: Text | list[Turn]
    worse: Text | list[Turn]
    purpose: Literal["gold", "attention"] = "gold"
    answer: Literal["tie", "both_bad"] | None = None


def load(store: Store, file: Path, added_by: str) -> int:
    """Add the pairs of `file`; return how many are new. The same file again adds none.

    Raises ContractError where a row is wrong, naming it, and adds nothing then.
    """
    items = [_pair(item, file, number) for number, item in enumerate(_rows(file), start=1)]
    with store.writing() as connection:
        lock(connection, QUEUE_LOCK)
        known = set(connection.execute(sa.select(GOLD.c.pair_id)).scalars())
        there = set(connection.execute(sa.select(PAIR.c.pair_id)).scalars()) if items else set()
        new = {pair["pair_id"]: (pair, purpose, answer) for pair, purpose, answer in items}
        for key, (pair, purpose, answer) in new.items():
            if key in known:
                continue
            if key not in there:
                connection.execute(sa.insert(PAIR).values(pair))
            _mark(connection, key, purpose, answer, added_by)
    return len(new.keys() - known)


def mark(store: Store, key: str, answer: str, added_by: str, purpose: str = "gold") -> None:
    """Make a pair of the queue a gold item: nobody is asked for an opinion on it any more. Raises StoreError."""
    if answer not in ANSWERS:
        raise StoreError(f"No such answer: {answer!r}. It is one of {', '.join(ANSWERS)}.")
    with store.writing() as connection:
        lock(connection, QUEUE_LOCK)
        if connection.execute(sa.select(GOLD.c.pair_id).where(GOLD.c.pair_id == key)).first():
            raise StoreError("That pair is a gold item already.")
        if not connection.execute(sa.select(PAIR.c.pair_id).where(PAIR.c.pair_id == key)).first():
            raise StoreError("There is no such pair.")
        _mark(connection, key, purpose, answer, added_by)


def count(store: Store) -> int:
    """Return how many pairs have a known answer."""
    with store.reading() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(GOLD)).scalar_one()


def _mark(connection: sa.Connection, key: str, purpose: str, answer: str, added_by: str) -> None:
    """Note the answer, and take the slots away that nobody has yet."""
    unasked = sa.delete(SLOT).where(SLOT.c.pair_id == key, SLOT.c.state == OPEN, SLOT.c.purpose.in_(ASKED))
    connection.execute(unasked)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    row = {"pair_id": key, "purpose": purpose, "answer": answer, "added_by": added_by, "added_time": now}
    connection.execute(sa.insert(GOLD).values(row))


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file, without keys that are null."""
    try:
        if file.suffix == ".parquet":
            rows = pq.read_table(file).to_pylist()
        elif file.suffix == ".jsonl":
            rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        else:
            raise ContractError(f"Cannot tell the format of {file.name}: a name ends in .jsonl or .parquet.")
    except (OSError, ValueError, pa.ArrowInvalid) as error:
        raise ContractError(f"{file} is not a readable file of gold items: {error}.") from error
    for row in rows:
        yield {key: value for key, value in row.items() if value is not None} if isinstance(row, dict) else row


def _pair(row: Any, file: Path, number: int) -> tuple[dict[str, Any], str, str]:
    """Return a row of table `pair`, its purpose and its answer. Raises ContractError."""
    try:
        item = msgspec.convert(row, Item)
    except msgspec.ValidationError as error:
        raise ContractError(f"{file}, row {number}: {error}. A row has prompt, better and worse.") from error
    prompt = _messages(item.prompt, "user")
    sides = {"better": _messages(item.better, "assistant"), "worse": _messages(item.worse, "assistant")}
    hashes = {name: messages_hash(side) for name, side in sides.items()}
    if hashes["better"] == hashes["worse"]:
        raise ContractError(f"{file}, row {number}: better and worse are the same.")
    a, b = sorted(sides, key=hashes.__getitem__)
    group = messages_hash(prompt)
    key = pair_id(group, hashes[a], hashes[b])
    pair = {
        "pair_id": key, "prompt": json.dumps(prompt, ensure_ascii=False),
        "response_a": json.dumps(sides[a], ensure_ascii=False), "response_b": json.dumps(sides[b], ensure_ascii=False),
        "interaction_a": interaction_id("gold", f"{key}/a"), "interaction_b": interaction_id("gold", f"{key}/b"),
        "source": "gold", "prompt_group": group, "priority": 0.0, "why": item.purpose,
    }  # fmt: skip
    return pair, item.purpose, item.answer or ("a" if a == "better" else "b")


def _messages(text: str | list[Turn], role: str) -> list[Message]:
    """Return the messages of a text, or those that were given."""
    turns = [Turn(role, text)] if isinstance(text, str) else text
    return [
        {"role": turn.role, "content": turn.content, "tool_calls": None, "tool_call_id": None, "name": None}
        for turn in turns
    ]
