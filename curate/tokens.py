"""How many tokens a triple has for the model to be trained: its prompt and the longer of its responses.

Reads view triples and a tokenizer.json; makes table token_counts(triple_id, tokens), part of `python -m curate run`.
Tokens are those of the messages' texts, and `message_tokens` for each message, for what a chat template puts around it.
A tokenizer without a normalizer makes no more tokens than bytes, so texts that cannot be too long are not tokenized.
"""

from pathlib import Path

import duckdb
import polars as pl
from tokenizers import Tokenizer

from curate.recipe import TokenLimit
from ingest.errors import RecipeError

BATCH = 4096
"""Triples that are tokenized at a time."""


def count(connection: duckdb.DuckDBPyConnection, limit: TokenLimit | None, root: Path) -> None:
    """Count the tokens of every triple that may have more than the limit; `root` is what its folder is relative to.

    Raises RecipeError where there is no tokenizer.json.
    """
    connection.execute("CREATE TEMP TABLE token_counts (triple_id VARCHAR, tokens BIGINT)")
    if limit is None:
        return
    path = root / limit.folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises a bare Exception
        raise RecipeError(
            f"No tokenizer can be read from {path}: {error}. Name a folder with tokenizer.json."
        ) from error
    tokenizer.no_truncation()  # the file may ask for either, and then no text would be as long as it is
    tokenizer.no_padding()
    enough = limit.max_tokens if tokenizer.normalizer is None else 0
    rows = connection.sql(
        """
        WITH said AS (
            SELECT triple_id, conversation_text(prompt) AS prompt, conversation_text(chosen) AS chosen,
                   conversation_text(rejected) AS rejected,
                   $each * (len(prompt) + greatest(len(chosen), len(rejected))) AS around
            FROM triples)
        FROM said WHERE strlen(prompt) + greatest(strlen(chosen), strlen(rejected)) + around > $enough""",
        params={"each": limit.message_tokens, "enough": enough},
    )
    parts = [pl.DataFrame({"triple_id": [], "tokens": []}, schema={"triple_id": pl.String, "tokens": pl.Int64})]
    for batch in rows.to_arrow_reader(BATCH):
        sides = [
            [
                len(found)
                for found in tokenizer.encode_batch_fast(batch.column(name).to_pylist(), add_special_tokens=False)
            ]
            for name in ("prompt", "chosen", "rejected")
        ]
        around = batch.column("around").to_pylist()
        tokens = [a + p + max(c, r) for a, p, c, r in zip(around, *sides, strict=True)]
        parts.append(pl.DataFrame({"triple_id": pl.Series(batch.column("triple_id")), "tokens": tokens}))
    connection.register("counted", pl.concat(parts).to_arrow())
    connection.execute("INSERT INTO token_counts FROM counted")
    connection.unregister("counted")
