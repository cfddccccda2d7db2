"""Personal data and secrets in text -> placeholders, before anything is written.

Narrow patterns, one or a few per kind, run over many texts at once in Polars (`suspects`). Only texts that one of them
meets are searched, and only for that kind (`ingest.credentials`, `ingest.personal`, `ingest.phones`): every candidate
is checked, by checksum, address syntax or numbering plan. `Placeholders` puts `<EMAIL_1>` in place of what was found.
Numbers count up over a record, and the same value gets the same number, so that a text stays coherent. A keyed digest
of each value says which placeholders of several records are one value (`ingest.numbering`).

Kinds: EMAIL, PHONE, IP (v4 and v6), CARD (Luhn and issuer), IBAN (length and mod 97), CREDENTIALS (user and password in
a URL), API_KEY (known services, JSON web tokens), SECRET (what is called a password or token and looks like chance),
PRIVATE_KEY (PEM). Where winnow.toml asks for them, also NAME and LOCATION, of people and places (`ingest.names`).
"""

import ipaddress
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from ingest import credentials, personal, phones
from ingest.credentials import Span
from ingest.personal import without
from ingest.settings import Redaction

if TYPE_CHECKING:
    from ingest.names import Names


@dataclass(frozen=True)
class Kind:
    """One kind of what is redacted."""

    name: str
    """In placeholders; in lower case, in counts."""
    gates: tuple[str, ...]
    """Patterns in Rust's syntax; whatever `find` accepts, one of them matches, or one of `digit_gates`."""
    find: Callable[[str], Iterator[Span]]
    """Yields spans, without overlaps."""
    digit_gates: tuple[str, ...] = ()
    """Further ones, for texts that `personal.DIGITS_GATE` matches, too: it is asked once for all kinds."""


Found = tuple[int, int, str]
"""Start, end and kind of one place."""

KINDS: Final = (
    Kind("PRIVATE_KEY", credentials.PRIVATE_KEY_GATES, credentials.private_keys),
    Kind("CREDENTIALS", credentials.URL_GATES, credentials.url_credentials),
    Kind("API_KEY", credentials.KEY_GATES, credentials.keys),
    Kind("SECRET", credentials.SECRET_GATES, credentials.secrets),
    Kind("EMAIL", personal.EMAIL_GATES, personal.emails),
    Kind("IBAN", personal.IBAN_GATES, personal.ibans, personal.IBAN_DIGIT_GATES),
    Kind("CARD", (), personal.cards, personal.CARD_GATES),
    Kind("IP", personal.IP_GATES, personal.ips),
    Kind("PHONE", (), phones.phones, phones.PHONE_GATES),
)
"""In order of priority: of two kinds in one place the earlier wins."""

NAMES: Final = ("NAME", "LOCATION")
"""Kinds that `ingest.names` finds, after all others."""
PLACEHOLDER: Final = re.compile(f"<((?:{'|'.join([*(kind.name for kind in KINDS), *NAMES])})_[1-9][0-9]{{0,8}})>")
"""A placeholder. One that stands in a text before redaction is a value like any other, and gets a number of its own."""
_PLACEHOLDER_GATE: Final = "<[A-Z_]{2,11}_[0-9]"
_ESCAPE_GATE: Final = r"\\u00[2-7Aa]|\\u202[fF]|\\/"
"""An escape in JSON text, which may hide anything."""

_ANY_GATE: Final = "|".join([*(gate for kind in KINDS for gate in kind.gates), _PLACEHOLDER_GATE])
"""All at once, which most texts do not pass. With `digit_gates` in it this would be ten times as slow."""
_KIND_OF_GATE: Final = {gate: kind.name for kind in KINDS for gate in kind.gates}
_KIND_OF_DIGIT_GATE: Final = {gate: kind.name for kind in KINDS for gate in kind.digit_gates}
_NO_ROWS: Final = np.empty(0, np.intp)
_GATES: Final = {kind.name: re.compile("|".join((*kind.gates, *kind.digit_gates))) for kind in KINDS}
SHORT: Final = 1000
"""Characters of a text that Python's own `re` searches before Polars has begun."""
CACHED_CHARACTERS: Final = 16_000_000
"""So much text, at most, is remembered with what was found in it: prompts repeat all earlier turns."""


USER_KEYS: Final = (
    "user", "user_id", "userId", "user.id", "end_user", "enduser.id", "wb_user_id", "mlflow.trace.user",
    "safety_identifier", "annotator",
)  # fmt: skip
"""Keys under which readers find who the user is; also `id` of an object `user` or `rater`."""

_USER: Final = re.compile(
    r'(?P<key>"(?:' + "|".join(map(re.escape, USER_KEYS)) + r')"\s*:\s*|"rater"\s*:\s*\{[^{}]{0,200}?"id"\s*:\s*)'
    r'(?P<value>"(?:[^"\\]|\\.)*+"?|-?[0-9]+)'
)
"""A user in text that is no JSON, such as a torn line."""


def _stated(value: str) -> str:
    """Return the text or number of a torn line; a text that is cut, or holds a wrong escape, as it stands."""
    try:
        return str(json.loads(value))
    except ValueError:
        return value.strip('"')


_ESCAPED_ASCII: Final = re.compile(r"\\(?:u00(?P<code>[2-7][0-9A-Fa-f])|(?P<slash>/)|.)", re.DOTALL)


def _unescaped(escape: re.Match[str]) -> str:
    """Return the printable ASCII that the escape stands for; quotes, backslashes and all else stay escaped."""
    if escape["slash"]:
        return "/"
    character = chr(int(escape["code"], 16)) if escape["code"] else "\\"
    return escape.group() if character in '"\\\x7f' else character


_found: dict[str, tuple[Found, ...]] = {}
_found_names: dict[str, tuple[Found, ...]] = {}
_found_characters = 0
_settings = Redaction()
_names: "Names | None" = None


def use(settings: Redaction) -> None:
    """Redact by these settings from now on, in this process. Raises SettingsError where they cannot be followed."""
    global _settings, _names  # noqa: PLW0603 - one per process, as the patterns are
    if settings == _settings:
        return
    phones.use(settings.regions)
    if settings.names_model and settings.names_model != _settings.names_model:
        from ingest.names import Names

        _names = Names(settings.names_model)
    elif not settings.names_model:
        _names = None
    _settings = settings
    forget()


def in_use() -> Redaction:
    """Return the settings of this process."""
    return _settings


def suspects(texts: Sequence[str], *, prose: int | None = None) -> list[bool]:
    """Return, for each text, whether it holds anything to redact; of JSON text, whether it may; false is certain.

    Names are looked for in the first `prose` texts, what people and models wrote, by default all: an id or a model's
    name is no person's.
    """
    suspect = [False] * len(texts)
    gated, escaped = _gated(texts)
    first = (len(texts) if prose is None else prose) if _names else 0
    for row in gated.keys() | range(first):
        found = _is_json(texts[row]) or _remembered(texts[row], gated.get(row, ()), prose=row < first)
        suspect[row] = bool(found)
    for row in escaped:
        suspect[row] = suspect[row] or _is_json(texts[row])
    return suspect


def find(text: str, *, prose: bool = True) -> list[Found]:
    """Return (start, end, kind) of everything to redact in `text`, in order and without overlaps."""
    if (found := (_found_names if prose and _names else _found).get(text)) is not None:
        return list(found)
    if len(text) > SHORT:
        kinds: Sequence[Kind] = _gated([text])[0].get(0, ())
    else:
        kinds = [kind for kind in KINDS if _GATES[kind.name].search(text)]
    return list(_remembered(text, kinds, prose=prose))


def _gated(texts: Sequence[str]) -> tuple[Mapping[int, list[Kind]], list[int]]:
    """Return row -> kinds that its text may hold, in order of priority; [] stands for placeholders alone.

    And the rows whose text has an escape in it.
    """
    frame = pl.DataFrame({"text": texts}, schema={"text": pl.String})
    some, with_digits, escaped = _matching(frame, (_ANY_GATE, personal.DIGITS_GATE, _ESCAPE_GATE))
    placeholders, *of_gates = _matching(frame[some], (_PLACEHOLDER_GATE, *_KIND_OF_GATE))
    of_digit_gates = _matching(frame[with_digits], tuple(_KIND_OF_DIGIT_GATE))
    found: dict[int, list[Kind]] = {row: [] for row in some[placeholders].tolist()}
    passed: dict[str, set[int]] = {kind.name: set() for kind in KINDS}
    for kind, rows in zip(_KIND_OF_GATE.values(), of_gates, strict=True):
        passed[kind].update(some[rows].tolist())
    for kind, rows in zip(_KIND_OF_DIGIT_GATE.values(), of_digit_gates, strict=True):
        passed[kind].update(with_digits[rows].tolist())
    for each in KINDS:
        for row in passed[each.name]:
            found.setdefault(row, []).append(each)
    return found, escaped.tolist()


def _matching(frame: pl.DataFrame, patterns: Sequence[str]) -> list[npt.NDArray[np.intp]]:
    """Return, for each pattern, the rows whose text holds it. In one query: starting one costs much, too."""
    found = frame.select(map(_holds, patterns)) if frame.height else None
    return [np.flatnonzero(found[pattern].to_numpy()) if found is not None else _NO_ROWS for pattern in patterns]


@cache
def _holds(pattern: str) -> pl.Expr:
    return pl.col("text").str.contains(pattern).alias(pattern)


def _is_json(text: str) -> bool:
    return text.lstrip()[:1] in ("{", "[", '"')


def _remembered(text: str, kinds: Sequence[Kind], *, prose: bool) -> tuple[Found, ...]:
    """Return what `_search` does, and names in prose; a text that repeats has been looked at already."""
    global _found_characters  # noqa: PLW0603 - a cache
    if _found_characters > CACHED_CHARACTERS:
        forget()
    if text not in _found:
        _found[text] = _search(text, kinds)
        _found_characters += len(text) + 100
    if not (prose and _names):
        return _found[text]
    if text not in _found_names:
        taken = _found[text]
        beside = (part for name in _names.find(text) for part in _beside(text, name, taken))
        _found_names[text] = tuple(sorted([*taken, *beside]))
        _found_characters += 100
    return _found_names[text]


def forget() -> None:
    """Drop what is remembered of texts."""
    global _found_characters  # noqa: PLW0603
    _found.clear()
    _found_names.clear()
    _found_characters = 0


def _beside(text: str, name: Found, taken: Sequence[Found]) -> Iterator[Found]:
    """Yield the parts of a name that nothing else has taken: an address within it keeps its own placeholder."""
    start, end, kind = name
    edges = [start, *(edge for s, e, _ in taken if s < end and start < e for edge in (s, e)), end]
    for left, right in zip(edges[::2], edges[1::2], strict=True):
        part = text[left:right]
        stripped = part.strip(" \t\r\n,.;:<>()[]\"'")
        if any(map(str.isalpha, stripped)):
            at = left + part.index(stripped)
            yield at, at + len(stripped), kind


def _search(text: str, kinds: Iterable[Kind]) -> tuple[Found, ...]:
    taken = [(*found.span(), found[1].rsplit("_", 1)[0]) for found in PLACEHOLDER.finditer(text)]
    text = without(text, [(start, end) for start, end, _ in taken])
    for kind in kinds:
        if spans := list(kind.find(text)):
            taken += [(start, end, kind.name) for start, end in spans]
            text = without(text, spans)
    return tuple(sorted(taken))


def canonical(kind: str, value: str) -> str:
    """Return what is the same for all spellings of one value."""
    if kind in ("CARD", "IBAN", "PHONE"):
        return re.sub("[^0-9A-Za-z+]", "", value).casefold()
    if kind == "IP":
        try:
            return ipaddress.ip_address(value).compressed
        except ValueError:  # a placeholder that stood there before
            return value
    if kind in NAMES:
        return " ".join(value.split())
    return value.casefold() if kind == "EMAIL" else value


class Placeholders:
    """What was redacted in one record so far."""

    def __init__(
        self, pseudonym: Callable[[str], str | None] | None = None, digest: Callable[[str], str] | None = None
    ) -> None:
        """Make one for a record, and for what its JSON texts hold under USER_KEYS, where `pseudonym` is given.

        `digest` is the keyed hash of a value that `digests` keeps; without it that stays empty.
        """
        self._pseudonym = pseudonym
        self._digest = digest
        self._users = 0
        self.counts: Counter[str] = Counter()
        """Kind, in lower case -> places where it stood."""
        self.digests: dict[str, str] = {}
        """Placeholder without its brackets -> 16 hex digits of its value's keyed digest."""
        self._numbers: dict[tuple[str, str], int] = {}
        self._last: Counter[str] = Counter()
        self._kept: set[str] = set()
        self._prose = True

    def without_names(self) -> "Placeholders":
        """Return the same record's, for what the deployment states itself, such as tools: there no names are found."""
        same = copy(self)
        same._prose = False
        return same

    def keep(self, text: str) -> None:
        """Leave the placeholders in `text`, of an earlier redaction, as they are, and give new values other numbers."""
        for name in PLACEHOLDER.findall(text):
            kind, number = name.rsplit("_", 1)
            self._last[kind] = max(self._last[kind], int(number))
            self._kept.add(f"<{name}>")

    def text(self, text: str) -> str:
        """Return `text` with placeholders."""
        return self._replaced(text, find(text, prose=self._prose))

    def _replaced(self, text: str, spans: Sequence[Found]) -> str:
        parts, position = [], 0
        for start, end, kind in spans:
            parts += [text[position:start], self._placeholder(kind, text[start:end])]
            position = end
        return "".join([*parts, text[position:]]) if parts else text

    def json_text(self, text: str) -> str:
        """Return the JSON text with placeholders in its strings, keys and numbers; never raises.

        Text that is not JSON, such as a torn line, is redacted as it stands; before that, escapes of printable ASCII
        become what they stand for, so that `user\\u0040example.com` is found.
        """
        before, users = self.counts.copy(), self._users
        try:
            redacted = self._json(json.loads(text))
            # Text that holds nothing stays as its source wrote it.
            same = (self.counts, self._users) == (before, users)
            found = text if same else json.dumps(redacted, ensure_ascii=False)
        except (ValueError, RecursionError):
            self.counts.clear()  # the same one, which `without_names` shares
            self.counts.update(before)
            if self._pseudonym:
                text = _USER.sub(lambda found: found["key"] + json.dumps(self._user(_stated(found["value"]))), text)
            return self.text(_ESCAPED_ASCII.sub(_unescaped, text))
        # Half of a surrogate pair, which no column holds, is escaped again.
        return found if found is text else found.encode("utf-8", errors="backslashreplace").decode("utf-8")

    def _json(self, value: object) -> object:
        if isinstance(value, str):
            nested = value.lstrip()[:1] in ("{", "[")  # arguments of a tool call are JSON within JSON
            return self.json_text(value) if nested else self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self._member(key, item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._json(item) for item in value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            text = str(value)
            redacted = self._replaced(text, find(text, prose=False))
            return value if redacted == text else redacted
        return value

    def _member(self, key: str, value: object) -> object:
        """Return the redacted value of a key; a user is a pseudonym."""
        if self._pseudonym and key in USER_KEYS and not isinstance(value, dict | list):
            return self._user(value)
        if self._pseudonym and key in ("user", "rater") and isinstance(value, dict):
            return {self.text(k): self._user(v) if k == "id" else self._member(k, v) for k, v in value.items()}
        if isinstance(value, str | int) and not isinstance(value, bool):
            return self._named(key, value)
        return self._json(value)

    def _named(self, key: str, value: str | int) -> object:
        """Return the redacted value of a key, which may say what it is: a password, a phone number."""
        text = str(value)
        if phones.CUE.search(key) or credentials.SECRET_NAME.search(key):
            cue = f"{key}: "
            spans = [span for span in find(cue + text, prose=False) if span[0] >= len(cue)]
            if spans and not find(text, prose=False):
                return self._replaced(cue + text, spans).removeprefix(cue)
        return self._json(value)

    def _user(self, value: object) -> object:
        """Return the pseudonym that rows have of this user; what names nobody stays."""
        if not self._pseudonym or isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            return self._json(value)
        self._users += 1
        return self._pseudonym(str(value))

    def _placeholder(self, kind: str, value: str) -> str:
        if value in self._kept:
            return value
        same = kind, canonical(kind, value)
        if same not in self._numbers:
            self._last[kind] += 1
            self._numbers[same] = self._last[kind]
            if self._digest:
                self.digests[f"{kind}_{self._last[kind]}"] = self._digest("\0".join(same))[:16]
        self.counts[kind.lower()] += 1
        return f"<{kind}_{self._numbers[same]}>"
