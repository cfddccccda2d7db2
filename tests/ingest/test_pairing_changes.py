"""Pairing what has changed gives what pairing everything gives: row for row, over random histories."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import pairing, schema
from ingest.changes import since_last_pairing
from ingest.lake import SCHEMAS, Lake
from ingest.settings import PairingPolicy

from .test_pairing import START, World, rows, text

TABLES = ("triples", "unpaired", "outcomes")
TIGHT = PairingPolicy(
    per_prompt=2,
    per_user=4,
    burst_votes=2,
    burst_seconds=90,
    same_instant_votes=2,
    one_model_votes=2,
    rater_share=0.6,
    rater_share_votes=3,
    rating_margin=0.5,
)
"""Caps and marks so narrow that a short history meets every one of them."""

PERSON = st.sampled_from(["ann", "bob", "cy", None])
SERVED = st.tuples(
    st.just("serve"),
    st.integers(0, 9),  # its number: each is served once
    st.integers(0, 2),  # prompt
    st.integers(0, 3),  # text
    st.sampled_from([True, False, None]),  # shown
    st.sampled_from(["m1", "m2"]),
)
SAID = st.tuples(
    st.just("say"),
    st.integers(0, 7),  # event: said again it is revised
    st.sampled_from(["choice", "label", "edit", "thumb", "rating", "rank", "regenerate", "tie"]),
    st.integers(0, 9),  # target
    st.lists(st.integers(0, 9), min_size=1, max_size=3),
    st.sampled_from([0.0, 0.4, 1.0]),
    PERSON,
    st.integers(0, 5),  # minute
    st.booleans(),  # retracted
)
HISTORY = st.lists(st.lists(st.one_of(SERVED, SAID, SAID), max_size=6), min_size=1, max_size=4)


def batches(history: list[list[Any]]) -> list[World]:
    """The worlds that the runs of a history add, one each."""
    served: set[int] = set()
    revisions: dict[int, int] = {}
    worlds = []
    for batch in history:
        world = World()
        for kind, number, *fields in batch:
            if kind == "serve" and number not in served:
                served.add(number)
                prompt, response, shown, model = fields
                world.serve(f"i{number}", f"text {response}", prompt=f"q{prompt}", shown=shown, model=model)
            elif kind == "say":
                signal, target, others, value, rater, minute, retracted = fields
                revisions[number] = revisions.get(number, -1) + 1
                compares = signal not in ("edit", "thumb", "rating")
                world.say(
                    f"e{number}",
                    signal,
                    f"i{target}",
                    *(f"i{other}" for other in others if compares),
                    revision=revisions[number],
                    value=value,
                    scale_min=0.0,
                    scale_max=1.0,
                    text=f"text {others[0] % 4}",
                    rater_id=rater,
                    retracted=retracted,
                    event_time=START + timedelta(minutes=minute),
                    ingest_time=START,
                )
        worlds.append(world)
    return worlds


def contents(lake: Lake) -> dict[str, list[dict[str, Any]]]:
    return {table: rows(lake, table) for table in TABLES}


@settings(max_examples=15, deadline=None)
@given(HISTORY, st.booleans())
def test_pairing_in_steps_is_pairing_at_once(history: list[list[Any]], tight: bool) -> None:
    policy = TIGHT if tight else PairingPolicy()
    worlds = batches(history)
    with TemporaryDirectory() as one, TemporaryDirectory() as two:
        steps, whole = Lake(Path(one)), Lake(Path(two))
        for world in worlds:
            world.write(steps)
            last = pairing.build(steps, "step", policy)
        everything = World([i for w in worlds for i in w.interactions], [f for w in worlds for f in w.feedback])
        everything.write(whole)
        once = pairing.build(whole, "once", policy)
        assert contents(steps) == contents(whole)
        counts = [{**vars(found), "new": 0, "removed": 0} for found in (last, once)]
        assert counts[0] == counts[1]
        assert since_last_pairing(steps, pairing.fingerprint(policy)).nothing


def voted(lake: Lake) -> None:
    """Two prompts with a vote each."""
    world = World()
    for prompt in ("q", "other"):
        world.serve(f"{prompt} a", "A", prompt=prompt)
        world.serve(f"{prompt} b", "B", prompt=prompt)
        world.say(f"vote {prompt}", "choice", f"{prompt} a", f"{prompt} b")
    world.write(lake)
    pairing.build(lake, "first")


def test_only_touched_prompts_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the prompts that nothing new is about no text is read: their file is left out."""
    lake = Lake(tmp_path / "lake")
    voted(lake)
    before = lake.files("interactions")
    new = World()
    new.serve("c", "C", prompt="third")
    new.serve("d", "D", prompt="third")
    new.say("vote third", "choice", "c", "d")
    new.write(lake)
    read: list[list[str]] = []
    view = Lake.view

    def noting(self: Lake, connection: Any, table: str, **options: Any) -> None:
        if table == "interactions" and options.get("files") is not None and not options.get("name"):
            read.append(list(options["files"]))
        view(self, connection, table, **options)

    monkeypatch.setattr(Lake, "view", noting)
    result = pairing.build(lake, "second")
    assert (result.total, result.new, result.removed) == (3, 1, 0)
    assert read == [[file for file in lake.files("interactions") if file not in before]]


def test_nothing_new_opens_no_file_of_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(tmp_path / "lake")
    voted(lake)
    assert pairing.up_to_date(lake, PairingPolicy())
    monkeypatch.setattr(pairing, "_pair", None)  # would be called
    versions = {table: lake.version(table) for table in SCHEMAS}
    assert pairing.build(lake, "again").total == 2
    assert {table: lake.version(table) for table in SCHEMAS} == versions


@pytest.mark.parametrize("table", ["interactions", "feedback"])
def test_what_is_erased_leaves_no_triple_behind(table: str, tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    voted(lake)
    key = {"interactions": "q b", "feedback": "vote q.0"}[table]
    assert lake.delete(table, [key]) == 1
    assert not pairing.up_to_date(lake, PairingPolicy())
    result = pairing.build(lake, "second")
    assert (result.total, result.removed) == (1, 1)
    assert [t["prompt"] for t in rows(lake, "triples")] == [[text("user", "other")]]
    waits = [o["feedback_id"] for o in rows(lake, "outcomes") if o["outcome"] == "waits"]
    assert waits == (["vote q.0"] if table == "interactions" else [])


CHANGES = [
    ("a threshold", {"rating_margin": 0.6}, 2),
    ("a weight", {"weights": {"choice": 0.5}}, 2),
    ("what is only reported", {"orphan_days": 1}, 0),
]


@pytest.mark.parametrize(("change", "passes"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES])
def test_another_setting_pairs_everything_again(change: dict[str, Any], passes: int, tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    voted(lake)
    policy = PairingPolicy(**change)
    assert pairing.up_to_date(lake, policy) == (passes == 0)
    pairing.build(lake, "again", policy)
    assert {t["weight"] for t in rows(lake, "triples")} == {policy.weights.get("choice", 1.0)}
    assert pairing.up_to_date(lake, policy)


@pytest.mark.parametrize("table", ["triples", "unpaired", "outcomes"])
def test_a_run_killed_between_commits_is_done_again(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before each table's commit; the next run ends where an undisturbed one does."""
    lake, clean = Lake(tmp_path / "lake"), Lake(tmp_path / "clean")
    for one in (lake, clean):
        voted(one)
        more = World()
        more.say("vote q", "choice", "q b", "q a", revision=1)
        more.serve("alone", "X", prompt="alone")
        more.thumb("lone", "alone", 1)
        more.write(one)
    store = pairing._store

    def dying(connection: Any, lake: Lake, name: str, *rest: Any) -> tuple[int, int]:
        if name == table:
            raise KeyboardInterrupt
        return store(connection, lake, name, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(pairing, "_store", dying)
        with pytest.raises(KeyboardInterrupt):
            pairing.build(lake, "killed")
    assert not pairing.up_to_date(lake, PairingPolicy())
    pairing.build(lake, "again")
    pairing.build(clean, "undisturbed")
    assert contents(lake) == contents(clean)


def test_triples_that_somebody_damaged_are_made_anew(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    voted(lake)
    before = contents(lake)
    lake.delete("triples", [before["triples"][0]["triple_id"]])
    result = pairing.build(lake, "again")
    assert (result.new, contents(lake)) == (1, before)


def test_a_prompt_that_becomes_whole_is_paired(tmp_path: Path) -> None:
    """A replaced row is a new row in an added file: no rebuild is needed for it, and its prompt is touched."""
    lake = Lake(tmp_path / "lake")
    world = World()
    world.serve("a", "A")
    world.serve("b", "B", prompt="part", status="awaits_parent")
    world.say("v", "choice", "a", "b")
    world.write(lake)
    assert pairing.build(lake, "1").orphans == 1
    whole = World()
    whole.serve("b", "B", status="ok")
    lake.replace("interactions", pa.Table.from_pylist(whole.interactions, schema=SCHEMAS["interactions"]))
    assert since_last_pairing(lake, pairing.fingerprint(PairingPolicy())).added is not None
    result = pairing.build(lake, "2")
    assert (result.total, result.orphans) == (1, 0)


def test_orphans_are_overdue_after_a_settable_time(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    world = World()
    now = datetime.now(UTC)
    world.say("v", "choice", "a", "b", ingest_time=now - timedelta(days=8))
    world.say("w", "choice", "a", "b", ingest_time=now - timedelta(days=6))
    world.write(lake)
    found = pairing.build(lake, "1")
    assert (found.orphans, found.overdue) == (2, 1)
    assert found.overdue_at == pytest.approx((now + timedelta(days=1)).timestamp(), abs=1e-3)
    later = pairing.build(lake, "2", PairingPolicy(orphan_days=5))
    assert (later.overdue, later.overdue_at) == (2, None)


def test_the_outcome_table_says_why(tmp_path: Path) -> None:
    world = World()
    world.serve("a", "A")
    world.serve("a2", "A")
    world.serve("elsewhere", "B", prompt="x")
    world.say("same", "choice", "a", "a2")
    world.say("apart", "choice", "a", "elsewhere")
    world.say("early", "choice", "a", "not there")
    world.say("copied", "copy", "a")
    lake = Lake(tmp_path / "lake")
    world.write(lake)
    result = pairing.build(lake, "1")
    found = {o["feedback_id"]: (o["outcome"], o["reason"]) for o in rows(lake, "outcomes")}
    assert found == {
        "same.0": ("no_pair", "identical"),
        "apart.0": ("no_pair", "mismatch"),
        "early.0": ("waits", None),
        "copied.0": ("no_pair", "no_rule"),
    }
    assert (result.no_pair_reasons, result.left_out) == (
        {"identical": 1, "mismatch": 1, "no_rule": 1},
        {"identical": 1, "mismatch": 1},
    )
    assert {r for r in found.values() if r[1]} <= {("no_pair", reason) for reason in schema.NO_PAIR_REASONS}
    assert pq.read_schema(lake.files("outcomes")[0]).names == schema.OUTCOME.names
