"""Topics and wordings: what customers ask and how the assistant answers. Reads topics.toml."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True)
class Topic:
    """One thing customers ask about, and its one right answer."""

    key: str
    noun: str
    goal: str
    problem: str
    where: str
    act: str
    fact: str


def _topics() -> tuple[Topic, ...]:
    text = (Path(__file__).parent / "topics.toml").read_text(encoding="utf-8")
    return tuple(Topic(**row) for row in tomllib.loads(text)["topic"])


TOPICS: Final = _topics()

SYSTEM: Final = "You are the Lumio support assistant."

SLOTS: Final = {
    "device": ("Hub One", "Hub Mini", "Glow bulb", "Warmth thermostat", "Gate lock", "Iris camera", "Tap plug"),
    "room": ("kitchen", "hallway", "living room", "bedroom", "attic", "cellar", "café corner", "office", "nursery"),
    "plan": ("Basic", "Home", "Family", "Pro"),
    "month": ("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    "name": ("Ada", "Björn", "Chidi", "Dalia", "Émile", "Farah", "Goran", "Hana", "Ines", "Jonas", "Kamala", "Łukasz"),
}
"""Slot -> what may stand there; {day}, {number}, {minor} and {count} are numbers."""

GREETINGS: Final = ("", "", "", "Hi,", "Hello Lumio team,", "Hey there,", "Good morning,", "Quick question:", "Hello,")
CONTEXTS: Final = (
    "",
    "I have a {device} in the {room}.",
    "There is a {device} in my {room}.",
    "I am on the {plan} plan.",
    "I bought the {device} on {day} {month}.",
    "My order is LU-{number}.",
    "It is about order LU-{number} from {day} {month}.",
    "My hub runs version 4.{minor}.",
    "We have {count} devices at home.",
    "It started on {day} {month}.",
    "I use the {plan} plan with {count} devices.",
)
QUESTIONS: Final = (
    "How do I {goal}?",
    "How can I {goal}?",
    "I want to {goal}. What do I do?",
    "I need to {goal} but cannot find it.",
    "Could you tell me how to {goal}?",
    "{problem}. What should I do?",
    "{problem}. Can you help?",
    "{problem}. How do I {goal}?",
)
THANKS: Final = ("", "", "", "Thanks!", "Please help.", "Thank you, {name}", "Cheers, {name}", "🙂")
FOLLOW_UPS: Final = ("Thanks, that worked.", "Okay.", "Got it, one more thing.", "Good. Another question:")

SPECIFIC: Final = (
    "Open {where} and {act}. {fact}",
    "Go to {where}, then {act}. {fact}",
    "In the app, open {where} and {act}. {fact}",
    "Please open {where} and {act}. {fact}",
    "You find it under {where}: {act}. {fact}",
)
VAGUE: Final = (
    "You can usually change this somewhere in the settings of the app.",
    "There should be an option for {noun} in one of the menus.",
    "Please restart everything and try again later.",
    "It depends on your setup, so have a look around the app.",
    "That is normally handled automatically by the system.",
    "Maybe the manual says something about {noun}.",
    "Many customers ask about {noun}, and it often solves itself.",
    "Something like that is possible in most cases.",
)
OPENINGS: Final = (
    "Thanks for asking about {noun}!",
    "Happy to help with {noun}.",
    "Sorry for the trouble with {noun}.",
    "Good that you write to us.",
    "Thank you for your message!",
)
CLOSINGS: Final = (
    "Just write again if anything is unclear.",
    "I am glad to help further.",
    "Have a lovely day!",
    "",
    "",
)
CURT_OPENINGS: Final = ("Obviously:", "As documented:", "Again:", "", "")
CURT_CLOSINGS: Final = ("That is all.", "Read the manual next time.", "Nothing else to say.", "")
FILLERS: Final = (
    "Lumio has been lighting homes for eleven years.",
    "Our hub works with more than 200 devices of many makers.",
    "The app is there for phones, tablets and computers alike.",
    "This channel answers questions about all Lumio products.",
    "Lumio is used in homes, offices and small shops.",
)
"""Sentences that lengthen an answer and change nothing about its quality."""
