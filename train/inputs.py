"""What a run reads: the files of pairs, each row in its split, through preflight.

`train.run` calls it; docs/training.md says which columns a file may have.
"""

from pathlib import Path

import pyarrow.parquet as pq
from rich.progress import Progress

from ingest.errors import SettingsError
from train import row_columns
from train.config import RunConfig
from train.dataset import (
    SPLITS,
    PairDataset,
    PairReader,
    SplitOf,
    columns_of,
    refuse_no_rows,
    split_by_column,
    split_by_hash,
)
from train.logged_columns import LoggedValues
from train.model import Policy
from train.objective import Objective
from train.preflight import Preflight
from train.progress import NARRATION, counter
from train.sampled import SampledTokens


def read_pairs(config: RunConfig, policy: Policy, progress: Progress) -> tuple[PairDataset, Preflight]:
    """Return all pairs as token ids, and what preflight found. Raises PreflightError that names the rows at fault."""
    limit = policy.position_limit
    if config.max_length is not None and limit is not None and config.max_length > limit:
        raise SettingsError(f"--max-length {config.max_length} is more than the {limit} positions the model has.")
    preflight = Preflight(
        config.max_length or limit,
        config.on_overlong == "drop",
        getattr(policy.tokenizer, "bos_token_id", None),
        policy.end_tokens,
        lambda ids: not str(policy.tokenizer.decode(ids)).strip(),
    )
    reader = PairReader(policy.tokenizer, preflight, row_columns.wanted(config))
    if config.sampled_tokens == "auto":
        words = policy.model.config.get_text_config().vocab_size
        reader.sampled = SampledTokens(policy.tokenizer, words, preflight.stops)
    reader.logged = LoggedValues(config.logged_model) if config.reference == "logged" else None
    files = _files(config)
    on_rows = counter(progress, "reading", sum(pq.read_metadata(path).num_rows for path, *_ in files))
    for path, split_of, before_number in files:
        reader.read(path, split_of, on_rows, before_number)
    if reader.logged:
        reader.logged.refuse_unusable(config.data)
    pairs = reader.dataset()
    refuse_no_rows(pairs)
    without = row_columns.settle(config, pairs.ids, pairs.noise, pairs.margins)
    if without:
        NARRATION.print(f"{without:,} pairs have no margin: of them no more than a win is asked.")
    Objective.of(config).refuse_row_weights(pairs)
    _narrate_pairs(pairs, preflight)
    if reader.sampled and reader.sampled.counts["not logged"] < reader.sampled.counts.total():
        counts = ", ".join(f"{count:,} {origin}" for origin, count in reader.sampled.counts.most_common())
        NARRATION.print(
            f"Tokens of the {reader.sampled.counts.total():,} responses: {counts}; all but sampled from text."
        )
    return pairs, preflight


def _files(config: RunConfig) -> list[tuple[Path, SplitOf, str]]:
    """Return the files to read, each with what decides the split of its rows and what precedes their numbers."""
    columns = columns_of(config.data)
    has_split = "split" in columns
    if config.sampled_tokens == "off" and not any(name.endswith("_token_ids") for name in columns):
        raise SettingsError(
            f"{config.data} has no token ids, so --sampled-tokens off would change nothing; leave it out."
        )
    needless = {"validation", "validation_share"} & config.model_fields_set
    if has_split and needless:
        options = " and ".join(f"--{name.replace('_', '-')}" for name in sorted(needless))
        raise SettingsError(f"{config.data} has a split column, so {options} would change nothing; leave it out.")
    if has_split:
        return [(config.data, split_by_column, "")]
    if config.validation is not None:
        if "validation_share" in needless:
            raise SettingsError("--validation names the held-out pairs, so --validation-share would change nothing.")
        columns_of(config.validation)
        return [(config.data, lambda _: "train", ""), (config.validation, lambda _: "validation", "validation:")]
    share = config.validation_share
    NARRATION.print(f"{config.data} has no split column: prompts are held out by hash, {share:.0%} of them.")
    return [(config.data, split_by_hash(config.seed, share), "")]


def _narrate_pairs(pairs: PairDataset, preflight: Preflight) -> None:
    """Say what was read, left out, and trained on in spite of a blemish."""
    splits = ", ".join(f"{len(pairs.rows_of(split)):,} {split}" for split in SPLITS)
    NARRATION.print(
        f"{len(pairs):,} pairs: {splits}; {len(pairs.tokens):,} tokens, the longest pair {pairs.lengths.max():,}."
    )
    if preflight.dropped:
        NARRATION.print(
            f"{len(preflight.dropped):,} pairs over {preflight.max_length:,} tokens are left out (dropped.parquet)."
        )
    if preflight.drifting:
        NARRATION.print(
            f"{len(preflight.drifting):,} pairs: the template renders the prompt differently before a response, so its "
            f"last tokens are not trained on, as in TRL. The first: {', '.join(preflight.drifting[:3])}."
        )
