"""Blocks -> lines and array elements: where the blocks are cut makes no difference."""

import itertools
import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.splitting import Span, elements, lines, objects

LIMIT = 10


def blocks(text: bytes, cuts: list[int]) -> Iterator[bytes]:
    """Cut `text` at the given places, in any order."""
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    return (text[a:b] for a, b in itertools.pairwise(places))


@given(st.lists(st.sampled_from([b"\0", b"\n", b"a", b"bc", b"\xff" * 9])).map(b"".join), st.lists(st.integers(0, 80)))
def test_lines_are_those_of_bytes_split_without_the_holes_before_them(text: bytes, cuts: list[int]) -> None:
    spans = list(lines(blocks(text, cuts), 100, LIMIT))
    expected = [line.lstrip(b"\0") for line in text.split(b"\n")]
    if not expected[-1]:
        expected.pop()
    assert [s.length for s in spans] == [len(line) for line in expected]
    assert [s.raw for s in spans if not s.oversized] == [line for line in expected if len(line) <= LIMIT]
    assert all(line.endswith(s.raw) for s, line in zip(spans, expected, strict=True))
    assert [s.ended for s in spans] == [True] * text.count(b"\n") + [False] * (len(spans) - text.count(b"\n"))
    # What the spans do not cover are holes; none overlaps another.
    left = bytearray(text)
    for span, line in zip(spans, expected, strict=True):
        assert left[span.start - 100 : span.start - 100 + span.length] == line
        left[span.start - 100 : span.end - 100] = b"\0" * (span.end - span.start)
    assert not left.strip(b"\0")


def test_an_oversized_line_is_not_held() -> None:
    """1,000 blocks of 1,000 bytes are one line; its last 4,096 bytes stay."""
    (span,) = lines((b"%04d" % i * 250 for i in range(1000)), 0, 100)
    assert (span.length, span.oversized, len(span.raw)) == (1_000_000, True, 4096)
    assert span.raw == (b"0995" * 250 + b"0996" * 250 + b"0997" * 250 + b"0998" * 250 + b"0999" * 250)[-4096:]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(VALUES, max_size=5), st.sampled_from([None, 2]), st.lists(st.integers(0, 400)))
def test_elements_are_those_of_json(values: list[object], indent: int | None, cuts: list[int]) -> None:
    text = json.dumps(values, indent=indent, ensure_ascii=False).encode("utf-8", "surrogatepass")
    spans = list(elements(blocks(text, cuts), 10_000))
    assert [json.loads(s.raw.decode("utf-8", "surrogatepass")) for s in spans] == values
    assert all(text[s.start : s.end] == s.raw for s in spans)


@given(st.binary(max_size=80), st.lists(st.integers(0, 80)))
def test_no_byte_of_a_broken_array_is_lost(text: bytes, cuts: list[int]) -> None:
    """Whatever stands behind the first bracket is in an element, but brackets, commas and white space around them."""
    text = b"[" + text
    whole, cut = list(elements(blocks(text, []), 1000)), list(elements(blocks(text, cuts), 1000))
    assert whole == cut
    left = bytearray(text)
    for span in whole:
        assert left[span.start : span.end] == span.raw
        left[span.start : span.end] = b" " * span.length
    assert not left.replace(b"[", b"").replace(b"]", b"").replace(b"}", b"").replace(b",", b"").strip()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(b"[]", [], id="empty"),
        pytest.param(b"[ \n ]\n", [], id="blank"),
        pytest.param(b'[{"a":1},{"b"', [(1, b'{"a":1}', True), (9, b'{"b"', False)], id="torn"),
        pytest.param(b"[1]rest", [(1, b"1", True), (3, b"rest", False)], id="text behind the array"),
        pytest.param(b'["a\\"]",2]', [(1, b'"a\\"]"', True), (8, b"2", True)], id="bracket in a string"),
    ],
)
def test_elements_of(text: bytes, expected: list[tuple[int, bytes, bool]]) -> None:
    assert list(elements(iter([text]), 100)) == [Span(start, len(raw), raw, ended) for start, raw, ended in expected]


def test_an_oversized_element_is_not_held() -> None:
    text = b'["' + b"x" * 50_000 + b'", 2]'
    big, small = elements(blocks(text, list(range(0, 50_000, 1000))), 100)
    assert (big.start, big.length, big.oversized, len(big.raw)) == (1, 50_002, True, 4096)
    assert (small.start, small.raw) == (50_005, b"2")


@given(
    st.lists(st.dictionaries(st.text(), VALUES, max_size=3), max_size=4),
    st.lists(st.integers(0, 300)),
    st.sampled_from([None, 1]),
)
def test_objects_are_those_that_were_written(
    records: list[dict[str, object]], cuts: list[int], indent: int | None
) -> None:
    text = "\n".join(json.dumps(record, indent=indent) for record in records).encode()
    spans = list(objects(blocks(text, cuts), 10_000))
    assert [json.loads(span.raw) for span in spans] == records
    assert all(span.ended and text[span.start : span.end] == span.raw for span in spans)


OBJECTS = [
    ("none", b"", []),
    ("white space", b" \n ", []),
    ("torn", b'{"a": 1}\n{"b"', [(0, b'{"a": 1}', True), (9, b'{"b"', False)]),
    ("behind the last", b"{}\n x", [(0, b"{}", True), (4, b"x", False)]),
    ("before the next", b"{} x {}", [(0, b"{}", True), (3, b"x {}", True)]),
    ("a bracket too many", b"{}}{}", [(0, b"{}", True), (2, b"}", True), (3, b"{}", True)]),
    ("brackets in a text", b'{"a": "}{\\""}', [(0, b'{"a": "}{\\""}', True)]),
]


@pytest.mark.parametrize(("text", "expected"), [o[1:] for o in OBJECTS], ids=[o[0] for o in OBJECTS])
def test_objects_lose_nothing(text: bytes, expected: list[tuple[int, bytes, bool]]) -> None:
    assert list(objects(iter([text]), 100)) == [Span(start, len(raw), raw, ended) for start, raw, ended in expected]
