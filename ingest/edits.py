"""What an edit changed, where redaction has put placeholders into both texts.

An edit comes in a record of its own, so its placeholders are numbered from 1: `<EMAIL_1>` of an edit and `<EMAIL_2>` of
the response that was edited may be one address. Whether they are is not known any more. Where it may be, they count as
one, so that an edit is what a person changed, and never what redaction did.
"""

import re
from collections.abc import Iterable
from itertools import chain
from typing import Final

from ingest.redact import FINDERS

_PLACEHOLDER: Final = re.compile(f"<({'|'.join(kind for kind, _ in FINDERS)})_([0-9]+)>")


def unnumbered(text: str) -> str:
    """Return `text` with `<EMAIL>` for `<EMAIL_1>`."""
    return _PLACEHOLDER.sub(r"<\1>", text)


def renumbered(edit: str, served: str) -> str:
    """Return the edit with the numbers of the served text.

    The served text itself, where the two differ in numbers alone. Else a kind of placeholder takes over its numbers, in
    order, where both texts hold as many of it, and equal ones are equal in both; it keeps its own where they do not.
    """
    if unnumbered(edit) == unnumbered(served):
        return served
    numbers = dict(chain.from_iterable(_pairs(kind, edit, served) for kind, _ in FINDERS))
    return _PLACEHOLDER.sub(lambda found: numbers.get(found.group(), found.group()), edit)


def _pairs(kind: str, edit: str, served: str) -> Iterable[tuple[str, str]]:
    """Return (placeholder of the edit, of the served text), none where one would have two partners."""
    ours, theirs = ([m.group() for m in _PLACEHOLDER.finditer(text) if m[1] == kind] for text in (edit, served))
    pairs = set(zip(ours, theirs, strict=False))
    one_to_one = len(pairs) == len(set(ours)) == len(set(theirs))
    return pairs if len(ours) == len(theirs) and one_to_one else ()
