"""Responses as the deployment sampled them: the log's token ids take the place of the tokenised text.

A text has many tokenisations, and a model does not always say the one that its tokenizer makes. Where the log has the
ids (`chosen_token_ids`, `rejected_token_ids`), they are what was said: training on them, and comparing the logged
log-probabilities with the model's, is exact. They are used where they still say the row's text and end in an end
token; the other responses are tokenised, and all are counted.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from transformers import PreTrainedTokenizerBase

from train.tokens import TokenisedPair

Origin = Literal["sampled", "not logged", "redacted", "cut off", "other text"]
"""Where a response's tokens come from: the log, or its text, because the log has no ids, some were redacted, they do
not end in an end token, or they decode to another text (an edit, another tokenizer)."""
SIDES: Final = ("chosen", "rejected")
FROM_TEXT: Final[list[Origin]] = ["not logged", "not logged"]
"""Origins of a pair whose logged token ids are not looked at."""


@dataclass
class SampledTokens:
    """Puts logged token ids into pairs, and counts for which responses it did."""

    tokenizer: PreTrainedTokenizerBase
    words: int
    """Size of the model's vocabulary."""
    stops: Callable[[list[int]], bool]
    """Whether token ids end in an end token."""
    counts: Counter[Origin] = field(default_factory=Counter)
    """Origin -> responses."""

    def of(self, row: Mapping[str, object], pair: TokenisedPair) -> tuple[TokenisedPair, list[Origin]] | None:
        """Return `pair` with the row's logged responses, and where each response's tokens come from.

        None when a logged id is not in the vocabulary.
        """
        logged = [row.get(f"{side}_token_ids") for side in SIDES]
        if any(isinstance(ids, list) and not self._known(ids) for ids in logged):
            return None
        texts = (pair.chosen, pair.rejected)
        origins = [self._origin(ids, text, pair.unread) for ids, text in zip(logged, texts, strict=True)]
        if pair.unread and set(origins) != {"sampled"}:
            # The sampled response follows the whole prompt, the tokenised one a part of it: they cannot share a prompt.
            origins = ["other text" if origin == "sampled" else origin for origin in origins]
        self.counts.update(origins)
        used = {side: ids for side, ids, origin in zip(SIDES, logged, origins, strict=True) if origin == "sampled"}
        if len(used) == len(SIDES):
            used |= {"prompt": pair.prompt + pair.unread, "unread": []}
        return replace(pair, **used), origins  # type: ignore[arg-type]

    def _known(self, ids: Sequence[int | None]) -> bool:
        return all(token is None or 0 <= token < self.words for token in ids)

    def _origin(self, ids: object, text: list[int], unread: list[int]) -> Origin:
        if not isinstance(ids, list) or not ids:
            return "not logged"
        if None in ids:
            return "redacted"
        if not self.stops(ids):
            return "cut off"
        return "sampled" if self._says(unread + ids) == self._says(text) else "other text"

    def _says(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)).strip()
