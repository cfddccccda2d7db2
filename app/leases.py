"""Who gets which pair next: k slots per pair, each leased to one annotator for a time.

    open ---lease---> leased ---a verdict---> done
      ^                 |                       |
      +---expiry, skip--+ <-------undo----------+

What holds, on SQLite and on PostgreSQL, with any number of processes:
  - one slot is never leased to two annotators at a time;
  - one annotator never gets the same pair twice, unless the verdict was taken back;
  - at most k leases and verdicts stand on a pair at a time (a late vote may add one, and says so);
  - an annotator's own live lease comes back first, so a reload or a crash loses no place.

Order: every pair gets its first opinion before any gets its second, then by priority, then by pair_id.
Every function works inside the caller's write transaction. Times are UTC microseconds.
"""

import sqlalchemy as sa

from app.store import DONE, LEASED, OPEN, SLOT, judged


def next_pair(
    connection: sa.Connection, annotator: str, *, k: int, now: int, until: int, besides: str | None = None
) -> str | None:
    """Lease a pair to `annotator` until `until`, and return its pair_id; None when there is nothing left to ask.

    A live lease of the annotator's own is renewed and returned instead; that on `besides`, the pair on screen, stays as
    it is, so that the one after it can be had too.
    """
    _lock_annotator(connection, annotator)
    own = _own(annotator, LEASED).where(SLOT.c.lease_until > now, SLOT.c.pair_id != (besides or ""))
    held = connection.execute(own.order_by(SLOT.c.lease_until, SLOT.c.pair_id).limit(1)).scalar_one_or_none()
    if held is not None:
        connection.execute(
            sa.update(SLOT).where(SLOT.c.pair_id == held, SLOT.c.annotator == annotator).values(lease_until=until)
        )
        return str(held)
    _release_expired(connection, now)
    mine = SLOT.alias()
    free = sa.select(SLOT.c.pair_id, SLOT.c.slot).where(
        SLOT.c.state == OPEN,
        SLOT.c.slot < k,
        ~sa.exists().where(mine.c.pair_id == SLOT.c.pair_id, mine.c.annotator == annotator),
        ~judged(annotator, SLOT.c.pair_id),
    )
    first = free.order_by(SLOT.c.slot, SLOT.c.priority.desc(), SLOT.c.pair_id)
    return _take(connection, first, annotator, until)


def complete(connection: sa.Connection, annotator: str, pair_id: str, now: int) -> bool:
    """Fill the annotator's slot of the pair; return whether the lease was still live.

    When the lease was lost, an open slot of the pair is filled if there is one: the opinion is there, so nobody
    needs to be asked for it again.
    """
    live = connection.execute(
        sa.update(SLOT)
        .where(SLOT.c.pair_id == pair_id, SLOT.c.annotator == annotator, SLOT.c.state == LEASED)
        .where(SLOT.c.lease_until > now)
        .values(state=DONE, lease_until=None)
    )
    if live.rowcount:
        return True
    if _take(connection, _expired_or_open(pair_id, annotator), annotator, now) is not None:
        connection.execute(
            sa.update(SLOT)
            .where(SLOT.c.pair_id == pair_id, SLOT.c.annotator == annotator)
            .values(state=DONE, lease_until=None)
        )
    return False


def give_back(connection: sa.Connection, annotator: str, pair_id: str, now: int) -> bool:
    """Open the annotator's slot of the pair to others (a skip); return whether the lease was still live."""
    mine = (SLOT.c.pair_id == pair_id, SLOT.c.annotator == annotator, SLOT.c.state == LEASED)
    live = bool(connection.execute(sa.select(sa.exists().where(*mine, SLOT.c.lease_until > now))).scalar_one())
    connection.execute(sa.update(SLOT).where(*mine).values(state=OPEN, annotator=None, lease_until=None))
    return live


def take_again(connection: sa.Connection, annotator: str, pair_id: str, until: int) -> bool:
    """Lease the pair to an annotator who took a verdict on it back; return whether a slot could be had."""
    done = sa.update(SLOT).where(SLOT.c.pair_id == pair_id, SLOT.c.annotator == annotator)
    if connection.execute(done.values(state=LEASED, lease_until=until)).rowcount:
        return True
    return _take(connection, _expired_or_open(pair_id, annotator), annotator, until) is not None


def _own(annotator: str, state: sa.ColumnElement[str]) -> sa.Select[tuple[str]]:
    """Select the pair_ids of the annotator's slots in `state`."""
    return sa.select(SLOT.c.pair_id).where(SLOT.c.state == state, SLOT.c.annotator == annotator)


def _expired_or_open(pair_id: str, annotator: str) -> sa.Select[tuple[str, int]]:
    """Select the slots of one pair that this annotator may have: their own first, else an open one."""
    return (
        sa.select(SLOT.c.pair_id, SLOT.c.slot)
        .where(SLOT.c.pair_id == pair_id)
        .where(sa.or_(SLOT.c.state == OPEN, sa.and_(SLOT.c.state == LEASED, SLOT.c.annotator == annotator)))
        .order_by(SLOT.c.annotator.is_(None), SLOT.c.slot)
    )


def _take(connection: sa.Connection, wanted: sa.Select[tuple[str, int]], annotator: str, until: int) -> str | None:
    """Lease the first wanted slot that no other transaction is taking; return its pair_id."""
    first = wanted.limit(1).with_for_update(skip_locked=True).cte("first")
    lease = (
        sa.update(SLOT)
        .where(SLOT.c.pair_id == first.c.pair_id, SLOT.c.slot == first.c.slot)
        .values(state=LEASED, annotator=annotator, lease_until=until)
        .returning(SLOT.c.pair_id)
    )
    return connection.execute(lease).scalar_one_or_none()


def _release_expired(connection: sa.Connection, now: int) -> None:
    """Open the slots whose lease ran out, except those that another transaction is changing."""
    gone = (
        sa.select(SLOT.c.pair_id, SLOT.c.slot)
        .where(SLOT.c.state == LEASED, SLOT.c.lease_until <= now)
        .with_for_update(skip_locked=True)
        .cte("gone")
    )
    connection.execute(
        sa.update(SLOT)
        .where(SLOT.c.pair_id == gone.c.pair_id, SLOT.c.slot == gone.c.slot)
        .values(state=OPEN, annotator=None, lease_until=None)
    )


def _lock_annotator(connection: sa.Connection, annotator: str) -> None:
    """Make two windows of one annotator wait for each other, so that both resume the same lease."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(annotator, 0))))
