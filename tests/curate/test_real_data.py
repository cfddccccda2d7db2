"""HH-RLHF and Tulu's human evaluation, from their files to a snapshot. The truth is ../shared/data/SOURCES.md."""

import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import decontaminate
from curate import recipe as recipes
from curate.curation import Curation, curate
from curate.statements import statement
from ingest import settings
from ingest.run import run
from ingest.schema import TRIPLE

from .conftest import make_triple

pytestmark = pytest.mark.real_data

SETS = {
    "hh": "preferences/hh-rlhf-harmless-base-test.jsonl.gz",
    "tulu": "preferences/tulu-human-eval/eval_annotations_tulu_1.parquet",
    "processed": "preferences/llmbar/Processed-*.json",
    "adversarial": "preferences/llmbar/Adversarial-*.json",
    "natural": "preferences/llmbar/Natural.json",
    "oasst": "preferences/oasst-en_100_tree.jsonl",
    "dpo_en": "preferences/llamafactory/dpo_en_demo.json",
    "dpo_zh": "preferences/llamafactory/dpo_zh_demo.json",
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


def against_mt_bench(shared_data: Path) -> recipes.Recipe:
    one = recipes.EvaluationSet(name="mt_bench", path=str(shared_data / "evalsets" / "mt_bench_question.jsonl"))
    return FACTS.model_copy(update={"decontamination": recipes.Decontamination(sets=(one,))})


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


@pytest.mark.parametrize(("name", "items", "triples"), [("processed", 75, 202 - 5), ("tulu", 2, 4)])
def test_mt_bench_prompts(name: str, items: int, triples: int, shared_data: Path, tmp_path: Path) -> None:
    """75 different prompts of LLMBar-processed are MT-Bench's, in 202 rows, 5 of them there twice; 2 are Tulu's."""
    done = curated(name, shared_data, tmp_path, against_mt_bench(shared_data))
    rows = pq.read_table(done.folder / "decontaminated.parquet").to_pylist()
    whole = [row for row in rows if (row["side"], row["kind"]) == ("prompt", "exact")]
    assert len({(row["record"], row["part"]) for row in whole}) == items
    assert len({row["triple_id"] for row in whole}) == triples
    assert done.counts.by_reason["evaluation_overlap"].holds_for == len({row["triple_id"] for row in rows})


@pytest.mark.parametrize(
    ("name", "triples", "expected"),
    [
        # The reader leaves out the row of LLMBar-processed whose sides are one text, and pairs its 5 swapped rows once.
        ("processed", 466 - 5 - 1, {"empty_side": 1}),
        ("adversarial", 319, {"identical_pair": 1}),
        ("natural", 100, {}),
        ("oasst", 754, {}),
        ("dpo_en", 300 - 5, {}),
        ("dpo_zh", 300 - 11, {}),
    ],
)
def test_empty_identical_and_contradictory(
    name: str, triples: int, expected: dict[str, int], shared_data: Path, tmp_path: Path
) -> None:
    """SOURCES.md's table: an empty side, chosen = rejected once normalised, duplicates, and no contradictory group."""
    found = curated(name, shared_data, tmp_path, FACTS)
    assert found.counts.triples == triples
    counted = dropped(found)
    counted.pop("near_duplicate", None)  # which SOURCES.md does not count
    assert counted == expected


@pytest.mark.parametrize(
    ("path", "original", "ngram", "known", "caught"),
    [
        ("rephrase_gsm8k.jsonl", "gsm8k_test.jsonl", 13, 0, 0),
        ("rephrase_gsm8k.jsonl", "gsm8k_test.jsonl", 10, 11, 9),
        ("rephrase_gsm8k.jsonl", "gsm8k_test.jsonl", 8, 83, 78),
        ("rephrase_gsm8k.jsonl", "gsm8k_test.jsonl", 5, 639, 636),
        ("humaneval_python.jsonl", "HumanEval.jsonl", 13, 1, 1),
    ],
)
def test_rephrased_items(path: str, original: str, ngram: int, known: int, caught: int, shared_data: Path) -> None:
    """How many rephrased items share any run of words with their own original: `known` by SOURCES.md.

    Its words keep punctuation and ours do not, so that a few runs differ.
    """
    sets = shared_data / "evalsets"
    said = [json.loads(line)["text"] for line in (sets / "rephrase" / path).read_text(encoding="utf-8").splitlines()]
    rows = [make_triple(text or "?", f"a{n}", f"b{n}") for n, text in enumerate(said)]
    one = recipes.EvaluationSet(name="e", path=str(sets / original))
    wanted = recipes.Decontamination(sets=(one,), ngram=ngram, coverage=0, reworded=1)
    with duckdb.connect() as connection:
        connection.register("triples", pa.Table.from_pylist(rows, schema=TRIPLE))
        connection.execute(statement("features.sql").split("-- Unicode form NFC")[0])  # conversation_text
        connection.execute("CREATE TEMP TABLE ledger (triple_id VARCHAR, name VARCHAR, detail VARCHAR)")
        decontaminate.find(connection, wanted, Path())
        numbers = {row["triple_id"]: n for n, row in enumerate(rows)}
        pairs = connection.execute("SELECT triple_id, record FROM contaminated WHERE side = 'prompt'").fetchall()
    assert len({key for key, record in pairs if numbers[key] == record}) == caught
    assert abs(caught - known) <= 5
