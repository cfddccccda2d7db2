"""One annotator's sitting at the page: what is on screen, since when, and what the press of a key does about it.

A press counts only for the pair that was on screen when the key went down. Two presses in quick succession arrive one
after the other, the second when the next pair is already drawn, so a press must name its pair, and the pair must have
been on screen long enough to be seen. The component shows the next pair by itself, before the server has heard of the
press: it says for how long a pair was on screen, and is not believed beyond what the server knows. Knows nothing of
Streamlit.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from app import ballot as ballots
from app.ballot import Ballot, View
from app.store import Event
from app.task import Task
from app.voting import COUNTED, Desk, Progress, Showing
from ingest.errors import BallotError, StoreError

MINIMUM_LOOK_SECONDS: Final = 0.4
"""A pair that has been on screen for less has not been read: measured, the second press of a double press comes within
0.15 s of the first, and nobody reads two responses in this time."""

LONGEST_LOOK_SECONDS: Final = 1_800
"""After this time the annotator has left: the lease runs out, and others get the pair."""

COUNT_AGAIN_SECONDS: Final = 20
"""What others do changes how much is left; counting it at every vote would cost more than the vote."""

TOO_SOON: Final = "Not counted: that press came before this pair could be read."

GRADES: Final = {1: "much better", 2: "better", 3: "slightly better"}
SAID: Final = {
    "left": "left is better",
    "right": "right is better",
    "tie": "tie",
    "both_bad": "both bad",
    "skip": "skipped",
}


def in_words(event: Event) -> str:
    """Say what a verdict says."""
    if event.scale is None or event.verdict not in ("left", "right"):
        return SAID[str(event.verdict)]
    return f"{event.verdict} is {GRADES[min(event.scale, 8 - event.scale)]}"


@dataclass(frozen=True)
class Notice:
    """What the page says about the last press."""

    kind: Literal["saved", "refused", "failed"]
    text: str
    event_id: str | None = None
    """Of the ballot that this answers."""


@dataclass
class Sitting:
    """The state of one browser session."""

    desk: Desk
    task: Task = field(default_factory=Task)
    page: Literal["component", "buttons"] = "buttons"
    """Which of the two pages is drawn; only the component has use for the pair after the next."""
    view: View = "formatted"
    showing: Showing | None = None
    """The pair on screen, leased to this annotator."""
    following: Showing | None = None
    """The pair that comes after it, leased too: the component has drawn it already."""
    notice: Notice | None = None
    answers: int = 0
    """Notices so far: two that say the same are two all the same."""
    clock: Callable[[], float] = time.monotonic
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Of this sitting among all, after a restart of the server too."""
    _drawn: dict[str, float] = field(default_factory=dict, init=False)
    """pair_id -> when the browser had it first; of pairs that were not judged since."""
    _since: dict[str, float] = field(default_factory=dict, init=False)
    """pair_id -> when its lease was had or renewed."""
    _known: tuple[Progress, Event | None] | None = field(default=None, init=False)
    _known_at: float = field(default=0.0, init=False)

    @property
    def floor(self) -> float:
        """Seconds that a pair must have been on screen. Plain buttons cannot say when they were pressed, and on a busy
        server a press arrives late and seems to have come later: the page of buttons asks for twice the time."""
        return MINIMUM_LOOK_SECONDS * (2 if self.page == "buttons" else 1)

    def ensure(self) -> Showing | None:
        """Return the pair on screen, and take the next one when there is none. Raises StoreError."""
        if self.showing is None:
            kept = self._kept([self.following] if self.following else [])
            self.showing, self.following = kept[0] if kept else self._leased(self.desk.next()), None
        if self.page == "component" and self.showing and self.following is None:
            self.following = self._leased(self.desk.next(besides=self.showing.pair_id))
        return self.showing

    def alive(self) -> None:
        """Keep the leases of what is in the browser, for as long as somebody may be reading it. Raises StoreError."""
        showing = self.showing
        if showing and self._seconds(showing.pair_id) < LONGEST_LOOK_SECONDS:
            self._kept([showing])
            if self.following and not self._kept([self.following]):
                self.following = None

    def drawn(self) -> None:
        """Note that the page has been drawn: from the first time on, the annotator can look at the pair."""
        for showing in (self.showing, self.following):
            if showing:
                self._drawn.setdefault(showing.pair_id, self.clock())

    def press(self, pair_id: str, verdict: ballots.Verdict, scale: int | None = None, **more: object) -> None:
        """Give a verdict on the pair that stood on screen, by a button that the server drew; as `cast`."""
        showing = self.showing
        event_id = showing.event_id if showing and showing.pair_id == pair_id else str(uuid.uuid4())
        elapsed = round(1_000 * self._seconds(pair_id))
        sent = {"pair_id": pair_id, "event_id": event_id, "verdict": verdict, "scale": scale, "elapsed_ms": elapsed}
        self.cast(sent | {"sitting": self.name, "layout": {"view": self.view}} | more)

    def cast(self, sent: object) -> None:
        """Store what was sent as a ballot; `notice` says whether it counts."""
        ballot: Ballot | None = None
        try:
            ballot = ballots.read(sent)
            self._count(ballot)
        except BallotError as error:
            self._say("refused", str(error), ballot)
        except StoreError as error:
            self._say("failed", str(error), ballot)

    def undo(self, event_id: str, elapsed_ms: int | None = None) -> None:
        """Take the named verdict back and put its pair on screen again."""
        showing = self.showing
        seen = self._seconds(showing.pair_id) if showing else self._seconds("")
        if showing and min(seen, seen if elapsed_ms is None else elapsed_ms / 1_000) < self.floor:
            self._say("refused", "Not undone: that press came before this pair could be read.")
            return
        try:
            again = self.desk.undo(event_id)
        except StoreError as error:
            self._say("failed", str(error))
            return
        self._known = None
        gone = "" if again else ", and the pair is with another annotator now"
        self._say("saved", f"Verdict taken back{gone}")
        if again:
            self._drawn.pop(again.pair_id, None)
            self._leased(again)
            self.showing, self.following = again, showing or self.following

    def _count(self, ballot: Ballot) -> None:
        """Store `ballot` as an event. Raises BallotError and StoreError."""
        on_screen = self.showing if self.showing and self.showing.pair_id == ballot.pair_id else None
        if on_screen is None and (sent := self.desk.find(ballot.event_id)):  # it was saved, and the answer was lost
            self._say("saved", f"Saved: {in_words(sent)}", ballot)
            return
        ballots.check(ballot, self.task)
        earlier = ballot.sitting != self.name
        showing = on_screen or (self.desk.held(ballot.pair_id) if earlier else None)
        seconds = ballot.elapsed_ms / 1_000
        if not earlier:  # what another sitting drew was there before this one began
            seconds = min(seconds, self._seconds(ballot.pair_id))
        if showing is None or seconds < self.floor:
            raise BallotError(TOO_SOON)
        said = ballots.said(ballot, self.task, page=self.page, elapsed_ms=round(1_000 * seconds), order=showing.order)
        event = self.desk.vote(replace(showing, event_id=ballot.event_id), ballot.verdict, said)
        if event is None:
            self._say("refused", "Not counted: you have judged that pair already, in another window.", ballot)
        else:
            late = " (after its lease ran out)" if event.late else ""
            self._say("saved", f"Saved: {in_words(event)}{late}", ballot)
            self._counted(event)
        self._gone(ballot.pair_id)

    def progress(self) -> tuple[Progress, Event | None]:
        """Return how far the annotator is, and their last verdict: what the store has answered, counted on from a
        count that it made some seconds ago. Raises StoreError."""
        if self._known is None or self.clock() - self._known_at > COUNT_AGAIN_SECONDS:
            self._known = self.desk.progress(), self.desk.last_verdict()
            self._known_at = self.clock()
        return self._known

    def _counted(self, event: Event) -> None:
        """Count an event that the store has."""
        if self._known is not None:
            progress, skip = self._known[0], event.verdict == "skip"
            counted = Progress(
                done=progress.done + (not skip), skipped=progress.skipped + skip, left=max(progress.left - 1, 0)
            )
            self._known = (counted if progress.left < COUNTED else replace(counted, left=progress.left)), event

    def _gone(self, pair_id: str) -> None:
        """Take a judged pair off the screen."""
        self._drawn.pop(pair_id, None)
        self._since.pop(pair_id, None)
        if self.following and self.following.pair_id == pair_id:
            self.following = None
        if self.showing and self.showing.pair_id == pair_id:
            self.showing = None

    def _leased(self, showing: Showing | None) -> Showing | None:
        """Note when a lease was had."""
        if showing:
            self._since[showing.pair_id] = self.clock()
        return showing

    def _kept(self, showings: list[Showing]) -> list[Showing]:
        """Return those whose lease still runs, and renew it where it has run for a while."""
        soon = self.clock() - self.desk.labels.lease_seconds / 4
        old = [showing.pair_id for showing in showings if self._since.get(showing.pair_id, 0.0) < soon]
        live = self.desk.extend(old) if old else set()
        kept = [showing for showing in showings if showing.pair_id not in old or showing.pair_id in live]
        for showing in kept:
            if showing.pair_id in live:
                self._leased(showing)
        return kept

    def _seconds(self, pair_id: str) -> float:
        """Return for how long the browser has had the pair."""
        since = self._drawn.get(pair_id)
        return 0.0 if since is None else self.clock() - since

    def _say(self, kind: Literal["saved", "refused", "failed"], text: str, ballot: Ballot | None = None) -> None:
        self.notice = Notice(kind, text, ballot.event_id if ballot else None)
        self.answers += 1
