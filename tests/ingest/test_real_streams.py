"""Recorded streams of other APIs than chat completions, against an oracle that shares no code with the readers."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.readers import registry

pytestmark = pytest.mark.real_data


def chunks(body: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of a stream: what follows "data: ", or every line."""
    for line in body.split("\n"):
        data = line.strip().removeprefix("data: ")
        if data.startswith("{"):
            yield json.loads(data)


def piece(kind: str, chunk: dict[str, Any]) -> str:
    """Return the text that a chunk adds to the answer."""
    found: Any
    if kind == "anthropic_messages":
        found = (chunk.get("delta") or {}).get("text")
    elif kind == "openai_responses":
        found = chunk["delta"] if chunk["type"] == "response.output_text.delta" else None
    elif kind == "openai_completions":
        found = chunk["value"] if "value" in chunk else "".join(c.get("text") or "" for c in chunk["choices"])
    else:
        found = chunk["response"] if "response" in chunk else chunk["message"]["content"]
    return found or ""


STREAMS = [("anthropic_messages", 108), ("openai_responses", 50), ("openai_completions", 41), ("ollama", 39)]


@pytest.mark.parametrize(("kind", "expected"), STREAMS)
def test_streams_say_what_their_chunks_say(kind: str, expected: int, shared_data: Path) -> None:
    compared = 0
    with gzip.open(shared_data / "logs" / "llm_calls.jsonl.gz", "rt", encoding="utf-8") as file:
        records = [record for record in map(json.loads, file) if record["kind"] == kind and record["status"] == 200]
    for record in records:
        if record["stream"] or kind == "ollama":
            reader = registry.detect(record)
            assert reader is not None
            [one] = reader.read(record).interactions
            said = "".join(message["content"] or "" for message in one.response)
            assert said == "".join(piece(kind, chunk) for chunk in chunks(record["response_raw"]))
            compared += 1
    assert compared == expected
