"""Puts the parts together and writes them: data/sample/log, model and truth.json."""

import gzip
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from data.generate import faults, lines, truth, votes
from data.generate.deployment import DAYS, FIRST_DAY, Deployment
from data.generate.faults import PLAIN_DAYS, Days
from data.generate.rows import Ref
from data.generate.tokens import POSITIONS, Codec

SAMPLE: Final = Path(__file__).resolve().parent.parent / "sample"


@dataclass(frozen=True)
class Log:
    """The finished log."""

    days: Days
    names: Mapping[int, str]
    """Day -> file name."""
    truth: dict[str, Any]


def names() -> dict[int, str]:
    """Return the file name of each day."""
    dates = {day: FIRST_DAY.replace(day=day).date().isoformat() for day in range(1, DAYS + 1)}
    return {day: f"{date}.jsonl" + ("" if day > DAYS - PLAIN_DAYS else ".gz") for day, date in dates.items()}


def texts(world: Deployment) -> list[str]:
    """Return every text that was read or written, but for runaway answers, whose loops would become tokens."""
    found = {content for exchange in world.exchanges for _, content in exchange.messages}
    answers = {draft.text for exchange in world.exchanges for draft in exchange.drafts}
    return sorted(found | {text for text in answers if len(text) <= votes.LONG_CHARS})


def conversations(world: Deployment, codec: Codec) -> list[list[int]]:
    """Return the token ids of every distinct served conversation that ended by itself, for language modelling."""
    found = {
        (exchange.messages, draft.text)
        for exchange in world.exchanges
        for draft in exchange.drafts
        if draft.finish_reason == "stop" and draft.text
    }
    rows = [[*codec.prompt_ids(prompt), *codec.response_ids(text, "stop")] for prompt, text in sorted(found)]
    return [row for row in rows if len(row) <= POSITIONS]


def to_score(world: Deployment, codec: Codec) -> dict[Ref, tuple[list[int], list[int]]]:
    """Return (prompt ids, response ids) of every response whose log-probabilities are logged."""
    return {
        (exchange.id, i): (
            codec.prompt_ids(exchange.messages),
            codec.response_ids(draft.text, draft.finish_reason),
        )
        for exchange in world.exchanges
        if exchange.model == lines.SCORED_MODEL
        for i, draft in enumerate(exchange.drafts)
    }


def log(world: Deployment, codec: Codec, logprobs: Mapping[Ref, list[float]]) -> Log:
    """Return the log of `world`. Damage is planted into `world.planted` too, so give each call its own."""
    timed = [(e.time, lines.of_exchange(e, codec, logprobs)) for e in world.exchanges]
    timed += [(e.time, lines.of_event(e)) for e in world.events]
    days: Days = {day: [] for day in range(1, DAYS + 1)}
    for moment, line in sorted(timed, key=lambda entry: entry[0]):
        days[lines.day_of(moment)].append(line)
    faults.plant(days, world.planted)
    return Log(days, names(), truth.of(world, days, names()))


def write(finished: Log, sample: Path) -> None:
    """Replace the log folder and truth.json of `sample`; the same log gives the same bytes."""
    folder = sample / "log"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for day, name in finished.names.items():
        content = b"".join(line.raw + line.end for line in finished.days[day])
        packed = gzip.compress(content, 9, mtime=0) if name.endswith(".gz") else content
        (folder / name).write_bytes(packed)
    (sample / "truth.json").write_text(_readable(finished.truth), encoding="utf-8")


def _readable(value: dict[str, Any]) -> str:
    """Return JSON with one line per item of the long lists, so that a change shows as few lines."""
    text = json.dumps(_flattened(value), indent=1, ensure_ascii=False)
    for mark, item in _items(value):
        text = text.replace(f'"{mark}"', item, 1)
    return text + "\n"


def _items(value: object, path: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [pair for key, child in value.items() for pair in _items(child, f"{path}/{key}")]
    if isinstance(value, list):
        return [(f"@{path}/{i}@", json.dumps(item, ensure_ascii=False)) for i, item in enumerate(value)]
    return []


def _flattened(value: object, path: str = "") -> object:
    if isinstance(value, dict):
        return {key: _flattened(child, f"{path}/{key}") for key, child in value.items()}
    if isinstance(value, list):
        return [f"@{path}/{i}@" for i in range(len(value))]
    return value
