"""The two layouts of a batch, drawn."""

import numpy as np
import torch

from train.collate import Batch, Collator
from train.dataset import Pair
from train.sharing import ALWAYS, visible

PAD = 9


def tokens(*ids: int) -> np.ndarray:
    return np.array(ids, dtype=np.int32)


PAIRS = [
    Pair(tokens(1, 2, 3), tokens(4, 5), tokens(6), -10.0, -20.0, weight=0.5),
    Pair(tokens(7, 8), tokens(PAD), tokens(10, 11), -30.0, -40.0, weight=1.5),
]


def assert_names_the_responses(batch: Batch) -> None:
    """What both layouts say alike: the response tokens and whose they are."""
    assert batch["targets"].tolist() == [4, 5, PAD, 6, 10, 11]  # chosen of both pairs, then rejected; PAD is said here
    assert batch["sequences"].tolist() == [0, 0, 1, 2, 3, 3]
    assert batch["ordinals"].tolist() == [0, 1, 0, 0, 0, 1]
    assert batch["response_lengths"].tolist() == [2, 1, 1, 2]
    assert batch["reference_chosen"].tolist() == [-10.0, -30.0]
    assert batch["reference_rejected"].tolist() == [-20.0, -40.0]
    assert batch["weight"].tolist() == [0.5, 1.5]


def test_each_response_with_its_own_prompt() -> None:
    batch = Collator(PAD)(PAIRS)

    assert batch["input_ids"].tolist() == [
        [1, 2, 3, 4, 5],  # chosen of pair 0
        [7, 8, 9, 9, 9],  # chosen of pair 1: its one response token is the padding token
        [1, 2, 3, 6, 9],  # rejected of pair 0
        [7, 8, 10, 11, 9],  # rejected of pair 1
    ]
    assert batch["predictors"].tolist() == [
        2, 3,  # 3 predicts 4, and 4 predicts 5
        6,  # 8 predicts the padding token that is said
        12,  # 3 predicts 6
        16, 17,  # 8 predicts 10, and 10 predicts 11
    ]  # fmt: skip
    assert "segments" not in batch
    assert_names_the_responses(batch)


def test_the_prompt_once_for_both_responses() -> None:
    batch = Collator(PAD, ALWAYS)(PAIRS)

    assert batch["input_ids"].tolist() == [
        [1, 2, 3, 4, 5, 6],  # prompt, chosen, rejected of pair 0
        [7, 8, 9, 10, 11, 9],  # of pair 1, and padding
    ]
    assert batch["position_ids"].tolist() == [
        [0, 1, 2, 3, 4, 3],  # rejected goes on where the prompt ended
        [0, 1, 2, 2, 3, 0],
    ]
    assert batch["segments"].tolist() == [
        [0, 0, 0, 1, 1, 2],
        [0, 0, 1, 2, 2, 3],  # segments come from lengths, though chosen is the padding token
    ]
    assert batch["predictors"].tolist() == [
        2, 3,  # 3 predicts 4, and 4 predicts 5
        7,  # 8 predicts the padding token that is said
        2,  # 3 predicts 6 too
        7, 9,  # 8 predicts 10 too, and 10 predicts 11
    ]  # fmt: skip
    assert_names_the_responses(batch)


def test_who_sees_whom() -> None:
    """A row a query, a column a key."""
    seen = visible(Collator(PAD, ALWAYS)(PAIRS)["segments"]).int()

    assert seen[0, 0].tolist() == [
        [1, 0, 0, 0, 0, 0],  # prompt
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],  # chosen
        [1, 1, 1, 1, 1, 0],
        [1, 1, 1, 0, 0, 1],  # rejected: the prompt and itself
    ]
    assert seen[1, 0].tolist() == [
        [1, 0, 0, 0, 0, 0],  # prompt
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],  # chosen
        [1, 1, 0, 1, 0, 0],  # rejected
        [1, 1, 0, 1, 1, 0],
        [1, 1, 0, 0, 0, 1],  # padding sees itself, so that it is not NaN; nobody sees it
    ]


def test_dtypes_are_what_the_model_takes() -> None:
    for sharing in (ALWAYS, Collator().sharing):
        batch = Collator(PAD, sharing)(PAIRS)

        floats = {"reference_chosen", "reference_rejected", "weight", "noise", "margin"}
        assert {name for name, t in batch.items() if t.dtype == torch.float64} == floats
        assert {name for name, t in batch.items() if t.dtype == torch.int64} == set(batch) - floats - {"segments"}
