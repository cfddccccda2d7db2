"""The layout of a batch, drawn."""

import numpy as np
import torch

from train.collate import Collator
from train.dataset import Pair

PAD = 9


def tokens(*ids: int) -> np.ndarray:
    return np.array(ids, dtype=np.int32)


PAIRS = [
    Pair(tokens(1, 2, 3), tokens(4, 5), tokens(6), -10.0, -20.0, weight=0.5),
    Pair(tokens(7, 8), tokens(PAD), tokens(10, 11), -30.0, -40.0, weight=1.5),
]


def test_a_batch_is_laid_out_as_the_docstring_draws_it() -> None:
    batch = Collator(PAD)(PAIRS)

    assert batch["input_ids"].tolist() == [
        [1, 2, 3, 4, 5],  # chosen of pair 0
        [7, 8, 9, 9, 9],  # chosen of pair 1: its one response token is the padding token
        [1, 2, 3, 6, 9],  # rejected of pair 0
        [7, 8, 10, 11, 9],  # rejected of pair 1
    ]
    assert batch["attention_mask"].tolist() == [
        [1, 1, 1, 1, 1],
        [1, 1, 1, 0, 0],  # masks come from lengths: the response is seen, though it is the padding token
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 0],
    ]
    assert batch["response_mask"].int().tolist() == [
        [0, 0, 0, 1, 1],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 1, 0],
        [0, 0, 1, 1, 0],
    ]
    assert batch["reference_chosen"].tolist() == [-10.0, -30.0]
    assert batch["reference_rejected"].tolist() == [-20.0, -40.0]
    assert batch["weight"].tolist() == [0.5, 1.5]


def test_dtypes_are_what_the_model_takes() -> None:
    batch = Collator()(PAIRS)

    assert batch["input_ids"].dtype == batch["attention_mask"].dtype == torch.int64
    assert batch["response_mask"].dtype == torch.bool
    assert batch["reference_chosen"].dtype == batch["weight"].dtype == torch.float32
