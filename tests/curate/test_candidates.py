"""Pairs to label: undecided siblings, whose answer could be used."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import combinations
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import candidates
from curate.apply import apply
from curate.recipe import Candidates, Recipe
from ingest import schema

from .conftest import NOON, Row, make_interaction, make_triple, varied


def offered(
    interactions: Sequence[Row],
    triples: Sequence[Row] = (),
    feedback: Sequence[Row] = (),
    caps: Candidates = Candidates(),  # noqa: B008
) -> tuple[list[Row], int]:
    """Return the rows of candidates.parquet and how many pairs the caps left out."""
    with duckdb.connect(config={"threads": 1}) as connection:
        tables = {
            "interactions": pa.Table.from_pylist(list(interactions), schema=schema.INTERACTION),
            "triples": pa.Table.from_pylist([*triples, *varied(2)], schema=schema.TRIPLE),
            "feedback": pa.Table.from_pylist(list(feedback), schema=schema.FEEDBACK),
        }
        for name, table in tables.items():
            connection.register(name, table)
        apply(connection, Recipe().resolved_rules(("training",)), Recipe())
        offer = candidates.find(connection, caps, cut_off=("length",), consent_allow=("training",))
        rows = candidates.read(connection).read_all()
        assert rows.schema.equals(schema.CANDIDATE)
        assert rows.num_rows == offer.offered
        return rows.to_pylist(), offer.left_out


def event(signal: str, source_id: str = "f1", revision: int = 0, **columns: object) -> Row:
    """A vote on interactions 1 and 2."""
    return {
        **dict.fromkeys(schema.FEEDBACK.names),
        "feedback_id": schema.feedback_id("raw", source_id, revision),
        "source": "raw",
        "source_id": source_id,
        "revision": revision,
        "signal": signal,
        "interaction_id": schema.interaction_id("raw", "1"),
        "other_ids": [schema.interaction_id("raw", "2")],
        "retracted": False,
        **columns,
    }


YES, NO = make_interaction("1", "yes"), make_interaction("2", "no")


def said(rows: Sequence[Row]) -> list[tuple[str, str]]:
    return [tuple(sorted(row[side][0]["content"] for side in ("response_a", "response_b"))) for row in rows]


def test_an_unjudged_pair_with_its_ids() -> None:
    ((row,), left_out) = offered([YES, NO])
    low, high = sorted((YES, NO), key=lambda side: str(side["response_hash"]))
    assert row == {
        "pair_id": schema.pair_id(YES["prompt_hash"], YES["response_hash"], NO["response_hash"]),
        "prompt": YES["prompt"],
        "response_a": low["response"],
        "response_b": high["response"],
        "interaction_a": low["interaction_id"],
        "interaction_b": high["interaction_id"],
        "source": "raw",
        "prompt_group": schema.messages_hash(YES["prompt"]),
        "priority": 2.0,
        "why": "unjudged",
    }
    assert left_out == 0


@pytest.mark.parametrize(
    ("change"),
    [
        {"status": "error"},
        {"status": None},
        {"finish_reason": "length"},
        {"consent": None},
        {"consent": "none"},
        {"response": []},
        {"response": make_interaction("2", " ")["response"]},
        {"response": make_interaction("2", "YES")["response"]},
        {"tools": "[]"},
        {"source": "other"},
        {"prompt_hash": "b2:other"},
    ],
    ids=["failed", "status unknown", "cut off", "no consent", "refused", "empty", "blank", "the same normalised",
         "other tools", "other source", "other prompt"],
)  # fmt: skip
def test_an_answer_that_could_not_be_used_is_not_asked_for(change: dict[str, Any]) -> None:
    assert offered([YES, NO | change]) == ([], 0)


@pytest.mark.parametrize(
    ("triples", "feedback", "why"),
    [
        ([make_triple()], [], None),
        ([make_triple(consent=None)], [], None),
        ([make_triple(), make_triple(chosen="no", rejected="yes")], [], "contradicted"),
        ([make_triple(n_agree=2), make_triple(chosen="no", rejected="yes")], [], None),
        ([], [event("tie")], "tied"),
        ([], [event("both_bad")], "tied"),
        ([], [event("tie", retracted=True)], "unjudged"),
        ([], [event("tie"), event("choice", revision=1)], "unjudged"),
        ([make_triple()], [event("tie", "f2")], None),
        ([make_triple(), make_triple(chosen="no", rejected="yes")], [event("tie")], "contradicted"),
        ([make_triple("Bye?")], [], "unjudged"),
    ],
    ids=["judged", "judged without consent", "deadlock", "majority", "tie", "both bad", "tie taken back",
         "tie changed", "tie and a vote", "tie and a deadlock", "another prompt's vote"],
)  # fmt: skip
def test_why(triples: list[Row], feedback: list[Row], why: str | None) -> None:
    rows, left_out = offered([YES, NO], triples, feedback)
    assert [row["why"] for row in rows] == ([why] if why else [])
    assert left_out == 0


def test_contradicted_before_unjudged_before_tied() -> None:
    """Three responses to each of two prompts; at the first, yes/no is a deadlock and yes/maybe was called equal."""
    rows = [make_interaction(str(n), text) for n, text in enumerate(("", "yes", "no", "maybe"))][1:]
    equal = event("tie", other_ids=[schema.interaction_id("raw", "3")])
    deadlock = [make_triple(), make_triple(chosen="no", rejected="yes")]
    found, _ = offered(rows, deadlock, [equal])
    assert [(row["why"], row["priority"]) for row in found] == [("contradicted", 3.0), ("unjudged", 2.0), ("tied", 1.0)]
    assert said(found) == [("no", "yes"), ("maybe", "no"), ("maybe", "yes")]


def test_caps_take_the_newest_of_each_prompt_and_count_the_rest() -> None:
    """Five responses make ten pairs; the newest two of them make the first one, and nine are left out."""
    rows = [make_interaction(str(n), f"answer {n}", event_time=NOON + timedelta(hours=n)) for n in range(5)]
    found, left_out = offered(rows, caps=Candidates(per_prompt=1))
    assert said(found) == [("answer 3", "answer 4")]
    assert left_out == 9
    found, left_out = offered(rows, caps=Candidates(per_prompt=8, total=6))
    assert (len(found), left_out) == (6, 4)


def test_one_response_served_twice_is_one_side() -> None:
    found, left_out = offered([YES, NO, make_interaction("3", "yes"), make_interaction("4", "yes", source="other")])
    assert (len(found), left_out) == (1, 0)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), max_size=14, unique=True),
    st.sets(st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(0, 5)), max_size=8),
    st.integers(1, 4),
)
def test_against_all_pairs(served: list[tuple[int, int]], votes: set[tuple[int, int, int]], per_prompt: int) -> None:
    """Every undecided pair is offered or counted; of a prompt as many as the cap allows."""
    rows = [make_interaction(f"{p}-{r}", f"r{r}", f"p{p}") for p, r in served]
    judged = {(p, a, b) for p, a, b in votes if a < b}
    triples = [make_triple(f"p{p}", f"r{a}", f"r{b}") for p, a, b in judged]
    found, left_out = offered(rows, triples, caps=Candidates(per_prompt=per_prompt))
    open_pairs = [
        (p, a, b)
        for p in range(3)
        for a, b in combinations(sorted(r for prompt, r in served if prompt == p), 2)
        if (p, a, b) not in judged
    ]
    given_out = [
        (int(row["prompt"][0]["content"][1]), *(int(r[1]) for r in pair))
        for row, pair in zip(found, said(found), strict=True)
    ]
    assert set(given_out) <= set(open_pairs)
    assert len(set(given_out)) == len(given_out)
    assert len(found) + left_out == len(open_pairs)
    for p in range(3):
        wanted = min(per_prompt, sum(pair[0] == p for pair in open_pairs))
        assert sum(pair[0] == p for pair in given_out) == wanted
