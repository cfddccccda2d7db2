"""Who gets which pair next: slots of a pair, each leased to one annotator for a time.

    open ---lease---> leased ---a verdict---> done
      ^                 |                       |
      +---expiry, skip--+ <-------undo----------+

What holds, on SQLite and on PostgreSQL, with any number of processes:
  - one slot is never leased to two annotators at a time;
  - one annotator never gets the same pair twice, unless the verdict was taken back;
  - at most k leases and verdicts stand on a pair at a time, more only where they disagree (a late vote may add one, and
    says so);
  - an annotator's own live lease comes back first, so a reload or a crash loses no place.

Order: by turn, rank and pair_id (`app.store.IN_ORDER`). Every pair gets its first opinion before any gets its second; a
further opinion on a pair whose judges disagree is asked by its priority among the first ones.

An annotator who judged 200,000 pairs must not pass them all again to find the next one. So their place is remembered:
nothing that is open before it is for them. What opens there later is marked `returned` and looked for by itself; new
pairs and priorities forget all places (`forget_places`).

Every function works inside the caller's write transaction, and takes locks in this order: annotator, slots, events.
Times are UTC microseconds.
"""

from collections.abc import Collection
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from app import checks
from app.checks import Checks
from app.store import judged, standing
from app.tables import ANNOTATOR, ASKED, CHECKS, DONE, EVENT, IN_ORDER, LEASED, OPEN, RETURNED, SLOT


def sit_down(connection: sa.Connection, annotator: str) -> sa.Row[Any]:
    """Return the annotator's row of `ANNOTATOR`, held until the transaction ends; made of their events if absent.

    Two windows of one annotator so wait for each other, and both resume the same lease.
    """
    mine = sa.select(ANNOTATOR).where(ANNOTATOR.c.annotator == annotator).with_for_update()
    if (row := connection.execute(mine).one_or_none()) is not None:
        return row
    skip = EVENT.c.verdict == "skip"
    counts = sa.select(
        sa.literal(annotator), sa.func.count().filter(~skip), sa.func.count().filter(skip), *checks.given(annotator)
    ).where(EVENT.c.annotator == annotator, standing(EVENT))
    sqlite_here = connection.dialect.name == "sqlite"
    insert = (sqlite.insert(ANNOTATOR) if sqlite_here else postgresql.insert(ANNOTATOR)).on_conflict_do_nothing()
    connection.execute(insert.from_select(["annotator", "done", "skipped", "checked", "repeated"], counts))
    return connection.execute(mine).one()


def next_pair(
    connection: sa.Connection,
    annotator: str,
    *,
    k: int,
    now: int,
    until: int,
    besides: str | None = None,
    quiz: Checks = checks.NONE,
) -> str | None:
    """Lease a pair to `annotator` until `until`, and return its pair_id; None when there is nothing left to ask.

    A live lease of the annotator's own is renewed and returned instead; that on `besides`, the pair on screen, stays as
    it is, so that the one after it can be had too. Where a check is due by `quiz`, it comes before the queue.
    """
    place = sit_down(connection, annotator)
    own = sa.select(SLOT.c.pair_id).where(
        SLOT.c.state == LEASED,
        SLOT.c.annotator == annotator,
        SLOT.c.purpose != "review",
        _live(now),
        SLOT.c.pair_id != (besides or ""),
    )
    held = connection.execute(own.order_by(*IN_ORDER).limit(1)).scalar_one_or_none()
    if held is not None:
        extend(connection, annotator, [held], now=now, until=until)
        return str(held)
    _release_expired(connection, now)
    if (check := checks.give(connection, place, quiz, until)) is not None:
        return check
    wanted = _free(annotator, k).order_by(*IN_ORDER)
    here = None if place.pair_id is None else sa.tuple_(place.turn, place.rank, place.pair_id)
    if here is None:
        return _take(connection, wanted, annotator, until, passing=True)
    behind = wanted.where(SLOT.c.returned == RETURNED, sa.tuple_(*IN_ORDER) < here)
    if (found := _take(connection, behind, annotator, until)) is not None:
        return found
    ahead = _take(connection, wanted.where(sa.tuple_(*IN_ORDER) >= here), annotator, until, passing=True)
    if ahead is None and connection.dialect.name == "postgresql":
        # Slots that others held for a moment were skipped, and are behind us if that came to nothing.
        return _take(connection, wanted, annotator, until, passing=True)
    return ahead


def waiting(connection: sa.Connection, annotator: str, *, k: int, now: int, most: int) -> int:
    """Count the pairs that this annotator could still be given, those they hold included; no further than `most`."""
    place = connection.execute(sa.select(ANNOTATOR).where(ANNOTATOR.c.annotator == annotator)).one_or_none()
    held = sa.select(SLOT.c.pair_id).where(
        SLOT.c.state == LEASED,
        SLOT.c.purpose.in_(ASKED),
        sa.or_(SLOT.c.annotator == annotator, SLOT.c.lease_until <= now),
        ~judged(annotator, SLOT.c.pair_id),
    )
    free = _free(annotator, k).with_only_columns(SLOT.c.pair_id).order_by(*IN_ORDER)
    parts = [held]
    if place is None or place.pair_id is None:
        parts += [free.limit(most)]
    else:
        here = sa.tuple_(place.turn, place.rank, place.pair_id)
        parts += [free.where(SLOT.c.returned == RETURNED, sa.tuple_(*IN_ORDER) < here).limit(most)]
        parts += [free.where(sa.tuple_(*IN_ORDER) >= here).limit(most)]
    found = {pair_id for part in parts for pair_id in connection.execute(part).scalars()}
    return min(len(found), most)


def extend(connection: sa.Connection, annotator: str, pair_ids: Collection[str], *, now: int, until: int) -> set[str]:
    """Let the annotator's live leases on these pairs run until `until` at least; return those that were live."""
    later = sa.case((SLOT.c.lease_until > until, SLOT.c.lease_until), else_=until)
    live = sa.update(SLOT).where(*_leased(annotator, pair_ids), _live(now)).values(lease_until=later)
    return set(connection.execute(live.returning(SLOT.c.pair_id)).scalars())


def complete(connection: sa.Connection, annotator: str, pair_id: str, now: int, purpose: str = "ask") -> bool:
    """Fill the annotator's slot of the pair; return whether the lease was still live.

    When the lease was lost, an open slot of the pair is filled if there is one: the opinion is there, so nobody
    needs to be asked for it again.
    """
    done = {"state": DONE, "lease_until": None}
    mine = (*_leased(annotator, [pair_id]), _made_for(purpose))
    if connection.execute(sa.update(SLOT).where(*mine, _live(now)).values(done)).rowcount:
        return True
    if purpose == "ask" and _take(connection, _expired_or_open(pair_id, annotator), annotator, now) is not None:
        connection.execute(sa.update(SLOT).where(*mine).values(done))
    return False


def give_back(connection: sa.Connection, annotator: str, pair_ids: Collection[str], now: int) -> set[str]:
    """Open the annotator's slots of these pairs to others (a skip, a pair that was not shown after all).

    Returns the pairs whose lease was still live. A check is for nobody else: it stays, and comes again.
    """
    mine = (*_leased(annotator, pair_ids), SLOT.c.purpose.not_in(CHECKS))
    live = sa.select(SLOT.c.pair_id).where(*mine, SLOT.c.lease_until > now)
    found = set(connection.execute(live).scalars())
    connection.execute(sa.update(SLOT).where(*mine).values(_OPENED))
    return found


def take_again(connection: sa.Connection, annotator: str, pair_id: str, until: int, purpose: str = "ask") -> bool:
    """Lease the pair to an annotator who took a verdict on it back; return whether a slot could be had."""
    leased = {"state": LEASED, "annotator": annotator, "lease_until": until}
    mine = sa.or_(SLOT.c.annotator == annotator, sa.and_(SLOT.c.state == OPEN, SLOT.c.purpose == "review"))
    done = sa.update(SLOT).where(SLOT.c.pair_id == pair_id, mine, _made_for(purpose))
    if purpose == "ask":  # what was to be compared with it is not wanted while it is open
        connection.execute(sa.delete(SLOT).where(*_leased(annotator, [pair_id]), SLOT.c.purpose == "repeat"))
    if connection.execute(done.values(leased)).rowcount:
        return True
    return purpose == "ask" and _take(connection, _expired_or_open(pair_id, annotator), annotator, until) is not None


def count(connection: sa.Connection, annotator: str, verdict: str, by: int) -> None:
    """Change the annotator's count of standing verdicts, or of skips, by `by`."""
    which = ANNOTATOR.c.skipped if verdict == "skip" else ANNOTATOR.c.done
    connection.execute(sa.update(ANNOTATOR).where(ANNOTATOR.c.annotator == annotator).values({which: which + by}))


def ask_further(connection: sa.Connection, pair_id: str, *, k: int, most: int) -> bool:
    """Open one more slot of a pair whose verdicts disagree; return whether one was opened.

    That is: at least k stand, nobody else has been asked for one already, fewer than `most` people judged it, and no
    outcome (one response, the other, tie, both bad) is that of more than half of them.
    """
    wins = sa.case(
        (EVENT.c.verdict == "left", EVENT.c.left_interaction_id),
        (EVENT.c.verdict == "right", EVENT.c.right_interaction_id),
        else_=EVENT.c.verdict,
    )
    said = (
        sa.select(sa.func.count())
        .where(EVENT.c.pair_id == pair_id, standing(EVENT), EVENT.c.verdict != "skip", EVENT.c.purpose == "ask")
        .group_by(wins)
    )
    votes = connection.execute(said).scalars().all()
    if not votes or not k <= sum(votes) < most or 2 * max(votes) > sum(votes):
        return False
    slots = sa.select(SLOT.c.slot, SLOT.c.rank, SLOT.c.state, SLOT.c.purpose).where(SLOT.c.pair_id == pair_id)
    rows = connection.execute(slots).all()
    if any(row.state != "done" and (row.slot < k or row.purpose == "more") for row in rows):
        return False
    asked = [row.rank for row in rows if row.purpose in ASKED]
    opened = {"pair_id": pair_id, "slot": max(row.slot for row in rows) + 1, "purpose": "more", "turn": 0}
    connection.execute(sa.insert(SLOT).values(opened | {"rank": min(asked)} | _OPENED))
    return True


def forget_places(connection: sa.Connection) -> None:
    """Let everybody look for the next pair from the start of the queue, which has changed."""
    connection.execute(sa.update(ANNOTATOR).values(turn=None, rank=None, pair_id=None))


_OPENED: Final = {"state": OPEN, "annotator": None, "lease_until": None, "returned": 1}
"""What a slot becomes that others may have passed already."""


def _live(now: int) -> sa.ColumnElement[bool]:
    """Return the condition that a lease runs; that of a check, which is for nobody else, never ends."""
    return sa.or_(SLOT.c.lease_until > now, SLOT.c.purpose.in_(CHECKS))


def _made_for(purpose: str) -> sa.ColumnElement[bool]:
    """Return the condition that a slot is for verdicts of this purpose."""
    return SLOT.c.purpose.in_(ASKED if purpose == "ask" else (purpose,))


def _leased(annotator: str, pair_ids: Collection[str]) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions of the annotator's leases on these pairs."""
    return SLOT.c.pair_id.in_(pair_ids), SLOT.c.annotator == annotator, SLOT.c.state == LEASED


def _free(annotator: str, k: int) -> sa.Select[Any]:
    """Select the open slots that this annotator may have."""
    mine = SLOT.alias()
    return sa.select(SLOT.c.pair_id, SLOT.c.slot, SLOT.c.turn, SLOT.c.rank).where(
        SLOT.c.state == OPEN,
        sa.or_(SLOT.c.slot < k, SLOT.c.purpose == "more"),
        ~sa.exists().where(mine.c.pair_id == SLOT.c.pair_id, mine.c.annotator == annotator),
        ~judged(annotator, SLOT.c.pair_id),
    )


def _expired_or_open(pair_id: str, annotator: str) -> sa.Select[Any]:
    """Select the slots of one pair that this annotator may have: their own first, else an open one."""
    return (
        sa.select(SLOT.c.pair_id, SLOT.c.slot, SLOT.c.turn, SLOT.c.rank)
        .where(SLOT.c.pair_id == pair_id, SLOT.c.purpose.in_(ASKED))
        .where(sa.or_(SLOT.c.state == OPEN, sa.and_(SLOT.c.state == LEASED, SLOT.c.annotator == annotator)))
        .order_by(SLOT.c.annotator.is_(None), SLOT.c.slot)
    )


def _take(
    connection: sa.Connection, wanted: sa.Select[Any], annotator: str, until: int, *, passing: bool = False
) -> str | None:
    """Lease the first wanted slot that no other transaction is taking; return its pair_id.

    With `passing` the annotator's place moves there: what is open before it was not for them.
    """
    first = connection.execute(wanted.limit(1).with_for_update(skip_locked=True)).one_or_none()
    if first is None:
        return None
    connection.execute(
        sa.update(SLOT)
        .where(SLOT.c.pair_id == first.pair_id, SLOT.c.slot == first.slot)
        .values(state=LEASED, annotator=annotator, lease_until=until)
    )
    if passing:
        place = {"turn": first.turn, "rank": first.rank, "pair_id": first.pair_id}
        connection.execute(sa.update(ANNOTATOR).where(ANNOTATOR.c.annotator == annotator).values(place))
    return str(first.pair_id)


def _release_expired(connection: sa.Connection, now: int) -> None:
    """Open the slots whose lease ran out, except those that another transaction is changing."""
    gone = (
        sa.select(SLOT.c.pair_id, SLOT.c.slot)
        .where(SLOT.c.state == LEASED, SLOT.c.lease_until <= now, SLOT.c.purpose.not_in(CHECKS))
        .with_for_update(skip_locked=True)
        .cte("gone")
    )
    connection.execute(
        sa.update(SLOT).where(SLOT.c.pair_id == gone.c.pair_id, SLOT.c.slot == gone.c.slot).values(_OPENED)
    )
