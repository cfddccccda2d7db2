"""Finds secrets in text: private keys, credentials in URLs, keys of known services, values that are called a password.

A gate is a pattern in Rust's syntax, without look-around, that matches wherever its finder may accept something
(`ingest.redact` runs gates over many texts at once, and finders on what passes).
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

Span = tuple[int, int]

APART: Final = r"(?:\A|[^0-9A-Za-z_]|\\[nrtbf])"
"""In gates: what stands before START's word begins."""
START: Final = r"(?:(?<![\w])|(?<=\\[nrtbf]))"
"""No word before; the letter of a JSON escape, as in the raw line of a quarantined record, is none."""

PRIVATE_KEY_GATES: Final = ("-----BEGIN ",)
_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
    # The body ends where the next line of armour begins: no text is searched once for every BEGIN in it.
    r"(?:(?:[^-\0]|-(?!----(?:BEGIN|END) )){0,20000}+-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
    r"|[A-Za-z0-9+/=\s\\:,-]*)"
)

URL_GATES: Final = (r"://[^\s/@]*:[^\s/@]+@",)
_URL: Final = re.compile(r"(?<=://)[^\s/@:\"'<>\\\0]*:[^\s/@\"'<>\\\0]+(?=@[^\s@\0])")

KEY_PATTERNS: Final = {
    "OpenAI, Anthropic (sk-ant-), OpenRouter (sk-or-), DeepSeek": r"sk-[A-Za-z0-9_-]{16,}",
    "AWS access key id": r"(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "GitHub": r"gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}",
    "GitLab": r"gl(?:pat|ptt|dt|rt|ft|oas|cbt)-[A-Za-z0-9_-]{20,}",
    "Slack": r"xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[0-9]-[A-Za-z0-9-]{20,}",
    "Slack webhook": r"hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/]{20,}",
    "Google": r"AIza[A-Za-z0-9_-]{35}|GOCSPX-[A-Za-z0-9_-]{20,}|ya29\.[A-Za-z0-9_-]{20,}",
    "Hugging Face": r"hf_[A-Za-z0-9]{30,}",
    "Stripe": r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{24,}",
    "Twilio": r"(?:SK|AC)[0-9a-f]{32}\b",
    "SendGrid": r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
    "npm": r"npm_[A-Za-z0-9]{36}\b",
    "PyPI": r"pypi-[A-Za-z0-9_-]{50,}",
    "Telegram bot": r"[0-9]{8,10}:AA[A-Za-z0-9_-]{33}(?![A-Za-z0-9_-])",
    "Discord": r"[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,38}(?![A-Za-z0-9_-])",
    "Discord webhook": r"discord(?:app)?\.com/api/webhooks/[0-9]{15,}/[A-Za-z0-9_-]{30,}",
    "Azure storage": r"(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{40,}={0,2}",
    "Databricks, Shopify, Groq, xAI, Perplexity, Replicate": r"dapi[0-9a-f]{32}\b|shp(?:at|ss|ca|pa)_[0-9a-fA-F]{32}\b"
    r"|gsk_[A-Za-z0-9]{40,}|xai-[A-Za-z0-9]{40,}|pplx-[A-Za-z0-9]{40,}|r8_[A-Za-z0-9]{30,}",
    # Bounded, and its signature optional, so that no text is searched once for every "eyJ" in it.
    "JSON web token": r"eyJ[A-Za-z0-9_-]{8,2048}+\.eyJ[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]*)?",
}
"""Service -> form of its keys."""
KEY_GATES: Final = (
    r"sk-[A-Za-z0-9_-]{16}|AKIA[A-Z0-9]{16}|ASIA[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{20}|github_pat_|xox[abeoprs]-"
    r"|xapp-|AIza|GOCSPX-|ya29\.|hf_[A-Za-z0-9]{30}|[rs]k_live_|[rs]k_test_|whsec_|npm_|pypi-|dapi[0-9a-f]{32}"
    r"|shp(?:at|ss|ca|pa)_|gsk_|xai-|pplx-|r8_",
    r"eyJ[A-Za-z0-9_-]{8}|gl(?:pat|ptt|dt|rt|ft|oas|cbt)-[A-Za-z0-9_-]{20}|SG\.[A-Za-z0-9_-]{16}"
    r"|hooks\.slack\.com/|discord\.com/api/webhooks/|discordapp\.com/api/webhooks/|AccountKey=|SharedAccessKey=",
    r"(?:SK|AC)[0-9a-f]{32}",
    r"[0-9]:AA[A-Za-z0-9_-]{33}|[78]Q~[A-Za-z0-9_~.-]{31}",
    r"\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27}",
)
_KEY: Final = re.compile(START + f"(?:{'|'.join(KEY_PATTERNS.values())})")
# A client secret of Azure has no prefix, but a mark in its middle.
_AZURE_SECRET: Final = re.compile(r"(?<=[A-Za-z0-9_~.-]{3})[78]Q~[A-Za-z0-9_~.-]{31,34}")
_WORDS: Final = re.compile(r"sk-[A-Za-z_-]{0,64}(?![A-Za-z0-9_-])")
"""Words with hyphens, such as "sk-learn-...": a key has a digit among its first characters."""

_CALLED: Final = (
    "password|Password|PASSWORD|passwd|PASSWD|passphrase|Passphrase|passwort|Passwort|pwd|PWD|secret|Secret|SECRET"
    "|token|Token|TOKEN|api_key|API_KEY|apikey|apiKey|ApiKey|APIKEY|api-key|Api-Key|API-Key|API key|api key"
    "|access_key|ACCESS_KEY|accessKey|secret_key|SECRET_KEY|secretKey|SecretKey|access key|secret key|auth_key"
    "|private_key|PRIVATE_KEY|contraseña|mot de passe|密码"
)
_JOINED: Final = r"[\"'\]\\]{0,4}[ \t]{0,3}(?:=>|:=|=|:| is )[ \t]{0,3}\\{0,3}[\"'`]?"
SECRET_GATES: Final = (
    # The ends of the words: the fewer letters a pattern asks for, the faster it is.
    rf"(?:assw|pwd|ecret|oken|key|Key|phrase|raseña|passe|密码)[a-z]{{0,3}}{_JOINED}[^\s\"'`]{{8}}",
    rf"(?:ASSW|PWD|ECRET|OKEN|KEY)[A-Z]{{0,3}}{_JOINED}[^\s\"'`]{{8}}",
    r"(?:[Bb]earer|BEARER|[Bb]asic|BASIC)[ ]+[A-Za-z0-9+/=._~-]{16}",
)
_VALUE: Final = r"(?P<value>[^\s\"'`<>,;&(){}\[\]|\\\0]{8,200})"
_SECRET: Final = re.compile(rf"(?:{_CALLED}){_JOINED}{_VALUE}(?![\w(\[])")
_AUTHORIZATION: Final = re.compile(r"(?:[Bb]earer|BEARER|[Bb]asic|BASIC)[ ]{1,4}(?P<value>[A-Za-z0-9+/=._~-]{16,4096})")
SECRET_NAME: Final = re.compile(rf"(?:{_CALLED})$")
"""A key of JSON whose value is a secret, should it look like one."""


def private_keys(text: str) -> Iterator[Span]:
    """Yield PEM blocks of private keys, whole or cut off."""
    return (found.span() for found in _PRIVATE_KEY.finditer(text))


def url_credentials(text: str) -> Iterator[Span]:
    """Yield user:password of URLs."""
    return (found.span() for found in _URL.finditer(text))


def keys(text: str) -> Iterator[Span]:
    """Yield keys of known services and JSON web tokens."""
    spans = [found.span() for found in _KEY.finditer(text) if not _WORDS.match(text, *found.span())]
    spans += [(found.start() - 3, found.end()) for found in _AZURE_SECRET.finditer(text)]
    end = 0
    for start, stop in sorted(spans):
        if start >= end:
            yield start, stop
            end = stop


def secrets(text: str) -> Iterator[Span]:
    """Yield values that the text calls a password, a token or a key, and that look like chance."""
    spans = [
        found.span("value")
        for pattern in (_SECRET, _AUTHORIZATION)
        for found in pattern.finditer(text)
        if is_secret(found["value"])
    ]
    end = 0
    for start, stop in sorted(spans):
        if start >= end:
            yield start, stop
            end = stop


def is_secret(value: str) -> bool:
    """Return whether a value looks drawn by chance: letters and digits, 8 or more, 2.75 bits a character or more.

    Of 8 different characters the entropy is 3 bits. "password1" has 2.9,
    "12345678" no letter, "os.environ" no digit, and "$KEY1" is a name.
    """
    value = value.rstrip(".!?:")
    if len(value) < 8 or value[0] in "$%" or not any(c.isdigit() for c in value) or not any(c.isalpha() for c in value):
        return False
    shares = [count / len(value) for count in Counter(value).values()]
    return -sum(share * math.log2(share) for share in shares) >= 2.75
