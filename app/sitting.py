"""One annotator's sitting at the page: what is on screen, since when, and what the press of a key does about it.

A press counts only for the pair that was on screen when the key went down. Two presses in quick succession arrive one
after the other, the second when the next pair is already drawn, so a press must name its pair, and the pair must have
been on screen long enough to be seen. Knows nothing of Streamlit.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from app.voting import Desk, Showing
from ingest.errors import StoreError

MINIMUM_LOOK_SECONDS: Final = 0.4
"""A pair that has been on screen for less has not been read: measured, the second press of a double press comes within
0.15 s of the first, and nobody reads two responses in this time."""

SAID: Final = {
    "left": "left is better",
    "right": "right is better",
    "tie": "tie",
    "both_bad": "both bad",
    "skip": "skipped",
}


@dataclass(frozen=True)
class Notice:
    """What the page says about the last press."""

    kind: Literal["saved", "refused", "failed"]
    text: str


@dataclass
class Sitting:
    """The state of one browser session."""

    desk: Desk
    showing: Showing | None = None
    """The pair on screen, leased to this annotator."""
    notice: Notice | None = None
    clock: Callable[[], float] = time.monotonic
    _since: float | None = field(default=None, init=False)

    def ensure(self) -> Showing | None:
        """Return the pair on screen, and take the next one when there is none. Raises StoreError."""
        if self.showing is None:
            self._show(self.desk.next())
        return self.showing

    def drawn(self) -> None:
        """Note that the page has been drawn: from the first time on, the annotator can look at the pair."""
        if self._since is None:
            self._since = self.clock()

    def press(self, pair_id: str, verdict: str) -> None:
        """Give `verdict` on the pair that stood on screen; `notice` says whether it counts."""
        showing = self.showing
        if showing is None or showing.pair_id != pair_id or not self._seen():
            self.notice = Notice("refused", "Not counted: that press came before this pair could be read.")
            return
        try:
            event = self.desk.vote(showing, verdict)
        except StoreError as error:
            self.notice = Notice("failed", str(error))
            return
        if event is None:
            self.notice = Notice("refused", "Not counted: you have judged that pair already, in another window.")
        else:
            self.notice = Notice("saved", f"Saved: {SAID[verdict]}{' (after its lease ran out)' if event.late else ''}")
        self._show(None)

    def undo(self, event_id: str) -> None:
        """Take the named verdict back and put its pair on screen again."""
        if not self._seen():
            self.notice = Notice("refused", "Not undone: that press came before this pair could be read.")
            return
        try:
            again = self.desk.undo(event_id)
        except StoreError as error:
            self.notice = Notice("failed", str(error))
            return
        gone = "" if again else ", and the pair is with another annotator now"
        self.notice = Notice("saved", f"Verdict taken back{gone}")
        self._show(again or self.showing)

    def _show(self, showing: Showing | None) -> None:
        self.showing = showing
        self._since = None

    def _seen(self) -> bool:
        """Whether what is on screen has been there long enough to be seen."""
        return self._since is not None and self.clock() - self._since >= MINIMUM_LOOK_SECONDS
