"""Whose national phone numbers are found follows from the settings."""

from collections.abc import Iterator

import pytest

from ingest import redact
from ingest.errors import SettingsError
from ingest.redact import Placeholders
from ingest.settings import REGIONS, Redaction

TEXT = "Berlin 030 901820131, Boston 617-555-0135, Toronto 416-555-0135, Vilnius (8 5) 261 2345; +49 30 901820131"

CASES = [
    # name, regions, numbers that are left
    ("the default", REGIONS, {"(8 5) 261 2345"}),
    ("one", ("DE",), {"617-555-0135", "416-555-0135", "(8 5) 261 2345"}),
    ("Canada shares the plan of the United States", ("CA",), {"030 901820131", "(8 5) 261 2345"}),
    ("none", (), {"030 901820131", "617-555-0135", "416-555-0135", "(8 5) 261 2345"}),
]
NATIONAL = ("Berlin 030 901820131", "617-555-0135", "416-555-0135", "(8 5) 261 2345")


@pytest.fixture(autouse=True)
def defaults() -> Iterator[None]:
    yield
    redact.use(Redaction())


@pytest.mark.parametrize(("regions", "left"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_regions(regions: tuple[str, ...], left: set[str]) -> None:
    redact.use(Redaction(regions=regions))
    redacted = Placeholders().text(TEXT)
    numbers = [number.removeprefix("Berlin ") for number in NATIONAL]
    assert {number for number in numbers if number in redacted} == left
    assert "+49" not in redacted  # numbers with their country's code, and announced ones, always are found
    assert Placeholders().text("phone 030 901820131") == "phone <PHONE_1>"


def test_a_region_without_a_plan() -> None:
    with pytest.raises(SettingsError, match=r"redaction\.regions holds XX, for which there is no numbering plan"):
        redact.use(Redaction(regions=("DE", "XX")))
