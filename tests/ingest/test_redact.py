"""Redaction: what is found, what is left alone, how placeholders count."""

import ipaddress
import itertools
import json
import re
import string
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import redact
from ingest.personal import without
from ingest.redact import KINDS, PLACEHOLDER, Placeholders, find, suspects

KEY = "Zx9" * 16
"""A made-up secret of 48 characters."""

FOUND = [
    ("e-mail", "Write to bob.o'neil+x@mail.example.co.uk.", "Write to <EMAIL_1>."),
    ("e-mail with umlauts", "jürgen@bücher.de bitte", "<EMAIL_1> bitte"),
    ("e-mail in JSON text", r'{"m":"hi\nbob@example.com"}', r'{"m":"hi\<EMAIL_1>"}'),
    ("e-mail in underscores", "_jane@example.com_ or", "<EMAIL_1>_ or"),
    ("e-mail before an underscore", "jane@example.com_old", "<EMAIL_1>_old"),
    ("e-mails side by side", "jane@example.com+bob@example.com", "<EMAIL_1><EMAIL_2>"),
    ("e-mail with a long name", "a" * 70 + "@example.com", "<EMAIL_1>"),
    ("phone, international", "call +49 (0)30 1234-5678!", "call <PHONE_1>!"),
    ("phone, North America", "at (415) 555-2671 or 415-555-2672.", "at <PHONE_1> or <PHONE_2>."),
    ("phone, fictional", "+1 202-555-0139", "<PHONE_1>"),
    ("phone, national", "Meine Nummer: 030 1234 5678", "Meine Nummer: <PHONE_1>"),
    ("phone behind its word", "my phone is 5552671999, ok?", "my phone is <PHONE_1>, ok?"),
    ("phone in JSON text", r'"a\n+1 202-555-0139"', r'"a\n<PHONE_1>"'),
    ("IPv4", "from 203.0.113.54 today", "from <IP_1> today"),
    ("IPv4, private", "at 192.168.1.20.", "at <IP_1>."),
    ("IPv6", "from 2001:db8::8a2e:370:7334 and fe80::1", "from <IP_1> and <IP_2>"),
    ("IPv6 before a word", "id 2001:db8:0:1::139:feedback", "id <IP_1>:feedback"),
    ("phone before other digits", "+46 70 123 45 67) 127.0.0.1", "<PHONE_1>) 127.0.0.1"),
    ("phone, China", "138 0013 8000 请打", "<PHONE_1> 请打"),
    ("phone, France", "06 12 34 56 78.", "<PHONE_1>."),
    ("phone, Brazil", "(11) 91234-5678", "<PHONE_1>"),
    ("IBAN of letters", "LU76 797E YUQ9 EKK9 8LJT", "<IBAN_1>"),
    ("IBAN behind a UUID", "fd790fbf37c Bitte DE89 3704 0044 0532 0130 00", "fd790fbf37c Bitte <IBAN_1>"),
    ("card behind decimals", "0.5 4111 1111 1111 1111", "0.5 <CARD_1>"),
    ("card", "card 4111 1111 1111 1111 12/27", "card <CARD_1> 12/27"),
    ("card with dots", "is 4111.1111.1111.1111.", "is <CARD_1>."),
    ("card with no-break spaces", "4111\u00a01111\u00a01111\u00a01111", "<CARD_1>"),
    ("card with narrow spaces", "4111\u202f1111\u202f1111\u202f1111", "<CARD_1>"),
    ("phone with no-break spaces", "+49\u00a0170\u00a01234567", "<PHONE_1>"),
    ("phone with narrow spaces", "030\u202f1234\u202f5678", "<PHONE_1>"),
    ("IBAN with no-break spaces", "DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000", "<IBAN_1>"),
    ("card, packed", "5555555555554444", "<CARD_1>"),
    ("card, American Express", "3782-822463-10005", "<CARD_1>"),
    ("card behind other digits", "no 12 4111 1111 1111 1111", "no 12 <CARD_1>"),
    ("IBAN", "to DE89 3704 0044 0532 0130 00 please", "to <IBAN_1> please"),
    ("IBAN, packed", "GB82WEST12345698765432", "<IBAN_1>"),
    ("IBAN before a word", "GB82 WEST 1234 5698 7654 32 THANKS", "<IBAN_1> THANKS"),
    ("IBAN, lower case", "fr1420041010050500013m02606", "<IBAN_1>"),
    (
        "URL with a password",
        "git clone https://ada:s3cr3t@example.com/x",
        "git clone https://<CREDENTIALS_1>@example.com/x",
    ),
    ("key, OpenAI", f"key=sk-proj-{KEY}", "key=<API_KEY_1>"),
    ("key, Anthropic", f'"sk-ant-api03-{KEY}"', '"<API_KEY_1>"'),
    ("key, AWS", "AKIAIOSFODNN7EXAMPLE.", "<API_KEY_1>."),
    ("key, GitHub", f"ghp_{'a1B2' * 9}", "<API_KEY_1>"),
    ("key, Slack", "xoxb-123456789012-abcdef", "<API_KEY_1>"),
    ("key, Google", f"AIza{'Sy3_-' * 7}", "<API_KEY_1>"),
    ("key, JSON web token", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmN", "<API_KEY_1>"),
    (
        "private key",
        "x\n-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAK==\n-----END RSA PRIVATE KEY-----\ny",
        "x\n<PRIVATE_KEY_1>\ny",
    ),
    ("key, JSON web token without signature", "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxMjM0In0", "<API_KEY_1>"),
    (
        "private keys, one of them cut",
        "-----BEGIN PRIVATE KEY-----\nMIIE!\n-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----",
        "<PRIVATE_KEY_1>!\n<PRIVATE_KEY_2>",
    ),
    ("private key, cut off", "-----BEGIN PRIVATE KEY-----\nMIIEowIBAAK", "<PRIVATE_KEY_1>"),
]

LEFT = [
    ("order number", "My order #48213 and ORD-2024-000123 and #4155552671 are late."),
    ("long order number", "Order 100200300400 of 2026."),
    ("dates", "From 2026-10-01 08:15:30 to 01.10.2026, 10/01/2026 and 2026-10-01T08:15:30.123456Z."),
    ("dates as days are written", "05.10.2026, 5/10/2026, 05-10-2026 and 09/14/1656"),
    ("slices in code", "a[::2], l[1::2], x[::-1]"),
    ("account number cut short", "DE26 4396 0044 0532 0130 1"),
    ("date behind a word", "Call me on 2026-10-01 or text 2026-10-02."),
    ("time", "At 12:30:45 or 08:15."),
    ("prices", "It costs $1,234,567.89, 1.234.567,89 EUR or 415-500 dollars."),
    ("model names", "gpt-4o-2024-08-06, claude-3-5-sonnet-20241022, Llama-3.1-405B, RTX 4090"),
    ("versions", "v1.2.3.4, version 120.0.6099.109, 4.2, 1.2.3-rc.1"),
    ("loopback and netmask", "127.0.0.1, 0.0.0.0, ::1 and 255.255.255.0"),
    ("code", "std::vector<int> a::b; x = y::z; arr[1:2:3]; dead::beef"),
    ("hashes", "3f786850e387550fdab836ed7e6dc881de23001b and b2:0123456789abcdef0123456789abcdef"),
    ("UUID", "123e4567-e89b-12d3-a456-426614174000"),
    ("decimal places", "0.4111111111111111 and 1.4111.1111.1111.1111"),
    ("card with dots and a wrong digit", "4111.1111.1111.1112"),
    ("card with a wrong digit", "4111 1111 1111 1112"),
    ("IBAN with a wrong digit", "DE89370400440532013001"),
    ("unix times", "1760000000 1760000000123 1760000000123456"),
    ("handles and decorators", "@bob, user@host, @app.route('/x'), icon@2x.png, left-pad@1.3.0"),
    ("words with sk-", "risk-adjusted-returns-2026-of-the-fund, sk-learn, task-12345678901234567890"),
    ("URL without a password", "https://example.com:8080/a@b and http://[::1]:80/"),
    ("public key", "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----"),
    ("numbers", "3.14159265358979 1718281828459045 -1234567890 1e100"),
    ("ISBN", "ISBN 978-3-16-148410-0"),
    ("fractions and ranges", "pages 100-200, 1/2/3, 10-12-14, 2019-2020-2021"),
    ("sums", "555 + 1234 = 1789; 100 200 300"),
    ("ratio", "1920x1080, 16:9, 10:20:30:40"),
    ("emergency", "call 911 or 112"),
]
LEFT_TEXTS = [text for _, text in LEFT]

TAIL = "aB3dE5gH7jK9mN1pQ3sT5vX7zA2cE4gI6kM8oQ0s"
"""40 characters such as chance draws."""
SECRET_VALUES = [
    ("GitLab", f"glpat-{TAIL[:20]}", "<API_KEY_1>"),
    ("Slack app", f"xapp-1-A0B1C2D3E4F-{TAIL}", "<API_KEY_1>"),
    ("Slack webhook", f"https://hooks.slack.com/services/T0AB12CD3/B0EF45GH6/{TAIL[:24]}", "https://<API_KEY_1>"),
    ("Google OAuth", f"GOCSPX-{TAIL[:28]}", "<API_KEY_1>"),
    ("Hugging Face", f"token hf_{TAIL[:34]}!", "token <API_KEY_1>!"),
    ("Stripe", f"sk_live_{TAIL[:24]}", "<API_KEY_1>"),
    ("Stripe webhook", f"whsec_{TAIL[:32]}", "<API_KEY_1>"),
    ("Twilio", "SK" + "0a1b2c3d" * 4, "<API_KEY_1>"),
    ("SendGrid", f"SG.{TAIL[:22]}.{TAIL}abc", "<API_KEY_1>"),
    ("npm", f"npm_{TAIL[:36]}", "<API_KEY_1>"),
    ("PyPI", f"pypi-AgEIcHlwaS5vcmc{TAIL}", "<API_KEY_1>"),
    ("Telegram", f"bot 123456789:AA{TAIL[:33]}", "bot <API_KEY_1>"),
    ("Discord", f"M{TAIL[:23]}.{TAIL[:6]}.{TAIL[:27]}", "<API_KEY_1>"),
    ("Azure storage", f"AccountName=a;AccountKey={TAIL}{TAIL}aB==;End", "AccountName=a;<API_KEY_1>;End"),
    ("Azure client secret", f"is abc8Q~{TAIL[:34]} now", "is <API_KEY_1> now"),
    ("AWS secret", f"aws_secret_access_key = {TAIL}", "aws_secret_access_key = <SECRET_1>"),
    ("bearer", f"Authorization: Bearer {TAIL}", "Authorization: Bearer <SECRET_1>"),
    ("password", 'password = "xK9#mQ2$vL" # db', 'password = "<SECRET_1>" # db'),
    ("password in words", "My password is tR7wQ9zK2.", "My password is <SECRET_1>"),
    ("environment", f"export API_KEY={TAIL}", "export API_KEY=<SECRET_1>"),
    ("JSON in JSON", r'{"a": "{\"secret\": \"q8W2e6R4t1\"}"}', r'{"a": "{\"secret\": \"<SECRET_1>\"}"}'),
    ("YAML", "db_password: q8W2e6R4t1\nuser: x", "db_password: <SECRET_1>\nuser: x"),
]
NO_SECRETS = [
    ("names in code", "token = tokenizer.decode(ids1); password = os.environ['PW1']; max_tokens: 4096, secret = None"),
    ("words", "The secret is perseverance. password: required; token: string; key = lambda x1: x1"),
    ("placeholders", "password=YOUR_PASSWORD token=<token> api_key=$API_KEY1 secret={secret1}"),
]


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in NO_SECRETS])
def test_what_is_called_a_secret_and_is_none(text: str) -> None:
    assert find(text) == []


@pytest.mark.parametrize(
    ("text", "expected"), [pytest.param(text, redacted, id=name) for name, text, redacted in FOUND + SECRET_VALUES]
)
def test_is_redacted(text: str, expected: str) -> None:
    assert Placeholders().text(text) == expected


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in LEFT])
def test_is_left_alone(text: str) -> None:
    assert find(text) == []


def test_the_gate_lets_no_example_pass() -> None:
    texts = [text for _, text, _ in FOUND]
    assert suspects(texts) == [True] * len(texts)
    assert suspects(["Ordinary text with order #48213, 42 % and $19.99.", ""]) == [False, False]


def luhn(digits: str) -> str:
    """Return `digits` with its check digit: the one that makes the sum a multiple of ten."""
    return next(
        digits + check
        for check in "0123456789"
        if sum(sum(divmod(int(d) * (2 - i % 2), 10)) for i, d in enumerate(reversed(digits + check), 1)) % 10 == 0
    )


SECRETS = st.one_of(
    st.emails().filter(lambda e: re.fullmatch(r"[\w.+-]+@[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]{2,10}", e) is not None),
    st.ip_addresses().filter(lambda a: not (a.is_loopback or a.is_unspecified or a.is_reserved)).map(str),
    st.text("0123456789", min_size=14, max_size=14).map(lambda d: luhn("4" + d)),
    st.text(string.ascii_letters + string.digits, min_size=36, max_size=36).map("ghp_".__add__),
    st.sampled_from(["+4930", "+49171", "+12025", "+3361", "+8613"]).flatmap(
        lambda prefix: st.text(string.digits, min_size=12 - len(prefix), max_size=12 - len(prefix)).map(prefix.__add__)
    ),
)


@settings(deadline=None)
@given(st.lists(SECRETS, min_size=1, max_size=5), st.sampled_from([" ", ", ", "\n", " and "]))
def test_every_secret_is_gated_and_gone(secrets: list[str], between: str) -> None:
    text = between.join(secrets)
    assert suspects([text]) == [True]
    redacted = Placeholders().text(text)
    assert not [secret for secret in secrets if secret in redacted]


def searched_plainly(text: str) -> list[tuple[int, int, str]]:
    """Return what all finders give, one after the other, without any gate."""
    taken = [(*found.span(), found[1].rsplit("_", 1)[0]) for found in PLACEHOLDER.finditer(text)]
    text = without(text, [(start, end) for start, end, _ in taken])
    for kind in KINDS:
        spans = list(kind.find(text))
        taken += [(start, end, kind.name) for start, end in spans]
        text = without(text, spans)
    return sorted(taken)


PIECES = st.one_of(
    st.text(st.sampled_from("0123456789 .-+()@:/abcfx#"), max_size=12),
    st.sampled_from([text for _, text, _ in FOUND] + [text for _, text, _ in SECRET_VALUES] + LEFT_TEXTS),
    st.sampled_from(["<EMAIL_1>", "phone ", "tel:", "password=", "\\n", "\u202f", "é", "½", "²", "电话", "\\"]),
    st.text(max_size=6),
)


@given(st.lists(PIECES, max_size=8).map("".join), st.integers(0, 2))
@settings(max_examples=400, deadline=None)
def test_gates_change_nothing_of_what_is_found(text: str, padding: int) -> None:
    """The gates of one text, of many texts, and of long ones let pass whatever a finder accepts."""
    text += " x" * 600 * padding
    expected = searched_plainly(text)
    redact.forget()
    assert find(text) == expected
    redact.forget()
    json_text = text.lstrip()[:1] in ("{", "[", '"')
    assert suspects(["", text, "y"]) == [False, bool(expected) or (json_text and suspects([text])[0]), False]


@pytest.mark.parametrize(
    "piece",
    [
        pytest.param("-eyJaaaaaaaa", id="JSON web token"),
        pytest.param("-eyJaaaaaaaa.eyJaaaaaaaa-", id="JSON web token without end"),
        pytest.param("-----BEGIN PRIVATE KEY-----!", id="private key"),
        pytest.param("a", id="name of an e-mail"),
        pytest.param("a@", id="e-mail without domain"),
        pytest.param("1", id="digits"),
        pytest.param("415 555 ", id="groups of digits"),
        pytest.param("phone ", id="cues"),
        pytest.param("a:", id="colons"),
        pytest.param("password=", id="assignments"),
        pytest.param("de12 a1 ", id="account numbers"),
    ],
)
def test_a_long_hostile_text_is_searched_to_its_end(piece: str) -> None:
    """In quadratic time this takes an hour; nothing is said about how many seconds less it takes."""
    code = "import sys; from ingest.redact import find; print(len(find(sys.argv[1] * (400_000 // len(sys.argv[1])))))"
    found = subprocess.run([sys.executable, "-c", code, piece], check=True, capture_output=True, timeout=120)
    assert int(found.stdout) >= 0


@settings(deadline=None)
@given(st.text())
def test_spans_are_in_order_without_overlap(text: str) -> None:
    spans = find(text)
    assert all(start < end for start, end, _ in spans)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


def test_numbers_count_up_over_a_record_and_same_values_share_one() -> None:
    placeholders = Placeholders()
    assert placeholders.text("b@example.com, a@example.com") == "<EMAIL_1>, <EMAIL_2>"
    assert placeholders.text("A@example.com or +1 202-555-0139") == "<EMAIL_2> or <PHONE_1>"
    assert placeholders.text("+1 (202) 555 0139") == "<PHONE_1>"
    assert placeholders.counts == {"email": 3, "phone": 2}


def test_json_text_stays_json() -> None:
    call = {
        "function": {"name": "pay", "arguments": json.dumps({"to": "bob@example.com", "card": 4111111111111111})},
        "+1 202-555-0139": [True, 1.5, None, 42],
    }
    text = json.dumps(call).replace("@", "\\\\u0040")  # an escape within the escape
    redacted = json.loads(Placeholders().json_text(text))
    assert json.loads(redacted["function"]["arguments"]) == {"to": "<EMAIL_1>", "card": "<CARD_1>"}
    assert redacted["<PHONE_1>"] == [True, 1.5, None, 42]


def test_json_text_without_anything_stays_as_it_was() -> None:
    text = '{"b": 1,\n "a": "\\u00e9"}'
    assert Placeholders().json_text(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(r'{"m":"bob\u0040example.com', '{"m":"<EMAIL_1>', id="escaped character"),
        pytest.param(r'{"u":"http:\/\/a:b1@example.com\/', r'{"u":"http://<CREDENTIALS_1>@example.com/', id="slashes"),
        pytest.param(r'{"m":"\u0022\u005c\n\\u0040', r'{"m":"\u0022\u005c\n\\u0040', id="what must stay escaped"),
    ],
)
def test_a_torn_line_is_redacted_as_it_stands(text: str, expected: str) -> None:
    assert Placeholders().json_text(text) == expected


def test_kinds_are_unique_and_upper_case() -> None:
    kinds = [kind.name for kind in KINDS]
    assert len(set(kinds)) == len(kinds)
    assert all(kind.isupper() for kind in kinds)


@settings(deadline=None)
@given(st.ip_addresses(v=6))
def test_an_address_in_any_spelling(address: ipaddress.IPv6Address) -> None:
    if address.is_loopback or address.is_unspecified:
        return
    assert Placeholders().text(f"from {address.exploded}!") == "from <IP_1>!"
