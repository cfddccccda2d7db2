"""Quality as a whole: from verdicts in a store to the report, and to the file that curation reads."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from app import gold, opinions, quality
from app.candidates import load
from app.store import Store, open_store
from app.voting import Desk
from ingest.pseudonyms import Pseudonyms
from ingest.settings import Labels
from tests.app.conftest import candidate, write_candidates

LABELS = Labels(annotators_per_pair=2, gold_share=0.5)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Ada is always right on six gold items, bob never; on three of twelve pairs they disagree."""
    folder = tmp_path_factory.mktemp("quality")
    url = f"sqlite:///{folder}/labels.db"
    store = open_store(url)
    rows = [candidate(n) for n in range(12)]
    load(store, write_candidates(folder / "c.parquet", rows), k=2)
    items = [{"prompt": f"{n} + {n}?", "better": str(2 * n), "worse": "cheese"} for n in range(1, 7)]
    (folder / "gold.jsonl").write_text("\n".join(map(json.dumps, items)))
    gold.load(store, folder / "gold.jsonl", "root")
    disputed = {row["pair_id"] for row in rows[:3]}
    for name in ("ada", "bob"):
        desk = Desk(store, name, LABELS)
        while showing := desk.next():
            right = "right" if showing.left[0]["content"] == "cheese" else "left"
            other = {"left": "right", "right": "left"}[right]
            of_a = "left" if showing.order == "ab" else "right"
            of_b = {"left": "right", "right": "left"}[of_a]
            if showing.purpose == "gold":
                verdict = right if name == "ada" else other
            else:
                verdict = of_b if name == "bob" and showing.pair_id in disputed else of_a
            desk.vote(showing, verdict)
    store.engine.dispose()
    return url


@pytest.fixture
def said(url: str) -> pl.DataFrame:
    store: Store = open_store(url)
    found = opinions.read(store)
    store.engine.dispose()
    return found


def test_the_report(said: pl.DataFrame) -> None:
    """9 of 12 the same. Outcomes: 21 a, 3 b; chance (21/24)^2 + (3/24)^2 = 0.78125; (0.75 - 0.78125) / 0.21875."""
    found = quality.report(said)
    assert found.agreement.pairs == 12
    assert found.agreement.same == pytest.approx(0.75)
    assert found.agreement.fleiss == pytest.approx(-1 / 7)
    assert found.cohen == {("ada", "bob"): pytest.approx(0.0)}
    assert [(meter.annotator, meter.gold.hits, meter.gold.of) for meter in found.meters] == [
        ("ada", 6, 6),
        ("bob", 0, 6),
    ]
    assert set(found.reliability) == {"ada", "bob"}
    assert sum(quality.by_day(said)["verdicts"]) == 36
    ((_, week),) = quality.by_week(said)
    assert week == found.agreement


def test_the_file_for_curation_holds_counts_and_no_names(said: pl.DataFrame, tmp_path: Path) -> None:
    pseudonyms = Pseudonyms(tmp_path / "pseudonym.key")
    rows = set(quality.reliability_file(said, pseudonyms).rows())
    assert rows == {(pseudonyms.of("ada"), 6, 0), (pseudonyms.of("bob"), 0, 6)}


def test_the_command_prints_one_line_and_writes_the_file(url: str, tmp_path: Path) -> None:
    (tmp_path / "winnow.toml").write_text(f'[labels]\nurl = "{url}"\n')
    command = [sys.executable, "-m", "app", "quality", "--output", "data/reliability.parquet"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(done.stdout)["agreement"]["pairs"] == 12
    assert pl.read_parquet(tmp_path / "data/reliability.parquet").columns == ["rater_id", "n_right", "n_wrong"]
    assert "ada" not in (tmp_path / "data/reliability.parquet").read_bytes().decode("latin-1")
