"""What a reader, a pairing rule and a curator must find in the sample: counted here without any of Winnow's code."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from data.generate import plan, votes
from data.generate.deployment import Deployment
from data.generate.faults import Days
from data.generate.lines import Line
from data.generate.rows import Event, Exchange, Ref

Key = tuple[object, ...]
"""Prompt, chosen text, rejected text."""


def of(world: Deployment, days: Days, names: Mapping[int, str]) -> dict[str, Any]:
    """Return truth.json's content; `names` are the days' file names."""
    lines = [line for day in sorted(days) for line in days[day]]
    return {
        "files": {names[day]: _accounts(days[day]) for day in sorted(days)},
        "total": _accounts(lines),
        "users": _users(world),
        "length_bias": _length_bias(world),
        "flipped_share": round(plan.FLIPS / plan.ORDINARY_VOTES, 4),
        "pairs": _pairs(world),
        "planted": _planted(world, days, names),
    }


def _accounts(lines: Iterable[Line]) -> dict[str, Any]:
    """Return the counts of some lines."""
    counts: dict[str, Any] = {
        "lines": 0,
        "records": 0,
        "interactions": 0,
        "feedback": 0,
        "quarantined": 0,
        "skipped": 0,
    }
    quarantined: dict[str, int] = defaultdict(int)
    skipped: dict[str, int] = defaultdict(int)
    for line in lines:
        counts["lines"] += 1
        counts["records"] += line.records
        counts["interactions"] += line.interactions
        counts["feedback"] += line.feedback
        for reason, count in line.skipped.items():
            skipped[reason] += count
        if line.quarantined:
            quarantined[line.quarantined] += 1
    counts["quarantined"], counts["skipped"] = sum(quarantined.values()), sum(skipped.values())
    return counts | {
        "quarantined_by_reason": dict(sorted(quarantined.items())),
        "skipped_by_reason": dict(sorted(skipped.items())),
    }


def _users(world: Deployment) -> dict[str, Any]:
    return {
        "total": len(world.consent),
        "seen": len({exchange.user for exchange in world.exchanges if exchange.drafts}),
        "consent_none": sorted(user for user, consent in world.consent.items() if consent == "none"),
        "consent_absent": sorted(user for user, consent in world.consent.items() if consent is None),
    }


def _length_bias(world: Deployment) -> dict[str, Any]:
    """Return the planted strength, and what it did to the drawn votes; `unbiased` is the same luck without it."""
    draws = world.planted.items["_draws"]

    def share(key: str, *conditions: str) -> float:
        rows = [row for row in draws if not row["same_length"] and all(row[c] for c in conditions)]
        return round(sum(bool(row[key]) for row in rows) / len(rows), 4)

    return {
        "logits_per_ten_words": votes.LENGTH_LOGIT,
        "logits_per_quality_step": votes.QUALITY_LOGIT,
        "draws": len(draws),
        "longer_chosen": share("longer_won"),
        "longer_chosen_unbiased": share("longer_won_without_bias"),
        "longer_chosen_at_equal_quality": share("longer_won", "equal_quality"),
        "longer_chosen_at_equal_quality_unbiased": share("longer_won_without_bias", "equal_quality"),
    }


def latest(events: Iterable[Event]) -> list[Event]:
    """Return the last revision of every event that is not taken back."""
    last: dict[str, Event] = {}
    for event in events:
        if event.id not in last or event.revision > last[event.id].revision:
            last[event.id] = event
    return [event for event in last.values() if not event.retracted]


class _Served:
    """Responses by reference."""

    def __init__(self, exchanges: Iterable[Exchange]) -> None:
        self.exchange = {(e.id, i): e for e in exchanges for i in range(len(e.drafts))}

    def text(self, ref: Ref) -> str:
        return self.exchange[ref].drafts[ref[1]].text

    def key(self, chosen: Ref, rejected: Ref) -> Key | None:
        """Return what makes the triple one, or None where there is none."""
        if chosen not in self.exchange or rejected not in self.exchange:
            return None
        prompt = self.exchange[chosen].messages
        if prompt != self.exchange[rejected].messages or self.text(chosen) == self.text(rejected):
            return None
        return prompt, self.text(chosen), self.text(rejected)


def _pairs(world: Deployment) -> dict[str, Any]:
    """Return the expected triples of every rule: distinct ones, and each as [chosen, rejected, events]."""
    served, events = _Served(world.exchanges), latest(world.events)
    found = {
        "choice": _choices(served, events),
        "edit": _edits(served, events),
        "sibling_thumbs": _thumbs(served, events),
        "rating": _ratings(served, events),
        "regenerate": _regenerations(served, events),
    }
    return {
        rule: {"triples": len(triples), "list": [_row(refs, ids) for refs, ids in triples.values()]}
        for rule, triples in found.items()
    } | {"unpaired": {"thumb": _lone_thumbs(events, found["sibling_thumbs"])}}


Found = dict[Key, tuple[tuple[str, str], list[str]]]


def _add(found: Found, key: Key | None, names: tuple[str, str], ids: Iterable[str]) -> None:
    if key is not None:
        found.setdefault(key, (names, []))[1].extend(ids)


def _name(ref: Ref) -> str:
    return f"{ref[0]}/{ref[1]}"


def _row(names: tuple[str, str], ids: list[str]) -> list[object]:
    return [*names, sorted(set(ids))]


def _named(event: Event) -> str:
    return f"{event.id}/{event.revision}"


def _choices(served: _Served, events: list[Event]) -> Found:
    found: Found = {}
    for event in events:
        if event.signal == "choice":
            for other in event.others:
                _add(found, served.key(event.target, other), (_name(event.target), _name(other)), [_named(event)])
    return found


def _edits(served: _Served, events: list[Event]) -> Found:
    found: Found = {}
    for event in events:
        if event.signal == "edit" and event.text != served.text(event.target):
            key = (served.exchange[event.target].messages, event.text, served.text(event.target))
            _add(found, key, (f"edit {event.id}", _name(event.target)), [_named(event)])
    return found


def _thumbs(served: _Served, events: list[Event]) -> Found:
    """Return thumb up over thumb down, and over shown but unrated, among answers at one point of a conversation."""
    thumbs = {event.target: event for event in events if event.signal == "thumb"}
    points: dict[Key, list[Ref]] = defaultdict(list)
    for ref, exchange in served.exchange.items():
        points[exchange.conversation_id, exchange.messages].append(ref)
    found: Found = {}
    for refs in points.values():
        rated = {served.text(ref) for ref in refs if ref in thumbs}
        for high in (ref for ref in refs if ref in thumbs and thumbs[ref].value == 1):
            for low in refs:
                event = thumbs.get(low)
                if (event is None and served.text(low) not in rated) or (event is not None and event.value == -1):
                    ids = [_named(thumbs[high]), *([_named(event)] if event else [])]
                    _add(found, served.key(high, low), (_name(high), _name(low)), ids)
    return found


def _ratings(served: _Served, events: list[Event]) -> Found:
    """Return more stars over fewer, among answers at one point of a conversation, by one rater."""
    groups: dict[Key, list[Event]] = defaultdict(list)
    for event in events:
        if event.signal == "rating" and event.target in served.exchange:
            exchange = served.exchange[event.target]
            groups[exchange.conversation_id, exchange.messages, event.rater].append(event)
    found: Found = {}
    for group in groups.values():
        for high, low in itertools.permutations(group, 2):
            if (high.value or 0.0) > (low.value or 0.0):
                key = served.key(high.target, low.target)
                _add(found, key, (_name(high.target), _name(low.target)), [_named(high), _named(low)])
    return found


def _regenerations(served: _Served, events: list[Event]) -> Found:
    found: Found = {}
    for event in events:
        if event.signal == "regenerate":
            new = event.others[0]
            _add(found, served.key(new, event.target), (_name(new), _name(event.target)), [_named(event)])
    return found


def _lone_thumbs(events: list[Event], paired: Found) -> dict[str, int]:
    """Return how many thumbs no sibling answers; orphans are not among them."""
    used = {event for _, ids in paired.values() for event in ids}
    lone = [e for e in events if e.signal == "thumb" and _named(e) not in used and not e.target[0].startswith("int-9")]
    return {"up": sum(e.value == 1 for e in lone), "down": sum(e.value == -1 for e in lone)}


ID_KEYS: Final = ("id", "ids", "of", "vote")


def _planted(world: Deployment, days: Days, names: Mapping[int, str]) -> dict[str, Any]:
    """Return every planted item with the file and 1-based line of each id it names."""
    where: dict[str, list[str]] = defaultdict(list)
    for day, lines in sorted(days.items()):
        for number, line in enumerate(lines, start=1):
            for name in line.ids:
                where[name].append(f"{names[day]}:{number}")
    conversations: dict[str, list[str]] = defaultdict(list)
    for exchange in world.exchanges:
        conversations[exchange.conversation_id].append(exchange.id)
    planted: dict[str, Any] = {}
    for name, items in sorted(world.planted.items.items()):
        if name.startswith("_"):
            continue
        planted[name] = [item | {"at": _places(item, where, conversations)} for item in items]
    return planted


def _places(
    item: Mapping[str, object], where: Mapping[str, list[str]], conversations: Mapping[str, list[str]]
) -> list[str]:
    ids: list[str] = []
    for key in ID_KEYS:
        value = item.get(key)
        ids += [value] if isinstance(value, str) else list(map(str, value)) if isinstance(value, list) else []
    if "id" not in item and "conversation" in item:
        ids += conversations[str(item["conversation"])]
    return [place for name in dict.fromkeys(ids) for place in where.get(name, [])]
