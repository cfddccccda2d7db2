"""Parquet of preference pairs -> token ids, split into train, validation and test.

Reads columns prompt, chosen, rejected (each a text or a list of messages) and, where there are any, triple_id, tools,
split, and what `train.row_columns` names: what `curate` publishes, and what TRL and `datasets` read. The file is read
in batches of rows, and token ids are kept in one flat int32 buffer, so memory is 4 bytes per token and the texts of one
batch.
"""

import hashlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import PreTrainedTokenizerBase

from ingest.errors import ContractError, PreflightError
from ingest.schema import canonical_json
from train.logged_columns import LoggedValues
from train.preflight import Preflight
from train.row_columns import number, weight
from train.sampled import FROM_TEXT, SampledTokens
from train.tokens import Row, TokenisedPair, tokenise

SPLITS: Final = ("train", "validation", "test")
ROWS_AT_ONCE: Final = 1024
"""Rows whose texts are in memory at one time."""

SplitOf = Callable[[dict[str, object]], str]
"""A row of the file -> one of SPLITS."""


class Pair(NamedTuple):
    """One pair ready for the collator; token ids are int32 arrays."""

    prompt: np.ndarray
    chosen: np.ndarray
    rejected: np.ndarray
    reference_chosen: float = float("nan")
    """log pi_ref(chosen | prompt), nats; NaN until `train.reference` fills it."""
    reference_rejected: float = float("nan")
    weight: float = 1.0
    noise: float = 0.0
    """Probability that the label is wrong."""
    margin: float = 0.0
    """What chosen must win by, in units of beta times log ratios."""


class PairDataset(torch.utils.data.Dataset[Pair]):
    """All pairs of one file, addressed by row number."""

    def __init__(
        self, ids: list[str], splits: np.ndarray, weights: np.ndarray, tokens: np.ndarray, ends: np.ndarray
    ) -> None:
        """Hold N pairs: `tokens` (all,) int32 is prompt, chosen, rejected of row 0, then of row 1, and so on.

        `ends` (3N,) int64 says where each of these segments ends; `splits` (N,) are indices into SPLITS.
        """
        self.ids, self.splits, self.weights, self.tokens = ids, splits, weights, tokens
        self.starts = np.concatenate([[0], ends])
        self.reference = np.full((len(ids), 2), np.nan, dtype=np.float64)
        self.noise, self.margins = np.zeros(len(ids)), np.zeros(len(ids))
        self.logged: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        """Row -> the deployment's log-probabilities of chosen and rejected, one per response token (`train.logged`)."""

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> Pair:
        a, b, c, d = self.starts[3 * row : 3 * row + 4]
        chosen, rejected = self.reference[row].tolist()
        own = (float(column[row]) for column in (self.weights, self.noise, self.margins))
        return Pair(self.tokens[a:b], self.tokens[b:c], self.tokens[c:d], chosen, rejected, *own)

    @cached_property
    def segment_lengths(self) -> np.ndarray:
        """(N, 3) int64: tokens of prompt, chosen and rejected."""
        return np.diff(self.starts).reshape(-1, 3)

    @cached_property
    def lengths(self) -> np.ndarray:
        """(N,) int64: tokens of the longer of the row's two sequences."""
        lengths: np.ndarray = self.segment_lengths[:, 0] + self.segment_lengths[:, 1:].max(axis=1)
        return lengths

    def rows_of(self, split: str) -> list[int]:
        """Return the row numbers of one split, in the file's order."""
        rows: list[int] = np.flatnonzero(self.splits == SPLITS.index(split)).tolist()
        return rows

    def row_key(self, row: int) -> str:
        """Return the sha256 of the row's token ids and of where prompt and responses part."""
        a, b, c, d = self.starts[3 * row : 3 * row + 4].tolist()
        digest = hashlib.sha256(np.array([b - a, c - b, d - c], dtype="<i8").tobytes())
        digest.update(self.tokens[a:d].astype("<i4").tobytes())
        return digest.hexdigest()

    def prompt_key(self, row: int) -> bytes:
        """Return the prompt's token ids as bytes: rows of one prompt have the same."""
        prompt: bytes = self[row].prompt.tobytes()
        return prompt


@dataclass
class PairReader:
    """Reads files of pairs into one PairDataset, refusing what would have to be damaged."""

    tokenizer: PreTrainedTokenizerBase
    preflight: Preflight
    columns: frozenset[str] = frozenset()
    """Those of label_noise, margin and what is logged that are to be read; a null number is NaN in the data set."""
    sampled: SampledTokens | None = None
    """Puts logged token ids in the place of tokenised responses; None: all are tokenised."""
    logged: LoggedValues | None = None
    """Collects logged log-probabilities; None: they are not looked at."""
    ids: list[str] = field(default_factory=list)
    splits: "array[int]" = field(default_factory=lambda: array("b"))
    weights: "array[float]" = field(default_factory=lambda: array("d"))
    noise: "array[float]" = field(default_factory=lambda: array("d"))
    margins: "array[float]" = field(default_factory=lambda: array("d"))
    tokens: "array[int]" = field(default_factory=lambda: array("i"))
    ends: "array[int]" = field(default_factory=lambda: array("q"))

    def read(self, path: Path, split_of: SplitOf, on_rows: Callable[[int], None], before_number: str = "") -> None:
        """Add every pair of `path`; `on_rows` hears how many rows were just read.

        Where the file has no triple_id, its rows are named `before_number` + "row:N", N from 0.
        Raises ContractError for a file that is no preference data, PreflightError that names the rows at fault.
        """
        for rows in _batches(path, before_number, self.columns):
            self._add(path, rows, split_of)
            on_rows(len(rows))
        self.preflight.refuse_faults(path)

    def dataset(self) -> PairDataset:
        """Return all pairs read, with training weights of mean 1. Raises ContractError when an id comes twice."""
        if len(set(self.ids)) != len(self.ids):
            raise ContractError("A triple_id comes twice in the data. It is the key of a pair; publish each once.")
        splits, weights = np.array(self.splits, dtype=np.int8), np.array(self.weights, dtype=np.float64)
        train = weights[splits == SPLITS.index("train")]
        if len(train) and train.sum() > 0:
            # Weights say which pairs count more, not how large a step is: that is what --learning-rate is for.
            weights = weights / train.mean()
        tokens = np.frombuffer(self.tokens, dtype=np.int32)
        pairs = PairDataset(self.ids, splits, weights, tokens, np.array(self.ends, dtype=np.int64))
        pairs.noise, pairs.margins = np.array(self.noise), np.array(self.margins)
        pairs.logged = self.logged.of_row if self.logged else {}
        return pairs

    def _add(self, path: Path, rows: list[dict[str, object]], split_of: SplitOf) -> None:
        whole = [row for row in rows if all(row[side] is not None for side in ("prompt", "chosen", "rejected"))]
        for row in rows:
            if any(row[side] is None for side in ("prompt", "chosen", "rejected")):
                self.preflight.faults["null_side"].append(str(row["triple_id"]))
        for row, tokenised in zip(whole, tokenise(self.tokenizer, [_row(row) for row in whole]), strict=True):
            found = self.sampled.of(row, tokenised) if self.sampled else (tokenised, FROM_TEXT)
            if found is None:
                self.preflight.faults["unknown_token"].append(str(row["triple_id"]))
                continue
            pair, origins = found
            if self.preflight.admit(str(row["triple_id"]), pair):
                if self.logged:
                    self.logged.add(len(self.ids), row, pair, origins)
                self._append(row, pair, split_of(row))
                self.weights.append(weight(path, row))
                self.noise.append(number(path, row, "label_noise") if "label_noise" in self.columns else 0.0)
                self.margins.append(number(path, row, "margin") if "margin" in self.columns else 0.0)

    def _append(self, row: dict[str, object], pair: TokenisedPair, split: str) -> None:
        self.ids.append(str(row["triple_id"]))
        self.splits.append(SPLITS.index(split))
        for segment in (pair.prompt, pair.chosen, pair.rejected):
            self.tokens.extend(segment)
            self.ends.append(len(self.tokens))


def columns_of(path: Path) -> list[str]:
    """Return the columns of a Parquet file of pairs.

    Raises ContractError when it is not one: prompt, chosen and rejected must be there, all texts or all messages.
    """
    try:
        schema = pq.read_schema(path)
    except FileNotFoundError as error:
        raise ContractError(f"No file at {path}. --data takes a Parquet file, such as curated.parquet.") from error
    except (OSError, pa.ArrowInvalid) as error:
        raise ContractError(
            f"{path} is not a Parquet file ({error}). --data takes one, such as curated.parquet."
        ) from error
    missing = {"prompt", "chosen", "rejected"} - set(schema.names)
    if missing:
        raise ContractError(f"{path} has no column {sorted(missing)}; it has {schema.names}.")
    kinds = {name: _kind(schema.field(name).type) for name in ("prompt", "chosen", "rejected")}
    if len(set(kinds.values())) != 1 or "neither" in kinds.values():
        raise ContractError(f"{path}: prompt, chosen and rejected must be all texts or all lists of messages: {kinds}.")
    return list(schema.names)


def split_by_column(row: dict[str, object]) -> str:
    """Return the row's own split. Raises ContractError for a name that is none."""
    if row["split"] not in SPLITS:
        raise ContractError(f"{row['triple_id']}: split is {row['split']!r}; expected one of {', '.join(SPLITS)}.")
    return str(row["split"])


def split_by_hash(seed: int, validation_share: float) -> SplitOf:
    """Return a split by prompt: all rows of one prompt fall on the same side, whatever else is in the file."""

    def split(row: dict[str, object]) -> str:
        digest = hashlib.blake2b(canonical_json([seed, row["prompt"]]), digest_size=8).digest()
        return "validation" if int.from_bytes(digest, "big") < validation_share * 2**64 else "train"

    return split


def refuse_no_rows(pairs: PairDataset) -> None:
    """Raise PreflightError unless there are pairs to train on and pairs to judge the result by."""
    train, held_out = len(pairs.rows_of("train")), len(pairs) - len(pairs.rows_of("train"))
    if not train or not held_out:
        raise PreflightError(
            f"{train} training and {held_out} held-out pairs; each must be at least 1. "
            "Give more data, a split column, or --validation FILE."
        )
    if not pairs.weights[pairs.rows_of("train")].any():
        raise PreflightError("Every training pair has weight 0, so there is nothing to learn. Give weights above 0.")


def _batches(path: Path, before_number: str, more: frozenset[str]) -> Iterator[list[dict[str, object]]]:
    """Yield the rows of `path`, a batch at a time; a column of weights or ids that are all null counts as absent.

    Rows of a file without triple_id are named by their number. Raises ContractError when some have one and others none.
    """
    wanted = {"triple_id", "prompt", "chosen", "rejected", "tools", "split", "weight", *more}
    number = 0
    with pq.ParquetFile(path) as file:
        found = [name for name in file.schema_arrow.names if name in wanted]
        columns = [name for name in found if name not in ("weight", "triple_id") or not _all_null(file, name)]
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=columns):
            rows: list[dict[str, object]] = batch.to_pylist()
            for row in rows:
                if row.setdefault("triple_id", f"{before_number}row:{number}") is None:
                    raise ContractError(
                        f"{path}: row {number} has no triple_id. Give every row one, or leave all null."
                    )
                number += 1
            yield rows


def _all_null(file: pq.ParquetFile, column: str) -> bool:
    return all(batch.column(0).null_count == len(batch) for batch in file.iter_batches(columns=[column]))


def _row(row: dict[str, object]) -> Row:
    tools = row.get("tools")
    sides = (row["prompt"], row["chosen"], row["rejected"])
    return Row(str(row["triple_id"]), *sides, tools=tools if tools is None else str(tools))  # type: ignore[arg-type]


def _kind(kind: pa.DataType) -> str:
    """Return "text", "messages" or "neither"."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if listed and pa.types.is_struct(kind.value_type):
        names = {kind.value_type.field(i).name for i in range(kind.value_type.num_fields)}
        return "messages" if {"role", "content"} <= names else "neither"
    return "neither"
