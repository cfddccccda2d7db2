"""The data card of a snapshot, README.md: what the rows are, how they were chosen, and what they are biased towards.

Written beside the files, in the form that data set hubs read: a YAML head, then Markdown; part of `python -m curate
run`. It holds numbers and names of rules, and no text of any user. A licence that the recipe does not state is unknown.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from curate.counts import Counts
from curate.measures import Measures
from curate.recipe import Card
from curate.rules import Reason

COLUMNS: Final[Mapping[str, str]] = {
    "triple_id": "key",
    "prompt": "messages before the response",
    "chosen": "messages of the preferred response",
    "rejected": "messages of the other response",
    "tools": "tools that were offered, JSON text",
    "prompt_hash": "hash of the prompt",
    "chosen_hash": "hash of the chosen response",
    "rejected_hash": "hash of the rejected response",
    "source": "log or data set it comes from",
    "signal": "what the preference was read from",
    "rule": "pairing rule",
    "rule_version": "its version",
    "strength": "strong, medium or weak",
    "margin": "how much better, 0 to 1, where the signal has degrees",
    "weight": "weight in training",
    "n_votes": "votes on the pair",
    "n_agree": "of them, for the chosen response",
    "contradicted": "votes of any rule prefer the rejected response",
    "suspicious": "what the votes behind it look like",
    "off_policy": "the chosen text was written by a person",
    "chosen_interaction_id": "the served response, null for an edited one",
    "rejected_interaction_id": "the served response",
    "event_ids": "feedback events behind it",
    "chosen_model": "model that gave the chosen response",
    "rejected_model": "model that gave the rejected response",
    "chosen_finish_reason": "why it ended",
    "rejected_finish_reason": "why it ended",
    "chosen_logprob": "sum of log-probabilities as logged, nats",
    "rejected_logprob": "the same of the rejected response",
    "chosen_token_ids": "tokens as sampled",
    "rejected_token_ids": "tokens as sampled",
    "chosen_token_logprobs": "of each token, nats",
    "rejected_token_logprobs": "of each token, nats",
    "logprob_model": "model of the log-probabilities",
    "prompt_group": "hash of the conversation's root",
    "user_ids": "pseudonyms of the people behind it",
    "consent": "consent as recorded",
    "first_time": "first event, UTC",
    "last_time": "last event, UTC",
    "split": "train, validation or test",
    "cluster_id": "prompts of one cluster are in one split",
    "agreement": "n_agree / n_votes",
    "label_noise": "estimated probability that the label is wrong",
    "chosen_score": "Bradley-Terry score, where votes compare more than two responses",
    "rejected_score": "the same of the rejected response",
    "in_cycle": "whether preferences go in a circle among its prompt's responses",
    "language": "of the chosen response, where its script tells",
    "prompt_chars": "characters",
    "chosen_chars": "characters",
    "rejected_chars": "characters",
}
"""Every column of curated.parquet -> what it holds."""
SIZES: Final = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def render(name: str, card: Card, counts: Counts, measures: Measures, reasons: Sequence[Reason]) -> str:
    """Return the card of snapshot `name`."""
    parts = (
        _head(card, counts),
        f"# {card.title}",
        f"{counts.curated:,} preference triples, snapshot {name}: a prompt, a chosen and a rejected response, read "
        "from what the users of a deployed language model did and said, and from annotators. Texts were redacted "
        f"before they were stored. Licence: {card.license}.",
        "## Rows",
        _table(("split", "triples"), [(split, f"{rows:,}") for split, rows in counts.by_split.items()]),
        "Column `split` tells them apart. Prompts that are alike, and conversations of one root, are in one split.",
        "## What was left out",
        f"{counts.triples:,} in = {counts.curated:,} curated + {counts.dropped:,} dropped, each by its first reason:",
        _reasons(counts, reasons),
        "## What it is biased towards",
        "Share of pairs whose chosen response has more, of those whose responses differ in it; 0.5 is even.",
        _biases(measures),
        "Mean ln(characters of chosen / characters of rejected): "
        f"{_number(measures.log_ratio['before'])} before, {_number(measures.log_ratio['after'])} after curation. "
        f"Of {measures.votes:,} votes on the pairs {measures.agree:,} prefer the chosen response.",
        "## Columns",
        _table(("column", "holds"), [(f"`{column}`", what) for column, what in COLUMNS.items()]),
        "## How it was made",
        "By `python -m curate run` of Winnow. manifest.json holds recipe, rules with their versions, versions of "
        "packages and of the lake's tables, and hashes; dropped.parquet every reason of every dropped triple; "
        "report.html the same in pictures.",
    )
    return "\n\n".join(parts) + "\n"


def _head(card: Card, counts: Counts) -> str:
    """Return the YAML head; its values are JSON, which YAML reads."""
    size = next((name for limit, name in SIZES if counts.curated < limit), "n>1M")
    head: dict[str, Any] = {
        "pretty_name": card.title,
        "license": card.license,
        "task_categories": ["text-generation"],
        "tags": ["preference", "dpo", "human-feedback"],
        "size_categories": [size],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "curated.parquet"}]}],
    }
    return "\n".join(
        ["---", *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()), "---"]
    )


def _reasons(counts: Counts, reasons: Sequence[Reason]) -> str:
    rows = [
        (f"`{reason.id}`", f"{counts.by_reason[reason.name].first:,}", reason.reason)
        for reason in reasons
        if counts.by_reason[reason.name].first
    ]
    return _table(("reason", "triples", "drops a triple when"), rows) if rows else "Nothing."


def _biases(measures: Measures) -> str:
    rows = []
    for one in measures.shares:
        if one.phase == "after" and one.interval:
            low, high = one.interval
            bounds = f"{low:.3f} to {high:.3f}"
            rows.append((one.feature, _number(measures.share(one.feature, "before")), _number(one.share), bounds))
    return _table(("", "before", "after", "95 % interval"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = (head, ["---"] * len(head), *([cell.replace("|", r"\|") for cell in row] for row in rows))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
