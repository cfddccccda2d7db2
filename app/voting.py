"""What an annotator does to the store: take the next pair, judge it, take the judgement back.

Each action is one transaction, so an event and the slot it fills are durable together or not at all. What comes back
has been committed: only then may a screen say "saved".
"""

import json
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Final

import msgspec
import sqlalchemy as sa

from app import leases
from app.ballot import Said
from app.checks import Checks
from app.store import Event, Store, append, judged, judged_again, last_verdict, past_verdicts, standing_verdict
from app.store import find as find_event
from app.tables import ANNOTATOR, ASKED, CHECKS, LEASED, PAIR, SLOT
from ingest.errors import StoreError
from ingest.schema import Message, content_id
from ingest.settings import Labels

VERDICTS: Final = ("left", "right", "tie", "both_bad", "skip")
MICROSECONDS: Final = 1_000_000
COUNTED: Final = 1_000
"""A screen says "1,000 or more": counting a million pairs at every vote would cost more than the vote."""
NOTHING_MORE: Final = Said()


@dataclass(frozen=True)
class Showing:
    """One pair as it stands on one annotator's screen. Holds no model name, since none may reach the browser."""

    pair_id: str
    prompt: Sequence[Message]
    left: Sequence[Message]
    right: Sequence[Message]
    left_interaction_id: str
    right_interaction_id: str
    order: str
    """"ab" where response_a stands left, else "ba"."""
    event_id: str
    """UUID of the one verdict that this showing can give, where no other is made in the browser."""
    purpose: str = "ask"
    """A key of `ingest.schema.LABEL_PURPOSES`. The annotator is not told."""


@dataclass(frozen=True)
class Past:
    """A verdict of one's own."""

    event: Event
    prompt: Sequence[Message]
    stands: bool
    """False when it was taken back."""


@dataclass(frozen=True)
class Progress:
    """How far an annotator is."""

    done: int
    """Standing verdicts that are not skips."""
    skipped: int
    left: int
    """Pairs that this annotator could still be given, the one on screen included; counted no further than `COUNTED`."""


def a_stands_left(annotator: str, pair_id: str, seed: int) -> bool:
    """Return on which side response_a stands: a fair coin, and the same one whenever this annotator comes back."""
    return int(content_id(["side", annotator, pair_id, seed])[-1], 16) % 2 == 0


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Desk:
    """One annotator at the store."""

    store: Store
    annotator: str
    labels: Labels
    clock: Callable[[], datetime] = utc_now
    reviews: ClassVar[bool] = False
    """Whether what is judged here are disagreements of others (`app.reviews`)."""

    def next(self, besides: str | None = None) -> Showing | None:
        """Lease the next pair, a live lease of one's own first; None when nothing is left to ask.

        With `besides`, the pair on screen: the one that will come after it.
        """
        k = self.labels.annotators_per_pair
        with self.store.writing() as connection:
            pair_id = leases.next_pair(
                connection, self.annotator, k=k, now=self._now(), until=self._until(), besides=besides,
                quiz=self._checks(),
            )  # fmt: skip
            return self._showing(connection, pair_id) if pair_id else None

    def extend(self, pair_ids: Collection[str]) -> set[str]:
        """Say that these pairs are still on the annotator's screen; return those whose lease had not run out."""
        with self.store.writing() as connection:
            return leases.extend(connection, self.annotator, pair_ids, now=self._now(), until=self._until())

    def release(self, pair_ids: Collection[str]) -> set[str]:
        """Let others have these pairs, which were not judged; return those whose lease had not run out."""
        with self.store.writing() as connection:
            return leases.give_back(connection, self.annotator, pair_ids, self._now())

    def held(self, pair_id: str) -> Showing | None:
        """Return a pair that this annotator has a lease on, run out or not; None when they have none."""
        mine = sa.select(SLOT.c.pair_id).where(
            SLOT.c.pair_id == pair_id, SLOT.c.annotator == self.annotator, SLOT.c.state == LEASED
        )
        with self.store.reading() as connection:
            return self._showing(connection, pair_id) if connection.execute(mine).first() else None

    def find(self, event_id: str) -> Event | None:
        """Return one's own event with this id."""
        with self.store.reading() as connection:
            event = find_event(connection, event_id)
        return event if event and event.annotator == self.annotator else None

    def vote(self, showing: Showing, verdict: str, said: Said = NOTHING_MORE) -> Event | None:
        """Store the verdict and fill (of a skip: give back) the slot. The same event_id sent twice is one event.

        A verdict whose lease was lost is stored too, marked late. None, and nothing stored, when this annotator has
        judged the pair already, in another window for instance: the first verdict stands until it is taken back.
        """
        if verdict not in VERDICTS:
            raise StoreError(f"No such verdict: {verdict!r}. It is one of {', '.join(VERDICTS)}.")
        k, most = self.labels.annotators_per_pair, self.labels.annotators_on_disagreement
        with self.store.writing() as connection:
            leases.sit_down(connection, self.annotator)
            sent = find_event(connection, showing.event_id)
            same = (self.annotator, showing.pair_id, verdict)
            if sent and (sent.annotator, sent.pair_id, sent.verdict) == same:
                return sent
            once = judged_again if showing.purpose == "repeat" else judged
            if connection.execute(sa.select(once(self.annotator, showing.pair_id))).scalar_one():
                return None
            if verdict == "skip" and showing.purpose not in CHECKS:
                live = bool(leases.give_back(connection, self.annotator, [showing.pair_id], self._now()))
            else:
                live = leases.complete(connection, self.annotator, showing.pair_id, self._now(), showing.purpose)
            event = self._event(showing.event_id, showing, verdict=verdict, said=said, late=not live)
            append(connection, event)
            leases.count(connection, self.annotator, verdict, 1)
            if most and verdict != "skip" and showing.purpose == "ask":
                leases.ask_further(connection, showing.pair_id, k=k, most=most)
            return event

    def undo(self, event_id: str) -> Showing | None:
        """Take one's own verdict back and lease its pair again; None when others hold every slot of it now.

        Any standing verdict of one's own can be taken back, and nothing is edited: a retraction is appended. Raises
        StoreError when there is no such standing verdict.
        """
        with self.store.writing() as connection:
            leases.sit_down(connection, self.annotator)
            verdict = standing_verdict(connection, self.annotator, event_id)
            if verdict is None:
                raise StoreError("That verdict does not stand any more. Nothing was taken back.")
            retraction = self._event(str(uuid.uuid4()), verdict, retracts=event_id)
            append(connection, retraction)
            leases.count(connection, self.annotator, str(verdict.verdict), -1)
            again = leases.take_again(connection, self.annotator, verdict.pair_id, self._until(), verdict.purpose)
            return self._showing(connection, verdict.pair_id) if again else None

    def last_verdict(self) -> Event | None:
        """Return the newest verdict that stands."""
        with self.store.reading() as connection:
            return last_verdict(connection, self.annotator, review=self.reviews)

    def history(self, most: int) -> list[Past]:
        """Return the newest verdicts, those taken back too, newest first."""
        with self.store.reading() as connection:
            return [
                Past(event, json.loads(prompt), bool(stands))
                for event, prompt, stands in past_verdicts(connection, self.annotator, most, review=self.reviews)
            ]

    def progress(self) -> Progress:
        """Count what is done and what is left for this annotator."""
        k = self.labels.annotators_per_pair
        mine = sa.select(ANNOTATOR.c.done, ANNOTATOR.c.skipped).where(ANNOTATOR.c.annotator == self.annotator)
        with self.store.reading() as connection:
            done, skipped = connection.execute(mine).one_or_none() or (0, 0)
            left = leases.waiting(connection, self.annotator, k=k, now=self._now(), most=COUNTED)
            return Progress(done=done, skipped=skipped, left=left)

    def _checks(self) -> Checks:
        labels = self.labels
        return Checks(labels.gold_share, labels.repeat_share, labels.repeat_distance, labels.seed)

    def _now(self) -> int:
        return round(self.clock().timestamp() * MICROSECONDS)

    def _until(self) -> int:
        return round((self.clock() + timedelta(seconds=self.labels.lease_seconds)).timestamp() * MICROSECONDS)

    def _event(
        self,
        event_id: str,
        sides: Showing | Event,
        *,
        verdict: str | None = None,
        retracts: str | None = None,
        late: bool = False,
        said: Said = NOTHING_MORE,
    ) -> Event:
        """Return the event of something said now about the pair, whose sides are those of `sides`."""
        now = self.clock().astimezone(UTC)
        shown = None if said.elapsed_ms is None else now - timedelta(milliseconds=said.elapsed_ms)
        return Event(
            event_id=event_id,
            event_time=now.isoformat(timespec="microseconds"),
            shown_time=shown.isoformat(timespec="milliseconds") if shown else None,
            purpose=sides.purpose,
            annotator=self.annotator,
            kind="retract" if retracts else "verdict",
            verdict=verdict,
            retracts=retracts,
            pair_id=sides.pair_id,
            left_interaction_id=sides.left_interaction_id,
            right_interaction_id=sides.right_interaction_id,
            late=int(late),
            **msgspec.structs.asdict(said),
        )

    def _showing(self, connection: sa.Connection, pair_id: str) -> Showing:
        """Arrange a pair for this annotator's screen."""
        row = connection.execute(sa.select(PAIR).where(PAIR.c.pair_id == pair_id)).one()._mapping
        held = SLOT.c.annotator == self.annotator, SLOT.c.state == LEASED
        slot = sa.select(SLOT.c.purpose).where(SLOT.c.pair_id == pair_id, *held)
        purpose = connection.execute(slot).scalars().first()
        swapped = purpose == "repeat"
        order = "ab" if a_stands_left(self.annotator, pair_id, self.labels.seed) != swapped else "ba"
        left, right = order[0], order[1]
        return Showing(
            pair_id=pair_id,
            prompt=json.loads(row["prompt"]),
            left=json.loads(row[f"response_{left}"]),
            right=json.loads(row[f"response_{right}"]),
            left_interaction_id=row[f"interaction_{left}"],
            right_interaction_id=row[f"interaction_{right}"],
            order=order,
            event_id=str(uuid.uuid4()),
            purpose="ask" if purpose is None or purpose in ASKED else purpose,
        )
