"""Side-by-side votes: the deployment's largest signal, with the faults that real votes have.

A vote is drawn from P(first wins) = sigmoid(QUALITY_LOGIT * (quality difference) + LENGTH_LOGIT * (difference in tens
of words)); afterwards FLIPPED of the ordinary votes are turned round.
"""

import itertools
import math
from datetime import datetime
from typing import Final

from data.generate import answers
from data.generate.answers import close_pair
from data.generate.deployment import Chat, Deployment, Pair
from data.generate.rows import Draft, Ref

QUALITY_LOGIT: Final = 4.0
LENGTH_LOGIT: Final = 1.0
"""The planted length bias: logits for ten words more."""
FLIPPED: Final = 0.10
GAP: Final = 1.0
"""Quality difference that most pairs have at least; CLOSE of them have none, so that only length speaks."""
CLOSE: Final = 0.06
LONG_CHARS: Final = 33_000
"""A runaway answer repeats itself to more characters than this: too long to train on, short enough for a line."""


def probability(first: Draft, second: Draft, *, length_logit: float = LENGTH_LOGIT) -> float:
    """Return P(first is preferred over second)."""
    logit = QUALITY_LOGIT * (first.quality - second.quality) + length_logit * (first.words - second.words) / 10
    return 1 / (1 + math.exp(-logit))


def show(world: Deployment, chat: Chat, drafts: tuple[Draft, Draft] | None = None, *, together: bool = False) -> Pair:
    """Serve two answers side by side: as two requests, or `together` as the two choices of one with n = 2."""
    rng, arms = world.rng, (world.arm(chat.moment), world.arm(chat.moment))
    if together:
        arms = (arms[0], arms[0])
    if drafts is None:
        close = rng.random() < CLOSE
        models = (arms[0].model, arms[1].model)
        drafts = close_pair(rng, chat.topic, models[0]) if close else answers.clear_pair(rng, chat.topic, models, GAP)
    left: Ref
    right: Ref
    if together:
        exchange = world.serve(chat, drafts, arm=arms[0])
        left, right = (exchange.id, 0), (exchange.id, 1)
        world.planted.note("two_choices", id=exchange.id)
    else:
        left = (world.serve(chat, drafts[:1], arm=arms[0], position="left").id, 0)
        right = (world.serve(chat, drafts[1:], arm=arms[1], after=0.004, position="right").id, 0)
    return Pair(chat, left, right, drafts, (arms[0].model, arms[1].model))


def cast(world: Deployment, pair: Pair, *, left_wins: bool, **said: object) -> str:
    """Record one vote; return the event's id."""
    target, other = (pair.left, pair.right) if left_wins else (pair.right, pair.left)
    position = "left" if left_wins else "right"
    return world.tell(pair.chat, "choice", target, others=(other,), value=1.0, position=position, **said).id


def drawn(world: Deployment, pair: Pair) -> bool:
    """Return whether left wins, and note how the vote came about."""
    luck = world.rng.random()
    left_wins = luck < probability(*pair.drafts)
    unbiased = luck < probability(*pair.drafts, length_logit=0.0)
    difference = pair.drafts[0].words - pair.drafts[1].words
    world.planted.note(
        "_draws",
        equal_quality=pair.drafts[0].quality == pair.drafts[1].quality,
        same_length=difference == 0,
        longer_won=left_wins == (difference > 0),
        longer_won_without_bias=unbiased == (difference > 0),
        better_won=left_wins == (pair.drafts[0].quality > pair.drafts[1].quality),
    )
    return left_wins


def ordinary(world: Deployment, moment: datetime, *, flip: bool = False, together: bool = False) -> None:
    """One pair, one vote; flipped or not."""
    pair = show(world, world.chat(moment), together=together)
    left_wins = drawn(world, pair)
    vote = cast(world, pair, left_wins=left_wins != flip)
    if flip:
        world.planted.note("flipped_vote", id=vote)
    elif not together and not pair.chat.personal:
        world.voted.append(pair)


def changed(world: Deployment, moment: datetime) -> None:
    """A vote that the user turns round later: a second revision of the same id."""
    pair = show(world, world.chat(moment))
    left_wins = drawn(world, pair)
    vote = cast(world, pair, left_wins=not left_wins, after=20.0)
    cast(world, pair, left_wins=left_wins, after=95.0, id=vote, revision=1)
    world.planted.note("changed_vote", id=vote, revisions=2)


def retracted(world: Deployment, moment: datetime) -> None:
    """A vote that is taken back."""
    pair = show(world, world.chat(moment))
    left_wins = drawn(world, pair)
    vote = cast(world, pair, left_wins=left_wins, after=20.0)
    cast(world, pair, left_wins=left_wins, after=80.0, id=vote, revision=1, retracted=True)
    world.planted.note("retracted_vote", id=vote)


def several(world: Deployment, moment: datetime, *, voters: int, against: int) -> None:
    """The same pair judged by more than one user, all consenting, `against` of them against the drawn vote."""
    pair = show(world, world.chat(moment, user=world.consenting_user()))
    left_wins = drawn(world, pair)
    others: list[str] = []
    while len(others) < voters - 1:
        others.append(world.consenting_user(pair.chat.user, *others))
    votes = [
        cast(world, pair, left_wins=left_wins != (i >= voters - against), rater=rater, after=30.0 + 600 * i)
        for i, rater in enumerate([pair.chat.user, *others])
    ]
    name = "agreeing_votes" if not against else "contradictory_votes" if voters == 2 else "majority_votes"
    world.planted.note(name, ids=votes, pair=[list(pair.left), list(pair.right)])


def without_winner(world: Deployment, moment: datetime, *, signal: str) -> None:
    """A tie, or both bad."""
    chat = world.chat(moment)
    if signal == "tie":
        drafts = close_pair(world.rng, chat.topic, world.arm(moment).model)
    else:
        kinds = ("off_topic", "vague")
        first, second = (answers.compose(world.rng, chat.topic, kind, "curt", fillers=0) for kind in kinds)
        drafts = (first, second)
    pair = show(world, chat, drafts)
    event = world.tell(chat, signal, pair.left, others=(pair.right,))
    world.planted.note(signal, id=event.id)


def continued(world: Deployment, moment: datetime, *, tied: bool) -> None:
    """A voted pair, and a second vote, or a tie, in the next turn: two prompts of one conversation root."""
    pair = show(world, world.chat(moment))
    left_wins = drawn(world, pair)
    votes = [cast(world, pair, left_wins=left_wins)]
    kept, parent = (pair.drafts[0], pair.left) if left_wins else (pair.drafts[1], pair.right)
    chat = world.go_on(pair.chat, kept, parent[0])
    if tied:
        later = show(world, chat, close_pair(world.rng, chat.topic, world.arm(chat.moment).model))
        votes.append(world.tell(chat, "tie", later.left, others=(later.right,)).id)
        world.planted.note("tie", id=votes[-1])
    else:
        later = show(world, chat)
        votes.append(cast(world, later, left_wins=drawn(world, later)))
    world.planted.note("same_root", ids=votes, conversation=chat.id, tied=tied)


def copied(world: Deployment, moment: datetime, *, nearly: bool) -> None:
    """The prompt and both answers of an earlier pair again, from another user; `nearly`: a word or a mark differs."""
    earlier = world.rng.choice([pair for pair in world.voted if pair.chat.turn_index == 0])
    text = earlier.chat.messages[-1][1]
    chat = world.chat(moment, topic=earlier.chat.topic, text=_nearly(world, text) if nearly else text)
    pair = show(world, chat, earlier.drafts)
    left_wins = next(e.target for e in world.events if e.target in (earlier.left, earlier.right)) == earlier.left
    vote = cast(world, pair, left_wins=left_wins)
    name = "near_duplicate" if nearly else "same_text_other_id"
    world.planted.note(
        name,
        ids=[pair.left[0], pair.right[0]],
        of=[earlier.left[0], earlier.right[0]],
        vote=vote,
    )


def _nearly(world: Deployment, text: str) -> str:
    """Return `text` with one word or punctuation mark changed."""
    changed_texts = (
        text.replace("?", "??", 1) if "?" in text else text.rstrip(".") + "!",
        text + " Regards",
        "Um, " + text,
        text.replace(" my ", " our ", 1) if " my " in text else text + " ok",
        text.replace(". ", "; ", 1) if ". " in text else text + " :)",
        text.replace("How do I", "How would I", 1) if "How do I" in text else text + "..",
    )
    return world.rng.choice(changed_texts)


def same_answers(world: Deployment, moment: datetime, *, exactly: bool) -> None:
    """A vote between two answers that are one, or one but for capitals and spaces."""
    chat = world.chat(moment)
    draft = answers.answer(world.rng, chat.topic, world.arm(moment).model)
    twin = draft if exactly else Draft("  " + draft.text.replace(". ", ".  ").upper(), draft.quality)
    pair = show(world, chat, (draft, twin))
    vote = cast(world, pair, left_wins=True)
    name = "identical_pair_exactly" if exactly else "identical_pair_normalised"
    world.planted.note(name, ids=[pair.left[0], pair.right[0]], vote=vote)


def damaged(world: Deployment, moment: datetime, *, fault: str) -> None:
    """A vote for a whole answer over an empty, cut-off or over-long one; every fourth time the damaged one won."""
    chat = world.chat(moment)
    whole = answers.better(world.rng, chat.topic)
    pair = show(world, chat, (whole, broken(world, chat, fault)))
    number = len(world.planted.items.get(f"{fault}_response", []))
    vote = cast(world, pair, left_wins=number % 4 != 3)
    world.planted.note(f"{fault}_response", id=pair.right[0], vote=vote, chosen=number % 4 == 3)


def broken(world: Deployment, chat: Chat, fault: str) -> Draft:
    """Return an empty, a cut-off or an over-long answer."""
    whole = answers.compose(world.rng, chat.topic, "specific", "plain", fillers=2)
    if fault == "empty":
        return Draft("", 0.0)
    if fault == "cut_off":
        words = whole.text.split()
        return Draft(" ".join(words[: world.rng.randint(5, len(words) - 6)]), 0.5, "length")
    sentences = itertools.cycle(answers.answer(world.rng, chat.topic, "support-1").text for _ in range(4))
    text = whole.text
    while len(text) <= LONG_CHARS:
        text += " " + next(sentences)
    return Draft(text, 1.0)
