"""Scores of evaluation and tracing tools -> thumbs, where their name or label says which way is up.

These tools store any number under any name, and no direction: a 1 named "hallucination" is bad, a 1 named "helpful" is
good. So only what is known by name or label to be approval becomes a thumb; the others are skipped and counted.
"""

import re
from typing import Final

# fmt: off
APPROVALS: Final = frozenset(
    {
        "thumb", "thumbs", "thumbsup", "userthumb", "userthumbs", "userfeedback", "feedback", "humanfeedback",
        "userscore", "userrating", "like", "liked", "helpful", "helpfulness", "useful", "good", "correct",
        "correctness", "accepted", "upvote", "reaction", "satisfaction",
    }
)
"""Names, in lower case and without punctuation, whose 1 or true is good and whose 0, -1 or false is bad."""

UP: Final = frozenset(
    {
        "up", "👍", "thumbsup", "thumbup", "positive", "good", "helpful", "like", "liked", "yes", "true", "correct",
        "accepted", "upvote", "+1", "1",
    }
)
DOWN: Final = frozenset(
    {
        "down", "👎", "thumbsdown", "thumbdown", "negative", "bad", "unhelpful", "nothelpful", "dislike", "disliked",
        "no", "false", "incorrect", "rejected", "downvote", "-1", "0",
    }
)
"""Labels, written as the names are."""
# fmt: on

THUMB_SCALE: Final = (-1.0, 1.0)

_PUNCTUATION: Final = re.compile(r"[\s_.:/-]+")
_TONE: Final = re.compile("[\U0001f3fb-\U0001f3ff\ufe0f]")


def plain(name: str) -> str:
    """Return a name or label in lower case, without spaces, hyphens, skin tones."""
    text = _TONE.sub("", name.strip().lower())
    return text if text in ("+1", "-1") else _PUNCTUATION.sub("", text)


def thumb(name: str, value: object = None, label: str | None = None) -> float | None:
    """Return +1.0 or -1.0, or None where nothing says which way is up."""
    if label is not None and plain(name) in APPROVALS:
        word = plain(label)
        if word in UP or word in DOWN:
            return 1.0 if word in UP else -1.0
    if plain(name) not in APPROVALS:
        return None
    if isinstance(value, str):
        return thumb(name, None, value)
    if isinstance(value, int | float) and value in (-1, 0, 1):
        return 1.0 if value == 1 else -1.0
    return None
