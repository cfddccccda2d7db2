"""Differences mark every word that only one text has, and keep every character of both."""

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import differences

CASES = [
    ("words", "It is four.", "It was five.", "It <mark>is four</mark>.", "It <mark>was five</mark>."),
    ("nothing", "The same.", "The same.", "The same.", "The same."),
    ("all", "one", "two", "<mark>one</mark>", "<mark>two</mark>"),
    ("empty", "", "new", "", "<mark>new</mark>"),
    ("chinese", "你好世界", "你好天下", "你好<mark>世界</mark>", "你好<mark>天下</mark>"),
    ("html", "<b> a", "<i> a", "&lt;<mark>b</mark>&gt; a", "&lt;<mark>i</mark>&gt; a"),
    ("end", "a b", "a b c", "a b", "a b<mark> c</mark>"),
]


@pytest.mark.parametrize(("a", "b", "left", "right"), [pytest.param(*case, id=name) for name, *case in CASES])
def test_both_sides_are_marked(a: str, b: str, left: str, right: str) -> None:
    assert differences.sides(a, b) == (left, right)


def test_an_edit_is_one_text() -> None:
    assert differences.edit("It is four.", "It is now 4.") == "It is <del>four</del><ins>now 4</ins>."


def shown(marked: str, without: str = "") -> str:
    """What a reader sees of marked text, but for what stands in the elements `without`."""
    kept = re.sub(f"<{without}>.*?</{without}>", "", marked, flags=re.DOTALL) if without else marked
    return html.unescape(re.sub(r"</?(mark|ins|del)>", "", kept))


WORDS = st.lists(st.sampled_from(["one", "two", "drei", " ", "\n", ".", "你", "<b>", "&"]), max_size=30).map("".join)


@given(WORDS, WORDS)
def test_no_character_is_lost(a: str, b: str) -> None:
    left, right = differences.sides(a, b)
    assert (shown(left), shown(right)) == (a, b)
    edited = differences.edit(a, b)
    assert (shown(edited, without="ins"), shown(edited, without="del")) == (a, b)
    assert ("mark" in left + right) == (a != b)


def test_long_texts_are_compared_by_lines_first() -> None:
    """2,000 lines of ten words: 20,000 tokens each would be 400 million comparisons."""
    lines = [f"{n} " + "word " * 9 for n in range(2_000)]
    changed = [*lines[:1_000], "999 " + "other " * 9, *lines[1_001:]]
    left, right = differences.sides("\n".join(lines), "\n".join(changed))
    assert (left.count("<mark>"), right.count("<mark>")) == (1, 1)
    assert (shown(left), shown(right)) == ("\n".join(lines), "\n".join(changed))
