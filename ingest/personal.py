"""Finds personal data in text: e-mail and IP addresses, phone, card and account numbers.

Patterns find candidates, checks decide: address syntax, Luhn's digit, ISO 7064's, and for phone numbers the numbering
plans of `phonenumbers`. Gates are as in `ingest.credentials`.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

from ingest.credentials import APART, START, Span

if TYPE_CHECKING:
    import phonenumbers

SPACE: Final = "[ \xa0\u202f-]"
"""Digits are parted by plain, no-break (A0) and narrow no-break (202F) spaces, or hyphens."""
_GAP: Final = "[ \xa0\u202f.()/-]{0,2}"
_GAPS: Final = "[ \xa0\u202f.()/-]{1,2}"
DIGITS_GATE: Final = f"[0-9](?:{_GAP}[0-9]){{6}}"
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

REGIONS: Final = (
    *("US", "GB", "IE", "DE", "AT", "CH", "FR", "BE", "NL", "LU", "IT", "ES", "PT", "SE", "NO", "DK", "FI", "PL"),
    *("CZ", "HU", "RO", "GR", "TR", "UA", "IL", "ZA", "NG", "KE", "EG", "IN", "PK", "CN", "JP", "KR", "TW", "SG"),
    *("MY", "TH", "VN", "ID", "PH", "AU", "NZ", "BR", "AR", "MX", "CL", "CO"),
)
"""Whose numbers are known as people write them at home."""
_REWRITING: Final = ("AR", "BR", "MX")
"""Where digits are put in or left out at home."""
_CUES: Final = (
    "phone|Phone|PHONE|tel|Tel|TEL|mobile|Mobile|MOBILE|cell|Cell|hatsapp|hatsApp|call|Call|text|Text|sms|SMS|ring|Ring"
    "|reach|Reach|dial|Dial|telephone|Telephone|telefon|Telefon|Handy|mobil|Mobil|Rufnummer|téléphone|Téléphone"
    "|teléfono|Teléfono|telefono|Telefono|telefone|celular|móvil|portable|电话|手机|電話|携帯"
)
CUE: Final = re.compile(_CUES)
"""A word that announces a phone number."""
_APART: Final = r"(?:\A|[^0-9A-Za-z_.,#$€£/-]|\\[nrtbf])"
PHONE_GATES: Final = (
    f"\\+[1-9](?:{_GAP}[0-9]){{6}}",
    "[2-9][0-9]{2}(?:\\)[ \xa0\u202f]?|[ \xa0\u202f.-])[2-9][0-9]{2}[ \xa0\u202f.-][0-9]{4}",
    f"{_APART}00[1-9](?:{_GAP}[0-9]){{6}}",
    f"{_APART}\\(?0[1-9][0-9]{{0,5}}{_GAPS}[0-9]",
    r"\([0-9]{2,4}\) ?[0-9]",
    f"1[3-9][0-9]{SPACE}[0-9]{{4}}{SPACE}[0-9]{{4}}",
    f"(?:{_CUES})[^0-9+\n]{{0,28}}[0-9](?:[ \xa0\u202f.()-]{{0,2}}[0-9]){{6}}",
)
_INTERNATIONAL: Final = re.compile(f"\\+[1-9](?:{_GAP}[0-9]){{6,14}}(?![\\w])")
_DIALLED: Final = re.compile(f"00[1-9](?:{_GAP}[0-9]){{6,14}}(?![\\w])")  # abroad, from most countries
_NORTH_AMERICAN: Final = re.compile(
    "(?:1[ \xa0\u202f.-])?(?:\\([2-9][0-9]{2}\\)[ \xa0\u202f]?|[2-9][0-9]{2}[ \xa0\u202f.-])"
    "[2-9][0-9]{2}[ \xa0\u202f.-][0-9]{4}(?![\\w]|[.,/-][0-9])"
    "|(?<=\\()[2-9][0-9]{2}\\)[ \xa0\u202f]?[2-9][0-9]{2}[ \xa0\u202f.-][0-9]{4}(?![\\w]|[.,/-][0-9])"
)
_NATIONAL: Final = re.compile(
    f"(?:\\(?0[1-9](?=[0-9]{{0,5}}{_GAPS}[0-9])(?:{_GAP}[0-9]){{6,11}}"  # with its trunk prefix
    "|\\([1-9][0-9]{1,3}\\) ?[0-9](?:[ \xa0\u202f-]?[0-9]){6,9}"  # with an area code in brackets
    f"|1[3-9][0-9]{SPACE}[0-9]{{4}}{SPACE}[0-9]{{4}})"  # a Chinese mobile number
    r"(?![\w]|[.,/-][0-9])"
)
_BEFORE_INTERNATIONAL: Final = re.compile(r"(?<![\w.+#,$€£/-])|(?<=\\[nrtbf])")
_BEFORE_NATIONAL: Final = re.compile(
    START + "(?<![.,#$€£/-])(?:(?=[(])|(?<![0-9]{3}[ \xa0\u202f]))"
)  # no group of digits
_GAP_BETWEEN: Final = re.compile("(?<=[0-9])[^0-9]+(?=[0-9])")
_RUN: Final = re.compile(f"[0-9](?:{_GAP}[0-9]){{6,}}+")
_CUED: Final = re.compile("[0-9](?:[ \xa0\u202f.()-]{0,2}[0-9]){6,14}(?![\\w%=*]|[.,:/-][0-9])")
_CUE_BEFORE: Final = re.compile(
    f"(?:(?<![A-Za-z])|(?<=[Ww]))(?:{_CUES})(?:[Nn]umber|[Nn]ummer|[Nn]o|[Nn]r)?(?![A-Za-z])[^0-9+\\n\\0]{{0,20}}$"
)
_DATE: Final = re.compile(
    r"[12][0-9]{3}[-. /](?:0[1-9]|1[0-2])[-. /](?:0[1-9]|[12][0-9]|3[01])"
    r"|(?:0[1-9]|[12][0-9]|3[01])[-. /](?:0[1-9]|1[0-2])[-. /][12][0-9]{3}"
    r"|(?:0[1-9]|1[0-2])[-. /](?:0[1-9]|[12][0-9]|3[01])[-. /][12][0-9]{3}"
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
    spans = list(_standing_apart(_IPV4, _BEFORE_IPV4, text))
    rest = without(text, spans)
    if "::" in rest or rest.count(":") >= 7:
        spans += _standing_apart(_IPV6, _BEFORE_IPV6, rest)
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


def phones(text: str) -> Iterator[Span]:
    """Yield phone numbers: international ones, those of REGIONS as people write them, and what a word announces."""
    runs = [found.span() for found in _RUN.finditer(text)]
    for pattern, before, accepts in (
        (_INTERNATIONAL, _BEFORE_INTERNATIONAL, (_is_valid, _is_possible)),
        (_DIALLED, _BEFORE_NATIONAL, (_is_valid, _is_possible)),
        (_NORTH_AMERICAN, _BEFORE_NATIONAL, (_is_any,)),
        (_NATIONAL, _BEFORE_NATIONAL, (_is_national,)),
    ):
        spans = [
            (start, stop)
            # A number begins up to two characters before its first digit, and is judged by two behind its last.
            for run_start, run_end in runs
            for start, end in _standing_apart(pattern, before, text, max(0, run_start - 2), run_end + 2)
            if (stop := _accepted(text, start, end, accepts))
        ]
        yield from spans
        text = without(text, spans)
    for found in _CUED.finditer(text):
        start = found.start() - (text[found.start() - 1 : found.start()] == "(")
        if _CUE_BEFORE.search(text, max(0, start - 48), start) and not _DATE.match(found.group()):
            yield start, found.end()


def _accepted(text: str, start: int, end: int, tests: Sequence[Callable[[str], bool]]) -> int:
    """Return where the number ends: after as many groups of digits as pass a test, the first of them first; else 0."""
    ends = [end, *(gap.start() + start for gap in reversed(list(_GAP_BETWEEN.finditer(text[start:end]))))]
    return next((stop for accepts in tests for stop in ends[:4] if accepts(text[start:stop])), 0)


def _is_any(_number: str) -> bool:
    return True


def _standing_apart(
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


@cache
def _plans() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Return each region and the form of its numbers without their trunk prefix: most are ruled out by it at once."""
    import phonenumbers

    plans = ((region, phonenumbers.PhoneMetadata.metadata_for_region(region)) for region in REGIONS)
    described = ((region, plan.general_desc) for region, plan in plans if plan)
    return tuple((region, re.compile(str(plan.national_number_pattern))) for region, plan in described if plan)


def _plain(number: str) -> str:
    return re.sub("[\xa0\u202f]", " ", number)


def _abroad(number: str) -> "phonenumbers.PhoneNumber | None":
    import phonenumbers  # 50 ms that a run without a number does not need

    digits = _plain(number if number.startswith("+") else f"+{number.removeprefix('00')}")
    try:
        return phonenumbers.parse(digits.replace("(0)", ""))
    except phonenumbers.NumberParseException:
        return None


@lru_cache(maxsize=4096)
def _is_valid(number: str) -> bool:
    """Return whether a country's numbering plan has this number."""
    import phonenumbers

    return (parsed := _abroad(number)) is not None and phonenumbers.is_valid_number(parsed)


@lru_cache(maxsize=4096)
def _is_possible(number: str) -> bool:
    """Return whether a country's numbers have this length; the fictional ones of examples count."""
    import phonenumbers

    return (parsed := _abroad(number)) is not None and phonenumbers.is_possible_number(parsed)


@lru_cache(maxsize=4096)
def _is_national(number: str) -> bool:
    """Return whether one of REGIONS has such a number; digits without any gap may be anything."""
    import phonenumbers

    if _DATE.match(number) or number.isdigit():
        return False
    digits = re.sub("[^0-9]", "", number)
    for region, plan in _plans():
        if region not in _REWRITING and not (plan.fullmatch(digits) or plan.fullmatch(digits[1:])):
            continue
        try:
            if phonenumbers.is_valid_number(phonenumbers.parse(_plain(number), region)):
                return True
        except phonenumbers.NumberParseException:
            continue
    return False
