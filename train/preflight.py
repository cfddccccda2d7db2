"""What makes a pair unfit to be trained on, found before the first step.

Every reason is a fault that other trainers repair by cutting, skipping or training on noise. Here the run stops and
names the rows; only over-long ones may be left out, on request, and are listed in dropped.parquet.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from ingest.errors import PreflightError
from ingest.schema import DROPPED
from train.tokens import TokenisedPair

REASONS: Final[Mapping[str, str]] = {
    "null_side": "Prompt, chosen or rejected is null.",
    "empty_prompt": "Prompt and response share no leading token, so nothing predicts the response's first one.",
    "empty_response": "A response has no tokens.",
    "identical_responses": "Chosen and rejected have the same tokens, so there is nothing to learn.",
    "doubled_bos": "A begin token comes twice: the template and the tokenizer both add one.",
    "missing_end": "A response does not end in an end token, so the model would not learn to stop.",
    "template_mismatch": "The chat template leaves out or rewrites what a user or the assistant said.",
    "unknown_token": "A logged token id is not in the model's vocabulary: another tokenizer made it.",
    "overlong": "Prompt and response together have more tokens than --max-length.",
}
"""Reason code -> what it means."""

OVERLONG_RULE: Final = "overlong@v1"
NAMED_ROWS: Final = 5
"""Rows that an error names per reason; it counts all."""


@dataclass
class Preflight:
    """Checks pairs one by one and remembers what it found."""

    max_length: int | None
    """Most tokens of prompt and response together; None: no limit."""
    drop_overlong: bool = False
    """Leave over-long pairs out instead of refusing them."""
    bos: int | None = None
    """The tokenizer's begin token."""
    ends: frozenset[int] = frozenset()
    """Token ids at which the model stops; none: whether responses end in one is not looked at."""
    is_blank: Callable[[list[int]], bool] = lambda ids: not ids
    """Whether token ids are white space, as templates write after the end token."""
    faults: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Reason code -> ids of the rows at fault."""
    dropped: list[tuple[str, str]] = field(default_factory=list)
    """(row id, detail) of pairs left out."""
    drifting: list[str] = field(default_factory=list)
    """Ids of rows whose prompt ends in tokens that the model will not read; reported, as TRL trains on them too."""

    def admit(self, row_id: str, pair: TokenisedPair) -> bool:
        """Return whether `pair` is to be trained on; a fault is remembered under its reason."""
        longest = len(pair.prompt) + max(len(pair.chosen), len(pair.rejected))
        if self.max_length is not None and longest > self.max_length:
            detail = f"prompt {len(pair.prompt)} + chosen {len(pair.chosen)}, rejected {len(pair.rejected)} tokens"
            if self.drop_overlong:
                self.dropped.append((row_id, f"{detail}; the limit is {self.max_length}"))
            else:
                self.faults["overlong"].append(row_id)
            return False
        reason = self._fault(pair)
        if reason is not None:
            self.faults[reason].append(row_id)
            return False
        if pair.unread:
            self.drifting.append(row_id)
        return True

    def refuse_faults(self, path: Path) -> None:
        """Raise PreflightError that counts and names the rows at fault, when there are any."""
        if not self.faults:
            return
        lines = []
        for reason, ids in self.faults.items():
            more = ", ..." if len(ids) > NAMED_ROWS else ""
            meaning = REASONS[reason].rstrip(".")
            limit = f" ({self.max_length})" if reason == "overlong" else ""
            lines.append(f"  {reason}: {len(ids)} rows. {meaning}{limit}: {', '.join(ids[:NAMED_ROWS])}{more}")
        advice = "Remove them in curation"
        if "overlong" in self.faults:
            advice += ", raise --max-length, or leave over-long ones out with --on-overlong drop"
        raise PreflightError(
            "\n".join([f"{path} has rows that cannot be trained on as they are:", *lines, f"{advice}."])
        )

    def write_dropped(self, path: Path) -> None:
        """Write one row of `ingest.schema.DROPPED` for each pair left out."""
        table = pa.table(
            {
                "triple_id": [row_id for row_id, _ in self.dropped],
                "rule": [OVERLONG_RULE] * len(self.dropped),
                "reason": [REASONS["overlong"]] * len(self.dropped),
                "detail": [detail for _, detail in self.dropped],
                "first": [True] * len(self.dropped),
            },
            schema=DROPPED,
        )
        pq.write_table(table, path)

    def _fault(self, pair: TokenisedPair) -> str | None:
        """Return the reason code of what is wrong with the tokens, if anything is."""
        found = {
            "empty_response": not pair.chosen or not pair.rejected,
            "empty_prompt": not pair.prompt,
            "identical_responses": pair.chosen == pair.rejected,
            "template_mismatch": pair.rewritten,
            "doubled_bos": self.bos is not None and self._begins_twice(pair, self.bos),
            "missing_end": bool(self.ends) and not (self.stops(pair.chosen) and self.stops(pair.rejected)),
        }
        return next((reason for reason, holds in found.items() if holds), None)

    def _begins_twice(self, pair: TokenisedPair, bos: int) -> bool:
        """Return whether the prompt starts with two begin tokens, or a response holds one that is no end token."""
        within = bos not in self.ends and (bos in pair.chosen or bos in pair.rejected)
        return within or pair.prompt[:2] == [bos, bos]

    def stops(self, response: list[int]) -> bool:
        """Return whether an end token is the last thing that the response says."""
        last = next((i for i in range(len(response) - 1, -1, -1) if response[i] in self.ends), None)
        return last is not None and self.is_blank(response[last + 1 :])
