"""Finds personal data in text: e-mail and IP addresses, card and account numbers. Phone numbers: `ingest.phones`.

Patterns find candidates, checks decide: address syntax, Luhn's digit, ISO 7064's. Gates are as in `ingest.credentials`.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ingest.credentials import APART, START, Span

SPACE: Final = "[ \xa0\u202f-]"
"""Digits are parted by plain, no-break (A0) and narrow no-break (202F) spaces, or hyphens."""
GAP: Final = "[ \xa0\u202f.()/-]{0,2}"
DIGITS_GATE: Final = f"[0-9](?:{GAP}[0-9]){{6}}"
"""Seven digits: every phone, card and account number has them."""

EMAIL_GATES: Final = ("@",)
_EMAIL_DOMAIN: Final = re.compile(
    r"@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+(?!(?:png|jpe?g|gif|svg|webp)(?![^\W_]))[^\W\d_]{2,24}(?![^\W_])"
)

IP_GATES: Final = (
    r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.",
    "::",
    ":[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}:",
)
_IPV4: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![\w]|\.[0-9]|-[0-9])")
_BEFORE_IPV4: Final = re.compile(START + r"(?<![.\-#])")
_IPV6: Final = re.compile(r"[0-9A-Fa-f:][0-9A-Fa-f:]{1,38}(?<!\w:)(?!\w|::|:[0-9A-Fa-f]{1,4}(?!\w))")
_BEFORE_IPV6: Final = re.compile(START + r"(?<![:.])")

_IBAN_LENGTHS: Final = {
    country: int(length)
    for length, countries in {
        "15": "NO", "16": "BE", "18": "DK FO FI GL NL SD FK", "19": "MK SI", "20": "AT BA EE KZ LT LU MN XK",
        "21": "CH HR LI LV", "22": "BG BH CR DE GB GE IE ME RS VA", "23": "AE GI IL IQ OM SO TL",
        "24": "AD CZ DZ ES MD PK RO SA SE SK TN VG", "25": "LY PT ST", "26": "IS TR", "27": "BI DJ FR GR IT MC MR SM",
        "28": "AL AZ BY CY DO GT HU LB NI PL SV HN", "29": "BR EG PS QA UA", "30": "JO KW MU YE", "31": "MT SC",
        "32": "LC", "33": "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip
"""Country -> characters of an IBAN (SWIFT IBAN registry)."""
IBAN_GATES: Final = (f"[A-Z]{{2}}[0-9]{{2}}{SPACE}?[A-Z0-9]{{4}}{SPACE}?[A-Z0-9]{{4}}{SPACE}?[A-Z0-9]{{3}}",)
IBAN_DIGIT_GATES: Final = (
    f"{APART}[A-Za-z]{{2}}[0-9]{{2}}(?:{SPACE}?[A-Za-z]){{0,4}}{SPACE}?[0-9](?:{SPACE}?[A-Za-z0-9]){{6}}",
)
_GROUPED_IBAN: Final = re.compile(IBAN_GATES[0])
_IBAN: Final = re.compile(f"(?<=[A-Za-z]{{2}})[0-9]{{2}}(?:{SPACE}?[A-Za-z0-9]){{11,30}}")
_WORD_START: Final = re.compile(START)
_SEVEN: Final = re.compile(f"[0-9](?:{SPACE}?[0-9]){{6}}")

CARD_GATES: Final = (
    f"[0-9](?:{SPACE}?[0-9]){{12}}",
    r"[0-9]{4}\.[0-9]{4}\.[0-9]{4}\.[0-9]{4}",
    r"[0-9]{4}\.[0-9]{6}\.[0-9]{5}",
)
_DIGITS: Final = re.compile(f"[0-9](?:{SPACE}?[0-9]){{12,}}+")
_DOTTED_CARD: Final = re.compile(r"[0-9]{4}(?:(?:\.[0-9]{4}){3}|\.[0-9]{6}\.[0-9]{5})(?!\.?[0-9])")
_NUMBER_START: Final = re.compile(START + r"(?<![.,#$€£-])")
_GROUP: Final = re.compile("[0-9]+")
_CARDS: Final = re.compile(
    r"4(?:[0-9]{15}|[0-9]{18})"  # Visa; those of 13 digits are history
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"  # Mastercard
    r"|3[47][0-9]{13}"  # American Express
    r"|3(?:0[0-5]|[68][0-9])[0-9]{11}"  # Diners
    r"|(?:6011|65[0-9]{2}|64[4-9][0-9])[0-9]{12,15}"  # Discover
    r"|35[0-9]{14}"  # JCB
    r"|62[0-9]{14,17}"  # UnionPay
)


def without(text: str, spans: Iterable[Span]) -> str:
    """Return `text` with NUL over every span: the next pattern finds what stands beside it, and nothing within."""
    parts, position = [], 0
    for start, end in sorted(spans):
        parts += [text[position:start], "\0" * (end - start)]
        position = end
    return "".join([*parts, text[position:]]) if parts else text


def emails(text: str) -> Iterator[Span]:
    """Yield addresses from their domains leftwards, whatever the length of what stands before the @."""
    position = 0
    for found in _EMAIL_DOMAIN.finditer(text):
        start = found.start()
        while start > position and (text[start - 1].isalnum() or text[start - 1] in "_.%+'-"):
            start -= 1
        if start < found.start():
            yield start, found.end()
            position = found.end()


def ips(text: str) -> Iterator[Span]:
    """Yield addresses that may name a person's machine: not loopback, unspecified or a netmask."""
    spans = list(standing_apart(_IPV4, _BEFORE_IPV4, text))
    rest = without(text, spans)
    if "::" in rest or rest.count(":") >= 7:
        spans += standing_apart(_IPV6, _BEFORE_IPV6, rest)
    for start, end in spans:
        found = text[start:end]
        try:
            address = ipaddress.ip_address(found)
        except ValueError:
            continue
        # Names and slices in code, such as ab::cd and ::2, are addresses by syntax alone.
        groups = [group for group in found.split(":") if group]
        words = not re.search("[0-9]", found)
        code = address.version == 6 and len(groups) < 3 and (words or all(len(group) < 3 for group in groups))
        netmask = address.version == 4 and address.is_reserved
        if not (address.is_loopback or address.is_unspecified or netmask or code):
            yield start, end


def ibans(text: str) -> Iterator[Span]:
    """Yield account numbers whose length is their country's and whose check digits are right."""
    position = 0
    while found := _IBAN.search(text, position):
        start, position = found.start() - 2, found.start() + 1
        length = _IBAN_LENGTHS.get(text[start : start + 2].upper())
        if length is None or not _WORD_START.match(text, start):
            continue
        positions = [i for i in range(start, found.end()) if text[i].isalnum()]
        if len(positions) < length:
            continue
        stop = positions[length - 1] + 1
        code = "".join(text[i] for i in positions[:length]).upper()
        whole = stop == len(text) or not text[stop].isalnum()
        usual = _GROUPED_IBAN.match(text, start) or _SEVEN.search(code)  # else words may be read as one
        if whole and usual and int("".join(str(int(c, 36)) for c in code[4:] + code[:4])) % 97 == 1:
            position = stop
            yield start, stop


def cards(text: str) -> Iterator[Span]:
    """Yield card numbers, also where other groups of digits (an expiry date) stand right before or behind."""
    dotted = [
        found.span()
        for found in _DOTTED_CARD.finditer(text)
        if _NUMBER_START.match(text, found.start()) and _is_card(text, *found.span())
    ]
    yield from dotted
    text = without(text, dotted)
    for found in _DIGITS.finditer(text):
        groups = [group.span() for group in _GROUP.finditer(text, *found.span())]
        first = 0 if _NUMBER_START.match(text, found.start()) else 1  # not the decimals of a number
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


def standing_apart(
    pattern: re.Pattern[str], before: re.Pattern[str], text: str, position: int = 0, end: int | None = None
) -> Iterator[Span]:
    """Yield matches at whose start `before` matches, too; a pattern that begins with a digit is found faster alone."""
    end = len(text) if end is None else end
    while found := pattern.search(text, position, end):
        if before.match(text, found.start()):
            yield found.span()
            position = found.end()
        else:
            position = found.start() + 1
