"""The gate: each expectation can fail, says what it saw and what to do, and then nothing is published."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser

from curate import expectations
from curate.decontaminate import CONTAMINATED
from curate.expectations import LAKE, NOTHING_WRONG, Finding
from curate.recipe import Gate, Recipe, Split
from curate.statements import statement
from ingest.errors import GateError
from ingest.schema import CURATED, DROPPED, TRIPLE

from .conftest import NOON, Row, make_triple, make_workspace, varied

GOOD: dict[str, float | None] = {
    "curated_rows": 100,
    **dict.fromkeys(NOTHING_WRONG, 0),
    "train_rows": 80,
    "validation_rows": 10,
    "test_rows": 10,
    "chosen_longer": 0.5,
    "agreement": 0.9,
}
GOOD_LAKE: dict[str, float | None] = {"triples": 100, **dict.fromkeys(LAKE, 0)}


def failed(metrics: dict[str, float | None], recipe: Recipe) -> list[str]:
    findings = expectations.judge({"curated": (metrics, expectations.expectations(recipe, metrics))})
    return [finding.expectation.metric for finding in findings if not finding.success]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"curated_rows": 19}, ["curated_rows"]),
        ({"curated_rows": 20}, []),
        *(({metric: 1}, [metric]) for metric in NOTHING_WRONG),
        ({"unaccounted": -1}, ["unaccounted"]),
        ({"train_rows": 0}, ["train_rows"]),
        ({"validation_rows": 0}, ["validation_rows"]),
        ({"test_rows": 0, "chosen_longer": 0.91}, ["test_rows", "chosen_longer"]),
        ({"chosen_longer": 0.09}, ["chosen_longer"]),
        ({"chosen_longer": 0.9}, []),
        ({"chosen_longer": None}, []),
        ({"agreement": 0.49}, ["agreement"]),
        ({"agreement": None}, []),
    ],
    ids=str,
)
def test_judge(change: dict[str, float | None], expected: list[str]) -> None:
    assert failed(GOOD | change, Recipe()) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [({}, []), ({"triples": 0}, ["triples"]), *(({metric: 1}, [metric]) for metric in LAKE)],
    ids=str,
)
def test_judge_the_lake(change: dict[str, float | None], expected: list[str]) -> None:
    findings = expectations.judge({"lake": (GOOD_LAKE | change, expectations.lake_expectations())})
    assert [finding.expectation.metric for finding in findings if not finding.success] == expected


@pytest.mark.parametrize(
    ("change", "metric", "value"),
    [
        ({}, "triples", 3),
        ({"prompt_group": None}, "lake_without_hash", 1),
        ({"n_agree": 2, "n_votes": 1}, "lake_more_agree_than_vote", 1),
        ({"weight": -0.5}, "lake_impossible_weights", 1),
        ({"weight": float("inf")}, "lake_impossible_weights", 1),
        ({"rejected_logprob": 0.5}, "lake_impossible_logprobs", 1),
        ({"first_time": NOON + timedelta(seconds=1)}, "lake_reversed_times", 1),
    ],
)
def test_measure_the_lake(change: Row, metric: str, value: float) -> None:
    rows = varied(3)
    connection = duckdb.connect()
    connection.register("triples", pa.Table.from_pylist([*rows[:2], rows[2] | change], schema=TRIPLE))
    metrics = expectations.measure_lake(connection)
    assert metrics == {"triples": 3} | dict.fromkeys(LAKE, 0) | {metric: value}
    connection.close()


def test_a_split_without_a_share_may_be_empty() -> None:
    recipe = Recipe(split=Split(validation=0, test=0.5))
    assert failed(GOOD | {"validation_rows": 0}, recipe) == []
    assert failed(GOOD | {"test_rows": 0}, recipe) == ["test_rows"]


def published(row: Row, **columns: object) -> Row:
    """A row of curated.parquet."""
    extra = {"split": "train", "cluster_id": row["prompt_group"], "chosen_chars": 3, "rejected_chars": 2}
    return {**dict.fromkeys(CURATED.names), **row, **extra, **columns}


BASE = [published(row) for row in varied(3)]


@pytest.mark.parametrize(
    ("rows", "drops", "metric", "value"),
    [
        (BASE, [], "unaccounted", 1),
        ([*BASE, BASE[0]], [], "repeated_ids", 1),
        ([*BASE, published(make_triple(chosen=" "))], [], "empty_sides", 1),
        ([*BASE, published(make_triple(chosen="NO"))], [], "identical_pairs", 1),
        ([*BASE, published(make_triple()), published(make_triple(chosen="no", rejected="yes"))], [],
         "contradictory_pairs", 1),
        ([*BASE, published(make_triple(), split="test", cluster_id=BASE[0]["cluster_id"])], [],
         "groups_in_two_splits", 1),
        ([*BASE, published(make_triple(), split=None)], [], "groups_in_two_splits", 1),
        (BASE, [(BASE[0]["triple_id"], True)], "kept_and_dropped", 1),
        (BASE, [("b2:x", False), ("b2:x", False)], "drops_without_first", 1),
        ([*BASE, published(make_triple(), chosen_chars=1), published(make_triple("A?"), chosen_chars=2)], [],
         "chosen_longer", 0.75),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_measure_reads_the_staged_files(
    tmp_path: Path, rows: list[Row], drops: list[tuple[str, bool]], metric: str, value: float
) -> None:
    """Faults planted in the files themselves; 3 longer, 1 shorter and 1 even make 3 / 4 = 0.75."""
    pq.write_table(pa.Table.from_pylist(rows, schema=CURATED), tmp_path / "curated.parquet")
    ledger = [{"triple_id": key, "rule": "r@v1", "first": first} for key, first in drops]
    pq.write_table(pa.Table.from_pylist(ledger, schema=DROPPED), tmp_path / "dropped.parquet")
    pq.write_table(CONTAMINATED.empty_table(), tmp_path / "decontaminated.parquet")
    connection = duckdb.connect()
    connection.execute(statement("features.sql").split("CREATE TEMP TABLE")[0])
    triples = len({row["triple_id"] for row in rows}) + (metric == "unaccounted")
    found = expectations.measure(connection, tmp_path, triples)
    assert found[metric] == value


def test_failed_gate_publishes_nothing_and_says_what_to_do(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, varied(60))
    with pytest.raises(GateError) as caught:
        workspace.curate(Recipe(gate=Gate(min_rows=61, chosen_longer_max=0.4, chosen_longer_min=0.3)))
    message = str(caught.value)
    assert message.startswith("Nothing was published: 2 of 22 expectations failed.")
    assert re.search(r"\n  curated_rows: 60, expected at least 61\. Collect or label more", message)
    assert re.search(r"\n  chosen_longer: 0\.\d{3}, expected 0\.3 to 0\.4\. Where length decides", message)
    assert [path.name for path in workspace.settings.curated.iterdir()] == [".lock"]


def test_failing_rows_are_shown(tmp_path: Path) -> None:
    """Two triples of one cluster in two splits, and five of the seven pairs on which votes disagree most."""
    rows = [published(row) for row in varied(10)]
    for row in rows[3:]:
        row |= {"n_votes": 3, "n_agree": 2}
    rows[1] |= {"cluster_id": rows[0]["cluster_id"], "split": "test"}
    pq.write_table(pa.Table.from_pylist(rows, schema=CURATED), tmp_path / "curated.parquet")
    pq.write_table(DROPPED.empty_table(), tmp_path / "dropped.parquet")
    pq.write_table(CONTAMINATED.empty_table(), tmp_path / "decontaminated.parquet")
    connection = duckdb.connect()
    connection.register("triples", pa.Table.from_pylist(varied(10), schema=TRIPLE))
    connection.execute(statement("features.sql").split("CREATE TEMP TABLE")[0])
    failed = [
        Finding(expectations.Expectation(metric, 0, 0, ""), 1, False)
        for metric in ("groups_in_two_splits", "agreement")
    ]
    found = expectations.failing_rows(connection, tmp_path, failed)
    assert found["groups_in_two_splits"] == sorted(row["triple_id"] for row in rows[:2])
    assert found["agreement"] == sorted(row["triple_id"] for row in rows[3:])[:5]
    connection.close()


def test_failed_gate_leaves_the_last_snapshot_as_it_is(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, varied(60))
    good = workspace.curate()
    before = snapshot_of(workspace.settings.curated)
    with pytest.raises(GateError):
        workspace.curate(Recipe(gate=Gate(min_rows=61)))
    assert snapshot_of(workspace.settings.curated) == before
    assert (workspace.settings.curated / "latest").resolve() == good.folder


def snapshot_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_great_expectations_is_imported_only_when_the_gate_runs() -> None:
    """Seconds of import, which `--help` and a wrong recipe must not cost; nor may anything connect."""
    code = "import sys, curate.curation; assert not {'great_expectations', 'pandas'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_socket_is_opened(no_socket: Callable[[], list[object]]) -> None:
    metrics = dict(GOOD)
    suites = {"curated": (metrics, expectations.expectations(Recipe(), metrics))}
    findings: list[Finding] = expectations.judge(suites)
    assert all(finding.success for finding in findings)
    assert no_socket() == []


@pytest.fixture
def no_socket(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[object]]:
    """Record and refuse every attempt to connect."""
    import socket

    attempts: list[object] = []

    def refuse(self: object, address: object) -> None:
        attempts.append(address)
        raise OSError("no network in tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return lambda: attempts


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = make_workspace(tmp_path_factory.mktemp("pages"), varied(60)).curate().folder
    return [folder / "gate-lake.html", folder / "gate-curated.html"]


def test_pages_are_great_expectations_own_and_stand_alone(pages: list[Path]) -> None:
    """No script, no address, no asset, and nothing but class of all attributes."""
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"https?:", text)
        assert not re.findall(r"(?i)<(?:script|link|img|iframe|object|source|a)\b|@import|url\(|javascript:", text)
        body = text[text.index("<body>") :]
        assert set(re.findall(r"<\w+\s+([\w-]+)=", body)) == {"class"}
    lake, curated = (page.read_text(encoding="utf-8") for page in pages)
    assert "Evaluated Expectations" in curated
    for metric in ("curated_rows", *NOTHING_WRONG, "chosen_longer"):
        assert metric in curated
    assert "Expected 0.1 to 0.9. Where length decides, a model learns length." in curated
    assert all(metric in lake for metric in LAKE)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_chromium_draws_the_pages_offline(chromium: Browser, pages: list[Path], scheme: str, width: int) -> None:
    dark = scheme == "dark"
    context = chromium.new_context(
        color_scheme="dark" if dark else "light", viewport={"width": width, "height": 900}, offline=True
    )
    problems: list[str] = []
    for page_file in pages:
        page = context.new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("request", lambda request: None if request.url.startswith("file:") else problems.append(request.url))
        page.goto(page_file.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.get_by_text("Succeeded").first.is_visible()
        if folder := os.environ.get("WINNOW_SCREENSHOTS"):
            page.screenshot(path=f"{folder}/{page_file.stem}-{scheme}-{width}.png", full_page=True)
    assert problems == []
    context.close()
