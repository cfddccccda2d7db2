"""The pairing rules: every file of ingest/rules, and the order in which the statements around them run.

A rule is one .sql file whose header names it; docs/signals.md documents each of them.
"""

from dataclasses import dataclass
from importlib import resources
from typing import Final

from ingest.errors import ContractError


@dataclass(frozen=True)
class Rule:
    """How one signal becomes triples, or unpaired rows."""

    name: str
    """snake_case; the file's name, and part of every triple_id made by it."""
    version: int
    """Raised whenever the same events pair differently."""
    signal: str
    """The feedback it reads."""
    strength: str
    """"strong", "medium" or "weak": how far to trust it (docs/signals.md)."""
    meaning: str
    """One sentence that an annotator can read."""
    sql: str
    """The SELECT over `events`, `served` and `interactions`."""


def _sql(name: str) -> str:
    return (resources.files("ingest") / "rules" / f"{name}.sql").read_text(encoding="utf-8")


def _rule(name: str) -> Rule:
    """Return the rule of one file; the first lines of its header are its fields."""
    sql = _sql(name)
    header = dict(line.removeprefix("-- ").split(": ", 1) for line in sql.splitlines()[:5])
    if header.get("rule") != name or set(header) != {"rule", "version", "signal", "strength", "meaning"}:
        raise ContractError(f"rules/{name}.sql begins with {sorted(header)}. Begin it as the other rules do.")
    return Rule(name, int(header["version"]), header["signal"], header["strength"], header["meaning"], sql)


RULES: Final = tuple(
    _rule(name) for name in ("choice", "label", "edit", "sibling_thumbs", "rating", "rank", "regenerate")
)
"""The rules that make triples."""
LONE: Final = _rule("lone_thumb")
"""The rule that makes unpaired rows of what no triple uses."""

STEPS: Final = {
    name: _sql(name)
    for name in (
        "counted",
        "suspicion",
        "touched",
        "events",
        "placeholders",
        "triples",
        "triple_texts",
        "unpaired",
        "unpaired_texts",
        "outcome",
    )
}
"""The statements around the rules, in the order in which they run."""
