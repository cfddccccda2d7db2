"""A lake of synthetic preference triples and the responses behind them, for `bench.curate`: always the same rows.

Texts are runs of fragments of 64 bytes out of 131,072, which are words of a Zipf vocabulary; one fragment in twenty is
not ASCII. A triple has about 1.6 KB of text. Prompts are variants of questions whose popularity is heavily skewed, one
triple in eighty is about the most popular one. Of each hundred rows, by their last two digits:

    0 an empty side · 1 cut off · 2 no consent · 3 a weak signal · 4 the same on both sides
    90, 91 an exact duplicate of 40, 41 · 92, 93, 94 a near duplicate of 42, 43, 44
    95 the other way round of 45, with as many votes · 96 the other way round of 46, with fewer votes
    50, 51 a third response that nobody judged

and all others are good.
"""

from collections.abc import Mapping
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.shingles import I64, U8, U64, mixed
from ingest.lake import SCHEMAS, Lake, sql_type

CHUNK: Final = 100_000
"""Triples that are written at once, in a file of their own."""
FRAGMENTS: Final = 1 << 17
WIDTH: Final = 64
"""Bytes of a fragment."""
PROMPT: Final = 3
"""Fragments of a prompt; a response has 4 to 17."""
PLANTED: Final[Mapping[str, int]] = {
    "empty_side": 1,
    "identical_pair": 1,
    "truncated_response": 1,
    "missing_consent": 1,
    "weak_signal": 1,
    "exact_duplicate": 2,
    "contradiction_minority": 1,
    "contradiction_tied": 2,
    "near_duplicate": 3,
}
"""Reason -> rows of a hundred that it drops."""

_TRIPLES: Final = """
    SELECT 'b2:' || md5('t' || i) AS triple_id, messages(prompt, i % 10 < 3) AS prompt,
      messages(chosen, NULL) AS chosen, messages(rejected, NULL) AS rejected,
      'b2:' || md5(prompt || (i % 10 < 3)) AS prompt_hash, 'b2:' || md5(chosen) AS chosen_hash,
      'b2:' || md5(rejected) AS rejected_hash, 'bench' AS source,
      CASE kind WHEN 3 THEN 'regenerate' ELSE 'choice' END AS signal,
      CASE WHEN kind IN (90, 91) THEN 'rating' ELSE 'choice' END AS rule, 1 AS rule_version,
      CASE kind WHEN 3 THEN 'weak' ELSE 'strong' END AS strength, 1.0 AS weight,
      CASE WHEN kind IN (46, 96) THEN 4 ELSE 1 END AS n_votes, CASE kind WHEN 46 THEN 3 ELSE 1 END AS n_agree,
      kind IN (45, 46, 95, 96) AS contradicted, false AS off_policy,
      interaction(base, chose) AS chosen_interaction_id, interaction(base, 1 - chose) AS rejected_interaction_id,
      ['b2:' || md5('e' || i)] AS event_ids, 'm' || chose AS chosen_model, 'm' || (1 - chose) AS rejected_model,
      CASE kind WHEN 1 THEN 'length' ELSE 'stop' END AS chosen_finish_reason, 'stop' AS rejected_finish_reason,
      'b2:' || md5(prompt) AS prompt_group, ['u:' || md5('u' || i % 20000)] AS user_ids,
      CASE kind WHEN 2 THEN NULL ELSE 'training' END AS consent, asked(i) AS first_time, asked(i) AS last_time
    FROM (
      SELECT i, i % 100 AS kind, base, chose, prompt,
        CASE WHEN kind BETWEEN 92 AND 94 THEN chosen || 'indeed.' ELSE chosen END AS chosen,
        CASE kind WHEN 0 THEN ' ' WHEN 4 THEN '  ' || chosen ELSE rejected END AS rejected
      FROM texts)
"""
_INTERACTIONS: Final = """
    SELECT interaction(i, side) AS interaction_id, 'bench' AS source, i || '.' || side AS source_id,
      'b2:' || md5('g' || i) AS sibling_group, 'u:' || md5('u' || i % 20000) AS user_id,
      messages(prompt, i % 10 < 3) AS prompt,
      messages(CASE WHEN side = 1 THEN CASE kind WHEN 0 THEN ' ' WHEN 4 THEN '  ' || chosen ELSE rejected END
                    WHEN side = 0 THEN CASE WHEN kind BETWEEN 92 AND 94 THEN chosen || 'indeed.' ELSE chosen END
                    ELSE rejected || 'again.' END, NULL) AS response,
      'b2:' || md5(prompt || (i % 10 < 3)) AS prompt_hash, 'b2:' || md5(response[1].content) AS response_hash,
      'm' || side AS model, '{"temperature":1.0}' AS sampling,
      CASE WHEN kind = 1 AND side = 0 THEN 'length' ELSE 'stop' END AS finish_reason, 'ok' AS status, true AS shown,
      CASE kind WHEN 2 THEN NULL ELSE 'training' END AS consent, asked(i) AS event_time
    FROM (SELECT *, i % 100 AS kind FROM texts), LATERAL (SELECT unnest(CASE WHEN kind IN (50, 51) THEN [0, 1, 2]
      WHEN kind IN (90, 91, 95, 96) THEN [] ELSE [0, 1] END) AS side)
"""
_MACROS: Final = """
    SET TimeZone = 'UTC';
    CREATE MACRO message(role, said) AS
      struct_pack(role := role, content := said, tool_calls := NULL, tool_call_id := NULL, name := NULL);
    CREATE MACRO messages(said, with_system) AS CASE
      WHEN with_system IS NULL THEN [message('assistant', said)]
      WHEN with_system
      THEN [message('system', 'You answer for a shop. Be brief, kind and exact.'), message('user', said)]
      ELSE [message('user', said)] END;
    CREATE MACRO interaction(number, side) AS 'b2:' || md5('i' || number || '.' || side);
    CREATE MACRO asked(number) AS TIMESTAMPTZ '2026-10-01 00:00:00Z' + to_seconds(number)
"""


def write(lake: Lake, count: int) -> None:
    """Fill the lake with `count` triples, a multiple of 100, and their interactions."""
    bank = _fragments()
    with duckdb.connect() as connection:
        connection.execute(_MACROS)
        for first in range(0, count, CHUNK):
            texts = _texts(bank, np.arange(first, min(first + CHUNK, count), dtype=np.int64), count)
            connection.register("texts", texts)
            for table, query in (("triples", _TRIPLES), ("interactions", _INTERACTIONS)):
                given = connection.sql(query)
                columns = ", ".join(
                    f"CAST({field.name if field.name in given.columns else 'NULL'} AS {sql_type(field.type)}) AS "
                    f'"{field.name}"'
                    for field in SCHEMAS[table]
                )
                lake.append(table, given.project(columns).to_arrow_table().cast(SCHEMAS[table]), {})
            connection.unregister("texts")


def _fragments() -> U8:
    """Return [FRAGMENTS, WIDTH]: the bytes of each fragment."""
    rng = np.random.default_rng(0)
    letters = {False: "abcdefghijklmnopqrstuvwxyz", True: "aeiouäöüéßñ—’ждлор東京語"}
    vocabulary = {
        other: ["".join(rng.choice(list(alphabet), rng.integers(2, 11))) for _ in range(20_000)]
        for other, alphabet in letters.items()
    }
    odds = 1 / np.arange(1, 20_001)
    picks = iter(rng.choice(20_000, FRAGMENTS * WIDTH, p=odds / odds.sum()).tolist())
    found = bytearray()
    for number in range(FRAGMENTS):
        words, size = vocabulary[number % 20 == 7], 0
        while size < WIDTH - 1:
            word = words[next(picks)].encode()[: WIDTH - 1 - size].decode(errors="ignore").encode() or b"x"
            found += word + b" "
            size += len(word) + 1
        found += b"." * (WIDTH - size)
    return np.frombuffer(bytes(found), np.uint8).reshape(FRAGMENTS, WIDTH)


def _texts(bank: U8, numbers: I64, count: int) -> pa.Table:
    """Return the rows' texts, and which row's two responses each compares, `chose` 0 or 1 over the other."""
    kind = numbers % 100
    base = np.where(kind >= 90, numbers - 50, numbers)
    base = np.where(kind >= 97, numbers, base)
    chose = np.isin(kind, (95, 96)).astype(np.int64)
    popular = _draw(base, 1) / 2.0**64
    question = np.minimum((count // 2) * popular**3, count // 2 - 1).astype(np.int64)
    asked = _written(bank, _draw(question, 3), np.full(len(numbers), PROMPT))
    region = pa.array(_draw(base, 2) % np.uint64(1000)).cast(pa.large_string())
    prompts = pc.binary_join_element_wise(asked, region, pa.scalar("in region ", pa.large_string()))
    sides = [
        _written(bank, _draw(base * 2 + side, 4), 4 + (_draw(base * 2 + side, 5) % 14).astype(np.int64))
        for side in (chose, 1 - chose)
    ]
    own = np.where(np.isin(kind, (92, 93, 94)), numbers, base)
    return pa.table(
        {"i": numbers, "base": own, "chose": chose, "prompt": prompts, "chosen": sides[0], "rejected": sides[1]}
    )


def _draw(numbers: I64, purpose: int) -> U64:
    """Return a number in [0, 2^64) for each of `numbers`, another for each purpose."""
    return mixed(numbers.astype(np.uint64) * np.uint64(64) + np.uint64(purpose))


def _written(bank: U8, keys: U64, sizes: I64) -> pa.Array:
    """Return texts of `sizes` fragments; the same key gives the same text."""
    ends = np.cumsum(sizes)
    place = np.arange(ends[-1]) - np.repeat(ends - sizes, sizes)
    chosen = mixed(np.repeat(keys, sizes) + place.astype(np.uint64)) % np.uint64(FRAGMENTS)
    offsets = np.concatenate([[0], ends * WIDTH]).astype(np.int64)
    return pa.LargeStringArray.from_buffers(len(sizes), pa.py_buffer(offsets), pa.py_buffer(bank[chosen]))
