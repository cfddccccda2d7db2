"""Questions whose answer says something of the annotator: gold items, attention checks, and swapped repeats.

They come among the pairs of the queue, look like them, and give no feedback: `ingest` skips them. When the next one is
due is told from counts alone: in every 1 / share verdicts one is asked, at a place that a hash picks, so that nobody
can tell when it comes, a reload changes nothing, and shares come out exactly.

Works inside the write transaction of `app.leases`. A check is a slot of its own (`app.tables.PURPOSES`), made when it
is given; it never passes to anybody else, so its lease does not run out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from app.store import judged, standing
from app.tables import ANNOTATOR, EVENT, FIRST_OF_CHECKS, GOLD, LEASED, SLOT
from ingest.schema import content_id

SOME: Final = 50
"""Verdicts among which the next one to repeat is picked."""


@dataclass(frozen=True)
class Checks:
    """How often an annotator is checked; from [labels] of winnow.toml."""

    gold_share: float = 0.0
    """Of all verdicts, how many are on gold items and attention checks."""
    repeat_share: float = 0.0
    """Of all verdicts, how many are on a pair once more."""
    repeat_distance: int = 20
    """Verdicts between the first time and the second, at least."""
    seed: int = 0


NONE: Final = Checks()


def given(annotator: str) -> tuple[sa.ScalarSelect[int], sa.ScalarSelect[int]]:
    """Select how many gold items and attention checks, and how many repeats, the annotator was given."""

    def slots(*purposes: str) -> sa.ScalarSelect[int]:
        mine = sa.select(sa.func.count()).where(SLOT.c.annotator == annotator, SLOT.c.purpose.in_(purposes))
        return mine.scalar_subquery()

    return slots("gold", "attention"), slots("repeat")


def give(connection: sa.Connection, person: sa.Row[Any], checks: Checks, until: int) -> str | None:
    """Lease the check that is due for `person`, a row of `ANNOTATOR`; return its pair_id, None when none is."""
    if _due(person, person.checked, checks.gold_share, checks.seed, "gold"):
        unasked = sa.select(GOLD.c.pair_id, GOLD.c.purpose).where(~_asked(person.annotator, GOLD.c.pair_id))
        if row := _pick(connection.execute(unasked).all(), person.annotator, checks.seed):
            return _lease(connection, person, row.pair_id, row.purpose, until, ANNOTATOR.c.checked)
    if _due(person, person.repeated, checks.repeat_share, checks.seed, "repeat"):
        before = (
            sa.select(EVENT.c.pair_id, EVENT.c.purpose, EVENT.c.verdict)
            .where(EVENT.c.annotator == person.annotator, standing(EVENT))
            .order_by(EVENT.c.seq.desc())
            .offset(checks.repeat_distance)
            .limit(SOME)
            .subquery()
        )
        once = sa.select(before.c.pair_id).where(
            before.c.purpose == "ask", before.c.verdict != "skip", ~_repeated(person.annotator, before.c.pair_id)
        )
        if row := _pick(connection.execute(once).all(), person.annotator, checks.seed):
            return _lease(connection, person, row.pair_id, "repeat", until, ANNOTATOR.c.repeated)
    return None


def _due(person: sa.Row[Any], so_far: int, share: float, seed: int, kind: str) -> bool:
    """Return whether the next check of a kind is due after this many verdicts: one in each 1 / share of them."""
    if share <= 0:
        return False
    place = int(content_id([kind, person.annotator, so_far, seed])[-8:], 16) / 16**8
    return bool(person.done + person.skipped >= (so_far + place) / share)


def _asked(annotator: str, pair_id: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    slot = SLOT.alias()
    mine = sa.exists().where(slot.c.pair_id == pair_id, slot.c.annotator == annotator)
    return sa.or_(mine, judged(annotator, pair_id))


def _repeated(annotator: str, pair_id: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Return the condition that the pair was repeated, or is with the annotator because they took a verdict back."""
    slot = SLOT.alias()
    once_more = sa.or_(slot.c.purpose == "repeat", slot.c.state == LEASED)
    return sa.exists().where(slot.c.pair_id == pair_id, slot.c.annotator == annotator, once_more)


def _pick(rows: Sequence[Any], annotator: str, seed: int) -> Any:
    """Return the row that a hash puts first, another one for every annotator; None of none."""
    return min(rows, key=lambda row: content_id(["check", annotator, row.pair_id, seed]), default=None)


def _lease(
    connection: sa.Connection, person: sa.Row[Any], pair_id: str, purpose: str, until: int, count: sa.Column[int]
) -> str:
    """Make the slot, with the annotator in it, and count it."""
    numbers = sa.select(sa.func.max(SLOT.c.slot)).where(SLOT.c.pair_id == pair_id)
    last = connection.execute(numbers).scalar_one()
    connection.execute(
        sa.insert(SLOT).values(
            pair_id=pair_id,
            slot=max(FIRST_OF_CHECKS, -1 if last is None else last + 1),
            purpose=purpose,
            turn=0,
            rank=0.0,
            state=LEASED,
            annotator=person.annotator,
            lease_until=until,
            returned=0,
        )
    )
    connection.execute(sa.update(ANNOTATOR).where(ANNOTATOR.c.annotator == person.annotator).values({count: count + 1}))
    return pair_id
