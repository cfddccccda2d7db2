"""The fictional deployment: users, versions, conversations. Collects exchanges and feedback as they happen."""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from data.generate import answers, catalogue, personal
from data.generate.catalogue import TOPICS, Topic
from data.generate.rows import Draft, Event, Exchange, Messages, Planted, Ref

SEED: Final = 20261001
FIRST_DAY: Final = datetime(2026, 10, 1, tzinfo=UTC)
DAYS: Final = 30
USERS: Final = 300
WITHOUT_CONSENT: Final = 24
"""8 % of the users: half said no, half were never asked."""
CANARY_SHARE: Final = 0.2
"""On the two days before a version takes over it already serves this share."""
HISTORY_SHARE: Final = 0.13
"""Share of conversations that reach the scenario in their second turn."""

_VERSIONS: Final = ((1, "support-1"), (9, "support-2"), (16, "support-3"))


@dataclass(frozen=True)
class Arm:
    """The version that serves a request, and the experiment's word on it."""

    model: str
    arm: str | None = None
    propensity: float | None = None


@dataclass
class Chat:
    """A conversation that waits for an answer."""

    id: str
    user: str
    topic: Topic
    messages: Messages
    moment: datetime
    parent_id: str | None = None
    turn_index: int = 0
    personal: bool = False
    """Whether planted personal data is in it."""


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt, side by side."""

    chat: Chat
    left: Ref
    right: Ref
    drafts: tuple[Draft, Draft]
    models: tuple[str, str]


@dataclass
class Deployment:
    """Everything that was served and said."""

    rng: random.Random = field(default_factory=lambda: random.Random(SEED))
    exchanges: list[Exchange] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    planted: Planted = field(default_factory=Planted)
    voted: list[Pair] = field(default_factory=list)
    """Ordinary voted pairs, for later ones to copy."""
    consent: dict[str, str | None] = field(default_factory=dict)
    personal: frozenset[int] = frozenset()
    """Numbers of the conversations that hold planted personal data."""
    _conversations: int = 0

    def __post_init__(self) -> None:
        """Decide which users consent."""
        users = [f"u-{number:03d}" for number in range(1, USERS + 1)]
        without = self.rng.sample(users, WITHOUT_CONSENT)
        self.consent = dict.fromkeys(users, "training")
        self.consent |= dict.fromkeys(without[: WITHOUT_CONSENT // 2], "none")
        self.consent |= dict.fromkeys(without[WITHOUT_CONSENT // 2 :], None)

    def user(self) -> str:
        """Return a user; some write far more than others."""
        return f"u-{int(USERS * self.rng.random() ** 1.6) + 1:03d}"

    def arm(self, moment: datetime) -> Arm:
        """Return which version serves a request at that time."""
        day = (moment - FIRST_DAY).days + 1
        current = [model for start, model in _VERSIONS if start <= day][-1]
        coming = next((model for start, model in _VERSIONS if day < start <= day + 2), None)
        if coming is None:
            return Arm(current)
        canary = self.rng.random() < CANARY_SHARE
        model, share = (coming, CANARY_SHARE) if canary else (current, 1 - CANARY_SHARE)
        return Arm(model, model, round(share, 2))

    def consenting_user(self, *others: str) -> str:
        """Return a user who consents and is none of `others`."""
        while True:
            user = self.user()
            if user not in others and self.consent[user] == "training":
                return user

    def chat(
        self, moment: datetime, *, topic: Topic | None = None, text: str | None = None, user: str | None = None
    ) -> Chat:
        """Open a conversation; some have a first turn behind them. `text` replaces the composed question."""
        rng = self.rng
        self._conversations += 1
        topic = topic or rng.choice(TOPICS)
        chat = Chat(
            id=f"conv-{self._conversations:05d}",
            user=user or self.user(),
            topic=topic,
            messages=(("system", catalogue.SYSTEM),),
            moment=moment,
        )
        opening = None
        if text is None and rng.random() < HISTORY_SHARE:
            self._earlier_turn(chat)
            opening = rng.choice(catalogue.FOLLOW_UPS)
        extra = self._personal(chat) if text is None and self._conversations in self.personal else ""
        asked = text or answers.prompt(rng, topic, opening=opening, extra=extra)
        chat.messages = (*chat.messages, ("user", asked))
        return chat

    def _personal(self, chat: Chat) -> str:
        """Return a sentence with a fake address, number or key, and note it."""
        plain_file = (chat.moment - FIRST_DAY).days >= DAYS - 3
        kinds = [kind for kind in personal.KINDS if not (plain_file and kind in personal.KEYS)]
        kind = self.rng.choice(kinds)
        value, sentence = personal.fake(self.rng, kind)
        parts = personal.parts(value)
        self.planted.note("personal_data", conversation=chat.id, kind=kind, where="prompt", parts=parts)
        chat.personal = True
        return sentence

    def _earlier_turn(self, chat: Chat) -> None:
        """Serve a first turn on another topic."""
        topic = self.rng.choice([topic for topic in TOPICS if topic.key != chat.topic.key])
        chat.messages = (*chat.messages, ("user", answers.prompt(self.rng, topic)))
        arm = self.arm(chat.moment)
        draft = answers.answer(self.rng, topic, arm.model)
        exchange = self.serve(chat, (draft,), arm=arm)
        chat.messages = (*chat.messages, ("assistant", draft.text))
        chat.parent_id, chat.turn_index = exchange.id, 1
        chat.moment += timedelta(seconds=self.rng.uniform(30, 200))

    def go_on(self, chat: Chat, answer: Draft, parent_id: str) -> Chat:
        """Return the next turn of a conversation in which `answer` was kept: a question on another topic."""
        topic = self.rng.choice([topic for topic in TOPICS if topic.key != chat.topic.key])
        asked = answers.prompt(self.rng, topic, opening=self.rng.choice(catalogue.FOLLOW_UPS))
        return Chat(
            id=chat.id,
            user=chat.user,
            topic=topic,
            messages=(*chat.messages, ("assistant", answer.text), ("user", asked)),
            moment=chat.moment + timedelta(seconds=self.rng.uniform(250, 400)),
            parent_id=parent_id,
            turn_index=chat.turn_index + 1,
            personal=chat.personal,
        )

    def serve(
        self,
        chat: Chat,
        drafts: tuple[Draft, ...],
        *,
        arm: Arm,
        after: float = 0.0,
        status: int = 200,
        position: str | None = None,
    ) -> Exchange:
        """Answer `chat`, `after` seconds after it was asked."""
        exchange = Exchange(
            id=f"int-{len(self.exchanges) + 1:06d}",
            time=chat.moment + timedelta(seconds=after),
            conversation_id=chat.id,
            parent_id=chat.parent_id,
            turn_index=chat.turn_index,
            user=chat.user,
            consent=self.consent[chat.user],
            model=arm.model,
            arm=arm.arm,
            propensity=arm.propensity,
            messages=chat.messages,
            drafts=drafts,
            latency_ms=round(self.rng.lognormvariate(6.0, 0.4), 1),
            status=status,
            position=position,
        )
        self.exchanges.append(exchange)
        return exchange

    def tell(self, chat: Chat, signal: str, target: Ref, **said: object) -> Event:
        """Record feedback of the chat's user; `after` seconds and `rater` may be given."""
        after = float(str(said.pop("after", round(self.rng.uniform(8, 240), 3))))
        event = Event(
            id=str(said.pop("id", f"fb-{len(self.events) + 1:05d}")),
            time=min(chat.moment + timedelta(seconds=after), FIRST_DAY + timedelta(days=DAYS, seconds=-1)),
            signal=signal,
            target=target,
            rater=str(said.pop("rater", chat.user)),
            **said,  # type: ignore[arg-type]
        )
        self.events.append(event)
        return event
