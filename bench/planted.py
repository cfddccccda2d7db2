"""2,000 texts with planted personal data and secrets, and with what only looks like them: the truth for `bench.redact`.

Made without any pattern of ingest: phone numbers are `phonenumbers`' own examples, account numbers are computed by the
check formula from each country's structure, card numbers from issuers' prefixes and Luhn's digit, keys are drawn in the
form their services document. Sentences in seven languages, code, JSON, tables and logs stand around them. Always the
same texts.
"""

import ipaddress
import json
import random
import string
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import phonenumbers

TEXTS: Final = 2000


@dataclass(frozen=True)
class Text:
    """One text, and what was planted in it."""

    text: str
    planted: tuple[tuple[str, str], ...]
    """(kind, value), in order."""


LETTERS: Final = string.ascii_letters + string.digits
HEX: Final = "0123456789abcdef"
NAMES: Final = ("anna", "j.smith", "li.wei", "m_garcia", "o'neil", "petra.müller", "x+news", "info", "a1", "Jean-Luc")
DOMAINS: Final = ("example.com", "mail.example.co.uk", "firma.de", "uni-köln.de", "corp.io", "sub.a.museum", "qq.com")
REGIONS: Final = (
    "US", "CA", "GB", "DE", "FR", "IT", "ES", "NL", "BE", "AT", "CH", "PL", "SE", "NO", "DK", "FI", "PT", "IE", "CZ",
    "GR", "TR", "UA", "IN", "CN", "JP", "KR", "BR", "MX", "AR", "AU", "NZ", "ZA", "NG", "KE", "EG", "IL", "SG", "MY",
    "TH", "VN",
)  # fmt: skip
ABROAD: Final = ("DE", "FR", "GB", "IT", "NL", "BE", "AT", "CH", "SE", "JP", "AU", "BR", "ZA", "IE")
"""Whose numbers begin at home with a trunk prefix, or an area code in brackets."""
IBANS: Final = {
    "DE": "18n", "GB": "4a14n", "FR": "10n11c2n", "NL": "4a10n", "BE": "12n", "AT": "16n", "CH": "5n12c", "ES": "20n",
    "IT": "1a10n12c", "PL": "24n", "SE": "20n", "NO": "11n", "DK": "14n", "FI": "14n", "PT": "21n", "IE": "4a14n",
    "CZ": "20n", "TR": "5n1n16c", "SA": "2n18c", "AE": "19n", "BR": "23n1a1c", "MT": "4a5n18c", "LU": "3n13c",
}  # fmt: skip
"""Country -> its account numbers: n digits, a capital letters, c either (SWIFT IBAN registry)."""
CARDS: Final = (
    ("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("2720", 16), ("34", 15), ("37", 15), ("6011", 16), ("65", 16),
    ("3530", 16), ("36", 14), ("62", 16),
)  # fmt: skip


def texts(seed: int = 0) -> list[Text]:
    """Return TEXTS texts: two of three hold something, every third only what looks like it."""
    rng = random.Random(seed)
    kinds = list(PLANTERS)
    return [_text(rng, kinds[i % len(kinds)] if i % 3 else None) for i in range(TEXTS)]


def _text(rng: random.Random, kind: str | None) -> Text:
    found = [] if kind is None else [(kind, PLANTERS[kind](rng))]
    if kind and rng.random() < 0.3:
        other = rng.choice([k for k in PLANTERS if k not in (kind, "PRIVATE_KEY")])
        found.append((other, PLANTERS[other](rng)))
    parts = [_sentence(rng, kind, value) for kind, value in found]
    parts += [rng.choice(NEGATIVES)(rng) for _ in range(rng.randint(1, 3))]
    return Text(_form(rng, parts), tuple(found))


def _sentence(rng: random.Random, kind: str, value: str) -> str:
    if kind == "SECRET":
        return value  # with its cue
    if kind == "CUED_PHONE":
        return rng.choice(
            ("my phone is {}", "Call me at {} please", "Tel. {}", "mobile: {}", "电话：{}", "Telefon: {}")
        ).format(value)
    return rng.choice(SENTENCES).format(value)


SENTENCES: Final = (
    "Please use {} for this.", "it's {}, thanks", "Bitte nutzen Sie {} bis morgen.", "Voici {} pour la suite.",
    "Mi dato es {} y ya está.", "请使用 {} 处理。", "こちらです: {} よろしく", "Вот {} для вас.", "({})", "{}",
    "value = '{}'", "- first item\n- {}\n- third item", "| a | {} | c |", '"{}"', "I wrote {0} twice: {0}.",
    "<td>{}</td>", "see {}!",
)  # fmt: skip


def _form(rng: random.Random, parts: list[str]) -> str:
    rng.shuffle(parts)
    joined = rng.choice((" ", "\n", "\n\n", " ... "))
    text = joined.join(parts)
    return json.dumps({"note": text}, ensure_ascii=False) if rng.random() < 0.1 and "\n" not in text else text


def _draw(rng: random.Random, alphabet: str, length: int) -> str:
    return "".join(rng.choices(alphabet, k=length))


def _email(rng: random.Random) -> str:
    return f"{rng.choice(NAMES)}{rng.choice(('', str(rng.randint(1, 99))))}@{rng.choice(DOMAINS)}"


def _international(rng: random.Random) -> str:
    kind = rng.choice((phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE))
    number = phonenumbers.example_number_for_type(rng.choice(REGIONS), kind)
    assert number is not None
    form = rng.choice((phonenumbers.PhoneNumberFormat.INTERNATIONAL, phonenumbers.PhoneNumberFormat.E164))
    return str(phonenumbers.format_number(number, form))


def _national(rng: random.Random) -> str:
    """A number as it is written in its country, where it has a gap and a trunk prefix or brackets."""
    while True:
        kind = rng.choice((phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE))
        number = phonenumbers.example_number_for_type(rng.choice(("US", "CA", *ABROAD)), kind)
        assert number is not None
        text = str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL))
        if not text.isdigit():
            return text


def _cued(rng: random.Random) -> str:
    number = phonenumbers.example_number(rng.choice(REGIONS))
    assert number is not None
    text = str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL))
    return text if rng.random() < 0.5 else "".join(c for c in text if c.isdigit())


def _iban(rng: random.Random) -> str:
    country, structure = rng.choice(list(IBANS.items()))
    account, count = "", ""
    for c in structure:
        if c.isdigit():
            count += c
            continue
        alphabet = {"n": string.digits, "a": string.ascii_uppercase, "c": string.ascii_uppercase + string.digits}[c]
        account, count = account + _draw(rng, alphabet, int(count)), ""
    moved = "".join(str(int(c, 36)) for c in f"{account}{country}00")
    packed = f"{country}{98 - int(moved) % 97:02d}{account}"
    space = rng.choice(("", " ", " ", "\u00a0"))
    return space.join(packed[i : i + 4] for i in range(0, len(packed), 4))


def luhn(digits: str) -> str:
    """Return `digits` with the check digit that makes Luhn's sum a multiple of ten."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return digits + str(-total % 10)


def _card(rng: random.Random) -> str:
    prefix, length = rng.choice(CARDS)
    number = luhn(prefix + _draw(rng, string.digits, length - len(prefix) - 1))
    groups = {14: (4, 6, 4), 15: (4, 6, 5)}.get(length, (4, 4, 4, 4))
    space = rng.choice(("", " ", "-", "\u00a0"))
    parts, start = [], 0
    for group in groups:
        parts.append(number[start : start + group])
        start += group
    return space.join(parts)


def _ip(rng: random.Random) -> str:
    if rng.random() < 0.6:
        return str(
            ipaddress.IPv4Address(rng.choice((0x0A000000, 0xC0A80000, 0x5D000000, 0xCB007100)) + rng.getrandbits(16))
        )
    address = ipaddress.IPv6Address((0x20010DB8 << 96) + rng.getrandbits(rng.choice((16, 40, 96))))
    return rng.choice((address.compressed, address.exploded))


KEYS: Final[tuple[Callable[[random.Random], str], ...]] = (
    lambda r: f"sk-{_draw(r, LETTERS, 20)}7{_draw(r, LETTERS, 27)}",
    lambda r: f"sk-proj-{_draw(r, LETTERS, 10)}4{_draw(r, LETTERS + '-_', 100)}x",
    lambda r: f"sk-ant-api03-{_draw(r, LETTERS + '-_', 93)}AA",
    lambda r: f"AKIA{_draw(r, string.ascii_uppercase + '234567', 16)}",
    lambda r: f"ghp_{_draw(r, LETTERS, 36)}",
    lambda r: f"github_pat_{_draw(r, LETTERS, 22)}_{_draw(r, LETTERS, 59)}",
    lambda r: f"glpat-{_draw(r, LETTERS, 20)}",
    lambda r: f"xoxb-{_draw(r, string.digits, 12)}-{_draw(r, string.digits, 12)}-{_draw(r, LETTERS, 24)}",
    lambda r: f"hooks.slack.com/services/T{_draw(r, LETTERS, 8)}/B{_draw(r, LETTERS, 8)}/{_draw(r, LETTERS, 24)}",
    lambda r: f"AIza{_draw(r, LETTERS + '-_', 34)}x",
    lambda r: f"sk_live_{_draw(r, LETTERS, 24)}",
    lambda r: f"hf_{_draw(r, string.ascii_letters, 34)}",
    lambda r: f"SK{_draw(r, HEX, 32)}",
    lambda r: f"SG.{_draw(r, LETTERS, 22)}.{_draw(r, LETTERS, 43)}",
    lambda r: f"npm_{_draw(r, LETTERS, 36)}",
    lambda r: f"pypi-AgEIcHlwaS5vcmc{_draw(r, LETTERS, 150)}",
    lambda r: f"{r.randint(10**8, 10**10 - 1)}:AA{_draw(r, LETTERS + '-_', 32)}x",
    lambda r: f"M{_draw(r, LETTERS, 23)}.{_draw(r, LETTERS, 6)}.{_draw(r, LETTERS, 27)}",
    lambda r: f"eyJ{_draw(r, LETTERS, 33)}.eyJ{_draw(r, LETTERS, 90)}.{_draw(r, LETTERS + '-_', 42)}x",
)


def _key(rng: random.Random) -> str:
    return rng.choice(KEYS)(rng)


def _credentials(rng: random.Random) -> str:
    scheme = rng.choice(("https", "postgres", "ftp", "redis", "amqp"))
    return f"{scheme}://{rng.choice(('admin', 'svc', 'u1'))}:{_draw(rng, LETTERS, 12)}@db.example.com/x"


def _private_key(rng: random.Random) -> str:
    kind = rng.choice(("", "RSA ", "EC ", "OPENSSH "))
    body = "\n".join(_draw(rng, LETTERS + "+/", 64) for _ in range(rng.randint(2, 12)))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----"


SECRET_CUES: Final = (
    "password: {}", "DB_PASSWORD={}", "api_key = '{}'", "Authorization: Bearer {}", '"client_secret": "{}"',
    "export ACCESS_TOKEN={}", "The token is {}", "aws_secret_access_key={}", "pwd={};",
)  # fmt: skip


def _secret(rng: random.Random) -> str:
    value = _draw(rng, LETTERS, rng.choice((16, 24, 40))) + "a7"
    return rng.choice(SECRET_CUES).format(value)


PLANTERS: Final[dict[str, Callable[[random.Random], str]]] = {
    "EMAIL": _email, "PHONE": _international, "NATIONAL_PHONE": _national, "CUED_PHONE": _cued, "IP": _ip,
    "CARD": _card, "IBAN": _iban, "CREDENTIALS": _credentials, "API_KEY": _key, "PRIVATE_KEY": _private_key,
    "SECRET": _secret,
}  # fmt: skip
"""Kind -> draws one value. NATIONAL_PHONE and CUED_PHONE are PHONE, counted apart."""


def _wrong_card(rng: random.Random) -> str:
    number = luhn("4" + _draw(rng, string.digits, 14))
    return f"Ticket {number[:-1]}{(int(number[-1]) + 1) % 10}"


NEGATIVES: Final[tuple[Callable[[random.Random], str], ...]] = (
    lambda r: f"Order #{r.randint(10**5, 10**9)} of 2026-{r.randint(1, 12):02d}-{r.randint(1, 28):02d}",
    lambda r: f"ORD-{r.randint(2000, 2026)}-{r.randint(10**5, 10**6)} shipped",
    lambda r: f"ISBN 978-{r.randint(0, 9)}-{r.randint(10, 99)}-{r.randint(10**5, 10**6 - 1)}-{r.randint(0, 9)}",
    lambda r: f"{r.randint(1, 28):02d}.{r.randint(1, 12):02d}.{r.randint(1950, 2030)} um {r.randint(0, 23)}:30:15",
    lambda r: f"2026-{r.randint(1, 12):02d}-{r.randint(1, 28):02d}T08:15:30.{r.randint(10**5, 10**6 - 1)}Z",
    lambda r: f"v{r.randint(0, 20)}.{r.randint(0, 20)}.{r.randint(0, 300)}-rc.{r.randint(1, 5)}",
    lambda r: f"version {r.randint(100, 130)}.0.{r.randint(5000, 7000)}.{r.randint(300, 999)}",
    lambda r: f"${r.randint(1, 999)},{r.randint(100, 999)},{r.randint(100, 999)}.{r.randint(10, 99)} or 99,00 EUR",
    lambda r: (
        f"created {r.randint(1_600_000_000, 1_900_000_000)} updated {r.randint(1_600_000_000_000, 1_900_000_000_000)}"
    ),
    lambda r: f"commit {_draw(r, HEX, 40)} and b2:{_draw(r, HEX, 32)}",
    lambda r: f"id {uuid.UUID(int=r.getrandbits(128), version=4)}",
    lambda r: (
        f"{r.randint(10, 99)} + {r.randint(100, 999)} = {r.randint(100, 9999)}; {r.random():.16f} * 1e{r.randint(2, 9)}"
    ),
    lambda r: f"x = arr[{r.randint(1, 9)}::2]; std::vector<int> v{{{r.randint(1000, 9999)}}}; a::b::c(10)",
    lambda r: f"https://example.com:8080/p/{r.randint(10**7, 10**9)}?q={_draw(r, LETTERS, 12)}",
    lambda r: "@app.route('/x'), user@host, icon@2x.png, @media (max-width: 600px)",
    lambda r: "token = tokenizer.decode(ids); password = getpass(); max_tokens: 4096; secret santa",
    lambda r: "The password must be 8 to 16 characters; your token expires in 3600 seconds.",
    lambda r: "127.0.0.1:8000 and 255.255.255.0, 0.0.0.0",
    lambda r: f"Table {r.randint(100, 999)} {r.randint(100, 999)} {r.randint(100, 999)} {r.randint(100, 999)}",
    lambda r: f"pages {r.randint(100, 500)}-{r.randint(501, 900)}, chapter {r.randint(1, 20)}.{r.randint(1, 9)}.2",
    lambda r: f"Tracking 1Z{_draw(r, string.ascii_uppercase + string.digits, 16)}",
    lambda r: f"{r.randint(10**13, 10**15 - 1)} bytes, {r.randint(10**11, 10**12)} cells",
    lambda r: f"risk-adjusted-returns-{r.randint(2000, 2030)}, sk-learn, task-{r.randint(10**9, 10**12)}",
    lambda r: f"SKU {_draw(r, string.ascii_uppercase, 3)}-{r.randint(1000, 9999)}-{r.randint(10, 99)}",
    lambda r: f"{r.randint(-90, 90)}.{r.randint(10**5, 10**6)}, {r.randint(-180, 180)}.{r.randint(10**5, 10**6)}",
    lambda r: "今天是2026年11月20日，共有12345678个用户，价格是3999元。",
    lambda r: f"MAC 00:1A:2B:3C:4D:{_draw(r, HEX, 2)} ratio 16:9:4",
    _wrong_card,
    lambda r: f"DE{r.randint(10, 99)} {r.randint(1000, 9999)} 0044 0532 0130 0",  # one digit short
    lambda r: "Ordinary words about a recipe with 2 eggs, 250 g of flour and 180 degrees.",
)
