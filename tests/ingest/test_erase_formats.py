"""One user in every format of docs/formats.md, erased: her rows are gone whatever logged them, and stay gone."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

from ingest import redact
from ingest.erase import erase
from ingest.pseudonyms import Pseudonyms
from tests.ingest.test_erase import contents, tables

FORMATS = (Path(__file__).resolve().parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")


def of_ann(value: Any) -> Any:
    """Return the record with ann in every place that names a user."""
    if isinstance(value, list):
        return [of_ann(item) for item in value]
    if not isinstance(value, dict):
        return value
    named = {}
    for key, item in value.items():
        here = key in redact.USER_KEYS and isinstance(item, str | int)
        named[key] = "ann" if here else of_ann(item)
        if key in ("user", "rater") and isinstance(item, dict) and "id" in item:
            named[key] = {**of_ann(item), "id": "ann"}
    return named


def test_ann_is_erased_from_every_format(workspace: Any) -> None:
    """Each example becomes a log of its own; its texts are too short to look for, her pseudonym is not."""
    examples = [line for line in FORMATS.splitlines() if line.startswith(("{", "["))]
    for number, line in enumerate(examples):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        (workspace.logs / f"{number:03d}.jsonl").write_text(json.dumps(of_ann(record)) + "\n")
    workspace.run()
    name = str(Pseudonyms(workspace.settings.pseudonym_key).of("ann"))
    before = tables(workspace)
    theirs = [row for row in before["interactions"] if row["user_id"] == name]
    given = [row for row in before["feedback"] if row["rater_id"] == name]
    readers = {re.sub("@.*", "", row["reader"]) for row in (*theirs, *given)}
    assert readers >= {"langfuse", "mlflow_traces", "open_webui", "openinference", "winnow"}
    done = erase(workspace.settings, user="ann")
    assert done.removed["interactions"] >= len(theirs)
    after = tables(workspace)
    assert [path for path, text in contents(workspace.root) if name in text] == []
    assert all(row in before["interactions"] for row in after["interactions"])
    shutil.rmtree(workspace.settings.lake)
    assert workspace.run().skipped()["erased"] >= len(theirs)
    # Where two examples state one id, the lake kept the first, and now it learns that the other was ann's.
    again = tables(workspace)
    assert all(row in after[table] for table in ("interactions", "feedback", "triples") for row in again[table])
    assert [path for path, text in contents(workspace.root) if name in text] == []
