"""Writes scores.parquet (`ingest.schema.SCORE`): what the trained policy thinks of every pair.

The next `curate run` reads suspect_flip, the label queue reads probability.
"""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ingest.schema import SCORE
from train.dataset import SPLITS, PairDataset
from train.metrics import Floats, ReadOut, losses, sigmoid

SUSPECT_BELOW: Final = 0.25
"""A pair is suspected to be flipped where P(chosen > rejected) is below this: 3 to 1 against the label."""


def suspect_flip(margins: Floats) -> npt.NDArray[np.bool_]:
    """Return where the policy holds the label for wrong: sigmoid(margin) < 0.25, that is margin < -ln 3 = -1.0986.

    For a training pair the policy says so although it was trained on that very label; what most pairs of its kind
    taught outweighed it. A policy that has hardly moved suspects nothing.
    """
    return sigmoid(margins) < SUSPECT_BELOW


def score_table(pairs: PairDataset, read_out: ReadOut, beta: float, step: int) -> pa.Table:
    """Return one row of SCORE for each pair, in the data's order."""
    margins = read_out.margins(beta)
    _, chosen_tokens, rejected_tokens = pairs.segment_lengths.T
    return pa.table(
        {
            "triple_id": pairs.ids,
            "split": [SPLITS[split] for split in pairs.splits],
            "step": np.full(len(pairs), step, dtype=np.int64),
            "A": read_out.A,
            "B": read_out.B,
            "margin": margins,
            "probability": sigmoid(margins),
            "loss": losses(margins),
            "chosen_tokens": chosen_tokens.astype(np.int32),
            "rejected_tokens": rejected_tokens.astype(np.int32),
            "suspect_flip": suspect_flip(margins),
        },
        schema=SCORE,
    )


def write_scores(path: Path, table: pa.Table) -> None:
    """Write the scores as Parquet."""
    pq.write_table(table, path)
