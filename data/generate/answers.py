"""Prompts and answers, composed from the catalogue. A better answer meets the question, is specific, is courteous."""

import random
from typing import Final

from data.generate import catalogue
from data.generate.catalogue import TOPICS, Topic
from data.generate.rows import Draft

KIND_QUALITY: Final = {"specific": 3.0, "vague": 0.2, "off_topic": 0.0}
"""specific: the asked topic's own menu, act and number. off_topic: another topic's. vague: nobody's.

The last two help about as little; between them the tone decides.
"""
TONE_QUALITY: Final = {"warm": 1.2, "plain": 0.6, "curt": 0.0}
FILLER_SHARE: Final = 0.3

SKILL: Final = {
    "support-1": {"specific": 0.32, "vague": 0.48, "off_topic": 0.20},
    "support-2": {"specific": 0.45, "vague": 0.40, "off_topic": 0.15},
    "support-3": {"specific": 0.56, "vague": 0.33, "off_topic": 0.11},
}
"""Model version -> share of each kind of answer; versions get better, none is good."""
TONE: Final = {
    "support-1": {"warm": 0.30, "plain": 0.35, "curt": 0.35},
    "support-2": {"warm": 0.38, "plain": 0.34, "curt": 0.28},
    "support-3": {"warm": 0.45, "plain": 0.33, "curt": 0.22},
}


def _pick(rng: random.Random, shares: dict[str, float]) -> str:
    return rng.choices(list(shares), weights=list(shares.values()))[0]


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def slots(rng: random.Random) -> dict[str, object]:
    """Return a value for every slot of the catalogue's wordings."""
    values: dict[str, object] = {name: rng.choice(choices) for name, choices in catalogue.SLOTS.items()}
    return values | {
        "day": rng.randint(1, 28),
        "number": rng.randint(10_000, 99_999),
        "minor": rng.randint(1, 60),
        "count": rng.randint(3, 75),
    }


def question(rng: random.Random, topic: Topic) -> str:
    """Return a customer's sentence or two about `topic`, without greeting."""
    asked = rng.choice(catalogue.QUESTIONS)
    return asked.format(goal=topic.goal, problem=topic.problem[0].upper() + topic.problem[1:])


def prompt(rng: random.Random, topic: Topic, *, opening: str | None = None, extra: str = "") -> str:
    """Return a whole user message about `topic`; `extra` is a sentence that must be in it."""
    greeting = rng.choice(catalogue.GREETINGS) if opening is None else opening
    context, thanks = rng.choice(catalogue.CONTEXTS), rng.choice(catalogue.THANKS)
    filled = slots(rng)
    return _join(greeting, context.format(**filled), extra, question(rng, topic), thanks.format(**filled))


def _body(rng: random.Random, topic: Topic, kind: str) -> str:
    if kind == "vague":
        first, second = rng.sample(catalogue.VAGUE, 2)
        return _join(first, second if rng.random() < 0.6 else "").format(noun=topic.noun)
    answered = topic if kind == "specific" else rng.choice([t for t in TOPICS if t.key != topic.key])
    frame = rng.choice(catalogue.SPECIFIC)
    return frame.format(where=answered.where, act=answered.act, fact=answered.fact)


def compose(rng: random.Random, topic: Topic, kind: str, tone: str, *, fillers: int) -> Draft:
    """Return an answer of that kind and tone, lengthened by `fillers` neutral sentences."""
    opening, closing = "", ""
    if tone == "warm":
        opening = rng.choice(catalogue.OPENINGS).format(noun=topic.noun)
        closing = rng.choice(catalogue.CLOSINGS)
    elif tone == "curt":
        opening, closing = rng.choice(catalogue.CURT_OPENINGS), rng.choice(catalogue.CURT_CLOSINGS)
        if not opening and not closing:
            closing = catalogue.CURT_CLOSINGS[0]
    text = _join(opening, _body(rng, topic, kind), *rng.sample(catalogue.FILLERS, fillers), closing)
    return Draft(text=text, quality=round(KIND_QUALITY[kind] + TONE_QUALITY[tone], 1))


def answer(rng: random.Random, topic: Topic, model: str) -> Draft:
    """Return what that model version says about `topic`."""
    kind, tone = _pick(rng, SKILL[model]), _pick(rng, TONE[model])
    return compose(rng, topic, kind, tone, fillers=int(rng.random() < FILLER_SHARE))


def better(rng: random.Random, topic: Topic) -> Draft:
    """Return the answer a customer would have liked: specific and warm."""
    return compose(rng, topic, "specific", "warm", fillers=0)


def clear_pair(rng: random.Random, topic: Topic, models: tuple[str, str], gap: float) -> tuple[Draft, Draft]:
    """Return two answers whose quality differs by at least `gap`."""
    while True:
        first, second = answer(rng, topic, models[0]), answer(rng, topic, models[1])
        if abs(first.quality - second.quality) >= gap:
            return first, second


def close_pair(rng: random.Random, topic: Topic, model: str) -> tuple[Draft, Draft]:
    """Return two answers of one quality, the one two sentences longer than the other."""
    kind, tone = _pick(rng, SKILL[model]), _pick(rng, TONE[model])
    while True:
        pair = [compose(rng, topic, kind, tone, fillers=fillers) for fillers in (0, 2)]
        rng.shuffle(pair)
        if pair[0].words != pair[1].words:
            return pair[0], pair[1]
