"""Consent: whose it is, which policy it refers to, what a later word takes back, and how it is counted."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from ingest import consent
from ingest.errors import SettingsError
from ingest.settings import Consent

Make = Callable[..., dict[str, Any]]
Log = Callable[..., bytes]

TIMES = [f"2026-10-0{day}T08:00:00Z" for day in range(1, 10)]


def allow(workspace: Any, **policy: Any) -> None:
    workspace.settings = workspace.settings.model_copy(update={"consent": Consent(**policy)})


def held(workspace: Any) -> dict[str, str | None]:
    return dict(workspace.rows("interactions", "source_id", "consent"))


def test_a_record_names_the_policy_that_its_consent_refers_to(workspace: Any, interaction: Make, log: Log) -> None:
    records = [
        interaction(1, consent="training", consent_policy="2026-03"),
        interaction(2, consent="training"),
        interaction(3, consent_policy="2026-03"),  # a policy that was shown is no consent
    ]
    (workspace.logs / "a.jsonl").write_bytes(log(*records))
    workspace.run()
    assert held(workspace) == {"int-1": "training@2026-03", "int-2": "training", "int-3": None}


@pytest.mark.parametrize(
    ("policy", "allowed"),
    [(("training",), 3), (("training@2026-03",), 1), (("training@2026-03", "research"), 2), ((), 0)],
    ids=["any version", "one version", "two values", "nothing"],
)
def test_responses_are_counted_by_consent(
    workspace: Any, interaction: Make, log: Log, policy: tuple[str, ...], allowed: int
) -> None:
    """Six new responses; a second run counts none of them again, the whole lake does."""
    values = ["training", "training@2026-03", "training@2025-01", "research", "", None]
    records = [interaction(n, consent=value, user_id=f"u-{n}") for n, value in enumerate(values)]
    (workspace.logs / "a.jsonl").write_bytes(log(*records))
    allow(workspace, allow=policy)
    found = workspace.run().consent
    assert found == {
        "allowed": allowed,
        "not_allowed": 5 - allowed,
        "unknown": 1,
        "by_value": {"": 1, "research": 1, "training": 1, "training@2025-01": 1, "training@2026-03": 1},
    }
    assert consent.counts(workspace.lake, workspace.settings.consent) == found
    again = workspace.run().consent
    assert (again["allowed"], again["not_allowed"], again["unknown"]) == (0, 0, 0)


def test_a_log_that_holds_any_text_for_consent_is_counted_in_bounds(
    workspace: Any, interaction: Make, log: Log
) -> None:
    """25 values, of which 20 are named."""
    (workspace.logs / "a.jsonl").write_bytes(log(*(interaction(n, consent=f"c{n:02d}") for n in range(25))))
    found = workspace.run().consent
    assert len(found["by_value"]) == 21
    assert found["by_value"]["(other values)"] == 5
    assert found["not_allowed"] == 25


SAID_BEFORE = [
    ("none later", "training", TIMES[0], "none", TIMES[1], "none"),
    ("none of another policy later", "training", TIMES[0], "none@2026-09", TIMES[1], "none@2026-09"),
    ("none earlier", "training", TIMES[1], "none", TIMES[0], "training"),
    ("the empty text later", "training", TIMES[0], "", TIMES[1], ""),
    ("nothing said later", "training", TIMES[0], None, TIMES[1], "training"),
    ("something else later", "training", TIMES[0], "research", TIMES[1], "training"),
    ("unknown stays unknown", None, TIMES[0], "none", TIMES[1], None),
]


@pytest.mark.parametrize(
    ("first", "at", "second", "then", "expected"), [case[1:] for case in SAID_BEFORE], ids=[c[0] for c in SAID_BEFORE]
)
def test_what_a_user_says_later(
    workspace: Any, interaction: Make, log: Log, first: str, at: str, second: str, then: str, expected: str | None
) -> None:
    """In two runs; another user's response stays as it is."""
    other = interaction(9, consent="training", user_id="other", time=TIMES[0])
    (workspace.logs / "a.jsonl").write_bytes(log(interaction(1, consent=first, time=at), other))
    workspace.run()
    (workspace.logs / "b.jsonl").write_bytes(log(interaction(2, consent=second, time=then)))
    summary = workspace.run()
    assert held(workspace) == {"int-1": expected, "int-2": second, "int-9": "training"}
    assert summary.withdrawn == int(expected != first)
    assert workspace.run().withdrawn == 0


def test_consent_given_again_holds_from_then_on(workspace: Any, interaction: Make, log: Log) -> None:
    said = ["training", "none", "training"]
    (workspace.logs / "a.jsonl").write_bytes(
        log(*(interaction(n, consent=value, time=TIMES[n]) for n, value in enumerate(said)))
    )
    workspace.run()
    assert held(workspace) == {"int-0": "none", "int-1": "none", "int-2": "training"}


def test_where_each_record_stands_for_itself_none_takes_nothing_back(
    workspace: Any, interaction: Make, log: Log
) -> None:
    allow(workspace, withdrawn_by=())
    (workspace.logs / "a.jsonl").write_bytes(
        log(interaction(1, consent="training", time=TIMES[0]), interaction(2, consent="none", time=TIMES[1]))
    )
    assert workspace.run().withdrawn == 0
    assert held(workspace) == {"int-1": "training", "int-2": "none"}


def test_a_withdrawal_reaches_triples_that_were_there_before(
    workspace: Any, interaction: Make, thumb: Make, log: Log
) -> None:
    edit = thumb(1, 1, signal="edit", text="A far better answer", value=None, scale=None)
    (workspace.logs / "a.jsonl").write_bytes(log(interaction(1, consent="training", time=TIMES[0]), edit))
    workspace.run()
    assert workspace.rows("triples", "consent") == ["training"]
    (workspace.logs / "b.jsonl").write_bytes(log(interaction(2, consent="none", time=TIMES[1])))
    workspace.run()
    assert workspace.rows("triples", "consent") == ["none"]


def test_a_withdrawal_by_hand_holds_in_a_lake_made_anew(workspace: Any, interaction: Make, log: Log) -> None:
    """Said now, it reaches what was said until now, also where the lake reads it later; not what is said afterwards."""
    records = [interaction(1, consent="training"), interaction(2, consent="training", time="2126-10-01T08:00:00Z")]
    (workspace.logs / "a.jsonl").write_bytes(log(*records))
    (workspace.root / "winnow.toml").write_text('lake = "lake"\n[[sources]]\nname = "app"\npath = "logs/*"\n')

    def command(*words: str) -> dict[str, Any]:
        config = ["--config", str(workspace.root / "winnow.toml")]
        done = subprocess.run(
            [sys.executable, "-m", "ingest", *words, *config], capture_output=True, text=True, check=True
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    assert command("withdraw", "--user", "u-017")["applied_by"] == "the next ingest run"
    assert command("run")["consent"] == {
        "allowed": 1, "not_allowed": 1, "unknown": 0, "by_value": {"none": 1, "training": 1}, "withdrawn": 1
    }  # fmt: skip
    assert command("run")["consent"]["withdrawn"] == 0
    assert command("status")["consent"]["allowed"] == 1
    assert held(workspace) == {"int-1": "none", "int-2": "training"}


def test_a_withdrawal_needs_one_name(workspace: Any) -> None:
    with pytest.raises(SettingsError, match="Name one user"):
        consent.withdraw(workspace.settings)
