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


TOO_MANY_TOKENS: Final = Rule(
    name="too_many_tokens",
    version=1,
    reason="The prompt and its longer response together have more tokens than the model to be trained reads.",
    drop_if="tokens > $max_tokens",
    detail="format('{:d} tokens, {:d} allowed', tokens, $max_tokens::BIGINT)",
    params={"max_tokens": 2048},
)
"""Runs where the recipe names a tokenizer; column tokens is of `curate.tokens`."""

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
        drop_if="same_normalised",
        detail="CASE WHEN chosen_hash = rejected_hash THEN 'the same text' ELSE 'the same normalised text' END",
    ),
    Rule(
        name="markup_pair",
        version=1,
        reason="Chosen and rejected differ in nothing but white space and the marks of Markdown.",
        drop_if="same_unmarked AND NOT same_normalised AND NOT chosen_blank AND NOT rejected_blank",
        detail="format('{:d} characters chosen, {:d} rejected', chosen_chars, rejected_chars)",
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
        name="failed_response",
        version=1,
        reason="In the place of one of the responses stands the error message of a server, a gateway or a library.",
        drop_if="""chosen_failed OR rejected_failed
                OR coalesce(list_contains($failures::VARCHAR[], chosen_finish_reason), false)
                OR coalesce(list_contains($failures::VARCHAR[], rejected_finish_reason), false)""",
        detail="""concat_ws(', ', if(chosen_failed, 'chosen reads as an error', NULL),
                                  if(rejected_failed, 'rejected reads as an error', NULL),
                                  if(list_contains($failures::VARCHAR[], chosen_finish_reason),
                                     'chosen: ' || chosen_finish_reason, NULL),
                                  if(list_contains($failures::VARCHAR[], rejected_finish_reason),
                                     'rejected: ' || rejected_finish_reason, NULL))""",
        params={"failures": ("error", "failed", "cancelled", "incomplete", "timeout")},
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
        name="retracted",
        version=1,
        reason="Somebody took back a vote or an edit that this preference rests on.",
        drop_if="retracted",
        detail="'an event of it was taken back'",
    ),
    Rule(
        name="weak_signal",
        version=1,
        reason="The preference was read from a signal that says too little alone, such as asking for another answer.",
        drop_if="strength IS NULL OR NOT list_contains($strengths::VARCHAR[], strength)",
        detail="concat_ws(' ', signal, 'is', coalesce(strength, 'of unknown strength'))",
        params={"strengths": ("strong", "medium")},
    ),
    Rule(
        name="refusal_pair",
        version=1,
        reason="Both responses refuse: there is nothing to learn but how to word it.",
        drop_if="chosen_refuses AND rejected_refuses",
        detail="'both begin with a refusal'",
    ),
    Rule(
        name="boilerplate",
        version=1,
        reason="The chosen response is canned: it begins by saying what a model is, or answers many prompts alike.",
        drop_if="chosen_disclaims OR (chosen_prompts > $canned_prompts AND chosen_chars >= $canned_chars)",
        detail="""if(chosen_disclaims, 'chosen begins with what it says of itself',
                     format('chosen for {:d} prompts', chosen_prompts))""",
        params={"canned_prompts": 50, "canned_chars": 40},
    ),
    Rule(
        name="wrong_language",
        version=1,
        reason="The chosen response is in another script than the question and the rejected response.",
        drop_if="""coalesce(chosen_script <> prompt_script AND rejected_script = prompt_script, false)
                AND NOT prompt_names_language""",
        detail="format('asked in {:s} letters, chosen in {:s}', prompt_script, chosen_script)",
    ),
    Rule(
        name="mojibake",
        version=1,
        reason="A response holds characters that were damaged by reading them in the wrong encoding.",
        # A prompt that holds them may ask about them.
        drop_if="(chosen_mojibake OR rejected_mojibake) AND NOT prompt_mojibake",
        detail="concat_ws(', ', if(chosen_mojibake, 'chosen', NULL), if(rejected_mojibake, 'rejected', NULL))",
    ),
    Rule(
        name="role_marker",
        version=1,
        reason="A text holds the tokens by which chat templates mark who speaks, or goes on speaking for the user.",
        drop_if="prompt_role_marker OR chosen_role_marker OR rejected_role_marker",
        detail="""concat_ws(', ', if(prompt_role_marker, 'prompt', NULL), if(chosen_role_marker, 'chosen', NULL),
                                  if(rejected_role_marker, 'rejected', NULL))""",
    ),
    Rule(
        name="length_ratio",
        version=1,
        reason="One response is so much longer than the other that their lengths say more than their content.",
        drop_if="""greatest(chosen_chars, rejected_chars) >= $ratio_from_chars
                AND greatest(chosen_chars, rejected_chars) > $max_ratio * least(chosen_chars, rejected_chars)""",
        detail="format('{:d} characters chosen, {:d} rejected', chosen_chars, rejected_chars)",
        params={"max_ratio": 100.0, "ratio_from_chars": 1000},
    ),
)
"""Every row rule, in the order in which reasons are counted."""

BY_NAME: Final[Mapping[str, Rule]] = {rule.name: rule for rule in RULES}
