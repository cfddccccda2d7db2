"""A group's split is a hash of seed and group, and of nothing else."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.recipe import Recipe, Split

from .conftest import Row, judge_triples, make_triple, varied


def expected(group: str, split: Split) -> str:
    """The documented formula, in Python."""
    place = int(hashlib.sha256(f"{split.seed}:{group}".encode()).hexdigest()[:13], 16) / 2**52
    return "test" if place < split.test else "validation" if place < split.test + split.validation else "train"


@pytest.mark.parametrize("split", [Split(), Split(seed=-7, validation=0.3, test=0.25)], ids=["default", "other"])
def test_formula(split: Split) -> None:
    curated = judge_triples(varied(200), Recipe(split=split)).curated.values()
    assert {row["prompt_group"]: row["split"] for row in curated} == {
        row["prompt_group"]: expected(row["prompt_group"], split) for row in curated
    }
    assert {row["split"] for row in curated} == {"train", "validation", "test"}


def test_without_a_share_no_rows() -> None:
    curated = judge_triples(varied(100), Recipe(split=Split(validation=0, test=0))).curated.values()
    assert {row["split"] for row in curated} == {"train"}


GROUPED = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30)), min_size=1, max_size=30, unique=True)


def grouped(pairs: list[tuple[int, int]]) -> list[Row]:
    return [make_triple(f"Root {group}, turn {turn}?", prompt_group=f"b2:{group}") for group, turn in pairs]


@settings(max_examples=12, deadline=None)
@given(GROUPED, st.integers(1, 29))
def test_groups_are_whole_and_never_move(pairs: list[tuple[int, int]], some: int) -> None:
    after = judge_triples(grouped(pairs)).curated
    splits: dict[str, set[str]] = {}
    for row in after.values():
        splits.setdefault(row["cluster_id"], set()).add(row["split"])
        assert row["cluster_id"] == row["prompt_group"]
    assert all(len(found) == 1 for found in splits.values())
    before = judge_triples(grouped(pairs[:some])).curated
    assert {key: row["split"] for key, row in before.items()} == {key: after[key]["split"] for key in before}
