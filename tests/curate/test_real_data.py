"""HH-RLHF and Tulu's human evaluation, from their files to a snapshot. The truth is ../shared/data/SOURCES.md."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curate import recipe as recipes
from curate.curation import Curation, curate
from ingest import settings
from ingest.run import run

pytestmark = pytest.mark.real_data

SETS = {
    "hh": "preferences/hh-rlhf-harmless-base-test.jsonl.gz",
    "tulu": "preferences/tulu-human-eval/eval_annotations_tulu_1.parquet",
}


FACTS = recipes.Recipe(rules=("empty_side", "identical_pair", "missing_consent"))
"""The rules that SOURCES.md counts: what others drop first would be missing from its groups and duplicates."""


def curated(name: str, shared_data: Path, folder: Path, recipe: recipes.Recipe) -> Curation:
    path = shared_data / SETS[name]
    (folder / "winnow.toml").write_text(
        f'[[sources]]\nname = "{name}"\npath = "{path}"\nconsent = "training"\n', encoding="utf-8"
    )
    workspace = settings.load(folder / "winnow.toml")
    run(workspace)
    return curate(workspace, recipe, lambda stage: None)


@pytest.fixture(scope="module")
def hh(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Curation:
    return curated("hh", shared_data, tmp_path_factory.mktemp("hh"), recipes.load())


@pytest.fixture(scope="module")
def tulu(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Curation:
    return curated("tulu", shared_data, tmp_path_factory.mktemp("tulu"), FACTS)


def dropped(done: Curation) -> dict[str, int]:
    return {name: reach.first for name, reach in done.counts.by_reason.items() if reach.first}


def test_hh_harmless(hh: Curation) -> None:
    """2,312 pairs; in 4 the chosen side is empty; no duplicate, nothing identical, no contradiction."""
    assert hh.counts.triples == 2312
    found = dropped(hh)
    assert found.pop("refusal_pair") == 2
    assert found.pop("length_ratio", 0) <= 1
    assert found == {"empty_side": 4}
    rows = pq.read_table(hh.folder / "dropped.parquet").to_pylist()
    assert [row["detail"] for row in rows if row["rule"] == "empty_side@v1"] == ["chosen is empty"] * 4


def test_hh_harmless_length(hh: Curation) -> None:
    """44.2 % chosen longer in SOURCES.md, of all 2,312 transcripts."""
    rows = pq.read_table(hh.folder / "curated.parquet", columns=["chosen_chars", "rejected_chars"]).to_pylist()
    longer = sum(row["chosen_chars"] > row["rejected_chars"] for row in rows)
    assert longer / 2312 == pytest.approx(0.442, abs=0.003)


def test_hh_prompts_of_one_root_stay_together(hh: Curation) -> None:
    """2,178 first human turns, 264 records share one: a split by row would tear some of them apart."""
    rows = pq.read_table(hh.folder / "curated.parquet", columns=["prompt", "split"]).to_pylist()
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row["prompt"][0]["content"], set()).add(row["split"])
    assert len(splits) < 2308
    assert all(len(found) == 1 for found in splits.values())


def test_tulu(tulu: Curation) -> None:
    """774 decisive judgements, 63 of them repeated in one direction: 711 triples, with 774 votes.

    SOURCES.md counts no empty side; in 4 triples the rejected one is a single zero-width space, which shows nothing.
    """
    counts = tulu.counts
    assert counts.triples == 774 - 63
    assert counts.by_reason["identical_pair"].holds_for == 1
    assert counts.by_reason["empty_side"].holds_for == 4
    assert counts.by_reason["exact_duplicate"].holds_for == 0, "pairing has merged what one rule found twice"
    assert counts.curated + counts.dropped == 711


def test_tulu_contradictory_groups(tulu: Curation) -> None:
    """23 groups are 46 triples: each loses its minority, or, in a deadlock, both."""
    reach = tulu.counts.by_reason
    minorities, ties = reach["contradiction_minority"].holds_for, reach["contradiction_tied"].holds_for
    assert minorities + ties // 2 == 23
    assert ties % 2 == 0
    contested = [
        row
        for row in pq.read_table(tulu.folder / "curated.parquet", columns=["n_votes", "n_agree"]).to_pylist()
        if row["n_agree"] < row["n_votes"]
    ]
    assert len(contested) == minorities
