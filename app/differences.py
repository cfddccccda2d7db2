"""Where two texts differ, word by word, as safe HTML: two responses side by side, or a response and its improvement.

Words of languages that put no spaces between them are compared character by character. Long texts are compared line by
line first, and word by word within the lines that differ, so that the cost stays bounded.
"""

import html
import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final

_TOKEN: Final = re.compile(r"[぀-ヿ㐀-䶿一-鿿가-힯]|\w+|\s+|[^\w\s]")
_LINE: Final = re.compile(r"[^\n]*\n|[^\n]+")
_WORDS: Final = re.compile(r"\w")

MOST: Final = 600_000
"""Tokens of one text times tokens of the other that are compared at once: at worst half a second."""

Part = tuple[str, str]
"""What stands at one place in the first text, and in the second; equal where they agree."""


def sides(left: str, right: str) -> tuple[str, str]:
    """Return both texts as safe HTML, marked where the other says something else."""
    parts = list(_parts(left, right))
    return (
        "".join(_marked(mine, "mark", differs=mine != other) for mine, other in parts),
        "".join(_marked(mine, "mark", differs=mine != other) for other, mine in parts),
    )


def edit(before: str, after: str) -> str:
    """Return one text as safe HTML: what was taken out, and what was put in."""
    return "".join(
        _marked(old, "") if old == new else _marked(old, "del", differs=True) + _marked(new, "ins", differs=True)
        for old, new in _parts(before, after)
    )


def _marked(text: str, tag: str, *, differs: bool = False) -> str:
    escaped = html.escape(text)
    return f"<{tag}>{escaped}</{tag}>" if differs and text else escaped


def _parts(before: str, after: str) -> Iterator[Part]:
    """Yield the parts of both texts in order."""
    a, b = _TOKEN.findall(before), _TOKEN.findall(after)
    if len(a) * len(b) <= MOST:
        yield from _calmed(_compared(a, b))
        return
    for old, new in _compared(_LINE.findall(before), _LINE.findall(after)):
        a, b = _TOKEN.findall(old), _TOKEN.findall(new)
        if old == new or len(a) * len(b) > MOST // 4:
            yield old, new
        else:
            yield from _calmed(_compared(a, b))


def _compared(a: Sequence[str], b: Sequence[str]) -> Iterator[Part]:
    for _, a_from, a_to, b_from, b_to in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        yield "".join(a[a_from:a_to]), "".join(b[b_from:b_to])


def _calmed(parts: Iterator[Part]) -> Iterator[Part]:
    """Join differences between which nothing but spaces or punctuation agrees: a space alone is no agreement."""
    old = new = ""
    waiting = ""
    for mine, other in parts:
        if mine == other and (_WORDS.search(mine) or not (old or new)):
            if old or new:
                yield old, new
            if waiting:
                yield waiting, waiting
            yield mine, other
            old = new = waiting = ""
        elif mine == other:
            waiting += mine
        else:
            old, new, waiting = old + waiting + mine, new + waiting + other, ""
    if old or new:
        yield old, new
    if waiting:
        yield waiting, waiting
