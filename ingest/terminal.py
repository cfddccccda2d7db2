"""Text of others on a terminal: names of files, values of records and reasons can hold what a terminal obeys.

An escape sequence in a log would move the cursor, change the window's title or hide a line of what ingest says of it;
a mark of writing direction would turn a name around. Everything that ingest prints on stderr passes here.
"""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

WIDTH = 160
"""Columns of a file or a pipe: wide enough for every table."""


def shown(text: str) -> str:
    """Return the text with each character that is not printed in its place as its escape: ``\\x1b``."""
    if text.isprintable():
        return text
    return "".join(c if c == "\n" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class Narration(Console):
    """Stderr, where what is said stands as it is: markup and codes of emojis too, but nothing that a terminal obeys."""

    def __init__(self) -> None:
        super().__init__(stderr=True, markup=False, emoji=False)
        if not self.is_terminal:
            self.width = WIDTH

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as rich does; rich's own control codes are segments of their own, and stay."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(shown(segment.text), segment.style)
