"""Pairing rules on a real lake: worked examples, and what must hold for any events."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import pairing, rulebook, schema
from ingest.lake import SCHEMAS, Lake

START = datetime(2026, 10, 1, tzinfo=UTC)


def text(role: str, content: str) -> dict[str, str | None]:
    return {"role": role, "content": content, "tool_calls": None, "tool_call_id": None, "name": None}


@dataclass
class World:
    """Interactions and feedback as the core would write them, with short names for ids."""

    interactions: list[dict[str, Any]] = field(default_factory=list)
    feedback: list[dict[str, Any]] = field(default_factory=list)

    def serve(self, name: str, response: str, prompt: str = "q", **fields: Any) -> None:
        prompts, replies = [text("user", prompt)], [text("assistant", response)]
        row = {
            "interaction_id": name,
            "source": "s",
            "source_id": name,
            "sibling_group": f"group of {prompt}",
            "prompt": prompts,
            "response": replies,
            "prompt_hash": schema.messages_hash(prompts),
            "response_hash": schema.messages_hash(replies),
            "consent": "training",
            "shown": True,
        }
        self.interactions.append(row | fields)

    def say(self, name: str, signal: str, target: str, *others: str, **fields: Any) -> None:
        revision = fields.get("revision", 0)
        row = {
            "feedback_id": f"{name}.{revision}",
            "source": "s",
            "source_id": name,
            "revision": revision,
            "interaction_id": target,
            "other_ids": list(others),
            "signal": signal,
            "rater_id": f"rater of {name}",
            "retracted": False,
            "event_time": START + timedelta(minutes=len(self.feedback)),
        }
        self.feedback.append(row | fields)

    def thumb(self, name: str, target: str, value: float, **fields: Any) -> None:
        self.say(name, "thumb", target, value=value, scale_min=-1.0, scale_max=1.0, **fields)

    def write(self, lake: Lake) -> None:
        for table, rows in (("interactions", self.interactions), ("feedback", self.feedback)):
            lake.append(table, pa.Table.from_pylist(rows, schema=SCHEMAS[table]), {})

    def pair(self, path: Path) -> tuple[pairing.Pairing, list[dict[str, Any]], list[dict[str, Any]]]:
        lake = Lake(path / "lake")
        self.write(lake)
        result = pairing.build(lake, "run")
        return result, rows(lake, "triples"), rows(lake, "unpaired")


def rows(lake: Lake, table: str) -> list[dict[str, Any]]:
    files = lake.files(table)
    found: list[dict[str, Any]] = pa.concat_tables(pq.read_table(f) for f in files).to_pylist() if files else []
    key = SCHEMAS[table].names[0]
    return sorted(found, key=lambda row: str(row[key]))


def pairs(triples: Sequence[dict[str, Any]]) -> set[tuple[str, str]]:
    """The triples as (chosen text, rejected text)."""
    return {(t["chosen"][-1]["content"], t["rejected"][-1]["content"]) for t in triples}


def test_choice_prefers_the_target_over_each_other(tmp_path: Path) -> None:
    world = World()
    for name in ("a", "b", "c"):
        world.serve(name, f"text {name}")
    world.say("vote", "choice", "a", "b", "c", value=0.5, scale_min=0.0, scale_max=1.0)
    result, triples, unpaired = world.pair(tmp_path)
    assert pairs(triples) == {("text a", "text b"), ("text a", "text c")}
    assert unpaired == []
    one = next(t for t in triples if t["rejected_interaction_id"] == "b")
    assert one["triple_id"] == schema.triple_id(one["prompt_hash"], one["chosen_hash"], one["rejected_hash"], "choice")
    assert (one["signal"], one["rule"], one["rule_version"], one["strength"]) == ("choice", "choice", 1, "strong")
    assert (one["margin"], one["weight"], one["n_votes"], one["n_agree"]) == (0.5, 1.0, 1, 1)
    assert (one["event_ids"], one["user_ids"], one["consent"]) == (["vote.0"], ["rater of vote"], "training")
    assert one["first_time"] == one["last_time"] == START
    assert one["prompt_group"] == schema.messages_hash([text("user", "q")])
    assert result == pairing.Pairing(
        total=2,
        new=2,
        removed=0,
        by_signal={"choice": 2},
        unpaired_total=0,
        events=1,
        superseded=0,
        paired=1,
        unpaired=0,
        orphans=0,
        overdue=0,
        overdue_at=None,
        no_pair={},
        no_pair_reasons={},
        left_out={},
        contradicted=0,
        suspicious={},
    )


def test_votes_on_the_same_pair_are_one_triple_and_a_rater_counts_once(tmp_path: Path) -> None:
    """Degrees 0.5, 1 and 0.6 give the margin (0.5 + 0.6 + 1) / 3 = 0.7; ann voted twice, so n_votes is 2."""
    world = World()
    world.serve("a", "good", user_id="u:1")
    world.serve("a2", "good", user_id="u:2")
    world.serve("b", "bad")
    world.say("v1", "choice", "a", "b", rater_id="ann", value=0.5, scale_min=0.0, scale_max=1.0)
    world.say("v2", "choice", "a2", "b", rater_id="bob", value=1.0, scale_min=0.0, scale_max=1.0)
    world.say("v3", "choice", "a", "b", rater_id="ann", value=0.6, scale_min=0.0, scale_max=1.0)
    _, triples, _ = world.pair(tmp_path)
    [one] = triples
    assert one["margin"] == pytest.approx(0.7, abs=1e-12)
    assert (one["n_votes"], one["n_agree"], one["event_ids"]) == (2, 2, ["v1.0", "v2.0", "v3.0"])
    assert one["user_ids"] == ["ann", "bob", "u:1", "u:2"]
    assert (one["chosen_interaction_id"], one["rejected_interaction_id"]) == ("a", "b")
    assert (one["first_time"], one["last_time"]) == (START, START + timedelta(minutes=2))


def test_raters_without_a_name_count_by_event(tmp_path: Path) -> None:
    world = World()
    world.serve("a", "good")
    world.serve("b", "bad")
    world.say("v1", "choice", "a", "b", rater_id=None)
    world.say("v2", "choice", "a", "b", rater_id=None)
    [one] = world.pair(tmp_path)[1]
    assert (one["n_votes"], one["user_ids"], one["margin"]) == (2, [], None)


def test_votes_both_ways_stay_two_triples(tmp_path: Path) -> None:
    world = World()
    world.serve("a", "x")
    world.serve("b", "y")
    world.say("v1", "choice", "a", "b")
    world.say("v2", "choice", "b", "a")
    assert pairs(world.pair(tmp_path)[1]) == {("x", "y"), ("y", "x")}


def test_label_is_a_rule_of_its_own(tmp_path: Path) -> None:
    world = World()
    world.serve("a", "x")
    world.serve("b", "y")
    world.say("v1", "choice", "a", "b")
    world.say("v2", "label", "a", "b", rater_kind="annotator", value=1.0)
    result, triples, _ = world.pair(tmp_path)
    assert result.by_signal == {"choice": 1, "label": 1}
    assert sorted((t["rule"], t["strength"]) for t in triples) == [("choice", "strong"), ("label", "strong")]


def test_edit_is_preferred_over_what_was_served(tmp_path: Path) -> None:
    """From "kitten" to "sitting" it is 3 edits over the longer length 7."""
    world = World()
    world.serve("a", "kitten", model="m", token_logprobs=[-0.5, -0.25], token_ids=[1, 2], logprob_model="m")
    world.say("e", "edit", "a", text="sitting")
    [one] = world.pair(tmp_path)[1]
    assert one["chosen"] == [text("assistant", "sitting")]
    assert one["rejected"] == [text("assistant", "kitten")]
    assert one["chosen_hash"] == schema.messages_hash([text("assistant", "sitting")])
    assert one["margin"] == pytest.approx(3 / 7)
    assert (one["chosen_interaction_id"], one["chosen_model"], one["chosen_logprob"]) == (None, None, None)
    assert (one["rejected_interaction_id"], one["rejected_model"], one["rejected_logprob"]) == ("a", "m", -0.75)
    assert (one["logprob_model"], one["consent"]) == (None, "training")


def test_an_edit_that_changes_nothing_makes_no_triple(tmp_path: Path) -> None:
    world = World()
    world.serve("a", "same")
    world.say("e", "edit", "a", text="same")
    result, triples, _ = world.pair(tmp_path)
    assert triples == []
    assert (result.identical, result.no_pair) == (1, {"edit": 1})


def test_the_margin_of_a_very_long_edit_is_not_computed(tmp_path: Path) -> None:
    world = World()
    world.serve("a", "x" * 20_001)
    world.say("e", "edit", "a", text="y")
    [one] = world.pair(tmp_path)[1]
    assert one["margin"] is None


SIBLINGS = [
    # name, thumbs (response, value), shown of c, expected pairs
    ("up over down", [("a", 1), ("b", -1)], None, {("A", "B")}),
    ("up over unrated that was shown", [("a", 1)], True, {("A", "C")}),
    ("up over unrated that was not shown", [("a", 1)], False, set()),
    ("up over unrated of which nothing is known", [("a", 1)], None, set()),
    ("two ups", [("a", 1), ("c", 1)], True, set()),
    ("down and unrated", [("b", -1)], True, set()),
    ("between the ends of the scale is neither", [("a", 1), ("b", 0)], None, set()),
    ("up over down and over unrated", [("a", 1), ("b", -1)], True, {("A", "B"), ("A", "C")}),
    ("a response with both is on both sides", [("a", 1), ("b", 1), ("b", -1)], None, {("A", "B")}),
]


@pytest.mark.parametrize(("thumbs", "shown", "expected"), [c[1:] for c in SIBLINGS], ids=[c[0] for c in SIBLINGS])
def test_sibling_thumbs(
    thumbs: list[tuple[str, float]], shown: bool | None, expected: set[tuple[str, str]], tmp_path: Path
) -> None:
    world = World()
    world.serve("a", "A")
    world.serve("b", "B", shown=None)
    world.serve("c", "C", shown=shown)
    world.serve("elsewhere", "D", prompt="another question")
    for i, (target, value) in enumerate(thumbs):
        world.thumb(f"t{i}", target, value)
    _, triples, _ = world.pair(tmp_path)
    assert pairs(triples) == expected
    assert all((t["signal"], t["strength"], t["margin"]) == ("thumb", "medium", None) for t in triples)


def test_sibling_thumbs_name_the_events_of_both_sides(tmp_path: Path) -> None:
    world = World()
    world.serve("a", "A")
    world.serve("b", "B")
    world.thumb("up", "a", 1)
    world.thumb("down", "b", -1)
    [one] = world.pair(tmp_path)[1]
    assert (one["event_ids"], one["n_votes"]) == (["down.0", "up.0"], 2)


def test_a_sibling_with_a_rated_text_is_not_unrated(tmp_path: Path) -> None:
    """`b2` says what `b` says, and `b` is liked: so a is not preferred over it."""
    world = World()
    world.serve("a", "A")
    world.serve("b", "B")
    world.serve("b2", "B")
    world.thumb("1", "a", 1)
    world.thumb("2", "b", 1)
    assert world.pair(tmp_path)[1] == []


VALUES = [
    # name, digests behind <EMAIL_1> of a and of b, thumbs (response, value), expected pairs
    ("another value, up over down", ("1", "2"), [("a", 1), ("b", -1)], {("Ask <EMAIL_1>", "Ask <EMAIL_2>")}),
    ("another value, down and up", ("1", "2"), [("a", -1), ("b", 1)], {("Ask <EMAIL_2>", "Ask <EMAIL_1>")}),
    ("another value, up over unrated", ("1", "2"), [("a", 1)], {("Ask <EMAIL_1>", "Ask <EMAIL_2>")}),
    ("the same value is the same text", ("1", "1"), [("a", 1), ("b", -1)], set()),
    ("the same value is rated", ("1", "1"), [("a", 1)], set()),
]


@pytest.mark.parametrize(("digests", "thumbs", "expected"), [c[1:] for c in VALUES], ids=[c[0] for c in VALUES])
def test_siblings_that_differ_in_what_was_redacted(
    digests: tuple[str, str], thumbs: list[tuple[str, float]], expected: set[tuple[str, str]], tmp_path: Path
) -> None:
    """Both texts are stored as "Ask <EMAIL_1>"; of the two, the one with the smaller digest keeps its number."""
    world = World()
    for name, digest in zip("ab", digests, strict=True):
        world.serve(name, "Ask <EMAIL_1>", placeholders=[("EMAIL_1", digest)])
    for i, (target, value) in enumerate(thumbs):
        world.thumb(f"t{i}", target, value)
    assert pairs(world.pair(tmp_path)[1]) == expected


def test_lone_thumbs_become_labels(tmp_path: Path) -> None:
    world = World()
    for name in ("up", "down", "torn", "mostly"):
        world.serve(name, name, prompt=name, user_id="u:author")
    world.thumb("1", "up", 1)
    world.thumb("2", "down", -1)
    world.thumb("3", "torn", 1)
    world.thumb("4", "torn", -1)
    world.thumb("5", "mostly", 1)
    world.thumb("6", "mostly", 1)
    world.thumb("7", "mostly", -1)
    result, triples, unpaired = world.pair(tmp_path)
    assert triples == []
    assert {u["interaction_id"]: u["label"] for u in unpaired} == {"up": True, "down": False, "mostly": True}
    one = next(u for u in unpaired if u["interaction_id"] == "up")
    assert one["unpaired_id"] == schema.content_id(["up", "thumb"])
    assert (one["completion"], one["event_ids"]) == ([text("assistant", "up")], ["1.0"])
    assert (one["rule"], one["rule_version"], one["user_ids"]) == ("lone_thumb", 1, ["rater of 1", "u:author"])
    assert (result.unpaired, result.unpaired_total, result.no_pair) == (5, 3, {"thumb": 2})


def test_a_thumb_that_made_a_triple_is_not_lone(tmp_path: Path) -> None:
    world = World()
    world.serve("a", "A")
    world.serve("b", "B", shown=False)
    world.thumb("1", "a", 1)
    world.thumb("2", "b", -1)
    world.thumb("3", "b", 1)  # b is on both sides; of b nothing is lone
    result, triples, unpaired = world.pair(tmp_path)
    assert pairs(triples) == {("A", "B")}
    assert unpaired == []
    assert (result.paired, result.no_pair) == (2, {"thumb": 1})


NO_PAIRS = [("tie", ("b",)), ("both_bad", ("b",)), ("accept", ()), ("copy", ())]


@pytest.mark.parametrize(("signal", "others"), NO_PAIRS, ids=[n[0] for n in NO_PAIRS])
def test_signals_that_make_no_pair_are_counted(signal: str, others: tuple[str, ...], tmp_path: Path) -> None:
    world = World()
    world.serve("a", "A")
    world.serve("b", "B")
    world.say("x", signal, "a", *others)
    result, triples, unpaired = world.pair(tmp_path)
    assert (triples, unpaired, result.no_pair, result.orphans) == ([], [], {signal: 1}, 0)


MISMATCHES = [
    ("another prompt", {"prompt": "other"}),
    ("other tools", {"tools": "[]"}),
]


@pytest.mark.parametrize("fields", [m[1] for m in MISMATCHES], ids=[m[0] for m in MISMATCHES])
def test_responses_to_different_questions_do_not_compare(fields: dict[str, Any], tmp_path: Path) -> None:
    world = World()
    world.serve("a", "A")
    world.serve("b", "B", **fields)
    world.say("v", "choice", "a", "b")
    result, triples, _ = world.pair(tmp_path)
    assert (triples, result.mismatched, result.no_pair) == ([], 1, {"choice": 1})


def test_a_response_is_never_preferred_over_the_same_text(tmp_path: Path) -> None:
    world = World()
    world.serve("a", "A")
    world.serve("a2", "A")
    world.say("v", "choice", "a", "a2")
    result, triples, _ = world.pair(tmp_path)
    assert (triples, result.identical) == ([], 1)


CONSENTS = [
    ("both allow", "training", "training", "training"),
    ("both say none", "none", "none", "none"),
    ("they differ", "training", "none", None),
    ("one is silent", "training", None, None),
]


@pytest.mark.parametrize(("a", "b", "expected"), [c[1:] for c in CONSENTS], ids=[c[0] for c in CONSENTS])
def test_consent_holds_when_both_sides_say_the_same(
    a: str | None, b: str | None, expected: str | None, tmp_path: Path
) -> None:
    world = World()
    world.serve("a", "A", consent=a)
    world.serve("b", "B", consent=b)
    world.say("v", "choice", "a", "b")
    [one] = world.pair(tmp_path)[1]
    assert one["consent"] == expected


def test_consent_is_that_of_every_interaction_behind_a_triple(tmp_path: Path) -> None:
    world = World()
    world.serve("a", "A")
    world.serve("b", "B")
    world.serve("a2", "A", consent=None)
    world.say("v1", "choice", "a", "b")
    world.say("v2", "choice", "a2", "b")
    [one] = world.pair(tmp_path)[1]
    assert one["consent"] is None


def test_logged_probabilities_are_kept_and_summed(tmp_path: Path) -> None:
    world = World()
    world.serve("a", "A", token_ids=[5, 6], token_logprobs=[-0.5, -0.25], logprob_model="m1", finish_reason="stop")
    world.serve("b", "B", token_ids=[7], token_logprobs=[-2.0], logprob_model="m1", finish_reason="length")
    world.serve("c", "C", token_logprobs=[-1.0], logprob_model="m2")
    world.say("v", "choice", "a", "b", "c")
    triples = {t["rejected_interaction_id"]: t for t in world.pair(tmp_path)[1]}
    assert (triples["b"]["chosen_logprob"], triples["b"]["rejected_logprob"]) == (-0.75, -2.0)
    assert (triples["b"]["chosen_token_ids"], triples["b"]["rejected_token_ids"]) == ([5, 6], [7])
    assert triples["b"]["chosen_token_logprobs"] == [-0.5, -0.25]
    assert (triples["b"]["chosen_finish_reason"], triples["b"]["rejected_finish_reason"]) == ("stop", "length")
    assert (triples["b"]["logprob_model"], triples["c"]["logprob_model"]) == ("m1", None)


def test_the_latest_revision_counts_and_a_retraction_ends_it(tmp_path: Path) -> None:
    world = World()
    world.serve("a", "A")
    world.serve("b", "B")
    world.say("v", "choice", "a", "b")
    lake = Lake(tmp_path / "lake")
    world.write(lake)
    first = pairing.build(lake, "1")
    changed = World()
    changed.say("v", "choice", "b", "a", revision=1)
    changed.write(lake)
    second = pairing.build(lake, "2")
    assert pairs(rows(lake, "triples")) == {("B", "A")}
    taken_back = World()
    taken_back.say("v", "choice", "b", "a", revision=2, retracted=True)
    taken_back.write(lake)
    third = pairing.build(lake, "3")
    assert [(p.total, p.new, p.removed, p.events, p.superseded) for p in (first, second, third)] == [
        (1, 1, 0, 1, 0),
        (1, 1, 1, 1, 1),
        (0, 0, 1, 0, 3),
    ]
    assert rows(lake, "triples") == []


def test_feedback_waits_for_its_interaction(tmp_path: Path) -> None:
    early, late = World(), World()
    early.serve("a", "A")
    early.say("v", "choice", "a", "b")
    late.serve("b", "B")
    lake = Lake(tmp_path / "lake")
    early.write(lake)
    before = pairing.build(lake, "1")
    late.write(lake)
    after = pairing.build(lake, "2")
    assert (before.total, before.orphans, after.total, after.orphans) == (0, 1, 1, 0)


def test_an_unchanged_rerun_commits_nothing(tmp_path: Path) -> None:
    world = World()
    world.serve("a", "A", token_logprobs=[-0.1, -0.7])
    world.serve("b", "B", prompt="x")
    world.say("e", "edit", "a", text="edited")
    world.thumb("t", "b", 1)
    lake = Lake(tmp_path / "lake")
    world.write(lake)
    pairing.build(lake, "1")
    versions = (lake.version("triples"), lake.version("unpaired"))
    again = pairing.build(lake, "2")
    assert (lake.version("triples"), lake.version("unpaired")) == versions
    assert (again.total, again.new, again.removed) == (1, 0, 0)


def test_an_empty_lake_pairs_to_nothing(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    result = pairing.build(lake, "1")
    assert (result.total, result.events, lake.files("triples")) == (0, 0, [])


def test_a_killed_runs_spill_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "lake" / ".spill-killed-x"
    left.mkdir(parents=True)
    (left / "text").write_text("spilled")
    with Lake(tmp_path / "lake").locked("1"):
        assert not left.exists()


def test_rules_are_named_once_and_say_what_they_mean() -> None:
    rules = (*rulebook.RULES, rulebook.LONE)
    assert len({rule.name for rule in rules}) == len(rules)
    for rule in rules:
        assert rule.signal in schema.SIGNALS
        assert rule.strength in ("strong", "medium", "weak")
        assert rule.meaning.endswith(".")


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["choice", "label", "tie", "edit", "thumb"]),
        st.integers(0, 5),
        st.lists(st.integers(0, 6), min_size=1, max_size=2),
        st.sampled_from([-1.0, 0.0, 0.3, 1.0]),
        st.integers(0, 2),  # rater
        st.booleans(),  # is a revision of the event before
        st.booleans(),  # is retracted
    ),
    max_size=12,
)
SERVED = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 2), st.sampled_from([True, False, None])), min_size=6, max_size=6
)


@settings(max_examples=12, deadline=None)
@given(SERVED, EVENTS, st.randoms(use_true_random=False))
def test_what_must_hold_for_any_events(
    served: list[tuple[int, int, bool | None]],
    events: list[tuple[str, int, list[int], float, int, bool, bool]],
    chance: random.Random,
) -> None:
    world = World()
    for i, (prompt, response, shown) in enumerate(served):
        world.serve(f"i{i}", f"response {response}", prompt=f"prompt {prompt}", shown=shown)
    name, revision = "", 0
    for i, (signal, target, others, value, rater, revises, retracted) in enumerate(events):
        name, revision = (name, revision + 1) if revises and i else (f"e{i}", 0)
        world.say(
            name,
            signal,
            f"i{target}",
            *(f"i{other}" for other in others if signal not in ("edit", "thumb")),
            revision=revision,
            value=value,
            scale_min=0.0 if signal in ("choice", "label") else -1.0,
            scale_max=1.0,
            text=f"response {rater}",
            rater_id=f"r{rater}",
            retracted=retracted,
        )
    with TemporaryDirectory() as one, TemporaryDirectory() as two:
        result, triples, unpaired = world.pair(Path(one))
        chance.shuffle(world.feedback)
        chance.shuffle(world.interactions)
        assert world.pair(Path(two)) == (result, triples, unpaired)
    assert result.events == result.paired + result.unpaired + result.orphans + sum(result.no_pair.values())
    assert result.events + result.superseded == len(world.feedback)
    by_id = {i["interaction_id"]: i for i in world.interactions}
    thumbed = {(f["interaction_id"]) for f in world.feedback if f["signal"] == "thumb"}
    thumbed_texts = {(by_id[i]["prompt_hash"], by_id[i]["response_hash"]) for i in thumbed if i in by_id}
    for triple in triples:
        assert triple["chosen_hash"] != triple["rejected_hash"]
        rejected = by_id[triple["rejected_interaction_id"]]
        assert rejected["prompt_hash"] == triple["prompt_hash"]
        if triple["chosen_interaction_id"] is not None:
            assert by_id[triple["chosen_interaction_id"]]["prompt_hash"] == triple["prompt_hash"]
        if triple["rule"] == "sibling_thumbs" and not rejected["shown"]:
            assert (rejected["prompt_hash"], rejected["response_hash"]) in thumbed_texts
        assert triple["margin"] is None or 0 <= triple["margin"] <= 1
        assert math.isclose(triple["weight"], 1.0)


def test_margins_average_the_same_in_any_order() -> None:
    """0.1 + 0.2 + 0.3 is not 0.3 + 0.2 + 0.1 in binary: the rule sorts before it adds."""
    connection = duckdb.connect()
    query = "SELECT list_avg(list_sort(?))"
    one = connection.execute(query, [[0.1, 0.2, 0.3]]).fetchone()
    other = connection.execute(query, [[0.3, 0.2, 0.1]]).fetchone()
    connection.close()
    assert one == other


def test_every_rule_is_documented_with_its_version(repository: Path) -> None:
    page = (repository / "docs" / "signals.md").read_text(encoding="utf-8")
    for rule in (*rulebook.RULES, rulebook.LONE):
        row = next(line for line in page.splitlines() if f"[`{rule.name}` v" in line)
        assert f"[`{rule.name}` v{rule.version}](#{rule.name})" in row
        assert f"| `{rule.signal}` |" in row
        assert f"| {rule.strength} |" in row
        assert f"\n## {rule.name}\n" in page


PINNED = {
    "choice@v1": "c1717b01a940",
    "label@v2": "255c87eb73de",
    "edit@v2": "0c3dc1ea7248",
    "sibling_thumbs@v2": "2c05320a8144",
    "rating@v1": "413a0cbeaf5c",
    "rank@v1": "e8228077ce11",
    "regenerate@v1": "4b01b6060170",
    "lone_thumb@v1": "751caf22b9d5",
}


def test_a_rule_does_not_change_without_its_version() -> None:
    """Raise the version in the header, then pin the new hash here."""
    rules = (*rulebook.RULES, rulebook.LONE)
    found = {f"{r.name}@v{r.version}": schema.content_id(r.sql.split("\n", 5)[5])[3:15] for r in rules}
    assert found == PINNED
