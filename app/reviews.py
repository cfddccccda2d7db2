"""The review queue: pairs on which annotators disagree, lowest agreement first, for an adjudicator.

Reads and writes the label store. An adjudicator judges a pair blind, like everybody, and sees what the others said only
when their own verdict is stored. It has purpose "review", and `ingest` makes feedback of it. A pair is reviewed once,
and never by somebody who judged it before.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import sqlalchemy as sa

from app import leases
from app.store import QUEUE_LOCK, judged, lock, standing
from app.tables import DONE, EVENT, FIRST_OF_CHECKS, LEASED, SLOT
from app.voting import Desk, Progress, Showing

WINS: Final = sa.case(
    (EVENT.c.verdict == "left", EVENT.c.left_interaction_id),
    (EVENT.c.verdict == "right", EVENT.c.right_interaction_id),
    else_=EVENT.c.verdict,
)


@dataclass(frozen=True)
class Opinion:
    """What one annotator said on a pair, in the sides of another one's screen. Says not who."""

    verdict: str
    scale: int | None
    rationale: str | None
    tags: str | None
    """JSON list."""


@dataclass(frozen=True)
class ReviewDesk(Desk):
    """An adjudicator at the store."""

    reviews: ClassVar[bool] = True

    def next(self, besides: str | None = None) -> Showing | None:
        """Lease the pair with the lowest agreement; a live lease of one's own first."""
        with self.store.writing() as connection:
            lock(connection, QUEUE_LOCK)
            person, now, until = leases.sit_down(connection, self.annotator), self._now(), self._until()
            own = sa.select(SLOT.c.pair_id).where(
                SLOT.c.annotator == self.annotator, SLOT.c.purpose == "review", SLOT.c.state == LEASED
            )
            found = connection.execute(own.order_by(SLOT.c.pair_id)).scalars().first()
            if found is None:
                row = connection.execute(_waiting(self.annotator, now).limit(1)).one_or_none()
                if row is None:
                    return None
                found = row.pair_id
            _take(connection, person.annotator, found, until)
            return self._showing(connection, found)

    def progress(self) -> Progress:
        """Count one's reviews, and the pairs that wait for one."""
        skip = EVENT.c.verdict == "skip"
        mine = sa.select(sa.func.count().filter(~skip), sa.func.count().filter(skip)).where(
            EVENT.c.annotator == self.annotator, EVENT.c.purpose == "review", standing(EVENT)
        )
        left = sa.select(sa.func.count()).select_from(_waiting(self.annotator, self._now()).subquery())
        with self.store.reading() as connection:
            done, skipped = connection.execute(mine).one()
            return Progress(done=done, skipped=skipped, left=connection.execute(left).scalar_one())

    def opinions(self, showing: Showing) -> list[Opinion]:
        """Return what annotators said, in the order of the sides on this screen; nothing before one's own verdict."""
        columns = (EVENT.c.verdict, EVENT.c.scale, EVENT.c.rationale, EVENT.c.tags, EVENT.c.left_interaction_id)
        said = sa.select(*columns).where(
            EVENT.c.pair_id == showing.pair_id, EVENT.c.purpose == "ask", EVENT.c.verdict != "skip", standing(EVENT)
        )
        with self.store.reading() as connection:
            if not connection.execute(sa.select(judged(self.annotator, showing.pair_id))).scalar_one():
                return []
            rows = connection.execute(said.order_by(EVENT.c.seq)).all()
        return [_seen_from(row, showing) for row in rows]


def _seen_from(row: Any, showing: Showing) -> Opinion:
    """Turn an opinion round where its annotator had the other response on the left."""
    if row.left_interaction_id == showing.left_interaction_id:
        return Opinion(row.verdict, row.scale, row.rationale, row.tags)
    other = {"left": "right", "right": "left"}.get(row.verdict, row.verdict)
    return Opinion(other, None if row.scale is None else 8 - row.scale, row.rationale, row.tags)


def _waiting(annotator: str, now: int) -> sa.Select[Any]:
    """Select the pairs to review, lowest agreement first: the share of two verdicts on it that are the same."""
    said = (
        sa.select(EVENT.c.pair_id, sa.func.count().label("votes"))
        .where(standing(EVENT), EVENT.c.purpose == "ask", EVENT.c.verdict != "skip")
        .group_by(EVENT.c.pair_id, WINS)
        .subquery()
    )
    votes, squares = sa.func.sum(said.c.votes), sa.func.sum(said.c.votes * said.c.votes)
    same = sa.cast(squares - votes, sa.Double) / (votes * (votes - 1))
    slot, mine = SLOT.alias(), SLOT.alias()
    taken = sa.exists().where(
        slot.c.pair_id == said.c.pair_id,
        slot.c.purpose == "review",
        sa.or_(slot.c.state == DONE, slot.c.lease_until > now),
    )
    own = sa.exists().where(mine.c.pair_id == said.c.pair_id, mine.c.annotator == annotator)
    return (
        sa.select(said.c.pair_id, votes.label("votes"))
        .where(~taken, ~own, ~judged(annotator, said.c.pair_id))
        .group_by(said.c.pair_id)
        .having(sa.func.count() > 1)
        .order_by(same, votes.desc(), said.c.pair_id)
    )


def _take(connection: sa.Connection, annotator: str, pair_id: str, until: int) -> None:
    """Lease the pair's one slot of this purpose to the adjudicator; one that was left behind is taken away."""
    left = SLOT.c.pair_id == pair_id, SLOT.c.purpose == "review", SLOT.c.state != DONE
    connection.execute(sa.delete(SLOT).where(*left))
    last = connection.execute(sa.select(sa.func.max(SLOT.c.slot)).where(SLOT.c.pair_id == pair_id)).scalar_one()
    connection.execute(
        sa.insert(SLOT).values(
            pair_id=pair_id,
            slot=max(FIRST_OF_CHECKS, (last or 0) + 1),
            purpose="review",
            turn=0,
            rank=0.0,
            state=LEASED,
            annotator=annotator,
            lease_until=until,
            returned=0,
        )
    )
