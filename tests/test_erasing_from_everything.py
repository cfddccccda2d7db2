"""A user of the sample is erased from everything at once: lake, label store, snapshots, and a training run is named.

The sample is ingested and curated, an annotator judges an answer to the user, both are done again with that verdict,
and a run folder says that it was trained on the result. After `erase` no byte beside the raw log and the ledger holds
an id or a text that is the user's alone; a lake made anew from the raw log holds none either.
"""

import gzip
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from app.candidates import load
from app.store import Event, append, open_store
from curate import recipe as recipes
from curate.curation import curate
from ingest import settings
from ingest.erase import erase
from ingest.lake import Lake
from ingest.pseudonyms import Pseudonyms
from ingest.run import run

WHY = "a rationale with a violet submarine in it"


@pytest.fixture
def workspace(sample: Path, tmp_path: Path) -> settings.Settings:
    """A copy of the sample with its last day alone, ingested."""
    shutil.copytree(
        sample, tmp_path / "data" / "sample", ignore=shutil.ignore_patterns("model", "truth.json", "2026-10-[012]*")
    )
    found = settings.load(tmp_path / "data" / "sample" / "winnow.toml")
    run(found)
    return found


def curated(workspace: settings.Settings) -> Path:
    return curate(workspace, recipes.load(workspace.root / "recipe.toml"), lambda _stage: None).folder


def logged(workspace: settings.Settings) -> Iterator[dict[str, Any]]:
    """Yield the interactions of the raw log."""
    for path in sorted((workspace.root / "log").iterdir()):
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for line in raw.splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and record.get("kind") == "interaction":
                yield record


def texts(record: dict[str, Any]) -> set[str]:
    """Return what was asked and answered last in a logged call; plain texts, which look the same in every file."""
    asked = record["request"]["messages"][-1]["content"]
    answers = [choice["message"]["content"] for choice in record["response"].get("choices", ())]
    return {text for text in (asked, *answers) if isinstance(text, str) and text.isascii() and len(text) > 40}


def holding(root: Path, needles: set[str]) -> set[tuple[str, str]]:
    """Return (file, needle) for all that any file beside the raw log and the ledger holds, Parquet decompressed."""
    found = set()
    for path in root.rglob("*"):
        if path.is_file() and path.parent.name != "log" and path.name != "subjects.jsonl":
            content = path.read_bytes().decode("utf-8", errors="replace")
            if path.suffix == ".parquet":
                content += json.dumps(pq.ParquetFile(path).read().to_pylist(), default=str, ensure_ascii=False)
            found |= {(path.name, needle) for needle in needles if needle in content}
    return found


def test_of_an_erased_user_nothing_is_left_anywhere(workspace: settings.Settings, tmp_path: Path) -> None:
    root = workspace.lake.parents[1]
    first = curated(workspace)
    pairs = pq.read_table(first / "candidates.parquet").to_pylist()
    shown = {pair["interaction_a"]: pair for pair in pairs}
    rows = Lake(workspace.lake).read("interactions", ["interaction_id", "source_id", "user_id"]).to_pylist()
    served = {row["source_id"]: row for row in rows}
    votes = Lake(workspace.lake).read("triples", ["user_ids"])["user_ids"].to_pylist()
    voted = {user for users in votes for user in users}
    calls = [call for call in logged(workspace) if call.get("id") in served]
    chosen = next(
        call for call in calls
        if served[call["id"]]["interaction_id"] in shown and served[call["id"]]["user_id"] in voted
    )  # fmt: skip
    user = chosen["user_id"]
    pseudonym = str(Pseudonyms(workspace.pseudonym_key).of(user))
    theirs = [call for call in calls if call["user_id"] == user]
    said = Counter(text for call in calls for text in texts(call))
    own = {text for call in theirs for text in texts(call)}
    own = {text for text in own if said[text] == sum(text in texts(call) for call in theirs)}
    needles = own | {pseudonym, *(call["id"] for call in theirs), *(call["conversation_id"] for call in theirs)}

    # An annotator judges an answer to them; the verdict is ingested, curated, and trained on.
    store = open_store(workspace.labels.url)
    load(store, first / "candidates.parquet", k=1)
    pair = shown[served[chosen["id"]]["interaction_id"]]
    with store.writing() as connection:
        append(
            connection,
            Event(
                "e1", "2026-11-05T09:30:00+00:00", "bea", "verdict", "left", None, pair["pair_id"],
                pair["interaction_a"], pair["interaction_b"], rationale=WHY,
            ),
        )  # fmt: skip
    store.engine.dispose()
    assert run(workspace).totals()["feedback"] == 1
    second = curated(workspace)
    digest = json.loads((second / "manifest.json").read_text())["files"]["curated.parquet"]["sha256"]
    model = workspace.train.output / "demo"
    model.mkdir(parents=True)
    (model / "manifest.json").write_text(json.dumps({"data": {"curated.parquet": {"sha256": digest}}}))
    before = {name for name, _ in holding(root, needles)}
    assert {"candidates.parquet", "curated.parquet", "labels.db"} <= before
    assert {("labels.db", WHY)} == {(name, WHY) for name, _ in holding(root, {WHY}) if name == "labels.db"}

    done = erase(workspace, user=user)
    assert holding(root, needles | {WHY}) == set()
    assert set(done.withdrawn) == {first.name, second.name}
    assert [(found.run, found.snapshot) for found in done.trained_on] == [(str(model), second.name)]
    left = Lake(workspace.lake).read("interactions", ["source_id"])["source_id"].to_pylist()
    assert set(served) - set(left) == {call["id"] for call in theirs}, "nobody else's call went"

    # The raw log read again, into a lake made anew, brings none of it back.
    shutil.rmtree(workspace.lake)
    again = run(workspace).totals()
    assert again["interactions"] == len([row for row in rows if row["source_id"] in left])
    assert holding(root, needles | {WHY}) == set()
