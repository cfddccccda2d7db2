"""Turns feedback into triples and unpaired rows: runs every rule of ingest/rules over the lake.

Reads `interactions` and `feedback`, writes `triples` and `unpaired`; part of `python -m ingest run`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingest.lake import Lake


@dataclass(frozen=True)
class Pairing:
    """What one pairing gave, and what gave nothing."""

    total: int
    """Triples in the lake after this run."""
    new: int
    """Of them, triples that were not there before."""
    removed: int
    """Triples that were there before and are no longer supported by any event."""
    by_signal: dict[str, int]
    """Signal -> triples; adds up to `total`."""
    unpaired_total: int
    """Unpaired rows in the lake after this run."""
    orphans: int
    """Events whose target, or every other, has not arrived yet; they wait."""
    no_pair: dict[str, int]
    """Signal -> current events that make neither triple nor unpaired row, and do not wait."""
    mismatched: int
    """Comparisons whose two responses answer different prompts: never a triple."""
    identical: int
    """Comparisons whose two responses have the same text: never a triple."""


def build(lake: "Lake", run_id: str) -> Pairing:
    """Pair everything in `lake` and overwrite its triples and unpaired rows where they changed."""
    raise NotImplementedError
