"""How often each scenario happens, and when: builds the whole deployment from the seed."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from data.generate import behaviour, votes
from data.generate.deployment import DAYS, FIRST_DAY, SEED, Deployment

Scenario = Callable[[Deployment, datetime], None]

ORDINARY_VOTES: Final = 810
FLIPS: Final = round(ORDINARY_VOTES * votes.FLIPPED)
TOGETHER: Final = 80
"""Of the ordinary votes, those on the two choices of one request."""
PERSONAL_CONVERSATIONS: Final = 70
FIRST_COPY_DAY: Final = 4
"""Copies need something to copy."""
LAST_LONG_DAY: Final = 13
"""Over-long answers come from the first two versions only: the third cannot write so much."""

SCENARIOS: Final[tuple[tuple[int, Scenario], ...]] = (
    (ORDINARY_VOTES - FLIPS - TOGETHER, votes.ordinary),
    (TOGETHER, partial(votes.ordinary, together=True)),
    (FLIPS, partial(votes.ordinary, flip=True)),
    (20, votes.changed),
    (15, votes.retracted),
    (30, partial(votes.several, voters=2, against=1)),
    (10, partial(votes.several, voters=3, against=1)),
    (20, partial(votes.several, voters=2, against=0)),
    (50, partial(votes.without_winner, signal="tie")),
    (40, partial(votes.without_winner, signal="both_bad")),
    (12, partial(votes.continued, tied=False)),
    (12, partial(votes.continued, tied=True)),
    (5, partial(votes.same_answers, exactly=True)),
    (6, partial(votes.same_answers, exactly=False)),
    (10, partial(votes.damaged, fault="empty")),
    (14, partial(votes.damaged, fault="cut_off")),
    (140, partial(behaviour.regenerated, judged="thumbs")),
    (20, partial(behaviour.regenerated, judged="up")),
    (30, partial(behaviour.regenerated, judged="stars")),
    (70, partial(behaviour.regenerated, judged="")),
    (130, behaviour.edited),
    (3, partial(behaviour.edited, unchanged=True)),
    (280, behaviour.thumb),
    (8, partial(behaviour.thumb, then="changed")),
    (8, partial(behaviour.thumb, then="retracted")),
    (120, behaviour.stars),
    (30, partial(behaviour.used, signal="copy")),
    (30, partial(behaviour.used, signal="accept")),
    (20, behaviour.answered_with_personal_data),
    (6, partial(behaviour.unjudged_fault, fault="empty")),
    (10, partial(behaviour.unjudged_fault, fault="cut_off")),
    (20, partial(behaviour.failed, status=429)),
    (12, partial(behaviour.failed, status=500)),
    (6, behaviour.orphan),
    (210, behaviour.silent),
)
COPIES: Final[tuple[tuple[int, Scenario], ...]] = (
    (40, partial(votes.copied, nearly=False)),
    (60, partial(votes.copied, nearly=True)),
)
LONG: Final[tuple[tuple[int, Scenario], ...]] = ((10, partial(votes.damaged, fault="over_long")),)


def deployment() -> Deployment:
    """Return everything that was served and said in the thirty days."""
    rng = random.Random(SEED + 1)
    timed: list[tuple[datetime, int, Scenario]] = []
    for scenarios, first, last in ((SCENARIOS, 1, DAYS), (COPIES, FIRST_COPY_DAY, DAYS), (LONG, 1, LAST_LONG_DAY)):
        for count, scenario in scenarios:
            timed += [(_moment(rng, first, last), len(timed) + i, scenario) for i in range(count)]
    numbers = rng.sample(range(1, len(timed) + 1), PERSONAL_CONVERSATIONS)
    world = Deployment(personal=frozenset(numbers))
    for moment, _, scenario in sorted(timed, key=lambda entry: entry[:2]):
        scenario(world, moment)
    return world


def _moment(rng: random.Random, first: int, last: int) -> datetime:
    """Return a time between 06:00 and 22:00 UTC, less often on weekends."""
    while True:
        day = FIRST_DAY + timedelta(days=rng.randint(first, last) - 1)
        if day.weekday() < 5 or rng.random() < 0.6:
            return day + timedelta(hours=6) + timedelta(microseconds=rng.randrange(16 * 3600 * 1_000_000))
