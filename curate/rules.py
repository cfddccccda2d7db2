"""Why a triple is dropped: every reason with its name, version and sentence; row rules with their predicate.

Policy on one page. A row rule judges one triple by itself; `curate.apply` runs it. Reasons that compare triples with
each other are in `curate.exact_duplicates` and `curate.contradictions`. docs/curation.md documents each of them.

Predicates see every column of `ingest.schema.TRIPLE` and those of curate/features.sql.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

Value = int | float | str | tuple[str, ...]
"""What a parameter of a rule can be; a tuple is a VARCHAR[] in SQL."""


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One reason why a triple is not in the curated data set."""

    name: str
    """snake_case; says what is wrong: "identical_pair"."""
    version: int
    """Raised whenever the same triples can be judged differently."""
    reason: str
    """One sentence that an annotator can read."""

    @property
    def id(self) -> str:
        """What dropped.parquet calls it: "identical_pair@v1"."""
        return f"{self.name}@v{self.version}"


@dataclass(frozen=True, kw_only=True)
class Rule(Reason):
    """One reason to drop a triple that can be seen on the triple alone."""

    drop_if: str
    """DuckDB predicate over the triples; true drops the row, NULL is an error."""
    detail: str
    """DuckDB expression: what was seen, without quoting any user's text."""
    params: Mapping[str, Value] = field(default_factory=dict)
    """$name in `drop_if` or `detail` -> its default; a name belongs to one rule only."""

    def with_params(self, params: Mapping[str, Value]) -> "Rule":
        """Return the rule with some parameters set; their names must be the rule's own."""
        return replace(self, params={**self.params, **params})


RULES: Final = (
    Rule(
        name="empty_side",
        version=1,
        reason="The chosen or the rejected response shows nothing: no visible character and no tool call.",
        drop_if="chosen_blank OR rejected_blank",
        detail="""CASE WHEN chosen_blank AND rejected_blank THEN 'both are empty'
                       WHEN chosen_blank THEN 'chosen is empty' ELSE 'rejected is empty' END""",
    ),
    Rule(
        name="identical_pair",
        version=1,
        reason="Chosen and rejected say the same once Unicode form, case and white space are evened out.",
        drop_if="chosen_key = rejected_key",
        detail="CASE WHEN chosen_hash = rejected_hash THEN 'the same text' ELSE 'the same normalised text' END",
    ),
    Rule(
        name="truncated_response",
        version=1,
        reason="One of the responses was cut off before it was finished.",
        drop_if="""coalesce(list_contains($cut_off::VARCHAR[], chosen_finish_reason), false)
                OR coalesce(list_contains($cut_off::VARCHAR[], rejected_finish_reason), false)""",
        detail="""concat_ws(', ', 'chosen: ' || chosen_finish_reason, 'rejected: ' || rejected_finish_reason)""",
        params={"cut_off": ("length", "content_filter")},
    ),
    Rule(
        name="too_long",
        version=1,
        reason="The prompt and its longer response together are longer than the limit.",
        drop_if="prompt_chars + greatest(chosen_chars, rejected_chars) > $max_chars",
        detail="""format('{:d} characters, {:d} allowed',
                         prompt_chars + greatest(chosen_chars, rejected_chars), $max_chars::BIGINT)""",
        params={"max_chars": 32768},
    ),
    Rule(
        name="missing_consent",
        version=2,
        reason="The people whose text and votes this is have not allowed training on it.",
        # "training" allows "training@2026-03", a version of its policy, too.
        drop_if="""consent IS NULL OR NOT list_has_any($consent_allow::VARCHAR[],
                                                        [consent, split_part(consent, '@', 1)])""",
        # The value is the record's own text: it is not repeated.
        detail="if(consent IS NULL, 'no consent is stated', 'consent is not among those allowed')",
        params={"consent_allow": ("training",)},
    ),
    Rule(
        name="weak_signal",
        version=1,
        reason="The preference was read from a signal that says too little alone, such as asking for another answer.",
        drop_if="strength IS NULL OR NOT list_contains($strengths::VARCHAR[], strength)",
        detail="concat_ws(' ', signal, 'is', coalesce(strength, 'of unknown strength'))",
        params={"strengths": ("strong", "medium")},
    ),
)
"""Every row rule, in the order in which reasons are counted."""

BY_NAME: Final[Mapping[str, Rule]] = {rule.name: rule for rule in RULES}
