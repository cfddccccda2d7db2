"""A new cluster's split is a hash of seed and smallest group; what was published once stays where it is."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import snapshot
from curate.recipe import Gate, Recipe, Split
from ingest.errors import ContractError

from .conftest import Judged, Row, judge_triples, make_triple, make_workspace, varied


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


def asked(words: str, group: str) -> Row:
    return make_triple(words, f"Warm {group}", f"Cold {group}", prompt_group=f"b2:{group}")


def chain() -> tuple[Row, Row, Row]:
    """Three prompts of 30 words: the middle one is like both others (0.73 or more), which are not like each other."""
    words = [f"word{n}" for n in range(30)]
    left = ["left", "left", *words[2:]]
    right = [*words[:-4], "right", "right", "right", "right"]
    return asked(" ".join(left), "left"), asked(" ".join(words), "middle"), asked(" ".join(right), "right")


def split_of(judged: Judged, row: Row) -> str:
    return str(judged.curated[row["triple_id"]]["split"])


def test_prompts_that_are_alike_are_one_cluster() -> None:
    left, middle, right = chain()
    together = judge_triples([left, middle, right, *varied(2)])
    assert {together.curated[row["triple_id"]]["cluster_id"] for row in (left, middle, right)} == {"b2:left"}
    apart = judge_triples([left, right, *varied(2)])
    assert [apart.curated[row["triple_id"]]["cluster_id"] for row in (left, right)] == ["b2:left", "b2:right"]


def test_a_system_message_does_not_make_prompts_alike() -> None:
    system = {"role": "system", "content": "word " * 200, "tool_calls": None, "tool_call_id": None, "name": None}
    rows = [
        make_triple([system, *make_triple(f"Question {n}?")["prompt"]], f"Answer {n}, indeed", f"Reply {n}.")
        for n in range(4)
    ]
    judged = judge_triples(rows)
    assert len({row["cluster_id"] for row in judged.curated.values()}) == 4


@pytest.mark.parametrize("known", ["train", "validation", "test"])
def test_a_new_group_joins_its_cluster_where_that_is(known: str) -> None:
    left, middle, _ = chain()
    judged = judge_triples([left, middle, *varied(2)], known={"b2:left": known})
    assert split_of(judged, left) == split_of(judged, middle) == known


def test_what_would_bridge_two_splits_is_dropped() -> None:
    left, middle, right = chain()
    judged = judge_triples([left, middle, right, *varied(2)], known={"b2:left": "train", "b2:right": "test"})
    assert judged.dropped == {middle["triple_id"]: [("bridges_splits", True, "like prompts in test and train")]}
    assert (split_of(judged, left), split_of(judged, right)) == ("train", "test")
    assert {row["cluster_id"] for row in judged.curated.values()} >= {"b2:left", "b2:right"}


def test_snapshots_remember_where_groups_went(tmp_path: Path) -> None:
    """The middle prompt comes a day later: the others stay where they were, wherever its cluster's name would go."""
    left, middle, right = chain()
    recipe = Recipe(split=Split(validation=0.3, test=0.3), gate=Gate(min_rows=1))
    workspace = make_workspace(tmp_path, [left, right, *varied(60)])
    splits = []
    for rows in ([left, right, *varied(60)], [left, middle, right, *varied(80)], [left, middle, right, *varied(80)]):
        workspace.put("triples", rows)
        table = pq.read_table(workspace.curate(recipe).folder / "curated.parquet").to_pylist()
        splits.append({row["prompt_group"]: row["split"] for row in table})
    assert splits[1] == splits[2]
    assert splits[1] | splits[0] == splits[1]
    first = {splits[0]["b2:left"], splits[0]["b2:right"]}
    assert ("b2:middle" in splits[1]) == (len(first) == 1)
    remembered = tmp_path / "curated" / "splits.parquet"
    assert remembered.stat().st_mode & 0o777 == 0o600
    assert dict(pq.read_table(remembered).to_pandas().itertuples(index=False)) == splits[0] | splits[1]
    other = Recipe(split=Split(seed=5, validation=0.3, test=0.3), gate=Gate(min_rows=1))
    again = pq.read_table(workspace.curate(other).folder / "curated.parquet").to_pylist()
    assert {row["prompt_group"] for row in again} >= {"b2:left", "b2:middle", "b2:right"}
    assert len({row["split"] for row in again if row["prompt_group"] in ("b2:left", "b2:middle", "b2:right")}) == 1


def test_a_record_of_splits_that_is_something_else(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, varied(60))
    (tmp_path / "curated").mkdir()
    (tmp_path / "curated" / "splits.parquet").write_text("not Parquet")
    with pytest.raises(ContractError, match="is not the record of splits that Winnow keeps there"):
        workspace.curate()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("b2:1", "dev")], "it holds splits other than train, validation, test"),
        ([("b2:1", None)], "it holds splits other than train, validation, test"),
        ([("b2:1", "train"), ("b2:1", "test")], "it holds a prompt group twice"),
    ],
    ids=["no such split", "no split", "twice"],
)
def test_a_record_of_splits_that_somebody_edited(tmp_path: Path, rows: list[tuple[str, str | None]], said: str) -> None:
    workspace = make_workspace(tmp_path, varied(60))
    workspace.curate()
    path = tmp_path / "curated" / "splits.parquet"
    edited = pa.table({"prompt_group": [row[0] for row in rows], "split": [row[1] for row in rows]})
    pq.write_table(edited.replace_schema_metadata(pq.read_schema(path).metadata), path)
    with pytest.raises(ContractError, match=said):
        workspace.curate()


def test_a_run_killed_while_it_publishes_has_remembered_its_splits(tmp_path: Path) -> None:
    """The next run, with new data, must know what the killed one may have published."""
    workspace = make_workspace(tmp_path, varied(60))

    def killed(stage: Path, _place: Path) -> None:
        assert stage.is_dir()
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            workspace.curate()
    assert pq.read_table(tmp_path / "curated" / "splits.parquet").num_rows == 60
    assert workspace.curate().published


def test_what_bridges_two_splits_stands_in_for_no_near_duplicate() -> None:
    """The middle triple is the best of two that are alike; as it is dropped, the other one stays."""
    left, middle, right = chain()
    said = {"chosen": middle["chosen"], "rejected": middle["rejected"]}
    said |= {"chosen_hash": middle["chosen_hash"], "rejected_hash": middle["rejected_hash"], "n_agree": 1}
    judged = judge_triples(
        [left | said, middle | {"n_agree": 5}, right, *varied(2)], known={"b2:left": "train", "b2:right": "test"}
    )
    assert {key: first for key, ((first, _, _),) in judged.dropped.items()} == {middle["triple_id"]: "bridges_splits"}
    assert split_of(judged, left) == "train"
