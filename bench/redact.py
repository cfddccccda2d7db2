"""Redaction: what it finds of 2,000 planted texts, by kind, and what it costs against plain loops of `re`.

Quality is of `bench.planted`, whose truth is made without our patterns. Speed is of chat-like text, in MB per CPU
second of one thread. Baseline: the same finders over each whole text, without gates. Gate: both find the same.

    python -m bench.redact --megabytes 20
"""

import argparse
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from bench import planted
from ingest import redact
from ingest.personal import without

SHOWN: dict[str, str] = {"NATIONAL_PHONE": "PHONE", "CUED_PHONE": "PHONE"}
"""Planted kind -> kind of the placeholder, where they differ."""


@dataclass
class Quality:
    """Counts over all texts."""

    planted: Counter[str] = field(default_factory=Counter)
    """Planted kind -> values."""
    found: Counter[str] = field(default_factory=Counter)
    """Planted kind -> values of which at most three characters are left, whatever the kind in their place."""
    spans: Counter[str] = field(default_factory=Counter)
    """Kind -> places that were redacted."""
    wrong: Counter[str] = field(default_factory=Counter)
    """Kind -> places that were redacted where nothing of any kind was planted."""
    missed: list[str] = field(default_factory=list)
    mistaken: list[str] = field(default_factory=list)

    def recall(self, kind: str) -> float:
        """Return found over planted."""
        return self.found[kind] / self.planted[kind]

    def precision(self) -> float:
        """Return the share of redacted places where something was planted."""
        return 1 - self.wrong.total() / self.spans.total()


def measure(texts: Sequence[planted.Text]) -> Quality:
    """Return how much of what was planted is found, and how much else."""
    quality = Quality()
    for text in texts:
        spans = redact.find(text.text)
        places = [place for kind, value in text.planted for place in _places(text.text, kind, value)]
        for kind, value in text.planted:
            quality.planted[kind] += 1
            hidden = all(
                any(start <= place[0] + 3 and place[1] - 3 <= end for start, end, _ in spans)
                for place in _places(text.text, kind, value)
            )
            quality.found[kind] += hidden
            if not hidden:
                quality.missed.append(f"{kind}: {value!r} in {text.text!r}")
        for start, end, kind in spans:
            quality.spans[kind] += 1
            if not any(start < place[1] and place[0] < end for place in places):
                quality.wrong[kind] += 1
                quality.mistaken.append(f"{kind}: {text.text[start:end]!r} in {text.text!r}")
    return quality


def _places(text: str, kind: str, value: str) -> list[tuple[int, int]]:
    """Return where the secret part of a planted value stands."""
    if kind == "CREDENTIALS":
        value = value.split("://", 1)[1].split("@", 1)[0]
    if kind == "SECRET":
        parts = value.replace("'", " ").replace('"', " ").replace("=", " ").replace(";", " ").split()
        value = next(part for part in reversed(parts) if any(c.isdigit() for c in part))
    for form in (value, value.replace("\n", "\\n"), value.replace('"', '\\"')):
        if form in text:
            starts = [i for i in range(len(text)) if text.startswith(form, i)]
            return [(start, start + len(form)) for start in starts]
    raise AssertionError(f"{value!r} was not planted in {text!r}")


def chat(size: int) -> list[str]:
    """Return texts of a chat log of `size` characters: 1 in 8 holds something, half of them hold numbers or code."""
    rng = random.Random(1)
    made = planted.texts(1)
    words = ("the", "order", "please", "open", "settings", "restart", "wait", "account", "so", "that", "it", "works")
    texts: list[str] = []
    total = 0
    while total < size:
        parts = [" ".join(rng.choices(words, k=rng.randint(40, 160)))]
        parts += [rng.choice(planted.NEGATIVES)(rng) for _ in range(rng.randint(0, 2))]
        if rng.random() < 0.125:
            parts.append(rng.choice(made).text)
        texts.append(" ".join(parts))
        total += len(texts[-1])
    return texts


def plainly(text: str) -> list[tuple[int, int, str]]:
    """Return what the finders give without gates."""
    taken = [(*found.span(), found[1].rsplit("_", 1)[0]) for found in redact.PLACEHOLDER.finditer(text)]
    text = without(text, [(start, end) for start, end, _ in taken])
    for kind in redact.KINDS:
        spans = list(kind.find(text))
        taken += [(start, end, kind.name) for start, end in spans]
        text = without(text, spans)
    return sorted(taken)


def _cpu(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def speed(megabytes: int) -> Table:
    """Return CPU seconds of each way to look through the same texts."""
    texts = chat(megabytes * 1_000_000)
    size = sum(len(text.encode()) for text in texts) / 1e6
    part = texts[: len(texts) // 10]
    if [redact.find(text) for text in part] != [plainly(text) for text in part]:
        sys.exit("FAIL, no speed: gates and finders do not find what the finders alone find")
    redact.forget()
    batches = [texts[i : i + 4096] for i in range(0, len(texts), 4096)]
    arms = {"gates, then finders": (_cpu(lambda: [redact.suspects(batch) for batch in batches]), size)}
    arms["the same texts again"] = (_cpu(lambda: [redact.suspects(batch) for batch in batches]), size)
    small = sum(len(text.encode()) for text in part) / 1e6
    arms["finders alone (`re`), a tenth"] = (_cpu(lambda: [plainly(text) for text in part]), small)
    table = Table(title=f"{size:.0f} MB of chat text in {len(texts)} texts", title_justify="left")
    for name in ("arm", "CPU s", "MB per CPU s"):
        table.add_column(name, justify="left" if name == "arm" else "right")
    for name, (seconds, bytes_) in arms.items():
        table.add_row(name, f"{seconds:.2f}", f"{bytes_ / seconds:.1f}")
    return table


def quality_table(quality: Quality) -> Table:
    """Return recall by planted kind, and what else was redacted."""
    table = Table(title=f"{planted.TEXTS} planted texts: precision {quality.precision():.4f}", title_justify="left")
    for name in ("kind", "planted", "found", "recall", "redacted elsewhere"):
        table.add_column(name, justify="left" if name == "kind" else "right")
    for kind, number in sorted(quality.planted.items()):
        wrong = str(quality.wrong[kind]) if kind not in SHOWN else ""
        table.add_row(kind, str(number), str(quality.found[kind]), f"{quality.recall(kind):.4f}", wrong)
    return table


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=20)
    parser.add_argument("--show", action="store_true", help="print what is missed and what is mistaken")
    arguments = parser.parse_args()
    quality = measure(planted.texts())
    Console().print(quality_table(quality))
    if arguments.show:
        print("\n".join([*quality.missed, "", *quality.mistaken]))
    Console().print(speed(arguments.megabytes))


if __name__ == "__main__":
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    main()
