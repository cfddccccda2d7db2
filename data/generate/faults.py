"""What goes wrong between a deployment and its log files, planted line by line."""

import random
from datetime import timedelta
from typing import Any, Final

from data.generate.deployment import DAYS, FIRST_DAY, SEED
from data.generate.lines import ALIAS, Line, dump, stamp
from data.generate.rows import Planted

LINE_BYTES: Final = 65_536
"""`limits.line_bytes` of data/sample/winnow.toml."""
PLAIN_DAYS: Final = 3
"""The last days' files are not compressed yet."""

Days = dict[int, list[Line]]
"""Day -> lines of its file, in order."""


def sacrifice(number: int) -> dict[str, Any]:
    """Return a whole, valid exchange that exists only to be damaged."""
    moment = FIRST_DAY + timedelta(minutes=40 * number, microseconds=number)
    asked = {"role": "user", "content": f"How do I pair the lamp number {number}?"}
    answer = {"role": "assistant", "content": "Open Devices > Add > Light and wait."}
    return {
        "winnow": 1,
        "kind": "interaction",
        "id": f"int-{800_000 + number}",
        "time": stamp(moment),
        "conversation_id": f"conv-8{number:04d}",
        "parent_id": None,
        "turn_index": 0,
        "user_id": "u-001",
        "consent": "training",
        "shown": True,
        "latency_ms": 300.0,
        "status": 200,
        "request": {"model": ALIAS, "messages": [asked], "temperature": 1.0, "max_tokens": 200},
        "response": {
            "object": "chat.completion",
            "model": "support-1",
            "choices": [{"index": 0, "message": answer, "finish_reason": "stop", "logprobs": None}],
        },
        "logprob_model": None,
    }


def _vote(number: int) -> dict[str, Any]:
    """Return a whole, valid vote that exists only to be damaged."""
    target, other = {"id": f"int-{800_000 + number}", "choice": 0}, {"id": f"int-{800_900 + number}", "choice": 0}
    moment = FIRST_DAY + timedelta(minutes=40 * number, seconds=50)
    return {
        **{"winnow": 1, "kind": "feedback", "id": f"fb-8{number:04d}", "revision": 0, "time": stamp(moment)},
        **{"signal": "choice", "target": target, "others": [other], "value": 1.0, "scale": None, "text": None},
        **{"rater": {"kind": "user", "id": "u-001"}, "position": "left", "retracted": False},
    }


def _without(record: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != key}


def _malformed() -> list[tuple[str, str, bytes]]:
    """Return (name, expected reason, line) of every malformed line."""
    whole = [dump(sacrifice(number)) for number in range(20)]
    record, vote = sacrifice, _vote
    huge = sacrifice(70)
    huge["request"]["messages"][0]["content"] = "Log: " + "hub heartbeat ok; " * 5600
    return [
        ("proxy page", "not_json", b"<html><body>502 Bad Gateway</body></html>"),
        ("bare text", "not_json", b"upstream connect error or disconnect before headers"),
        ("trailing garbage", "not_json", whole[0] + b"}}"),
        ("trailing text", "not_json", whole[1] + b" #flushed"),
        ("two objects", "not_json", dump(vote(2)) + dump(vote(3))),
        ("single quotes", "not_json", b"{'winnow': 1, 'kind': 'feedback'}"),
        ("torn in the middle", "torn", whole[4][: len(whole[4]) // 2]),
        ("torn in the middle", "torn", whole[5][:-40]),
        ("torn and written on", "not_json", whole[6][: len(whole[6]) // 3] + whole[7]),
        ("array", "not_an_object", dump([record(8), record(9)])),
        ("text value", "not_an_object", b'"restart"'),
        ("number", "not_an_object", b"1759276800"),
        ("null", "not_an_object", b"null"),
        ("latin-1 byte", "not_utf8", whole[10].replace(b"lamp", b"caf\xe9")),
        ("broken sequence", "not_utf8", whole[11].replace(b"lamp", b"\xf0\x9f\x99")),
        ("no request", "missing_field", dump(_without(record(21), "request"))),
        ("no id", "missing_field", dump(_without(record(22), "id"))),
        ("no messages", "missing_field", dump(record(23) | {"request": {"model": ALIAS}})),
        ("vote without target", "missing_field", dump(_without(vote(24), "target"))),
        ("null time", "missing_field", dump(record(25) | {"time": None})),
        ("text for latency", "wrong_type", dump(record(31) | {"latency_ms": "fast"})),
        ("object for choices", "wrong_type", dump(record(32) | {"response": {"choices": {}}})),
        ("number for id", "wrong_type", dump(record(33) | {"id": 33})),
        ("text for messages", "wrong_type", dump(record(34) | {"request": {"messages": "hello"}})),
        ("text for value", "wrong_type", dump(vote(35) | {"signal": "thumb", "value": "up", "scale": [-1, 1]})),
        ("impossible date", "bad_value", dump(record(41) | {"time": "2026-13-45T08:00:00Z"})),
        ("unknown signal", "bad_value", dump(vote(42) | {"signal": "applause"})),
        ("propensity over 1", "bad_value", dump(record(43) | {"arm": "support-1", "propensity": 1.5})),
        ("stars off the scale", "bad_value", dump(vote(44) | {"signal": "rating", "value": 9.0, "scale": [1, 5]})),
        ("gateway's own line", "unknown_format", b'{"level":"info","msg":"health check ok","ms":3}'),
        ("metrics", "unknown_format", b'{"requests_total":41876,"errors_total":31}'),
        ("empty object", "unknown_format", b"{}"),
        ("pasted log", "oversized", dump(huge)),
    ]


def plant(days: Days, planted: Planted) -> None:
    """Damage `days` in place and note what was done."""
    rng = random.Random(SEED + 2)
    _ship_late(days, rng, planted)
    _ship_twice(days, rng, planted)
    for name, reason, raw in _malformed():
        assert (len(raw) > LINE_BYTES) == (reason == "oversized"), name
        line = Line(raw, (f"fault-{len(planted.items.get('malformed', [])) + 1:02d}",), quarantined=reason)
        planted.note("malformed", id=line.ids[0], name=name, reason=reason)
        _insert(days, rng, rng.randint(1, DAYS), line)
    for number in range(5):
        line = Line(b"" if number < 3 else b"  ", (f"blank-{number}",), skipped={"blank_line": 1})
        planted.note("blank", id=line.ids[0])
        _insert(days, rng, rng.randint(1, DAYS), line)
    for number, day in enumerate((6, 19)):
        raw = dump(sacrifice(90 + number))
        line = Line(raw[: len(raw) - 120], (f"torn-{number}",), quarantined="torn", end=b"")
        planted.note("malformed", id=line.ids[0], name="torn at the end of a closed file", reason="torn")
        days[day].append(line)


def _insert(days: Days, rng: random.Random, day: int, line: Line) -> None:
    days[day].insert(rng.randint(1, len(days[day])), line)


def _ship_late(days: Days, rng: random.Random, planted: Planted) -> None:
    """Move six exchanges to the next day's file, so that their feedback comes first."""
    for day in (3, 7, 12, 17, 22, 26):
        told = [line.ids[0] for line in days[day] if line.feedback and b'"signal":"thumb"' in line.raw]
        early = [line for line in days[day] if line.interactions == 1 and _is_told(line, days[day], told)]
        line = rng.choice(early)
        days[day].remove(line)
        days[day + 1].insert(0, line)
        planted.note("late_interaction", id=line.ids[0], shipped_on_day=day + 1)


def _is_told(line: Line, lines: list[Line], told: list[str]) -> bool:
    """Return whether a thumb in the same file is about that line's exchange."""
    needle = f'"target":{{"id":"{line.ids[0]}"'.encode()
    return any(needle in other.raw for other in lines if other.ids and other.ids[0] in told)


def _ship_twice(days: Days, rng: random.Random, planted: Planted) -> None:
    """Repeat lines: at once, later in the file, and at the start of the next day's file."""
    for number in range(40):
        day = rng.randint(1, DAYS - 1)
        position = rng.randrange(len(days[day]))
        line = days[day][position]
        if not line.interactions and not line.feedback:
            continue
        after = position + 1 if number % 2 else rng.randint(position + 1, len(days[day]))
        days[day].insert(after, line.again())
        planted.note("shipped_twice", id=line.ids[0], across_files=False)
    for day in (10, 20):
        tail = [line for line in days[day][-6:] if line.interactions or line.feedback][-4:]
        days[day + 1][:0] = [line.again() for line in tail]
        for line in tail:
            planted.note("shipped_twice", id=line.ids[0], across_files=True)
