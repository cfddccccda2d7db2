"""The log-probabilities that the deployment logged, read beside the pairs: which rows have them, and of which model.

`train.logged` compares them with the model's own before they are used.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from ingest.errors import ContractError, PreflightError, SettingsError
from ingest.redact import PLACEHOLDER
from train.sampled import SIDES, Origin
from train.tokens import TokenisedPair

NAMED_ROWS: Final = 5
"""Rows that an error names."""


@dataclass
class LoggedValues:
    """Collects the logged log-probabilities of pairs while they are read."""

    model: str | None = None
    """Only values of this `logprob_model` are taken; None: all, which must be of one model."""
    of_row: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    """Row number -> values of chosen and rejected, one per response token, float32."""
    retokenised: list[str] = field(default_factory=list)
    """Ids of rows whose values belong to other tokens than the row's text has."""
    models: Counter[str] = field(default_factory=Counter)
    """logprob_model -> rows."""

    def add(self, number: int, row: Mapping[str, object], pair: TokenisedPair, origins: list[Origin]) -> None:
        """Take the values of row `number`, where both responses have them. Raises ContractError for no numbers."""
        model = row.get("logprob_model")
        values = [row.get(f"{side}_token_logprobs") for side in SIDES]
        if model is None or self.model not in (None, model) or {"redacted", "cut off"} & set(origins):
            return
        if PLACEHOLDER.search(str(row["prompt"]) + str(row.get("tools"))):
            return  # the deployed model read what was redacted
        if any(not isinstance(side, list) or not side or None in side for side in values):
            return
        self.models[str(model)] += 1
        arrays = [np.array(side, dtype=np.float32) for side in values]
        if any(not np.isfinite(array).all() or (array > 1e-6).any() for array in arrays):
            raise ContractError(f"{row['triple_id']}: a logged log-probability is no number of at most 0.")
        fits = [len(array) == len(ids) for array, ids in zip(arrays, (pair.chosen, pair.rejected), strict=True)]
        if "other text" in origins or not all(fits):
            self.retokenised.append(str(row["triple_id"]))
            return
        self.of_row[number] = (arrays[0], arrays[1])

    def refuse_unusable(self, path: Path) -> None:
        """Raise SettingsError when there are no values or those of several models, PreflightError for other tokens."""
        if len(self.models) > 1:
            names = ", ".join(f"{name} ({rows:,} rows)" for name, rows in self.models.most_common())
            raise SettingsError(
                f"{path}: log-probabilities of several models: {names}. Say with --logged-model which is --model."
            )
        if not self.models:
            of = f"of {self.model} " if self.model else ""
            raise SettingsError(
                f"--reference logged: no pair of {path} has log-probabilities {of}of both responses. Leave it out."
            )
        if self.retokenised:
            more = ", ..." if len(self.retokenised) > NAMED_ROWS else ""
            raise PreflightError(
                f"{path}: re-tokenisation: of {len(self.retokenised):,} rows the logged token ids or log-probabilities "
                f"do not belong to the tokens of the row's text: {', '.join(self.retokenised[:NAMED_ROWS])}{more}. A "
                "token id was changed, another tokenizer is used, or no token ids were logged. Log token ids, "
                "remove the rows' values, or leave --reference logged out."
            )
