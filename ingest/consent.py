"""Who may be trained on: what a record says, else what its source declares, against the workspace's allow-list.

Nothing is left out of the lake for want of consent; `curate` drops such triples, with the reason.
"""

from ingest.settings import Consent, Source


def stated(record: str | None, source: Source) -> str | None:
    """Return the consent of one record as it is stored: its own, else its source's, else None for unknown."""
    return source.consent if record is None else record


def allowed(consent: str | None, policy: Consent) -> bool:
    """Return whether `policy` names this consent; unknown consent is none."""
    return consent in policy.allow
