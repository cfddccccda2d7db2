"""Reads UltraFeedback: `{"instruction", "completions": [{"model", "response", "overall_score", ...}]}`.

GPT-4 gave each completion an overall score from 1 to 10, which is its rating here, and one from 1 to 5 for each of four
aspects, which are not read: a rating has no name, and those of different aspects must not be compared.
"""

import json
from collections.abc import Mapping
from typing import Final

from ingest.errors import RecordError
from ingest.readers.fields import Fields
from ingest.readers.preference import turn
from ingest.readers.reading import Feedback, Interaction, Reading, Ref
from ingest.schema import canonical_json, content_id

SCALE: Final = (1.0, 10.0)
DOUBTFUL: Final = 2.0
"""A completion rated 10 whose aspects average no more is a mistake of the release: GPT-4 had said 1 (its README)."""


class UltraFeedback:
    """The reader of the format."""

    name: str = "ultrafeedback"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether the record is an instruction with completions."""
        return "instruction" in record and isinstance(record.get("completions"), list)

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return every completion, and a rating for each that has an overall score."""
        row = Fields(record)
        prompt = [turn("user", row.text("instruction"))]
        whole = content_id(json.dumps(record, sort_keys=True, default=str))
        served: dict[str, Interaction] = {}
        ratings = []
        for i, completion in enumerate(row.children("completions")):
            response, model = [turn("assistant", completion.text("response"))], completion.name("model")
            source_id = content_id([prompt, response, model])
            served[source_id] = Interaction(
                source_id=source_id, prompt=prompt, response=response, model=model, sampling=_sampling(completion)
            )
            if (score := _score(completion)) is not None:
                ratings.append(
                    Feedback(
                        source_id=f"{whole}:{i}",
                        signal="rating",
                        target=Ref(source_id),
                        value=score,
                        scale_min=SCALE[0],
                        scale_max=SCALE[1],
                        text=completion.name("critique"),
                        rater_kind="model",
                    )
                )
        if not served:
            return Reading(skipped="no_choice")
        return Reading(interactions=tuple(served.values()), feedback=tuple(ratings))


def _sampling(completion: Fields) -> str | None:
    """Return the system prompt that drew the completion; it is no part of the prompt, for the rater did not see it."""
    system = completion.name("custom_system_prompt")
    return canonical_json({"system_prompt": system}).decode() if system else None


def _score(completion: Fields) -> float | None:
    score = completion.maybe_number("overall_score")
    if score is None:
        return None
    if not SCALE[0] <= score <= SCALE[1]:
        completion.bad("overall_score", "a score from 1 to 10")
    aspects = completion.maybe_child("annotations") or Fields({})
    stated = (
        aspects.maybe_child(name) if isinstance(aspects.values[name], Mapping) else None for name in aspects.values
    )
    ratings = [float(r) for a in stated if a and (r := str(a.values.get("Rating"))) in ("1", "2", "3", "4", "5")]
    if score == SCALE[1] and ratings and sum(ratings) / len(ratings) <= DOUBTFUL:
        raise RecordError(
            "bad_value",
            f"{completion.path('overall_score')}: 10, but its aspects average {sum(ratings) / len(ratings)} of 5; "
            "the fixed release of December 2023 says what was meant",
        )
    return score
