"""What is in the queue and why, for a screen: pairs by priority, and counts by reason and source.

Reads tables pair, slot, gold and event of the label store; writes nothing.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app.store import Store, standing
from app.tables import ASKED, DONE, EVENT, GOLD, PAIR, SLOT
from ingest.schema import Message


@dataclass(frozen=True)
class Row:
    """One pair of the queue."""

    pair_id: str
    priority: float
    why: str | None
    """As curation gave it: "unjudged", "tied" or "contradicted"; of a gold item its purpose."""
    source: str | None
    opinions: int
    """Verdicts that stand, skips and checks apart."""
    wanted: int
    """Opinions that are still to come."""
    answer: str | None
    """Of a gold item: a, b, tie or both_bad."""
    question: str
    """What the prompt's last user message says."""


@dataclass(frozen=True)
class Share:
    """Pairs with one reason from one source."""

    why: str
    source: str
    pairs: int


def shares(store: Store) -> list[Share]:
    """Count pairs by why and source, most first; gold items apart."""
    asked = ~sa.exists().where(GOLD.c.pair_id == PAIR.c.pair_id)
    query = sa.select(PAIR.c.why, PAIR.c.source, sa.func.count()).where(asked).group_by(PAIR.c.why, PAIR.c.source)
    with store.reading() as connection:
        rows = connection.execute(query.order_by(sa.func.count().desc(), PAIR.c.why)).all()
    return [Share(why or "not said", source or "not said", pairs) for why, source, pairs in rows]


def rows(
    store: Store, most: int, *, known: bool = False, why: str | None = None, source: str | None = None, text: str = ""
) -> list[Row]:
    """Return the pairs of highest priority, no more than `most`: those that are asked about, or whose answer is known.

    Of one reason, of one source, with a text in the prompt.
    """
    wanted = _number(SLOT.c.pair_id, SLOT.c.purpose.in_(ASKED), SLOT.c.state != DONE)
    opinions = _number(EVENT.c.pair_id, EVENT.c.purpose == "ask", EVENT.c.verdict != "skip", standing(EVENT))
    query = (
        sa.select(
            PAIR.c.pair_id, PAIR.c.priority, PAIR.c.why, PAIR.c.source, PAIR.c.prompt, GOLD.c.answer,
            opinions.label("opinions"), wanted.label("wanted"),
        )
        .join_from(PAIR, GOLD, GOLD.c.pair_id == PAIR.c.pair_id, isouter=True)
        .where(GOLD.c.pair_id.is_not(None) if known else GOLD.c.pair_id.is_(None))
        .order_by(PAIR.c.priority.desc(), PAIR.c.pair_id)
        .limit(most)
    )  # fmt: skip
    if why is not None:
        query = query.where(PAIR.c.why == why)
    if source is not None:
        query = query.where(PAIR.c.source == source)
    if text:
        query = query.where(PAIR.c.prompt.icontains(json.dumps(text, ensure_ascii=False)[1:-1], autoescape=True))
    with store.reading() as connection:
        found = connection.execute(query).mappings().all()
    return [Row(question=_question(json.loads(each["prompt"])), **_without(each, "prompt")) for each in found]


@dataclass(frozen=True)
class Pair:
    """A pair as it was loaded, no screen's sides."""

    prompt: Sequence[Message]
    response_a: Sequence[Message]
    response_b: Sequence[Message]


def pair(store: Store, pair_id: str) -> Pair:
    """Return the texts of one pair."""
    columns = (PAIR.c.prompt, PAIR.c.response_a, PAIR.c.response_b)
    with store.reading() as connection:
        row = connection.execute(sa.select(*columns).where(PAIR.c.pair_id == pair_id)).one()
    return Pair(*map(json.loads, row))


def _number(key: sa.Column[str], *conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    return sa.select(sa.func.count()).where(key == PAIR.c.pair_id, *conditions).correlate(PAIR).scalar_subquery()


def _without(row: Any, name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}


def _question(prompt: Sequence[Message]) -> str:
    said = next((m["content"] for m in reversed(prompt) if m["role"] == "user" and m["content"]), "")
    return " ".join(str(said).split())[:200]
