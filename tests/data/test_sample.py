"""data/sample is what its generator makes, holds what truth.json says, and its model is the one that was logged."""

import gzip
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data.generate import deployed, faults, lines, plan, tokens, writing
from data.generate.deployment import Deployment
from data.generate.rows import Ref

MEGABYTE = 1024 * 1024


def content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


@pytest.fixture(scope="module")
def logged(sample: Path) -> dict[str, bytes]:
    return {path.name: content(path) for path in sorted((sample / "log").iterdir())}


@pytest.fixture(scope="module")
def truth(sample: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((sample / "truth.json").read_text(encoding="utf-8"))
    return value


@pytest.fixture(scope="module")
def records(logged: dict[str, bytes]) -> list[dict[str, Any]]:
    """Every line of the log that is a whole record of Winnow's, in order."""
    return list(itertools.chain.from_iterable(map(_records, logged.values())))


def _records(file: bytes) -> Iterator[dict[str, Any]]:
    for line in file.split(b"\n"):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict) and value.get("winnow") == 1 and len(line) <= faults.LINE_BYTES:
            yield value


@pytest.fixture(scope="module")
def choices(records: list[dict[str, Any]]) -> dict[Ref, dict[str, Any]]:
    """The responses that the scored model served."""
    return {
        (record["id"], choice["index"]): choice
        for record in records
        if record.get("logprob_model") == lines.SCORED_MODEL
        for choice in record["response"]["choices"]
    }


@pytest.fixture(scope="module")
def codec(sample: Path) -> tokens.Codec:
    return tokens.Codec.loaded(sample / "model")


@pytest.fixture(scope="module")
def world() -> Deployment:
    """Planted items are added while it is written, so it is written once, by `rebuilt`."""
    return plan.deployment()


@pytest.fixture(scope="module")
def rebuilt(world: Deployment, codec: tokens.Codec, choices: dict[Ref, dict[str, Any]]) -> writing.Log:
    """The log made anew, but for the log-probabilities, which another test computes."""
    logprobs = {ref: [token["logprob"] for token in c["logprobs"]["content"]] for ref, c in choices.items()}
    return writing.log(world, codec, logprobs)


def test_the_generator_makes_these_files(
    rebuilt: writing.Log, logged: dict[str, bytes], sample: Path, tmp_path: Path
) -> None:
    writing.write(rebuilt, tmp_path)
    assert sorted(logged) == sorted(rebuilt.names.values())
    for name, file in logged.items():
        assert content(tmp_path / "log" / name) == file, f"{name}: run python -m data.generate"
    assert (tmp_path / "truth.json").read_bytes() == (sample / "truth.json").read_bytes()


def test_writing_twice_gives_the_same_bytes(rebuilt: writing.Log, tmp_path: Path) -> None:
    for folder in ("first", "second"):
        writing.write(rebuilt, tmp_path / folder)
    for path in (tmp_path / "first" / "log").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / "log" / path.name).read_bytes()


def test_log_probabilities_are_those_of_the_saved_model(
    world: Deployment, codec: tokens.Codec, choices: dict[Ref, dict[str, Any]], sample: Path
) -> None:
    wanted = writing.to_score(world, codec)
    assert wanted.keys() == choices.keys()
    some = sorted(wanted)[::25]
    for ref, scored in zip(some, deployed.token_logprobs(sample / "model", [wanted[ref] for ref in some]), strict=True):
        logged = [token["logprob"] for token in choices[ref]["logprobs"]["content"]]
        assert scored == pytest.approx(logged, abs=1e-3), ref


def test_token_ids_decode_to_the_text(choices: dict[Ref, dict[str, Any]], codec: tokens.Codec) -> None:
    assert len(choices) > 1_900
    for ref, choice in choices.items():
        end = tokens.END if choice["finish_reason"] == "stop" else ""
        expected = choice["message"]["content"] + end
        assert codec.tokenizer.decode(choice["token_ids"], skip_special_tokens=False) == expected, ref
        spelled = b"".join(bytes(token["bytes"]) for token in choice["logprobs"]["content"])
        assert spelled.decode() == expected, ref


def test_log_probabilities_are_finite_and_negative(choices: dict[Ref, dict[str, Any]]) -> None:
    for choice in choices.values():
        for token in choice["logprobs"]["content"]:
            assert math.isfinite(token["logprob"])
            assert token["logprob"] <= 0


def test_the_tokenizer_library_renders_prompts_as_the_log_did(
    sample: Path, codec: tokens.Codec, world: Deployment
) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(sample / "model")
    for exchange in world.exchanges[:200]:
        messages = [{"role": role, "content": text} for role, text in exchange.messages]
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert ids == codec.prompt_ids(exchange.messages)
    assert (tokenizer.eos_token, tokenizer.pad_token, tokenizer.bos_token) == (tokens.END, tokens.PAD, None)


def test_no_text_holds_a_special_token(world: Deployment) -> None:
    spoken = [text for exchange in world.exchanges for _, text in exchange.messages]
    spoken += [draft.text for exchange in world.exchanges for draft in exchange.drafts]
    spoken += [event.text for event in world.events if event.text]
    assert not [text for text in spoken for token in tokens.SPECIAL if token in text]


def test_sizes(sample: Path) -> None:
    sizes = {path: path.stat().st_size for path in sample.rglob("*") if path.is_file()}
    assert sum(sizes.values()) < 8 * MEGABYTE
    assert sum(size for path, size in sizes.items() if path.parent.name == "model") <= 3 * MEGABYTE


def test_every_line_is_accounted_for(logged: dict[str, bytes], truth: dict[str, Any]) -> None:
    for name, file in logged.items():
        counts = truth["files"][name]
        assert counts["lines"] == file.count(b"\n") + (not file.endswith(b"\n"))
    for counts in (*truth["files"].values(), truth["total"]):
        parts = ("interactions", "feedback", "quarantined", "skipped")
        assert counts["records"] == sum(counts[part] for part in parts)
        for part in ("quarantined", "skipped"):
            assert counts[part] == sum(counts[f"{part}_by_reason"].values())
    total = truth["total"]
    for key in ("lines", "records", "interactions", "feedback", "quarantined", "skipped"):
        assert total[key] == sum(counts[key] for counts in truth["files"].values())


def test_records_seen_without_a_reader(records: list[dict[str, Any]], truth: dict[str, Any]) -> None:
    """Counted by hand from the lines: distinct ids, one interaction a choice."""
    broken = {"int-8", "fb-8"}
    whole = [r for r in records if isinstance(r.get("id"), str) and not any(r["id"].startswith(b) for b in broken)]
    served = {
        (r["id"], choice["index"])
        for r in whole
        if r["kind"] == "interaction" and r["status"] == 200
        for choice in r["response"]["choices"]
    }
    said = {(r["id"], r["revision"]) for r in whole if r["kind"] == "feedback"}
    assert len(served) == truth["total"]["interactions"]
    assert len(said) == truth["total"]["feedback"]


PLANTED = {
    "agreeing_votes": 20,
    "blank": 5,
    "both_bad": 40,
    "changed_thumb": 8,
    "changed_vote": 20,
    "contradictory_votes": 30,
    "cut_off_response": 24,
    "edit": 130,
    "edit_unchanged": 3,
    "empty_response": 16,
    "flipped_vote": 81,
    "http_error": 32,
    "identical_pair_exactly": 5,
    "identical_pair_normalised": 6,
    "late_interaction": 6,
    "lone_thumb": 280,
    "majority_votes": 10,
    "malformed": 35,
    "near_duplicate": 60,
    "orphan_feedback": 6,
    "over_long_response": 10,
    "rating": 120,
    "regeneration": 260,
    "retracted_thumb": 8,
    "retracted_vote": 15,
    "same_root": 24,
    "same_text_other_id": 40,
    "tie": 62,
    "two_choices": 80,
}
"""Kind of planted item -> how many there are."""


def test_everything_is_planted(truth: dict[str, Any]) -> None:
    counts = {name: len(items) for name, items in truth["planted"].items()}
    assert counts | PLANTED == counts
    assert counts.keys() - PLANTED.keys() == {"personal_data", "shipped_twice"}
    assert counts["personal_data"] >= 75
    assert counts["shipped_twice"] >= 40


def test_planted_items_stand_where_truth_says(logged: dict[str, bytes], truth: dict[str, Any]) -> None:
    split = {name: file.split(b"\n") for name, file in logged.items()}
    for name, items in truth["planted"].items():
        for item in items:
            assert item["at"], (name, item)
            places = [place.rsplit(":", 1) for place in item["at"]]
            found = [split[file][int(number) - 1] for file, number in places]
            if "parts" in item:
                assert any("".join(item["parts"]).encode() in line for line in found), (name, item)
            elif name == "blank":
                assert not any(line.strip() for line in found)
            elif name != "malformed":
                assert all(line.startswith(b'{"winnow":1,') for line in found), (name, item)


def test_every_reason_for_quarantine_is_planted(truth: dict[str, Any]) -> None:
    planted = Counter(item["reason"] for item in truth["planted"]["malformed"])
    assert dict(planted) == truth["total"]["quarantined_by_reason"]
    expected = {"not_json", "not_utf8", "not_an_object", "torn", "oversized", "unknown_format"}
    assert set(planted) == expected | {"missing_field", "wrong_type", "bad_value"}


def test_shape_of_the_deployment(truth: dict[str, Any], records: list[dict[str, Any]]) -> None:
    assert 3_900 <= truth["total"]["interactions"] <= 4_200
    assert truth["users"]["total"] == 300
    assert len(truth["users"]["consent_none"]) + len(truth["users"]["consent_absent"]) == 24
    models = Counter(
        r["response"]["model"]
        for r in records
        if r["kind"] == "interaction" and r.get("status") == 200 and isinstance(r["response"].get("model"), str)
    )
    assert set(models) == {"support-1", "support-2", "support-3"}
    assert 900 <= truth["pairs"]["choice"]["triples"] <= 1_100
    assert truth["flipped_share"] == 0.1


def test_the_length_bias_shows_in_the_votes(truth: dict[str, Any]) -> None:
    bias = truth["length_bias"]
    assert bias["longer_chosen"] > bias["longer_chosen_unbiased"]
    assert bias["longer_chosen_at_equal_quality"] > 0.7
