"""Finds phone numbers in text: international ones, national ones as they are written at home, what a word announces.

Patterns find candidates, the numbering plans of `phonenumbers` decide. Whose national numbers are known is set once for
a process (`use`), by `regions` in winnow.toml. Gates are as in `ingest.credentials`.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

from ingest.credentials import START, Span
from ingest.errors import SettingsError
from ingest.personal import GAP, SPACE, standing_apart, without
from ingest.settings import REGIONS

if TYPE_CHECKING:
    import phonenumbers

_GAPS: Final = "[ \xa0\u202f.()/-]{1,2}"
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
    f"\\+[1-9](?:{GAP}[0-9]){{6}}",
    "[2-9][0-9]{2}(?:\\)[ \xa0\u202f]?|[ \xa0\u202f.-])[2-9][0-9]{2}[ \xa0\u202f.-][0-9]{4}",
    f"{_APART}00[1-9](?:{GAP}[0-9]){{6}}",
    f"{_APART}\\(?0[1-9][0-9]{{0,5}}{_GAPS}[0-9]",
    r"\([0-9]{2,4}\) ?[0-9]",
    f"1[3-9][0-9]{SPACE}[0-9]{{4}}{SPACE}[0-9]{{4}}",
    f"(?:{_CUES})[^0-9+\n]{{0,28}}[0-9](?:[ \xa0\u202f.()-]{{0,2}}[0-9]){{6}}",
)
_INTERNATIONAL: Final = re.compile(f"\\+[1-9](?:{GAP}[0-9]){{6,14}}(?![\\w])")
_DIALLED: Final = re.compile(f"00[1-9](?:{GAP}[0-9]){{6,14}}(?![\\w])")  # abroad, from most countries
_NORTH_AMERICAN: Final = re.compile(
    "(?:1[ \xa0\u202f.-])?(?:\\([2-9][0-9]{2}\\)[ \xa0\u202f]?|[2-9][0-9]{2}[ \xa0\u202f.-])"
    "[2-9][0-9]{2}[ \xa0\u202f.-][0-9]{4}(?![\\w]|[.,/-][0-9])"
    "|(?<=\\()[2-9][0-9]{2}\\)[ \xa0\u202f]?[2-9][0-9]{2}[ \xa0\u202f.-][0-9]{4}(?![\\w]|[.,/-][0-9])"
)
_NATIONAL: Final = re.compile(
    f"(?:\\(?0[1-9](?=[0-9]{{0,5}}{_GAPS}[0-9])(?:{GAP}[0-9]){{6,11}}"  # with its trunk prefix
    "|\\([1-9][0-9]{1,3}\\) ?[0-9](?:[ \xa0\u202f-]?[0-9]){6,9}"  # with an area code in brackets
    f"|1[3-9][0-9]{SPACE}[0-9]{{4}}{SPACE}[0-9]{{4}})"  # a Chinese mobile number
    r"(?![\w]|[.,/-][0-9])"
)
_BEFORE_INTERNATIONAL: Final = re.compile(r"(?<![\w.+#,$€£/-])|(?<=\\[nrtbf])")
_BEFORE_NATIONAL: Final = re.compile(
    START + "(?<![.,#$€£/-])(?:(?=[(])|(?<![0-9]{3}[ \xa0\u202f]))"
)  # no group of digits
_GAP_BETWEEN: Final = re.compile("(?<=[0-9])[^0-9]+(?=[0-9])")
_RUN: Final = re.compile(f"[0-9](?:{GAP}[0-9]){{6,}}+")
_CUED: Final = re.compile("[0-9](?:[ \xa0\u202f.()-]{0,2}[0-9]){6,14}(?![\\w%=*]|[.,:/-][0-9])")
_CUE_BEFORE: Final = re.compile(
    f"(?:(?<![A-Za-z])|(?<=[Ww]))(?:{_CUES})(?:[Nn]umber|[Nn]ummer|[Nn]o|[Nn]r)?(?![A-Za-z])[^0-9+\\n\\0]{{0,20}}$"
)
_DATE: Final = re.compile(
    r"[12][0-9]{3}[-. /](?:0[1-9]|1[0-2])[-. /](?:0[1-9]|[12][0-9]|3[01])"
    r"|(?:0[1-9]|[12][0-9]|3[01])[-. /](?:0[1-9]|1[0-2])[-. /][12][0-9]{3}"
    r"|(?:0[1-9]|1[0-2])[-. /](?:0[1-9]|[12][0-9]|3[01])[-. /][12][0-9]{3}"
)


_regions: tuple[str, ...] = REGIONS


def use(regions: Sequence[str]) -> None:
    """Know national numbers of these regions from now on. Raises SettingsError on a code that is no region's."""
    global _regions  # noqa: PLW0603 - one per process, as the patterns are
    if tuple(regions) == _regions:
        return
    import phonenumbers

    if unknown := sorted(set(regions) - phonenumbers.SUPPORTED_REGIONS):
        raise SettingsError(
            f"redaction.regions holds {', '.join(unknown)}, for which there is no numbering plan. "
            "Name regions by their ISO 3166 codes, such as US, GB or DE."
        )
    _regions = tuple(regions)
    for known in (_plans, _is_national, _shares_plan):
        known.cache_clear()


def phones(text: str) -> Iterator[Span]:
    """Yield phone numbers: international ones, those of the regions as people write them, and announced ones."""
    runs = [found.span() for found in _RUN.finditer(text)]
    for pattern, before, accepts in (
        (_INTERNATIONAL, _BEFORE_INTERNATIONAL, (_is_valid, _is_possible)),
        (_DIALLED, _BEFORE_NATIONAL, (_is_valid, _is_possible)),
        (_NORTH_AMERICAN, _BEFORE_NATIONAL, (_is_north_american,)),
        (_NATIONAL, _BEFORE_NATIONAL, (_is_national,)),
    ):
        spans = [
            (start, stop)
            # A number begins up to two characters before its first digit, and is judged by two behind its last.
            for run_start, run_end in runs
            for start, end in standing_apart(pattern, before, text, max(0, run_start - 2), run_end + 2)
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


def _is_north_american(_number: str) -> bool:
    """Return whether a region in use has numbers of this form; the fictional ones of examples count."""
    return "US" in _regions or _shares_plan()


@cache
def _shares_plan() -> bool:
    import phonenumbers

    return any(phonenumbers.country_code_for_region(region) == 1 for region in _regions)


@cache
def _plans() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Return each region and the form of its numbers without their trunk prefix: most are ruled out by it at once."""
    import phonenumbers

    plans = ((region, phonenumbers.PhoneMetadata.metadata_for_region(region)) for region in _regions)
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
    """Return whether a region in use has such a number; digits without any gap may be anything."""
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
