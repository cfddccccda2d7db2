"""The contracts: Arrow schemas of every table Winnow writes or reads, and how ids are made.

Imports only the standard library, pyarrow and msgspec, so that importing it costs milliseconds.

Ids are tagged hashes of canonical JSON: ``b2:`` + 32 hex digits of blake2b-128. Times are UTC microseconds. What a
source does not say is null, never guessed. Conversations are ``list<struct<role, content, tool_calls, tool_call_id,
name>>``, the conversational format of TRL and ``datasets``; ``tool_calls`` is JSON text.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Final, TypedDict

import msgspec
import pyarrow as pa

SCHEMA_VERSION: Final = 3
"""Raised whenever a table below changes."""

SIGNALS: Final = (
    "thumb",
    "rating",
    "rank",
    "choice",
    "tie",
    "both_bad",
    "edit",
    "regenerate",
    "accept",
    "copy",
    "label",
)
"""What a feedback event can say. `label` is a decisive pick in Winnow's own app; its ties are `tie`."""

RATER_KINDS: Final = ("user", "annotator", "model", "code")

QUARANTINE_REASONS: Final = {
    "not_json": "The line is not one JSON value.",
    "not_csv": "The row of a table has quotes that do not match, or other cells than the header names.",
    "not_utf8": "The line is not valid UTF-8.",
    "not_an_object": "The JSON value is not an object.",
    "torn": "The line ends in the middle of a record: its writer was killed, or its file was cut.",
    "oversized": "The line is longer than the limit.",
    "unknown_format": "No reader knows the form of this record.",
    "missing_field": "A field that the format requires is absent.",
    "wrong_type": "A field has a type that the format does not allow.",
    "bad_value": "A field has a value that the format does not allow.",
    "id_conflict": "An id that the record states stands for another prompt, response or verdict already.",
    "corrupt_archive": "The compressed file is damaged or cut from here on.",
}
"""Reason code of a quarantined record -> what it means."""


OUTCOMES: Final = {
    "paired": "It supports at least one triple.",
    "unpaired": "It supports an unpaired row.",
    "waits": "A response that it names has not arrived, or its prompt is not whole.",
    "no_pair": "It supports nothing, and waits for nothing.",
}
"""What became of a feedback event -> what that means."""

NO_PAIR_REASONS: Final = {
    "no_rule": "No rule reads this signal.",
    "nothing_to_compare": "Nothing that was served or said answers it.",
    "user_cap": "Its rater has more events than [pairing] per_user lets count.",
    "prompt_cap": "Its prompt has more pairs than [pairing] per_prompt lets a rule make.",
    "mismatch": "The responses answer different prompts, or had different tools on offer.",
    "identical": "The responses say the same.",
    "small_margin": "The ratings are closer than [pairing] rating_margin, or the ranks than rank_distance.",
    "not_kept": "The later response was itself regenerated.",
    "after_error": "What was regenerated was empty, cut off or an error: asking again says nothing of its quality.",
    "changed_request": "The later response was asked for with other parameters, or of another model.",
}
"""Why an event, or one comparison of it, makes no triple -> what that means."""

SUSPICIONS: Final = {
    "burst": "Its rater gave more votes within seconds than a person does.",
    "same_instant": "Its rater gave several votes at exactly the same time.",
    "one_model": "Its rater preferred one model in each of many comparisons with others.",
    "rater_share": "Its rater alone gave an improbable share of all votes of the source.",
}
"""What makes a vote look forged -> what that means. Such votes are marked, and never left out for it."""


class Message(TypedDict):
    """One turn of a conversation."""

    role: str
    content: str | None
    tool_calls: str | None
    tool_call_id: str | None
    name: str | None


Turn = tuple[object, ...]
"""One message as its texts, or nulls, in the order of MESSAGE_KEYS."""

_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_TEXTS: Final = msgspec.json.Encoder()
"""Of lists of texts, whole numbers and nulls it makes the bytes of `_CANONICAL`, in a tenth of the time."""


def canonical_json(value: object) -> bytes:
    """Return the one JSON text of `value`: sorted keys, no spaces, UTF-8.

    Raises ValueError for NaN and infinities, UnicodeEncodeError for lone surrogates.
    """
    return _CANONICAL.encode(value).encode("utf-8")


def content_id(value: object) -> str:
    """Return the tagged hash of `value`: ``b2:`` + blake2b-128 of its canonical JSON, in hex."""
    return _tagged(canonical_json(value))


def texts_id(values: Sequence[str | int | None]) -> str:
    """Return `content_id` of a list that holds nothing but texts, whole numbers and nulls."""
    return _tagged(_TEXTS.encode(values))


def _tagged(content: bytes) -> str:
    return "b2:" + hashlib.blake2b(content, digest_size=16).hexdigest()


def turns_hash(turns: Sequence[Turn]) -> str:
    """Return the id of a conversation: `content_id` of the list of its turns. Lone surrogates raise as above."""
    return _tagged(_TEXTS.encode(turns))


def messages_hash(messages: Sequence[Mapping[str, object]]) -> str:
    """Return the id of a conversation; keys that are absent and keys that are null are the same."""
    return turns_hash([tuple([m.get(key) for key in MESSAGE_KEYS]) for m in messages])


def prompt_group(prompt: Sequence[Mapping[str, object]]) -> str:
    """Return the id of a conversation's root: its turns up to and including the first user's. Splits go by it."""
    first = next((i for i, message in enumerate(prompt) if message["role"] == "user"), len(prompt))
    return messages_hash(prompt[: first + 1])


def interaction_id(source: str, source_id: str, choice_index: int = 0) -> str:
    """Return the key of one served response that its source names `source_id`."""
    return texts_id(["interaction", source, source_id, choice_index])


def feedback_id(source: str, source_id: str, revision: int = 0) -> str:
    """Return the key of one feedback event; a changed vote is a new revision of the same source_id."""
    return texts_id(["feedback", source, source_id, revision])


def triple_id(prompt_hash: str, chosen_hash: str, rejected_hash: str, rule: str) -> str:
    """Return the key of one triple: what is preferred over what, and by which rule's name."""
    return texts_id(["triple", prompt_hash, chosen_hash, rejected_hash, rule])


def pair_id(prompt_hash: str, response_hash: str, other_response_hash: str) -> str:
    """Return the key of an unordered pair of responses to one prompt."""
    return texts_id(["pair", prompt_hash, *sorted((response_hash, other_response_hash))])


def _table(fields: Sequence[tuple[str, pa.DataType]]) -> pa.Schema:
    """Return the schema of a table whose first column is its key, and never null."""
    return pa.schema([pa.field(name, kind, nullable=i > 0) for i, (name, kind) in enumerate(fields)])


TIME: Final = pa.timestamp("us", tz="UTC")
MESSAGE_KEYS: Final = ("role", "content", "tool_calls", "tool_call_id", "name")
MESSAGE: Final = pa.struct([(key, pa.string()) for key in MESSAGE_KEYS])
MESSAGES: Final = pa.list_(MESSAGE)
STRINGS: Final = pa.list_(pa.string())
COUNTS: Final = pa.map_(pa.string(), pa.int32())
DAY_COUNTS: Final = pa.list_(pa.struct([("reason", pa.string()), ("day", pa.string()), ("count", pa.int32())]))
DIGESTS: Final = pa.map_(pa.string(), pa.string())

PROVENANCE: Final = (
    ("ingest_time", TIME),
    ("file_id", pa.string()),  # content_id of source and file identity; `files` names the path
    (
        "byte_offset",
        pa.int64(),
    ),  # of the record's first byte in the decompressed file; of Parquet: the row number
    ("reader", pa.string()),  # "name@version"
    ("run_id", pa.string()),
)

INTERACTION: Final = _table(
    [
        ("interaction_id", pa.string()),
        ("source", pa.string()),
        ("source_id", pa.string()),
        ("conversation_id", pa.string()),
        ("parent_id", pa.string()),
        ("turn_index", pa.int32()),
        ("choice_index", pa.int32()),
        (
            "sibling_group",
            pa.string(),
        ),  # content_id of source, conversation and prompt_hash: same conversation point
        ("user_id", pa.string()),  # keyed HMAC pseudonym, never the source's own id
        ("prompt", MESSAGES),
        ("response", MESSAGES),
        ("tools", pa.string()),  # JSON text
        ("prompt_hash", pa.string()),
        ("response_hash", pa.string()),
        ("model", pa.string()),
        ("model_requested", pa.string()),
        ("sampling", pa.string()),  # JSON text: temperature, top_p, seed, ...
        ("finish_reason", pa.string()),
        ("status", pa.string()),  # "ok", or "awaits_parent": the prompt is not whole yet (`ingest.threads`)
        ("token_ids", pa.list_(pa.int32())),  # of the response as sampled, end token included
        (
            "token_logprobs",
            pa.list_(pa.float32()),
        ),  # natural log, aligned with token_ids where both are there
        ("logprob_model", pa.string()),
        ("tokens_in", pa.int32()),
        ("tokens_out", pa.int32()),
        ("latency_ms", pa.float64()),
        ("arm", pa.string()),
        ("propensity", pa.float64()),
        ("position", pa.string()),
        ("shown", pa.bool_()),
        ("consent", pa.string()),
        ("event_time", TIME),
        ("redactions", COUNTS),  # kind -> places; "token_logprobs", "token_ids" -> entries nulled with their text
        ("placeholders", DIGESTS),  # "EMAIL_1" -> keyed digest of what stood there (`ingest.numbering`)
        *PROVENANCE,
        ("day", pa.string()),  # ISO date of event_time, else of ingest_time
    ]
)

FEEDBACK: Final = _table(
    [
        ("feedback_id", pa.string()),
        ("source", pa.string()),
        ("source_id", pa.string()),
        ("revision", pa.int64()),
        ("target_kind", pa.string()),  # "interaction"
        ("target_id", pa.string()),  # as the source names it
        ("interaction_id", pa.string()),  # key of the target, whether it has arrived or not
        ("other_ids", STRINGS),  # interaction_ids the target was compared with
        ("signal", pa.string()),
        ("value", pa.float64()),
        ("scale_min", pa.float64()),
        ("scale_max", pa.float64()),
        ("text", pa.string()),  # of an edit: the edited response; else a comment
        ("rater_kind", pa.string()),
        ("rater_id", pa.string()),  # keyed HMAC pseudonym
        ("position", pa.string()),  # where the target stood: "left" or "right"
        ("retracted", pa.bool_()),
        ("event_time", TIME),
        ("redactions", COUNTS),  # kind -> places; "token_logprobs", "token_ids" -> entries nulled with their text
        ("placeholders", DIGESTS),  # "EMAIL_1" -> keyed digest of what stood there (`ingest.numbering`)
        *PROVENANCE,
        ("day", pa.string()),
    ]
)

QUARANTINE: Final = _table(
    [
        ("quarantine_id", pa.string()),  # content_id of source, head, byte_offset and the line's keyed hash
        ("source", pa.string()),
        ("reason", pa.string()),  # a key of QUARANTINE_REASONS
        ("detail", pa.string()),
        ("raw", pa.string()),  # the line, redacted; null where oversized
        ("redactions", COUNTS),  # kind -> places in `raw`
        ("raw_bytes", pa.int64()),  # its length
        ("path", pa.string()),
        *PROVENANCE,
        ("day", pa.string()),
    ]
)

_TRIPLE_FIELDS: Final = (
    ("prompt", MESSAGES),
    ("chosen", MESSAGES),
    ("rejected", MESSAGES),
    ("tools", pa.string()),
    ("prompt_hash", pa.string()),
    ("chosen_hash", pa.string()),
    ("rejected_hash", pa.string()),
    ("source", pa.string()),
    ("signal", pa.string()),
    ("rule", pa.string()),
    ("rule_version", pa.int32()),
    ("strength", pa.string()),  # "strong", "medium" or "weak"
    ("margin", pa.float64()),  # in [0, 1]; null where the signal has no degree
    ("weight", pa.float64()),
    ("n_votes", pa.int32()),  # distinct raters of the pair, either way, as this rule reads them
    ("n_agree", pa.int32()),  # of them, those for this way round
    ("contradicted", pa.bool_()),  # votes of any rule prefer the rejected response over the chosen one
    ("suspicious", STRINGS),  # keys of SUSPICIONS, sorted: what the votes behind it look like
    ("off_policy", pa.bool_()),  # the chosen text was written by a person: no logged model sampled it
    ("chosen_interaction_id", pa.string()),  # null for an edited response, which nothing served
    ("rejected_interaction_id", pa.string()),
    ("event_ids", STRINGS),  # feedback_ids, sorted
    ("chosen_model", pa.string()),
    ("rejected_model", pa.string()),
    ("chosen_finish_reason", pa.string()),
    ("rejected_finish_reason", pa.string()),
    ("chosen_logprob", pa.float64()),  # sum over response tokens, as logged
    ("rejected_logprob", pa.float64()),
    ("chosen_token_ids", pa.list_(pa.int32())),
    ("rejected_token_ids", pa.list_(pa.int32())),
    ("chosen_token_logprobs", pa.list_(pa.float32())),
    ("rejected_token_logprobs", pa.list_(pa.float32())),
    ("logprob_model", pa.string()),  # null unless both sides name the same one
    ("prompt_group", pa.string()),  # content_id of source-independent conversation root: splits go by it
    ("user_ids", STRINGS),
    ("consent", pa.string()),  # null as soon as one side's is
    ("first_time", TIME),
    ("last_time", TIME),
)

TRIPLE: Final = _table([("triple_id", pa.string()), *_TRIPLE_FIELDS])

UNPAIRED: Final = _table(
    [
        ("unpaired_id", pa.string()),  # content_id of interaction and signal
        ("prompt", MESSAGES),
        ("completion", MESSAGES),  # with `label`: the KTO format of TRL
        ("label", pa.bool_()),
        ("tools", pa.string()),
        ("prompt_hash", pa.string()),
        ("response_hash", pa.string()),
        ("source", pa.string()),
        ("signal", pa.string()),
        ("rule", pa.string()),
        ("rule_version", pa.int32()),
        ("interaction_id", pa.string()),
        ("event_ids", STRINGS),
        ("model", pa.string()),
        ("prompt_group", pa.string()),
        ("user_ids", STRINGS),
        ("consent", pa.string()),
        ("event_time", TIME),
    ]
)

OUTCOME: Final = _table(
    [
        ("feedback_id", pa.string()),  # of every event that counts: the latest revision, unless taken back
        ("source", pa.string()),
        ("signal", pa.string()),
        ("outcome", pa.string()),  # a key of OUTCOMES
        ("reason", pa.string()),  # of "no_pair": a key of NO_PAIR_REASONS
        ("pairs", pa.int32()),  # comparisons that are part of a triple
        ("left_out", COUNTS),  # key of NO_PAIR_REASONS -> comparisons that are not
        ("suspicious", STRINGS),  # keys of SUSPICIONS, sorted
        ("event_time", TIME),
        ("ingest_time", TIME),
    ]
)

FILE: Final = _table(
    [
        ("file_id", pa.string()),
        ("source", pa.string()),
        ("path", pa.string()),
        ("run_id", pa.string()),
        ("read_from", pa.int64()),  # byte offsets into the decompressed file
        ("read_to", pa.int64()),
        ("lines", pa.int64()),  # = lines read + lines quarantined + lines skipped
        ("records", pa.int64()),  # = interactions + feedback + quarantined + skipped
        ("interactions", pa.int64()),  # new rows
        ("feedback", pa.int64()),
        ("quarantined", pa.int64()),
        ("skipped", pa.int64()),
        ("skipped_by_reason", COUNTS),
        ("quarantined_by_reason", COUNTS),
        ("skipped_by_day", DAY_COUNTS),  # of skipped records, those that state when they were
        ("ingest_time", TIME),
        ("head", pa.string()),  # content hash of the first line: with `tail`, the file's identity under any name
        ("tail", pa.string()),  # content hash of the `tail_bytes` bytes before read_to
        ("tail_bytes", pa.int64()),
        ("stored_bytes", pa.int64()),  # size on disk where all of it was read, else null
        ("stored_mtime_ns", pa.int64()),
    ]
)

CURATED: Final = _table(
    [
        ("triple_id", pa.string()),
        *_TRIPLE_FIELDS,
        ("split", pa.string()),  # "train", "validation" or "test"
        ("cluster_id", pa.string()),  # prompts of one cluster are never in two splits
        ("agreement", pa.float64()),  # votes for the majority / all votes on the pair
        ("label_noise", pa.float64()),  # estimated probability that the label is wrong; null when unknown
        ("chosen_score", pa.float64()),  # Bradley-Terry, where votes compare more than two responses; else null
        ("rejected_score", pa.float64()),
        ("in_cycle", pa.bool_()),  # A is preferred over B, B over C, C over A
        ("language", pa.string()),
        ("prompt_chars", pa.int32()),
        ("chosen_chars", pa.int32()),
        ("rejected_chars", pa.int32()),
    ]
)

DROPPED: Final = _table(
    [
        ("triple_id", pa.string()),
        ("rule", pa.string()),  # "name@vN"; one row per triple and rule that drops it
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("first", pa.bool_()),  # true on exactly one row of each triple: counts by reason add up over these
    ]
)

CANDIDATE: Final = _table(
    [
        ("pair_id", pa.string()),
        ("prompt", MESSAGES),
        ("response_a", MESSAGES),  # response_a has the smaller hash; the app decides the sides
        ("response_b", MESSAGES),
        ("interaction_a", pa.string()),
        ("interaction_b", pa.string()),
        ("source", pa.string()),
        ("prompt_group", pa.string()),
        ("priority", pa.float64()),  # larger is asked first
        ("why", pa.string()),  # "unjudged", "tied" or "contradicted"
    ]
)

SCORE: Final = _table(
    [
        ("triple_id", pa.string()),
        ("split", pa.string()),
        ("step", pa.int64()),
        ("A", pa.float64()),  # log pi(chosen|x) - log pi_ref(chosen|x), nats
        ("B", pa.float64()),  # the same of rejected
        ("margin", pa.float64()),  # beta * (A - B)
        ("probability", pa.float64()),  # sigmoid(margin) = P(chosen > rejected)
        ("loss", pa.float64()),
        ("chosen_tokens", pa.int32()),
        ("rejected_tokens", pa.int32()),
        ("suspect_flip", pa.bool_()),
    ]
)

LABEL_PURPOSES: Final = {
    "ask": "A pair of the queue.",
    "review": "A pair on which annotators disagreed, put to an adjudicator.",
    "gold": "A pair whose answer is known: it says how reliable the annotator is.",
    "attention": "A pair with one plainly wrong side: it says whether the annotator looks.",
    "repeat": "A pair that the annotator judged before, sides swapped: it says how consistent they are.",
}
"""Why a pair was shown -> what that means. Only verdicts of the first two become feedback."""

LABEL_EVENT_COLUMNS: Final = (
    "seq",  # int, the store's own order
    "event_id",  # UUID made where the vote was cast
    "event_time",  # ISO 8601, UTC
    "annotator",
    "kind",  # "verdict" or "retract"
    "verdict",  # "left", "right", "tie", "both_bad" or "skip"; null of a retraction
    "retracts",  # event_id that this event takes back, else null
    "pair_id",
    "left_interaction_id",
    "right_interaction_id",
    "guidelines_version",
    "late",  # 1 when the lease had run out
    "purpose",  # a key of LABEL_PURPOSES; of a retraction: that of what it takes back
    "scale",  # 1 (left is much better) to 4 (tie) to 7 (right is much better) as shown; null where none was asked for
    "edited_side",  # "left" or "right": whose text the annotator improved, else null
    "edited_text",  # that response's last message, rewritten
    "skip_reason",
    "rationale",
    "tags",  # JSON list of text
    "aspects",  # JSON object: aspect -> "left", "right" or "tie"
    "shown_time",  # ISO 8601, UTC: when the pair came on screen
    "elapsed_ms",  # int: how long it had been there
    "page",  # "component" or "buttons"
    "layout",  # JSON object: what stood where, and how it was drawn
)
"""Columns of table `event` in the label store that ingest reads; app.store writes them."""
