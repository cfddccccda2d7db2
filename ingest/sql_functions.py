"""What Python gives to the SQL of the pairing rules: hashes of `ingest.schema`, and what is done to edited texts."""

import json

import duckdb

from ingest import numbering, schema
from ingest.schema import content_id


def add_functions(connection: "duckdb.DuckDBPyConnection") -> None:
    """Make known to the rules' SQL the hashes of `ingest.schema`, and what redaction did to edits."""
    text = "VARCHAR"
    connection.create_function("messages_hash", _messages_hash, [text], text)
    connection.create_function("root_hash", _root_hash, [text], text)
    connection.create_function("triple_id", schema.triple_id, [text] * 4, text)
    connection.create_function("numbered_as", _numbered_as, [text] * 3, text)
    connection.create_function("differing", differing, [text] * 2, text)
    connection.create_function("unpaired_id", _unpaired_id, [text] * 2, text)


def _messages_hash(messages: str) -> str:
    return schema.messages_hash(json.loads(messages))


def _root_hash(prompt: str) -> str:
    return schema.prompt_group(json.loads(prompt))


def _numbered_as(text: str, own: str, kept: str) -> str:
    return numbering.numbered_as(text, json.loads(own), json.loads(kept))


def differing(text: str, other: str) -> str:
    """Return `text` without the beginning and the end that `other` shares with it."""
    begin = _shared(text, other)
    text, other = text[begin:], other[begin:]
    return text[: len(text) - _shared(text[::-1], other[::-1])]


def _shared(text: str, other: str) -> int:
    """Return the length of the common beginning, by bisection: comparing slices is quick, looping over them is not."""
    low, high = 0, min(len(text), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if text[low:middle] == other[low:middle] else (low, middle - 1)
    return low


def _unpaired_id(interaction: str, signal: str) -> str:
    return content_id([interaction, signal])
