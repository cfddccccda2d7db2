"""Sentinels and stubs in place of texts: counted by reason and day, whichever reader meets them, and never a row."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from ingest.readers.reading import Feedback, Interaction, Reading, Ref
from ingest.withheld import SENTINELS, sift
from tests.ingest.conftest import Workspace

Make = Callable[..., dict[str, Any]]
Log = Callable[..., bytes]

NEW_YEAR = datetime(2026, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))
"""Still 2025 in UTC."""


def message(role: str, content: str | None) -> Any:
    return {"role": role, "content": content, "tool_calls": None, "tool_call_id": None, "name": None}


def served(asked: str, answered: str | None, moment: datetime | None = NEW_YEAR) -> Interaction:
    prompt, response = [message("user", asked)], [message("assistant", answered)]
    return Interaction(source_id=f"{asked}{answered}", prompt=prompt, response=response, event_time=moment)


@pytest.mark.parametrize(("sentinel", "reason"), SENTINELS.items(), ids=SENTINELS)
def test_a_sentinel_alone_is_a_skipped_record(sentinel: str, reason: str) -> None:
    day = {(reason, "2025-12-31"): 1}
    assert sift(Reading((served("q", sentinel),))) == Reading(skipped=reason, skipped_days=day)
    assert sift(Reading((served(sentinel, "a"),))) == Reading(skipped=reason, skipped_days=day)
    assert sift(Reading((served("q", sentinel, None),))) == Reading(skipped=reason)


def test_what_only_quotes_a_sentinel_is_text() -> None:
    reading = Reading((served("What does redacted-by-litellm mean?", None), served("q", "redacted-by-litellm.")))
    assert sift(reading) is reading


def test_the_other_parts_of_the_record_are_kept() -> None:
    good, bad = served("q", "a"), served("q", "redacted-by-litellm")
    edit = Feedback(source_id="f", signal="edit", target=Ref("x"), text="__REDACTED__")
    comment = Feedback(source_id="g", signal="thumb", target=Ref("x"), text="__REDACTED__")
    assert sift(Reading((good, bad, bad), (edit, comment), skipped_parts={"no_prompt": 2})) == Reading(
        (good,),
        (comment,),
        skipped_parts={"no_prompt": 2, "redacted_by_litellm": 2, "redacted_by_openinference": 1},
        skipped_days={("redacted_by_litellm", "2025-12-31"): 2},
    )


def test_they_are_counted_by_day_and_never_stored(workspace: Workspace, interaction: Make, log: Log) -> None:
    """Two of Winnow's own log on one day, a LiteLLM call and a Helicone stub on two others, one thumb of the stub."""
    litellm = {"id": "c", "call_type": "acompletion", "startTime": 1760000000.5, "messages": "default-message-value"}
    helicone = {
        "request_id": "r",
        "request_body": {"helicone_message": "fetching body..."},
        "response_body": {"helicone_message": "fetching body..."},
        "response_status": 200,
        "request_created_at": "2026-10-02T23:59:59Z",
        "feedback_rating": True,
    }
    empty = helicone | {"request_id": "r2", "request_body": {"model": "m"}, "response_body": ""}
    del empty["feedback_rating"]
    records = [
        *(interaction(i, answer="redacted-by-litellm") for i in range(2)),
        interaction(2),
        litellm | {"response": {}},
        helicone,
        empty,
    ]
    (workspace.logs / "a.jsonl").write_bytes(log(*records))
    summary = workspace.run()
    assert list(summary.totals().values()) == [6, 7, 1, 1, 0, 5]
    assert workspace.rows("interactions", "source_id") == ["int-2"]
    [days] = workspace.rows("files", "skipped_by_day")
    assert [(row["reason"], row["day"], row["count"]) for row in days] == [
        ("default_message_value", datetime.fromtimestamp(1760000000, UTC).date().isoformat(), 1),
        ("no_response", "2026-10-02", 1),
        ("redacted_by_litellm", "2026-10-01", 2),
        ("stub_body", "2026-10-02", 1),
    ]
    assert "redacted-by" not in json.dumps(workspace.stable(), default=str)
