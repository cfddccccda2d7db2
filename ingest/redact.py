"""Personal data and secrets in text -> placeholders, before anything is written.

One vectorised pass in Polars finds the texts that may hold any (`suspects`); only their records go through
`Placeholders`, which checks every candidate (checksums, address syntax, country lengths) and puts `<EMAIL_1>` in its
place. Numbers count up over a record, and the same value gets the same number, so that a text stays coherent. A keyed
digest of each value says which placeholders of several records are one value (`ingest.numbering`).

Kinds: EMAIL, PHONE, IP (v4 and v6), CARD (Luhn and issuer), IBAN (length and mod 97), CREDENTIALS (user and password in
a URL), API_KEY (kinds named below, JSON web tokens), PRIVATE_KEY (PEM). Names and addresses of people are not found.
"""

import ipaddress
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import polars as pl

Span = tuple[int, int]
Finder = Callable[[str], Iterator[Span]]

_START: Final = r"(?:(?<![\w])|(?<=\\[nrtbf]))"
"""No word before; the letter of a JSON escape, as in the raw line of a quarantined record, is none."""

_EMAIL_DOMAIN: Final = re.compile(
    r"@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+(?!(?:png|jpe?g|gif|svg|webp)(?![^\W_]))[^\W\d_]{2,24}(?![^\W_])"
)
_CREDENTIALS: Final = re.compile(r"(?<=://)[^\s/@:\"'<>\\]*:[^\s/@\"'<>\\]+(?=@[^\s@])")
_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
    # The body ends where the next line of armour begins: no text is searched once for every BEGIN in it.
    r"(?:(?:[^-]|-(?!----(?:BEGIN|END) )){0,20000}+-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
    r"|[A-Za-z0-9+/=\s\\:,-]*)"
)
_API_KEY: Final = re.compile(
    _START + r"(?:"
    r"sk-(?=[A-Za-z_-]{0,64}[0-9])[A-Za-z0-9_-]{16,}"  # OpenAI, Anthropic (sk-ant-), OpenRouter
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])"  # AWS access key id
    r"|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}"
    r"|glpat-[A-Za-z0-9_-]{20,}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}"  # Slack
    r"|AIza[A-Za-z0-9_-]{35}"  # Google
    r"|hf_[A-Za-z0-9]{30,}"
    r"|[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"  # Stripe
    # JSON web token; bounded, and its signature optional, so that no text is searched once for every "eyJ" in it
    r"|eyJ[A-Za-z0-9_-]{8,2048}+\.eyJ[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]*)?"
    r")"
)
_IPV4: Final = re.compile(_START + r"(?<![.\-#])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w]|\.[0-9]|-[0-9])")
_IPV6: Final = re.compile(_START + r"(?<![:.])(?:[0-9A-Fa-f]{0,4}:){2,7}(?:[0-9A-Fa-f]{1,4}|(?<=::))(?![\w:])")
_IBAN: Final = re.compile(_START + r"[A-Za-z]{2}[0-9]{2}(?:[ \xa0\u202f-]?[A-Za-z0-9]){11,30}")
_DIGITS: Final = re.compile(_START + r"(?<![.,#$€£-])[0-9](?:[ \xa0\u202f-]?[0-9]){12,}+")
_DOTTED_CARD: Final = re.compile(
    _START + r"(?<![.,#$€£-])(?:[0-9]{4}(?:\.[0-9]{4}){3}|[0-9]{4}\.[0-9]{6}\.[0-9]{5})(?!\.?[0-9])"
)
_GROUP: Final = re.compile("[0-9]+")
# Digits are parted by plain, no-break (A0) and narrow no-break (202F) spaces.
_PHONE: Final = re.compile(
    r"(?:(?<![\w.+#])|(?<=\\[nrtbf]))\+[1-9](?:[ \xa0\u202f.()/-]{0,2}[0-9]){6,14}(?![\w])"  # international
    r"|" + _START + r"(?<![.,#$€£/-])(?:"
    r"(?:1[ \xa0\u202f.-])?(?:\([2-9][0-9]{2}\)[ \xa0\u202f]?|[2-9][0-9]{2}[ \xa0\u202f.-])"
    r"[2-9][0-9]{2}[ \xa0\u202f.-][0-9]{4}"  # North America
    r"|00[1-9](?:[ \xa0\u202f.()/-]{0,2}[0-9]){7,13}"
    r"|0[1-9][0-9]{1,4}[ \xa0\u202f/-][0-9]{3,4}(?:[ \xa0\u202f-][0-9]{2,4}){1,2}"  # national, with its trunk prefix
    r"|(?<=\()[2-9][0-9]{2}\)[ \xa0\u202f]?[2-9][0-9]{2}[ \xa0\u202f.-][0-9]{4}"
    r")(?![\w]|[.,/-][0-9])"
)
_CUED_PHONE: Final = re.compile(
    r"(?i)\b(?:phone|telephone|tel|mobile|cell|whatsapp|call|text|sms|ring|reach|dial)\b[^0-9+\n]{0,24}"
    r"(?P<number>\(?[0-9](?:[ \xa0\u202f.()-]{0,2}[0-9]){6,14})(?![\w%]|[.,:/-][0-9])"
)
_DATE: Final = re.compile(r"^(?:19|20)[0-9]{2}[-. ](?:0[1-9]|1[0-2])[-. ](?:0[1-9]|[12][0-9]|3[01])")

_GATE: Final = "|".join(
    (
        r"[\w.%+'-]@[\w]",
        r"://[^\s/@]*:[^\s/@]+@",
        r"-----BEGIN ",
        r"sk-|AKIA|ASIA|gh[pousr]_|github_pat_|glpat-|xox[abeoprs]-|AIza|hf_|[rs]k_(?:live|test)_|eyJ",
        r"[0-9A-Fa-f]:[0-9A-Fa-f]{0,4}:|::[0-9A-Fa-f]",
        r"[0-9](?:[ \x{a0}\x{202f}.()/-]{0,2}[0-9]){6}",
        r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.",
        r"[A-Za-z]{2}[0-9]{2}(?:[ \x{a0}\x{202f}-]?[A-Za-z0-9]){11}",
        r"<[A-Z_]+_[0-9]+>",
        r"\\u00",  # an escape within JSON text may hide any of these
    )
)
"""Whatever a finder below accepts, this matches (a test draws examples of every kind)."""

_IBAN_LENGTHS: Final = {
    country: int(length)
    for length, countries in {
        "15": "NO", "16": "BE", "18": "DK FO FI GL NL SD", "19": "MK SI", "20": "AT BA EE KZ LT LU MN XK",
        "21": "CH HR LI LV", "22": "BG BH CR DE GB GE IE ME RS VA", "23": "AE GI IL IQ OM SO TL",
        "24": "AD CZ DZ ES MD PK RO SA SE SK TN VG", "25": "LY PT ST", "26": "IS TR", "27": "BI DJ FR GR IT MC MR SM",
        "28": "AL AZ BY CY DO GT HU LB NI PL SV", "29": "BR EG PS QA UA", "30": "JO KW MU YE", "31": "MT SC",
        "32": "LC", "33": "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip
"""Country -> characters of an IBAN (SWIFT IBAN registry)."""

_CARDS: Final = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})"  # Visa
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"  # Mastercard
    r"|3[47][0-9]{13}"  # American Express
    r"|3(?:0[0-5]|[68][0-9])[0-9]{11}"  # Diners
    r"|(?:6011|65[0-9]{2}|64[4-9][0-9])[0-9]{12,15}"  # Discover
    r"|35[0-9]{14}"  # JCB
    r"|62[0-9]{14,17}"  # UnionPay
)


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


def _every(pattern: re.Pattern[str]) -> Finder:
    return lambda text: (found.span() for found in pattern.finditer(text))


def _without(text: str, spans: Iterable[Span]) -> str:
    """Return `text` with NUL over every span: the next pattern finds what stands beside it, and nothing within."""
    parts, position = [], 0
    for start, end in sorted(spans):
        parts += [text[position:start], "\0" * (end - start)]
        position = end
    return "".join([*parts, text[position:]]) if parts else text


def _emails(text: str) -> Iterator[Span]:
    """Yield addresses from their domains leftwards, whatever the length of what stands before the @."""
    position = 0
    for found in _EMAIL_DOMAIN.finditer(text):
        start = found.start()
        while start > position and (text[start - 1].isalnum() or text[start - 1] in "_.%+'-"):
            start -= 1
        if start < found.start():
            yield start, found.end()
            position = found.end()


def _ips(text: str) -> Iterator[Span]:
    """Yield addresses that may name a person's machine: not loopback, unspecified or a netmask."""
    rest = _without(text, [found.span() for found in _IPV4.finditer(text)])
    for found in (*_IPV4.finditer(text), *_IPV6.finditer(rest)):
        try:
            address = ipaddress.ip_address(found.group())
        except ValueError:
            continue
        # Names in code such as ab::cd are addresses by syntax alone.
        code = address.version == 6 and (found.group().count(":") < 3 and not re.search("[0-9]", found.group()))
        netmask = address.version == 4 and address.is_reserved
        if not (address.is_loopback or address.is_unspecified or netmask or code):
            yield found.span()


def _ibans(text: str) -> Iterator[Span]:
    for found in _IBAN.finditer(text):
        length = _IBAN_LENGTHS.get(found.group()[:2].upper())
        positions = [i for i in range(*found.span()) if text[i].isalnum()]
        if length is None or len(positions) < length:
            continue
        end = positions[length - 1] + 1
        code = "".join(text[i] for i in positions[:length]).upper()
        whole = end == len(text) or not text[end].isalnum()
        if whole and int("".join(str(int(c, 36)) for c in code[4:] + code[:4])) % 97 == 1:
            yield found.start(), end


def _cards(text: str) -> Iterator[Span]:
    """Yield card numbers, also where other groups of digits (an expiry date) stand right before or behind."""
    dotted = [found.span() for found in _DOTTED_CARD.finditer(text) if _is_card(text, *found.span())]
    yield from dotted
    text = _without(text, dotted)
    for found in _DIGITS.finditer(text):
        groups = [group.span() for group in _GROUP.finditer(text, *found.span())]
        first = 0
        while first < len(groups):
            start = groups[first][0]
            ends = [end for end in _card_ends(groups, first) if _is_card(text, start, end)]
            if ends:
                yield start, ends[-1]
            first += 1
            while ends and first < len(groups) and groups[first][1] <= ends[-1]:
                first += 1


def _card_ends(groups: Sequence[Span], first: int) -> Iterator[int]:
    """Yield where groups of digits from `first` on have, together, as many digits as a card number."""
    digits = 0
    for start, end in groups[first : first + 19]:
        digits += end - start
        if digits > 19:
            return
        if digits >= 13:
            yield end


def _is_card(text: str, start: int, end: int) -> bool:
    """Return whether a card number stands exactly there: an issuer's prefix, its length, and Luhn's check digit."""
    if end < len(text) and (text[end].isalnum() or text[end] == "_"):
        return False
    digits = re.sub("[^0-9]", "", text[start:end])
    if not _CARDS.fullmatch(digits):
        return False
    doubled = (int(d) * (1 + i % 2) for i, d in enumerate(reversed(digits)))
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def _phones(text: str) -> Iterator[Span]:
    for found in _PHONE.finditer(text):
        yield found.span()
    for found in _CUED_PHONE.finditer(_without(text, [found.span() for found in _PHONE.finditer(text)])):
        if not _DATE.match(found["number"]):
            yield found.span("number")


FINDERS: Final[tuple[tuple[str, Finder], ...]] = (
    ("PRIVATE_KEY", _every(_PRIVATE_KEY)),
    ("CREDENTIALS", _every(_CREDENTIALS)),
    ("API_KEY", _every(_API_KEY)),
    ("EMAIL", _emails),
    ("IBAN", _ibans),
    ("CARD", _cards),
    ("IP", _ips),
    ("PHONE", _phones),
)
"""Kind -> what finds it, without overlaps. Of two kinds in one place the earlier wins."""

PLACEHOLDER: Final = re.compile(f"<((?:{'|'.join(kind for kind, _ in FINDERS)})_[1-9][0-9]{{0,8}})>")
"""A placeholder. One that stands in a text before redaction is a value like any other, and gets a number of its own."""


def suspects(texts: Sequence[str]) -> list[bool]:
    """Return, for each text, whether it may hold anything to redact; false is certain."""
    series = pl.Series(texts, dtype=pl.String)
    return series.str.contains(_GATE).to_list()


def find(text: str) -> list[tuple[int, int, str]]:
    """Return (start, end, kind) of everything to redact in `text`, in order and without overlaps."""
    taken = [(*found.span(), found[1].rsplit("_", 1)[0]) for found in PLACEHOLDER.finditer(text)]
    text = _without(text, [(start, end) for start, end, _ in taken])
    for kind, finder in FINDERS:
        spans = list(finder(text))
        taken += [(start, end, kind) for start, end in spans]
        text = _without(text, spans)
    return sorted(taken)


def canonical(kind: str, value: str) -> str:
    """Return what is the same for all spellings of one value."""
    if kind in ("CARD", "IBAN", "PHONE"):
        return re.sub("[^0-9A-Za-z+]", "", value).casefold()
    if kind == "IP":
        try:
            return ipaddress.ip_address(value).compressed
        except ValueError:  # a placeholder that stood there before
            return value
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

    def text(self, text: str) -> str:
        """Return `text` with placeholders."""
        parts, position = [], 0
        for start, end, kind in find(text):
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
            self.counts = before
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
            redacted = self.text(text)
            return value if redacted == text else redacted
        return value

    def _member(self, key: str, value: object) -> object:
        """Return the redacted value of a key; a user is a pseudonym."""
        if self._pseudonym and key in USER_KEYS and not isinstance(value, dict | list):
            return self._user(value)
        if self._pseudonym and key in ("user", "rater") and isinstance(value, dict):
            return {self.text(k): self._user(v) if k == "id" else self._member(k, v) for k, v in value.items()}
        return self._json(value)

    def _user(self, value: object) -> object:
        """Return the pseudonym that rows have of this user; what names nobody stays."""
        if not self._pseudonym or isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            return self._json(value)
        self._users += 1
        return self._pseudonym(str(value))

    def _placeholder(self, kind: str, value: str) -> str:
        same = kind, canonical(kind, value)
        if same not in self._numbers:
            self._last[kind] += 1
            self._numbers[same] = self._last[kind]
            if self._digest:
                self.digests[f"{kind}_{self._last[kind]}"] = self._digest("\0".join(same))[:16]
        self.counts[kind.lower()] += 1
        return f"<{kind}_{self._numbers[same]}>"
