"""Recall and precision on 2,000 planted texts, whose truth is made without our patterns (bench/planted.py)."""

import json

import pytest

from bench import planted
from bench.redact import Quality, measure
from ingest.redact import KINDS, Placeholders


@pytest.fixture(scope="module")
def quality() -> Quality:
    return measure(planted.texts())


@pytest.mark.parametrize("kind", planted.PLANTERS)
def test_of_each_kind_99_of_100_are_found(quality: Quality, kind: str) -> None:
    assert quality.planted[kind] >= 100
    assert quality.recall(kind) >= 0.99, [text for text in quality.missed if text.startswith(kind)]


def test_little_else_is_redacted(quality: Quality) -> None:
    assert quality.spans.total() > 1500
    assert quality.precision() >= 0.99, quality.mistaken
    assert set(quality.spans) == {kind.name for kind in KINDS}


def test_the_planted_set_is_what_it_says() -> None:
    """2,000 texts, the same at every call; a third of them hold nothing; most are no duplicates."""
    texts = planted.texts()
    assert texts == planted.texts()
    assert len(texts) == planted.TEXTS == 2000
    assert sum(not text.planted for text in texts) == 667  # every third, from the first on
    assert len({text.text for text in texts}) > 1900


def test_what_a_key_of_json_says_counts() -> None:
    call = {"phone": "5552671999", "mobileNumber": 5552671998, "password": "q8W2e6R4t1", "note": "5552671999", "pin": 1}
    redacted = json.loads(Placeholders().json_text(json.dumps(call | {"mail": "a@example.com"})))
    assert redacted == {
        "phone": "<PHONE_1>",
        "mobileNumber": "<PHONE_2>",
        "password": "<SECRET_1>",
        "note": "5552671999",
        "pin": 1,
        "mail": "<EMAIL_1>",
    }
