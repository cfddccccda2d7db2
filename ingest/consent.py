"""Which consent a record is stored with: what it says itself, else what its source declares, else none is known.

Nothing is left out of the lake for want of consent. `curate` drops what winnow.toml's [consent] allow does not name,
with the reason.
"""

from ingest.settings import Source


def stated(record: str | None, source: Source) -> str | None:
    """Return the consent of one record as it is stored: its own, else its source's, else None for unknown."""
    return source.consent if record is None else record
