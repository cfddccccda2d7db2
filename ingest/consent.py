"""Who may be trained on: what a record's consent is, how it is taken back, and how much of the lake has which.

A record's consent is what it says itself, else what its source declares, else unknown (null). `name@version` says which
version of a policy a consent refers to. Nothing is left out of the lake for want of consent: curation drops what
[consent] allow does not name, with the reason, and offers it to no annotator.

A user who says later what [consent] withdrawn_by names takes back what they allowed before: the consent of all their
earlier responses becomes what they said, before the next pairing. So does `python -m ingest withdraw --user ID`.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from ingest.schema import INTERACTION
from ingest.settings import Consent, Settings, Source
from ingest.subjects import Subjects, Withdrawal, named

if TYPE_CHECKING:  # processes that only read lines need no database
    from ingest.lake import Lake

POLICY: Final = "@"
"""Parts the name of a consent and the version of the policy that it refers to."""
SHOWN: Final = 20
"""So many different values are counted one by one: a log may hold any text in their place."""

_NAME: Final = f"split_part(consent, '{POLICY}', 1)"
_WITHDRAWN: Final = f"""
    WITH statements AS (
        SELECT user_id, consent, event_time FROM interactions
        WHERE user_id IS NOT NULL AND list_contains($withdrawn_by::VARCHAR[], {_NAME})
        UNION ALL FROM withdrawals
    ),
    last AS (  -- without a time it may be the last thing they said
        SELECT user_id, arg_max(consent, coalesce(event_time, 'infinity')) AS consent,
            max(coalesce(event_time, 'infinity')) AS time
        FROM statements GROUP BY user_id
    )
    SELECT i.* REPLACE (last.consent AS consent)
    FROM (SELECT * FROM interactions WHERE consent IS NOT NULL
        AND NOT list_contains($withdrawn_by::VARCHAR[], {_NAME})) AS i
    JOIN last USING (user_id)
    WHERE coalesce(i.event_time, '-infinity') < last.time AND i.consent <> last.consent
"""
_COUNTS: Final = f"""
    SELECT consent, count(*) AS number,
        consent IS NOT NULL AND (list_contains($allow::VARCHAR[], consent) OR list_contains($allow::VARCHAR[], {_NAME}))
    FROM interactions WHERE run_id = coalesce($run_id, run_id)
    GROUP BY consent ORDER BY number DESC, consent
"""


def stated(record: str | None, source: Source) -> str | None:
    """Return the consent of one record as it is stored: its own, else its source's, else None for unknown."""
    return source.consent if record is None else record


def withdraw(settings: Settings, *, user: str | None = None, pseudonym: str | None = None) -> dict[str, Any]:
    """Note that one user takes back the consent to everything they said until now; the next run applies it.

    Raises SettingsError without exactly one name, LakeBusyError while a run holds the lake.
    """
    name, pseudonyms = named(settings, user, pseudonym)
    now = datetime.now(UTC)
    from ingest.lake import Lake

    with Lake(settings.lake).locked(f"withdraw {now:%Y%m%dT%H%M%SZ}"):
        Subjects(settings.subjects, pseudonyms).withdraw(Withdrawal(name, now))
    return {"pseudonym": name, "withdrawn": now.isoformat(timespec="seconds"), "applied_by": "the next ingest run"}


def apply(lake: "Lake", policy: Consent, withdrawals: Sequence[Withdrawal]) -> int:
    """Rewrite the consent of responses that their user took back later; return of how many."""
    said = pa.table(
        {
            "user_id": pa.array([one.user for one in withdrawals], pa.string()),
            "consent": pa.array([one.consent for one in withdrawals], pa.string()),
            "event_time": pa.array([one.time for one in withdrawals], pa.timestamp("us", tz="UTC")),
        }
    )
    with lake.database() as connection:
        lake.view(connection, "interactions")
        connection.register("withdrawals", said)
        rows = connection.sql(_WITHDRAWN, params={"withdrawn_by": list(policy.withdrawn_by)}).to_arrow_table()
    if rows.num_rows:
        lake.replace("interactions", rows.cast(INTERACTION))
    return int(rows.num_rows)


def sentence(found: Mapping[str, Any]) -> str:
    """Return the counts as a line of a table's caption."""
    values = ", ".join(f"{value or '(empty)'} {number:,}" for value, number in found["by_value"].items())
    may_not = found["not_allowed"] + found["unknown"]
    return f"consent: {found['allowed']:,} responses may be trained on, {may_not:,} may not: " + ", ".join(
        filter(None, [values, f"unknown {found['unknown']:,}"])
    )


def counts(lake: "Lake", policy: Consent, run_id: str | None = None) -> dict[str, Any]:
    """Return responses that may be trained on, may not, and of unknown consent, and how many have which value.

    Of one run's responses, or of all.
    """
    with lake.database() as connection:
        lake.view(connection, "interactions")
        given = {"allow": list(policy.allow), "run_id": run_id}
        found = connection.execute(_COUNTS, given).fetchall()
    values = {value: number for value, number, _ in found if value is not None}
    shown = dict(list(values.items())[:SHOWN])
    unknown = sum(number for value, number, _ in found if value is None)
    allowed = sum(number for _, number, allows in found if allows)
    rest = sum(values.values()) - sum(shown.values())
    return {
        "allowed": allowed,
        "not_allowed": sum(values.values()) - allowed,
        "unknown": unknown,
        "by_value": shown | ({"(other values)": rest} if rest else {}),
    }
