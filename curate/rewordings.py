"""Which questions are an evaluation item in almost the same words, by the MinHash of near duplicates.

Part of `curate.decontaminate`. Items are sketched once; each batch of questions is sketched, joined by the keys of the
bands, estimated, and what is likely is verified by its exact Jaccard similarity.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from curate import minhash, near_duplicates
from curate.minhash import BANDS, Sketches
from curate.near_duplicates import I64, SLACK, Pairs
from curate.shingles import U64

SAME_KEY: Final = 8
"""Items of one band key that a question is compared with: thousands of one template share it."""


@dataclass(frozen=True)
class Rewordings:
    """The items, ready to be compared with."""

    texts: pl.Series
    sketches: Sketches
    bands: tuple[tuple[U64, I64], ...]
    """Of each band its keys, sorted, and whose they are."""
    threshold: float

    @staticmethod
    def of(texts: pl.Series, threshold: float) -> "Rewordings":
        """Return what finds questions at least `threshold` alike one of `texts`."""
        sketches = minhash.sketch(texts)
        full = np.flatnonzero(~sketches.empty)
        orders = [full[np.argsort(sketches.keys[full, band], kind="stable")] for band in range(BANDS)]
        return Rewordings(
            texts, sketches, tuple((sketches.keys[o, band], o) for band, o in enumerate(orders)), threshold
        )

    def find(self, questions: pl.Series, first: int) -> pl.DataFrame:
        """Return place (3 * (first + number of the question)), item, kind and jaccard of what is alike."""
        sketches = minhash.sketch(questions)
        question, item = self._candidates(sketches)
        likely = minhash.similarity(sketches.bytes[question], self.sketches.bytes[item]) >= self.threshold - SLACK
        question, item = question[likely], item[likely]
        exact = near_duplicates.jaccard(
            Pairs(item, question + len(self.texts), np.zeros(len(item))),
            lambda numbers: self._fetch(questions, numbers),
        )
        alike = exact >= self.threshold
        return pl.DataFrame(
            {"place": 3 * (first + question[alike]), "item": item[alike], "jaccard": exact[alike]},
            schema={"place": pl.Int64, "item": pl.Int64, "jaccard": pl.Float64},
        ).with_columns(kind=pl.lit("reworded"), covered=pl.lit(None, pl.Int64), longest=pl.lit(None, pl.Int64))

    def _candidates(self, sketches: Sketches) -> tuple[I64, I64]:
        """Return the pairs (question, item) with a band key in common, each once."""
        size = len(self.texts)
        full = np.flatnonzero(~sketches.empty)
        pairs = [np.zeros(0, np.int64)]
        for band, (keys, owners) in enumerate(self.bands):
            asked = sketches.keys[full, band]
            begin = np.searchsorted(keys, asked)
            for nth in range(SAME_KEY):
                place = begin + nth
                here = place < len(keys)
                here[here] = keys[place[here]] == asked[here]
                if not here.any():
                    break
                pairs.append(full[here] * size + owners[place[here]])
        found = np.unique(np.concatenate(pairs))
        return found // size, found % size

    def _fetch(self, questions: pl.Series, numbers: I64) -> pl.Series:
        """Return texts by number: the items, then the questions."""
        items = numbers < len(self.texts)
        return pl.concat([self.texts.gather(numbers[items]), questions.gather(numbers[~items] - len(self.texts))])
