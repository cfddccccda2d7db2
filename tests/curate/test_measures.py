"""What is measured of a data set before and after: numbers worked out by hand."""

import json
from pathlib import Path

import pytest

from curate.measures import Share

from .conftest import NOON, make_triple, make_workspace, varied


def test_interval() -> None:
    """Wilson's, for 8 of 10: 0.4902 to 0.9433 (Brown, Cai and DasGupta 2001, formula 4)."""
    low, high = Share("length", "after", 10, 0.8, 0.8).interval or (0, 0)
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)
    assert Share("length", "after", 0, None, None).interval is None


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """40 plain triples, an empty one, 3 with bold on the chosen side, and 1 of weight 3 with it on the other."""
    rows = [*varied(40), make_triple("Empty?", chosen=" ", source="other")]
    rows += [make_triple(f"Bold {n}?", f"**Yes** {n}", f"Nothing {n}", chosen_model="m") for n in range(3)]
    rows += [make_triple("Plain?", "Nothing 4", "**No** 4", weight=3.0, last_time=NOON)]
    folder: Path = make_workspace(tmp_path_factory.mktemp("measures"), rows).curate().folder
    found: dict[str, object] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["measured"]
    return found


def test_styles(manifest: dict[str, object]) -> None:
    """Chosen has more bold in 3 of the 4 pairs that differ; by weight in 3 of 6."""
    shares = {(one["feature"], one["phase"]): one for one in manifest["shares"]}  # type: ignore[attr-defined]
    assert shares["bold", "after"] == {
        "feature": "bold",
        "phase": "after",
        "triples": 4,
        "share": 0.75,
        "weighted": 0.5,
    }
    assert shares["link", "after"]["share"] is None


def test_columns(manifest: dict[str, object]) -> None:
    columns = manifest["columns"]
    assert columns["source"] == [  # type: ignore[index]
        {"value": "raw", "phase": "before", "rows": 44},
        {"value": "raw", "phase": "after", "rows": 44},
        {"value": "other", "phase": "before", "rows": 1},
    ]
    assert {row["value"] for row in columns["model"]} == {"unknown", "m"}  # type: ignore[index]
    assert (manifest["votes"], manifest["agree"]) == (44, 44)
