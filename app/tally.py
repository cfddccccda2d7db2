"""Counts of the label store: the queue as a whole, and what each annotator did."""

from dataclasses import dataclass

import sqlalchemy as sa

from app.store import Store, standing
from app.tables import DONE, EVENT, LEASED, PAIR, SLOT


@dataclass(frozen=True)
class Queue:
    """The queue; wanted counts slots, the others pairs or slots as said."""

    pairs: int
    complete: int
    """Pairs whose slots are all filled: k, and more where judges disagreed."""
    leased: int
    """Slots that are with an annotator, or were when their page was left."""
    wanted: int
    """Slots that are not filled yet, leased ones included."""


@dataclass(frozen=True)
class Annotator:
    """What one annotator did; the verdicts are those that stand."""

    annotator: str
    left: int
    right: int
    tie: int
    both_bad: int
    skip: int
    retracted: int
    late: int
    last_time: str
    """ISO 8601, UTC, of the newest event."""


def queue(store: Store, *, k: int) -> Queue:
    """Count pairs and slots, where k verdicts are wanted on a pair."""
    asked = sa.or_(SLOT.c.slot < k, SLOT.c.purpose == "more")
    unfilled = sa.func.count().filter(SLOT.c.state != DONE)
    with store.reading() as connection:
        pairs = connection.execute(sa.select(sa.func.count()).select_from(PAIR)).scalar_one()
        per_pair = sa.select(SLOT.c.pair_id).where(asked).group_by(SLOT.c.pair_id).having(unfilled == 0)
        complete = connection.execute(sa.select(sa.func.count()).select_from(per_pair.subquery())).scalar_one()
        slots = sa.select(
            sa.func.count().filter(SLOT.c.state == LEASED), sa.func.count().filter(SLOT.c.state != DONE)
        ).where(asked)
        leased, wanted = connection.execute(slots).one()
    return Queue(pairs=pairs, complete=complete, leased=leased, wanted=wanted)


def annotators(store: Store) -> list[Annotator]:
    """Count what each annotator did, by name."""
    stands = standing(EVENT)
    verdicts = [
        sa.func.count().filter(sa.and_(stands, EVENT.c.verdict == verdict)).label(verdict)
        for verdict in ("left", "right", "tie", "both_bad", "skip")
    ]
    query = (
        sa.select(
            EVENT.c.annotator,
            *verdicts,
            sa.func.count().filter(EVENT.c.kind == "retract").label("retracted"),
            sa.func.count().filter(sa.and_(stands, EVENT.c.late == 1)).label("late"),
            sa.func.max(EVENT.c.event_time).label("last_time"),
        )
        .group_by(EVENT.c.annotator)
        .order_by(EVENT.c.annotator)
    )
    with store.reading() as connection:
        return [Annotator(**row._mapping) for row in connection.execute(query)]
