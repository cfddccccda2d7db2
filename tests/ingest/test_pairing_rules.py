"""Worked examples of the rules for ratings, ranks and regenerations, of caps, of marks and of contradictions."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import pairing, schema, sql_functions
from ingest.errors import SettingsError
from ingest.lake import Lake
from ingest.settings import PairingPolicy

from .test_pairing import START, World, pairs, rows


def paired(world: World, path: Path, **policy: Any) -> tuple[pairing.Pairing, list[dict[str, Any]]]:
    lake = Lake(path / "lake")
    world.write(lake)
    result = pairing.build(lake, "run", PairingPolicy(**policy))
    return result, rows(lake, "triples")


def siblings(*names: str, **fields: Any) -> World:
    """Responses "A", "B", ... to one prompt."""
    world = World()
    for name in names:
        world.serve(name, name.upper(), **fields)
    return world


Rating = tuple[str, float, str | None]
RATINGS: list[tuple[str, list[Rating], dict[str, Any], set[tuple[str, str, float]], Counter[str]]] = [
    # name, (response, stars of 1 to 5, rater), policy, (chosen, rejected, margin), comparisons left out
    ("one star apart", [("a", 4, "ann"), ("b", 3, "ann")], {}, {("A", "B", 0.25)}, Counter()),
    ("equal", [("a", 4, "ann"), ("b", 4, "ann")], {}, set(), Counter()),
    ("two raters", [("a", 5, "ann"), ("b", 1, "bob")], {}, set(), Counter()),
    ("two without a name", [("a", 5, None), ("b", 1, None)], {}, set(), Counter()),
    (
        "three of one rater",
        [("a", 5, "ann"), ("b", 3, "ann"), ("c", 1, "ann")],
        {},
        {("A", "B", 0.5), ("A", "C", 1.0), ("B", "C", 0.5)},
        Counter(),
    ),
    (
        "below the margin",
        [("a", 5, "ann"), ("b", 4, "ann"), ("c", 3, "ann")],
        {"rating_margin": 0.5},
        {("A", "C", 0.5)},
        Counter({"small_margin": 4}),  # a > b and b > c, each told by two events
    ),
    ("beyond its scale", [("a", 9, "ann"), ("b", 1, "ann")], {}, set(), Counter()),
]


@pytest.mark.parametrize(
    ("said", "policy", "expected", "left_out"), [r[1:] for r in RATINGS], ids=[r[0] for r in RATINGS]
)
def test_rating(
    said: list[Rating],
    policy: dict[str, Any],
    expected: set[tuple[str, str, float]],
    left_out: Counter[str],
    tmp_path: Path,
) -> None:
    world = siblings("a", "b", "c")
    for i, (target, value, rater) in enumerate(said):
        world.say(f"r{i}", "rating", target, value=value, scale_min=1.0, scale_max=5.0, rater_id=rater)
    result, triples = paired(world, tmp_path, **policy)
    assert {(*next(iter(pairs([t]))), t["margin"]) for t in triples} == expected
    assert result.left_out == left_out
    assert all(
        (t["signal"], t["strength"], t["n_votes"], len(t["event_ids"])) == ("rating", "medium", 1, 2) for t in triples
    )


def test_ratings_of_one_record_are_of_one_rater_though_nobody_names_him(tmp_path: Path) -> None:
    world = siblings("a", "b", "c")
    for name, value, offset in (("a", 9.0, 0), ("b", 5.0, 0), ("c", 1.0, 80)):
        place = {"file_id": "f", "byte_offset": offset, "rater_id": None}
        world.say(name, "rating", name, value=value, scale_min=1.0, scale_max=10.0, **place)
    _, triples = paired(world, tmp_path)
    assert [(*next(iter(pairs([t]))), t["margin"]) for t in triples] == [("A", "B", pytest.approx(4 / 9))]


def test_ratings_on_two_scales_do_not_compare(tmp_path: Path) -> None:
    world = siblings("a", "b")
    world.say("1", "rating", "a", value=5.0, scale_min=1.0, scale_max=5.0, rater_id="ann")
    world.say("2", "rating", "b", value=1.0, scale_min=1.0, scale_max=10.0, rater_id="ann")
    result, triples = paired(world, tmp_path)
    assert (triples, result.no_pair_reasons) == ([], {"nothing_to_compare": 2})


@pytest.mark.parametrize(
    ("distance", "expected"),
    [(1, {("A", "B"), ("A", "C"), ("B", "C")}), (2, {("A", "C")}), (3, set())],
    ids=["every place", "two places", "more places than there are"],
)
def test_rank(distance: int, expected: set[tuple[str, str]], tmp_path: Path) -> None:
    """One event holds the whole order: a, b, c."""
    world = siblings("a", "b", "c")
    world.say("1", "rank", "a", "b", "c")
    result, triples = paired(world, tmp_path, rank_distance=distance)
    assert pairs(triples) == expected
    assert {(t["margin"], t["strength"]) for t in triples} <= {(None, "medium")}
    assert result.left_out.get("small_margin", 0) == 3 - len(expected)


AGAIN = [
    # name, fields of the earlier, of the later response, reason why there is no pair
    ("kept", {}, {}, None),
    ("another seed", {"sampling": '{"seed":1}'}, {"sampling": '{"seed":2}'}, None),
    ("another temperature", {"sampling": '{"temperature":1}'}, {"sampling": '{"temperature":0}'}, "changed_request"),
    ("another model asked for", {"model_requested": "m"}, {"model_requested": "n"}, "changed_request"),
    ("another model served", {"model": "m-1"}, {"model": "m-2"}, None),
    ("cut off before", {"finish_reason": "length"}, {"finish_reason": "stop"}, "after_error"),
    ("cut off afterwards", {"finish_reason": "stop"}, {"finish_reason": "length"}, None),
    ("a tool was called", {"finish_reason": "tool_calls"}, {}, None),
    ("other tools", {"tools": "[]"}, {}, "mismatch"),
]


@pytest.mark.parametrize(("earlier", "later", "reason"), [a[1:] for a in AGAIN], ids=[a[0] for a in AGAIN])
def test_regenerate(earlier: dict[str, Any], later: dict[str, Any], reason: str | None, tmp_path: Path) -> None:
    world = World()
    world.serve("a", "A", **earlier)
    world.serve("b", "B", **later)
    world.say("again", "regenerate", "a", "b")
    result, triples = paired(world, tmp_path)
    assert pairs(triples) == ({("B", "A")} if reason is None else set())
    assert result.no_pair_reasons == ({} if reason is None else {reason: 1})
    assert all((t["strength"], t["margin"]) == ("weak", None) for t in triples)


def test_an_empty_response_that_was_asked_for_again_judges_nothing(tmp_path: Path) -> None:
    world = World()
    world.serve("a", "")
    world.serve("b", "B")
    world.say("again", "regenerate", "a", "b")
    assert paired(world, tmp_path)[0].no_pair_reasons == {"after_error": 1}


def test_the_same_text_again_is_no_preference(tmp_path: Path) -> None:
    world = World()
    world.serve("a", "A")
    world.serve("b", "A")
    world.say("again", "regenerate", "a", "b")
    assert paired(world, tmp_path)[0].no_pair_reasons == {"identical": 1}


def test_only_the_response_that_was_kept_is_preferred(tmp_path: Path) -> None:
    world = siblings("a", "b", "c")
    world.say("1", "regenerate", "a", "b")
    world.say("2", "regenerate", "b", "c")
    result, triples = paired(world, tmp_path)
    assert pairs(triples) == {("C", "B")}
    assert result.no_pair_reasons == {"not_kept": 1}


def test_a_contradiction_is_marked_on_both_triples_and_counted(tmp_path: Path) -> None:
    """Two for a, one for b: three votes on the pair. The label agrees with the minority, and is marked by it."""
    world = siblings("a", "b", "c")
    world.say("1", "choice", "a", "b")
    world.say("2", "choice", "a", "b")
    world.say("3", "choice", "b", "a")
    world.say("4", "label", "b", "a")
    world.say("5", "choice", "a", "c")
    result, triples = paired(world, tmp_path)
    found = {(t["rule"], *next(iter(pairs([t])))): (t["contradicted"], t["n_votes"], t["n_agree"]) for t in triples}
    assert found == {
        ("choice", "A", "B"): (True, 3, 2),
        ("choice", "B", "A"): (True, 3, 1),
        ("label", "B", "A"): (True, 1, 1),
        ("choice", "A", "C"): (False, 1, 1),
    }
    assert result.contradicted == 3


def test_signals_are_not_merged(tmp_path: Path) -> None:
    """One pair by five signals is five triples."""
    world = siblings("a", "b")
    world.say("1", "choice", "a", "b")
    world.say("2", "label", "a", "b")
    world.say("3", "rank", "a", "b")
    world.say("4", "regenerate", "b", "a")
    world.thumb("5", "a", 1)
    world.thumb("6", "b", -1)
    result, triples = paired(world, tmp_path)
    assert pairs(triples) == {("A", "B")}
    assert result.by_signal == {"choice": 1, "label": 1, "rank": 1, "regenerate": 1, "thumb": 1}
    assert len({t["triple_id"] for t in triples}) == 5


def test_edits_are_off_policy_and_weights_are_the_rules(tmp_path: Path) -> None:
    world = siblings("a", "b")
    world.say("1", "edit", "a", text="better")
    world.say("2", "choice", "a", "b")
    _, triples = paired(world, tmp_path, weights={"edit": 0.25})
    assert {t["rule"]: (t["off_policy"], t["weight"]) for t in triples} == {
        "edit": (True, 0.25),
        "choice": (False, 1.0),
    }


def test_a_weight_of_no_rule_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="weights names thumbs; the rules that make triples are choice, "):
        pairing.build(Lake(tmp_path / "lake"), "run", PairingPolicy(weights={"thumbs": 1.0}))


def test_a_cap_of_a_prompt_leaves_pairs_out_and_counts_them(tmp_path: Path) -> None:
    """Of a ranking of five, ten pairs, three stay; another prompt has its own cap; another rule, too."""
    world = siblings("a", "b", "c", "d", "e")
    world.say("order", "rank", "a", *"bcde")
    world.serve("x", "X", prompt="p")
    world.serve("y", "Y", prompt="p")
    world.say("xy", "rank", "x", "y")
    world.say("v", "choice", "a", "b")
    result, _ = paired(world, tmp_path, per_prompt=3)
    assert (result.by_signal, result.left_out) == ({"choice": 1, "rank": 4}, {"prompt_cap": 7})


def test_both_ways_round_of_a_pair_stay_or_go_together(tmp_path: Path) -> None:
    world = siblings("a", "b", "c")
    for name, other in (("a", "b"), ("a", "c"), ("b", "c")):
        world.say(f"{name}{other}", "choice", name, other)
        world.say(f"{other}{name}", "choice", other, name)
    result, triples = paired(world, tmp_path, per_prompt=1)
    assert len(triples) == 2
    assert pairs(triples) == {(low, high) for high, low in pairs(triples)}
    assert result.left_out == {"prompt_cap": 4}


@pytest.mark.parametrize(("kind", "kept"), [("user", 2), (None, 2), ("annotator", 4), ("model", 4)])
def test_a_cap_of_a_user(kind: str | None, kept: int, tmp_path: Path) -> None:
    world = World()
    for i in range(4):
        world.serve(f"a{i}", "A", prompt=f"q{i}")
        world.serve(f"b{i}", "B", prompt=f"q{i}")
        world.say(f"v{i}", "choice", f"a{i}", f"b{i}", rater_id="ann", rater_kind=kind)
    world.say("other", "choice", "a0", "b0", rater_id="bob", rater_kind=kind)
    result, triples = paired(world, tmp_path, per_user=2)
    assert sum("ann" in t["user_ids"] for t in triples) == kept
    assert result.no_pair_reasons == ({"user_cap": 4 - kept} if kept < 4 else {})
    capped = sorted(f"v{i}.0" for i in range(4))[:kept]
    assert {e for t in triples for e in t["event_ids"]} == {*capped, "other.0"}


def votes(seconds: list[float], **fields: Any) -> World:
    """Votes of ann, one on each of as many prompts, so many seconds after the start."""
    world = World()
    for i, second in enumerate(seconds):
        world.serve(f"a{i}", "A", prompt=f"q{i}", model="m1")
        world.serve(f"b{i}", "B", prompt=f"q{i}", model="m2")
        when = START + timedelta(seconds=second)
        world.say(f"v{i}", "choice", f"a{i}", f"b{i}", **({"rater_id": "ann", "event_time": when} | fields))
    return world


MARKS: list[tuple[str, list[float], dict[str, Any], dict[str, Any], dict[str, int]]] = [
    # name, seconds, fields, policy, marks
    ("slow", [0, 60, 120], {}, {"burst_votes": 2}, {}),
    ("a burst", [0, 5, 10, 300], {}, {"burst_votes": 3}, {"burst": 3}),
    ("one too few", [0, 5, 11], {}, {"burst_votes": 3}, {}),
    ("a burst within others", [0, 100, 101, 102, 200], {}, {"burst_votes": 3}, {"burst": 3}),
    ("nobody named", [0, 1, 2], {"rater_id": None}, {"burst_votes": 2, "same_instant_votes": 2}, {}),
    ("a model judges fast", [0, 1, 2], {"rater_kind": "model"}, {"burst_votes": 2}, {}),
    ("no times", [0, 1, 2], {"event_time": None}, {"burst_votes": 2, "same_instant_votes": 2}, {}),
    ("one instant", [7, 7, 7, 50], {}, {"same_instant_votes": 3}, {"same_instant": 3}),
    ("one record of several events", [7, 7], {"file_id": "f", "byte_offset": 0}, {"same_instant_votes": 2}, {}),
    ("one model always", [0, 60, 120], {}, {"one_model_votes": 3}, {"one_model": 3}),
    ("one model, too few", [0, 60], {}, {"one_model_votes": 3}, {}),
]


@pytest.mark.parametrize(("seconds", "fields", "policy", "marks"), [m[1:] for m in MARKS], ids=[m[0] for m in MARKS])
def test_votes_that_look_forged_are_marked_and_count(
    seconds: list[float], fields: dict[str, Any], policy: dict[str, Any], marks: dict[str, int], tmp_path: Path
) -> None:
    result, triples = paired(votes(seconds, **fields), tmp_path, **policy)
    assert result.suspicious == marks
    assert len(triples) == len(seconds)
    assert Counter(mark for t in triples for mark in t["suspicious"]) == marks
    assert marks.keys() <= schema.SUSPICIONS.keys()


def test_a_rater_who_prefers_two_models_is_not_marked(tmp_path: Path) -> None:
    world = votes([0, 60, 120])
    world.say("v2", "choice", "b2", "a2", revision=1, rater_id="ann")
    assert paired(world, tmp_path, one_model_votes=3)[0].suspicious == {}


def test_a_simulated_spammer_is_marked_and_nobody_else(tmp_path: Path) -> None:
    """Twelve users give ten votes each, a minute apart; one gives eighty more. 80 of 200 are 40 %."""
    world = World()
    for i in range(200):
        rater = "spammer" if i >= 120 else f"u{i % 12}"
        world.serve(f"a{i}", "A", prompt=f"q{i}")
        world.serve(f"b{i}", "B", prompt=f"q{i}")
        world.say(f"v{i}", "choice", f"a{i}", f"b{i}", rater_id=rater)
    result, triples = paired(world, tmp_path)
    assert result.suspicious == {"rater_share": 80}
    marked = {tuple(t["user_ids"]) for t in triples if t["suspicious"]}
    assert (marked, len(triples)) == ({("spammer",)}, 200)


VOTES = st.lists(
    st.tuples(
        st.sampled_from(["choice", "label", "rating", "rank", "thumb", "regenerate"]),
        st.integers(0, 5),
        st.integers(0, 5),
        st.sampled_from([-1.0, 0.0, 1.0]),
        st.sampled_from(["ann", "bob", None]),
    ),
    max_size=14,
)


@settings(max_examples=15, deadline=None)
@given(VOTES, st.integers(1, 3), st.integers(1, 4))
def test_caps_hold_and_every_contradiction_is_marked(votes: list[Any], per_prompt: int, per_user: int) -> None:
    world = World()
    for i in range(6):
        world.serve(f"i{i}", f"text {i % 4}", prompt=f"q{i // 4}", shown=i % 2 == 0)
    for i, (signal, target, other, value, rater) in enumerate(votes):
        others = () if signal in ("rating", "thumb") else (f"i{other}",)
        scale = {"value": value, "scale_min": -1.0, "scale_max": 1.0}
        world.say(f"v{i}", signal, f"i{target}", *others, rater_id=rater, **scale)
    with TemporaryDirectory() as folder:
        result, triples = paired(world, Path(folder), per_prompt=per_prompt, per_user=per_user)
    directions = {(t["prompt_hash"], t["chosen_hash"], t["rejected_hash"]) for t in triples}
    unordered: dict[tuple[str, str], set[frozenset[str]]] = {}
    for t in triples:
        assert t["chosen_hash"] != t["rejected_hash"]
        unordered.setdefault((t["rule"], t["prompt_hash"]), set()).add(
            frozenset((t["chosen_hash"], t["rejected_hash"]))
        )
        if (t["prompt_hash"], t["rejected_hash"], t["chosen_hash"]) in directions:
            assert t["contradicted"]
        if t["n_votes"] > t["n_agree"]:
            assert t["contradicted"]
        assert {f["signal"] for f in world.feedback if f["feedback_id"] in t["event_ids"]} == {t["signal"]}
    assert all(len(found) <= per_prompt for found in unordered.values())
    used = Counter(f["rater_id"] for f in world.feedback if any(f["feedback_id"] in t["event_ids"] for t in triples))
    assert all(count <= per_user for rater, count in used.items() if rater is not None)
    assert result.events == result.paired + result.unpaired + result.orphans + sum(result.no_pair.values())
    assert sum(result.no_pair_reasons.values()) == sum(result.no_pair.values())


@pytest.fixture(scope="module")
def levenshtein() -> Iterator[Callable[[str, str], int]]:
    with duckdb.connect() as connection:
        yield lambda a, b: int(connection.execute("SELECT levenshtein(?, ?)", [a, b]).fetchall()[0][0])


@settings(max_examples=200, deadline=None)
@given(st.text("abé", max_size=6), st.text("abé", max_size=6), st.text("abé", max_size=4), st.text("abé", max_size=4))
def test_what_two_texts_share_at_both_ends_adds_nothing_to_their_distance(
    levenshtein: Callable[[str, str], int], one: str, other: str, begin: str, end: str
) -> None:
    one, other = begin + one + end, begin + other + end
    parts = sql_functions.differing(one, other), sql_functions.differing(other, one)
    assert levenshtein(*parts) == levenshtein(one, other)
    assert len(one) - len(parts[0]) == len(other) - len(parts[1]) >= min(len(begin) + len(end), len(one), len(other))
