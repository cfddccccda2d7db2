"""Fake personal data and keys to plant: reserved addresses, test numbers, and keys that never opened anything.

Keys are put together from parts, so that no scanner of secrets takes this file for a leak.
"""

import random
import string
from collections.abc import Callable, Mapping
from typing import Final

NAMES: Final = ("ada.winter", "bjorn.holt", "chidi.okoro", "dalia.stern", "farah.nouri", "jonas.brand", "ines.costa")
CARDS: Final = ("4111 1111 1111 1111", "5555 5555 5555 4444", "4012888888881881")
IBANS: Final = ("DE89 3704 0044 0532 0130 00", "GB82 WEST 1234 5698 7654 32", "FR1420041010050500013M02606")
NETWORKS: Final = ("192.0.2.", "198.51.100.", "203.0.113.")


def _letters(rng: random.Random, count: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(rng.choice(alphabet) for _ in range(count))


def _email(rng: random.Random) -> str:
    return f"{rng.choice(NAMES)}{rng.randint(1, 99)}@example.{rng.choice(('com', 'org'))}"


KINDS: Final[Mapping[str, tuple[str, Callable[[random.Random], str]]]] = {
    "email": ("My e-mail is {}.", _email),
    "phone": ("You can call me at {}.", lambda rng: f"+1 202-555-01{rng.randint(0, 99):02d}"),
    "card": ("I paid with card {}.", lambda rng: rng.choice(CARDS)),
    "iban": ("My bank account is {}.", lambda rng: rng.choice(IBANS)),
    "ip": ("The hub has the address {}.", lambda rng: rng.choice(NETWORKS) + str(rng.randint(1, 254))),
    "url_credentials": (
        "It also answers at {}",
        lambda rng: f"https://{rng.choice(NAMES).split('.')[0]}:{_letters(rng, 10)}@example.com/hub",
    ),
    "openai_key": ("My script uses {}", lambda rng: "-".join(("sk", "proj", _letters(rng, 40)))),
    "aws_key": ("The log shows {}", lambda rng: "AK" + "IA" + _letters(rng, 16, string.ascii_uppercase + "234567")),
    "github_key": ("I stored it as {}", lambda rng: "gh" + "p_" + _letters(rng, 36)),
}
"""Kind -> (sentence around it, how to make one)."""
KEYS: Final = frozenset({"openai_key", "aws_key", "github_key"})
"""Planted in compressed files only: hosts of repositories scan plain ones."""


def fake(rng: random.Random, kind: str) -> tuple[str, str]:
    """Return a fake value of that kind and a sentence that holds it."""
    sentence, make = KINDS[kind]
    value = make(rng)
    return value, sentence.format(value)


def parts(value: str) -> list[str]:
    """Return `value` cut so that truth.json holds it without looking like a leak; joined, the parts are the value."""
    return [value[:2], value[2:]]
