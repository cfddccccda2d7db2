"""What users do besides voting: regenerate, edit, rate, raise or lower a thumb, copy, or say nothing."""

from datetime import datetime
from typing import Final

from data.generate import answers, personal, votes
from data.generate.deployment import Chat, Deployment
from data.generate.rows import Draft, Ref

THUMB: Final = (-1.0, 1.0)
STARS: Final = (1.0, 5.0)


def _one(world: Deployment, moment: datetime) -> tuple[Chat, Draft, Ref]:
    """Serve one answer."""
    chat = world.chat(moment)
    arm = world.arm(chat.moment)
    draft = answers.answer(world.rng, chat.topic, arm.model)
    return chat, draft, (world.serve(chat, (draft,), arm=arm).id, 0)


def _good(world: Deployment, draft: Draft) -> bool:
    """Return whether a user likes the answer; one in twelve judges oddly."""
    return (draft.quality >= 2.2) != (world.rng.random() < 1 / 12)


def silent(world: Deployment, moment: datetime) -> None:
    """An answer that nobody says anything about."""
    _one(world, moment)


def answered_with_personal_data(world: Deployment, moment: datetime) -> None:
    """An answer that repeats an address or number."""
    chat = world.chat(moment)
    arm = world.arm(moment)
    draft = answers.answer(world.rng, chat.topic, arm.model)
    kind = world.rng.choice([kind for kind in personal.KINDS if kind not in personal.KEYS])
    value, sentence = personal.fake(world.rng, kind)
    spoken = Draft(f"{draft.text} You told us: {sentence}", draft.quality)
    exchange = world.serve(chat, (spoken,), arm=arm)
    world.planted.note(
        "personal_data", conversation=chat.id, kind=kind, where="response", id=exchange.id, parts=personal.parts(value)
    )
    world.tell(chat, "thumb", (exchange.id, 0), value=1.0, scale=THUMB)


def thumb(world: Deployment, moment: datetime, *, then: str = "") -> None:
    """A thumb on the only answer; `then` it may be "changed" or "retracted"."""
    chat, draft, ref = _one(world, moment)
    value = 1.0 if _good(world, draft) else -1.0
    first = -value if then == "changed" else value
    event = world.tell(chat, "thumb", ref, value=first, scale=THUMB, after=15.0)
    if then:
        again = {"value": value, "scale": THUMB, "id": event.id, "revision": 1, "after": 60.0}
        world.tell(chat, "thumb", ref, retracted=then == "retracted", **again)
        world.planted.note(f"{then}_thumb", id=event.id)
    else:
        world.planted.note("lone_thumb", id=event.id)


def stars(world: Deployment, moment: datetime) -> None:
    """One to five stars for the only answer."""
    chat, draft, ref = _one(world, moment)
    event = world.tell(chat, "rating", ref, value=_stars(world, draft), scale=STARS)
    world.planted.note("rating", id=event.id)


def _stars(world: Deployment, draft: Draft) -> float:
    return float(min(5, max(1, round(1 + draft.quality * 0.95 + world.rng.gauss(0, 0.4)))))


def used(world: Deployment, moment: datetime, *, signal: str) -> None:
    """The answer is copied or accepted."""
    chat, _, ref = _one(world, moment)
    world.tell(chat, signal, ref, value=1.0)


def regenerated(world: Deployment, moment: datetime, *, judged: str) -> None:
    """The user asks for another answer. `judged`: "thumbs" on both, "up" on the second, "stars" on both, or ""."""
    rng, chat = world.rng, world.chat(moment)
    arm = world.arm(chat.moment)
    first, second = answers.clear_pair(rng, chat.topic, (arm.model, arm.model), votes.GAP)
    if (first.quality > second.quality) == (rng.random() < 0.85):
        first, second = second, first
    old: Ref = (world.serve(chat, (first,), arm=arm).id, 0)
    new: Ref = (world.serve(chat, (second,), arm=arm, after=25.0).id, 0)
    event = world.tell(chat, "regenerate", old, others=(new,), after=24.0)
    world.planted.note("regeneration", id=event.id, judged=judged or None)
    if judged == "stars":
        for ref, draft, after in ((old, first, 70.0), (new, second, 75.0)):
            world.tell(chat, "rating", ref, value=_stars(world, draft), scale=STARS, after=after)
    elif judged == "thumbs":
        up, down = (new, old) if (second.quality > first.quality) != (rng.random() < 0.05) else (old, new)
        world.tell(chat, "thumb", down, value=-1.0, scale=THUMB, after=61.0)
        world.tell(chat, "thumb", up, value=1.0, scale=THUMB, after=66.0)
    elif judged == "up":
        world.tell(chat, "thumb", new, value=1.0, scale=THUMB, after=66.0)


def edited(world: Deployment, moment: datetime, *, unchanged: bool = False) -> None:
    """The user rewrites the answer and saves it, or saves it as it was."""
    chat = world.chat(moment)
    arm = world.arm(chat.moment)
    draft = answers.answer(world.rng, chat.topic, arm.model)
    while draft.quality > 3.0:
        draft = answers.answer(world.rng, chat.topic, arm.model)
    exchange = world.serve(chat, (draft,), arm=arm)
    text = draft.text if unchanged else answers.better(world.rng, chat.topic).text
    event = world.tell(chat, "edit", (exchange.id, 0), text=text)
    world.planted.note("edit_unchanged" if unchanged else "edit", id=event.id)


def failed(world: Deployment, moment: datetime, *, status: int) -> None:
    """The gateway refuses or breaks; half of the users try again at once."""
    chat = world.chat(moment)
    arm = world.arm(chat.moment)
    exchange = world.serve(chat, (), arm=arm, status=status)
    world.planted.note("http_error", id=exchange.id, status=status)
    if world.rng.random() < 0.5:
        world.serve(chat, (answers.answer(world.rng, chat.topic, arm.model),), arm=arm, after=20.0)


def unjudged_fault(world: Deployment, moment: datetime, *, fault: str) -> None:
    """An empty or cut-off answer that nobody judges."""
    chat = world.chat(moment)
    exchange = world.serve(chat, (votes.broken(world, chat, fault),), arm=world.arm(chat.moment))
    world.planted.note(f"{fault}_response", id=exchange.id, vote=None, chosen=None)


def orphan(world: Deployment, moment: datetime) -> None:
    """A thumb on an answer that the log does not hold."""
    chat, _, _ = _one(world, moment)
    missing = f"int-{900_000 + len(world.events)}"
    event = world.tell(chat, "thumb", (missing, 0), value=-1.0, scale=THUMB)
    world.planted.note("orphan_feedback", id=event.id, target=missing)
