"""`curate diff` names every row that came, went or changed, and why."""

import stat
from dataclasses import asdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curate import published
from curate.curation import Curation
from curate.diff import DIFFERENCE, Differences, causes, diff
from curate.recipe import Recipe
from ingest.errors import SettingsError

from .conftest import Row, make_triple, make_workspace, varied

ROWS = varied(40)
LONG = make_triple("A long one?", "word " * 300, "Short. " * 30)
LOST = make_triple("Soon gone?", "Yes, gone.", "Not gone.")
DISPUTED = make_triple("Which one?", "This one.", "That one.", n_votes=3, n_agree=3)
AGAINST = make_triple("Which one?", "That one.", "This one.", n_votes=1, n_agree=1, event_ids=["e9"])
NEW = make_triple("Brand new?", "All of it.", "None of it.")
LATER = [ROWS[0] | {"weight": 0.5}, *ROWS[1:], LONG, DISPUTED, AGAINST, NEW]


def run(folder: Path, rows: list[Row], recipe: Recipe | None = None) -> Curation:
    return make_workspace(folder, rows).curate(recipe)


def between(before: Curation, after: Curation, show: int = 20, out: Path | None = None) -> Differences:
    found = published.find(before.folder, None), published.find(after.folder, None)
    return diff(*found, show=show, out=out)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Curation:
    return run(tmp_path_factory.mktemp("before"), [*ROWS, LONG, LOST, DISPUTED])


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> Curation:
    """One weight changed, one triple gone, one new, one more vote, and a limit that one triple is beyond."""
    recipe = Recipe(params={"too_long": {"max_chars": 1000}})
    return run(tmp_path_factory.mktemp("after"), LATER, recipe)


def test_every_row_that_differs_with_its_reason(before: Curation, after: Curation) -> None:
    """43 rows before, 42 after: 39 the same, 2 changed, 2 went, 1 came."""
    found = between(before, after)
    assert (found.same, found.changed, found.went, found.came) == (39, 2, 2, 1)
    assert (found.before, found.after) == (before.folder.name, after.folder.name)
    told = {row["triple_id"]: (row["what"], row["why"], row["rule"], row["detail"]) for row in found.rows}
    assert told[ROWS[0]["triple_id"]] == ("changed", "weight", None, "weight")
    kind, why, rule, columns = told[DISPUTED["triple_id"]]
    assert (kind, why, rule) == ("changed", "votes", None)
    assert {"n_votes", "agreement", "label_noise"} <= set(columns.split(", "))
    assert told[LONG["triple_id"]] == (
        "went",
        "too_long@v1 has other settings: max_chars",
        "too_long@v1",
        "1511 characters, 1000 allowed",
    )
    assert told[LOST["triple_id"]][:3] == (
        "went",
        "it is not among the newer snapshot's triples: erased, or paired otherwise",
        None,
    )
    assert told[NEW["triple_id"]][:2] == ("came", "it is not among the older snapshot's triples: it is new")
    assert sum(found.why.values()) == 5


def test_the_other_way_round(before: Curation, after: Curation) -> None:
    found = between(after, before)
    told = {row["triple_id"]: (row["what"], row["why"]) for row in found.rows}
    assert (found.same, found.changed, found.went, found.came) == (39, 2, 1, 2)
    assert told[LONG["triple_id"]] == ("came", "too_long@v1 has other settings: max_chars")


def test_one_changed_row_changes_the_hash_and_is_named(before: Curation, tmp_path: Path) -> None:
    rows = [*ROWS, LONG, LOST | {"margin": 0.25}, DISPUTED]
    other = run(tmp_path, rows)
    assert other.folder.name != before.folder.name
    found = between(before, other)
    assert (found.same, found.changed, found.went, found.came) == (42, 1, 0, 0)
    (row,) = found.rows
    assert (row["triple_id"], row["why"], row["detail"]) == (LOST["triple_id"], "margin", "margin")


def test_a_rule_that_only_one_of_them_has(before: Curation, tmp_path: Path) -> None:
    names = [rule for rule in Recipe().rules if rule != "missing_consent"]
    rows = [*ROWS, LONG, LOST, DISPUTED, NEW | {"consent": None}]
    strict, lax = run(tmp_path / "strict", rows), run(tmp_path / "lax", rows, Recipe(rules=tuple(names)))
    found = between(strict, lax)
    assert [(row["triple_id"], row["why"]) for row in found.rows] == [
        (NEW["triple_id"], "only one of the snapshots has the rule missing_consent@v2")
    ]


def test_the_same_snapshot(before: Curation) -> None:
    found = between(before, before)
    assert asdict(found) | {"before": "", "after": ""} == asdict(
        Differences(before="", after="", same=43, came=0, went=0, changed=0, why={}, rows=[])
    )


def test_all_rows_go_to_a_private_file(before: Curation, after: Curation, tmp_path: Path) -> None:
    out = tmp_path / "differences.parquet"
    found = between(before, after, show=1, out=out)
    assert len(found.rows) == 1
    table = pq.read_table(out)
    assert table.schema.equals(DIFFERENCE)
    assert table.num_rows == 5
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    with pytest.raises(SettingsError, match="exists already"):
        between(before, after, out=out)


def test_settings_that_are_not_parameters_are_named_as_causes() -> None:
    """A circle's fate is a setting of contradictions; an own rule judges by the columns that it names."""
    rule = {"name": "toxic", "drop_if": "toxicity > 0.5", "detail": "''"}
    columns = [{"name": "toxicity", "version": 1}, {"name": "humour", "version": 1}]
    rules = [{"id": "preference_cycle@v1"}, {"id": "toxic@v1"}]

    def made(cycles: str, *versions: int) -> published.Snapshot:
        own = [column | {"version": version} for column, version in zip(columns, versions, strict=True)]
        recipe = {"contradictions": {"cycles": cycles}, "own_rules": [rule], "own_columns": own}
        return published.Snapshot(Path(), {"recipe": recipe, "rules": rules, "evaluation_sets": []})

    assert dict(causes(made("keep", 1, 1), made("drop", 2, 2))) == {
        "preference_cycle@v1": "preference_cycle@v1 has other settings: cycles",
        "toxic@v1": "toxic@v1 has other settings: column toxicity",
    }
