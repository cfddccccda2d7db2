"""The sample's planted faults: each is dropped for its reason, and nothing else is dropped for it."""

import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from curate import recipe as recipes
from curate.curation import Curation, curate
from ingest import settings
from ingest.lake import Lake
from ingest.run import run
from ingest.schema import feedback_id, prompt_group

from .test_shingles import triples

Fault = dict[str, Any]
ALIKE = ("same_text_other_id", "near_duplicate")


@pytest.fixture(scope="module")
def curated(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Curation, settings.Settings]:
    """The sample's log through ingest and curate, in a copy."""
    folder = tmp_path_factory.mktemp("sample") / "data" / "sample"
    shutil.copytree(sample, folder, ignore=shutil.ignore_patterns("model"))
    workspace = settings.load(folder / "winnow.toml")
    run(workspace)
    return curate(workspace, recipes.load(folder / "recipe.toml"), lambda stage: None), workspace


@pytest.fixture(scope="module")
def reasons(curated: tuple[Curation, settings.Settings]) -> dict[str, set[str]]:
    """Reason's name -> feedback_ids of the triples that it holds for."""
    done, workspace = curated
    connection = duckdb.connect()
    Lake(workspace.lake).view(connection, "triples")
    rows = connection.execute(
        """SELECT split_part(d.rule, '@', 1), unnest(t.event_ids)
           FROM read_parquet($dropped) d JOIN triples t USING (triple_id)""",
        {"dropped": str(done.folder / "dropped.parquet")},
    ).fetchall()
    connection.close()
    found: dict[str, set[str]] = {}
    for name, event in rows:
        found.setdefault(name, set()).add(event)
    return found


@pytest.fixture(scope="module")
def planted(sample: Path) -> dict[str, list[Fault]]:
    planted: dict[str, list[Fault]] = json.loads((sample / "truth.json").read_text(encoding="utf-8"))["planted"]
    return planted


def events(faults: list[Fault], key: str = "vote") -> set[str]:
    """Return the feedback_ids of planted votes; some faults got none, and make no triple."""
    ids = [fault[key] for fault in faults if fault[key]]
    flat = [one for named in ids for one in (named if isinstance(named, list) else [named])]
    return {feedback_id("support-assistant", one) for one in flat}


@pytest.mark.parametrize(
    ("reason", "fault"),
    [
        ("empty_side", "empty_response"),
        ("identical_pair", "identical_pair_normalised"),
        ("truncated_response", "cut_off_response"),
        ("too_long", "over_long_response"),
    ],
)
def test_every_planted_fault_and_nothing_else(
    reason: str, fault: str, reasons: dict[str, set[str]], planted: dict[str, list[Fault]]
) -> None:
    assert len(events(planted[fault])) >= 5
    assert reasons[reason] == events(planted[fault])


def test_near_duplicates_are_the_planted_ones(
    curated: tuple[Curation, settings.Settings], planted: dict[str, list[Fault]]
) -> None:
    """Of each planted pair of triples one stays, unless another reason took one before; nothing else is alike."""
    done, workspace = curated
    connection = duckdb.connect()
    for table in ("triples", "interactions"):
        Lake(workspace.lake).view(connection, table)
    sides = """(SELECT t.triple_id, list_sort([c.source_id, r.source_id]) AS served FROM triples t
                JOIN interactions c ON c.interaction_id = chosen_interaction_id
                JOIN interactions r ON r.interaction_id = rejected_interaction_id)"""
    found = connection.execute(
        f"""SELECT gone.served, kept.served
            FROM read_parquet($dropped) d JOIN {sides} gone USING (triple_id)
            JOIN {sides} kept ON kept.triple_id = regexp_extract(d.detail, '^like (b2:[0-9a-f]+): ', 1)
            WHERE d.rule = 'near_duplicate@v3'""",
        {"dropped": str(done.folder / "dropped.parquet")},
    ).fetchall()
    standing = {
        tuple(served)
        for (served,) in connection.execute(
            f"SELECT served FROM {sides} SEMI JOIN read_parquet($curated) USING (triple_id)",
            {"curated": str(done.folder / "curated.parquet")},
        ).fetchall()
    }
    asked = dict(connection.execute("SELECT source_id, prompt[-1].content FROM interactions").fetchall())
    connection.close()
    # Interaction -> the first of those whose texts it repeats, exactly or nearly.
    family = {one: fault["of"][0] for kind in ALIKE for fault in planted[kind] for one in (*fault["ids"], *fault["of"])}
    assert len(found) >= 40
    for gone, kept in found:
        assert len({family[one] for one in (*gone, *kept)}) == 1
    both = [
        fault for fault in planted["near_duplicate"] if {tuple(sorted(fault[key])) for key in ("ids", "of")} <= standing
    ]
    for fault in both:  # one word of a short question is in up to three of its triples
        one, other = (set(triples(asked[fault[key][0]])) for key in ("ids", "of"))
        assert len(one & other) / len(one | other) < recipes.NearDuplicates().triples


def test_contradictions_are_the_planted_ones(reasons: dict[str, set[str]], planted: dict[str, list[Fault]]) -> None:
    """A deadlock between two users of whom one gave no consent is none: the other's vote is dropped before."""
    deadlocks = events(planted["contradictory_votes"], "ids")
    assert reasons["contradiction_tied"] <= deadlocks
    assert deadlocks - reasons["contradiction_tied"] <= reasons["missing_consent"]
    majorities = planted["majority_votes"]
    assert reasons["contradiction_minority"] <= events(majorities, "ids")
    assert len(reasons["contradiction_minority"]) == len(majorities)


def test_counts_add_up(curated: tuple[Curation, settings.Settings]) -> None:
    done, workspace = curated
    total = sum(pq.read_metadata(file).num_rows for file in Lake(workspace.lake).files("triples"))
    rows = pq.read_metadata(done.folder / "curated.parquet").num_rows
    dropped = pq.read_table(done.folder / "dropped.parquet", columns=["triple_id", "first"])
    assert total == rows + len(set(dropped.column("triple_id").to_pylist()))
    assert sum(dropped.column("first").to_pylist()) == total - rows == done.counts.dropped


def test_candidates_are_answerable(curated: tuple[Curation, settings.Settings]) -> None:
    """Each names two served responses to its prompt, once; the sample's ties and deadlocks are among them."""
    done, workspace = curated
    candidates = pq.read_table(done.folder / "candidates.parquet").to_pylist()
    connection = duckdb.connect()
    Lake(workspace.lake).view(connection, "interactions")
    served = {
        key: (prompt, response)
        for key, prompt, response in connection.execute(
            "SELECT interaction_id, prompt, response FROM interactions WHERE consent = 'training'"
        ).fetchall()
    }
    connection.close()
    assert len({row["pair_id"] for row in candidates}) == len(candidates) == done.offer.offered
    for row in candidates:
        for side in ("a", "b"):
            assert served[row[f"interaction_{side}"]] == (row["prompt"], row[f"response_{side}"])
    assert {row["why"] for row in candidates} == {"contradicted", "unjudged", "tied"}
    priorities = [row["priority"] for row in candidates]
    assert priorities == sorted(priorities, reverse=True)


@pytest.mark.parametrize("name", ["curated", "candidates"])
def test_a_prompt_group_is_the_root_of_its_conversation(name: str, curated: tuple[Curation, settings.Settings]) -> None:
    rows = pq.read_table(curated[0].folder / f"{name}.parquet", columns=["prompt", "prompt_group"]).to_pylist()
    assert any(len(row["prompt"]) > 2 for row in rows), "of several turns"
    assert [row["prompt_group"] for row in rows] == [prompt_group(row["prompt"]) for row in rows]
