"""Near duplicates among texts: `curate.near_duplicates` against datasketch's MinHash and LSH, on the same file.

Texts of 150 to 300 words of a Zipf vocabulary; one in ten has a copy with 0.5 to 4.5 % (some up to 9 %) of its words
changed, one in twenty a hard negative that shares 40 to 65 %. Both arms use word triples and 128 minima; Winnow
verifies every pair, datasketch estimates at the same threshold of 0.7. Gate: no edge of ours is below it by brute
force; recall on the planted pairs is printed by their exact similarity. A second, skewed file holds many variants of
one template.
Baseline: datasketch = 1.

    python -m bench.near_duplicates --texts 200000 --repeats 3
"""

import argparse
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from bench.arms import Cost, in_turn, run
from curate import minhash
from curate.near_duplicates import group

THRESHOLD: Final = 0.7
VOCABULARY: Final = 50_000
BINS: Final = ((0.9, 1.01), (0.8, 0.9), (0.7, 0.8))
Words = Sequence[str]


def main() -> None:
    """Write the texts, run both arms in turn, check what they found, print the ratios; or be one arm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--arm", choices=sorted(ARMS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.arm:
        ARMS[arguments.arm](arguments.folder)
        return
    with tempfile.TemporaryDirectory(prefix="winnow-bench-") as name:
        folder = Path(name)
        planted = write_texts(folder / "texts.parquet", arguments.texts)
        command = [sys.executable, "-m", "bench.near_duplicates", "--folder", str(folder), "--arm"]
        arms = {arm: lambda arm=arm: run([*command, arm]) for arm in ARMS}
        costs = in_turn(arms, arguments.repeats)
        _print(costs, arguments.texts, {arm: _recall(folder / f"{arm}.parquet", planted) for arm in ARMS})
        _check_precision(folder)
        _skewed(folder)


def write_texts(path: Path, count: int) -> list[tuple[int, int, float]]:
    """Write `count` texts; return the planted pairs with their exact similarity."""
    rng = np.random.default_rng(0)
    draw = random.Random(0)
    vocabulary = np.array(
        ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(3, 11))) for _ in range(VOCABULARY)]
    )
    odds = 1 / np.arange(1, VOCABULARY + 1)
    odds /= odds.sum()
    texts: list[str] = []
    planted = []
    while len(texts) < count:
        words = vocabulary[rng.choice(VOCABULARY, rng.integers(150, 300), p=odds)].tolist()
        texts.append(" ".join(words))
        kind = rng.random()
        if kind < 0.1:
            share = rng.uniform(0.005, 0.045 if kind < 0.07 else 0.09)
            copy = list(words)
            for place in rng.choice(len(copy), max(1, int(len(copy) * share)), replace=False):
                copy[place] = str(vocabulary[rng.integers(VOCABULARY)])
            planted.append((len(texts) - 1, len(texts), similarity(words, copy)))
            texts.append(" ".join(copy))
        elif kind < 0.15:
            kept = int(len(words) * rng.uniform(0.4, 0.65))
            texts.append(" ".join([*words[:kept], *vocabulary[rng.choice(VOCABULARY, len(words) - kept, p=odds)]]))
    pl.DataFrame({"text": texts}).write_parquet(path)
    return planted


def similarity(left: Words, right: Words) -> float:
    """Return the Jaccard similarity of the word triples."""
    one, other = (set(zip(words, words[1:], words[2:], strict=False)) for words in (left, right))
    return len(one & other) / len(one | other)


def winnow(folder: Path) -> None:
    """Our arm: labels and verified edges."""
    texts = pl.read_parquet(folder / "texts.parquet")["text"]
    found = group(minhash.sketch(texts), texts.gather, THRESHOLD)
    pl.DataFrame({"label": found.label}).write_parquet(folder / "winnow.parquet")
    pl.DataFrame({"low": found.edges.low, "high": found.edges.high}).write_parquet(folder / "edges.parquet")


def datasketch(folder: Path) -> None:
    """The baseline: MinHashLSH, and connected components by union and find."""
    from datasketch import MinHash, MinHashLSH  # noqa: PLC0415 - the arm's own import is part of its cost

    texts = pl.read_parquet(folder / "texts.parquet")["text"].to_list()
    lsh = MinHashLSH(threshold=THRESHOLD, num_perm=128)
    label = list(range(len(texts)))

    def root(number: int) -> int:
        while label[number] != number:
            label[number] = label[label[number]]
            number = label[number]
        return number

    for number, text in enumerate(texts):
        words = text.split()
        sketch = MinHash(num_perm=128)
        sketch.update_batch([" ".join(three).encode() for three in zip(words, words[1:], words[2:], strict=False)])
        for other in lsh.query(sketch):
            low, high = sorted((root(int(other)), root(number)))
            label[high] = low
        lsh.insert(str(number), sketch)
    pl.DataFrame({"label": [root(number) for number in range(len(texts))]}).write_parquet(folder / "datasketch.parquet")


ARMS: Final = {"datasketch": datasketch, "winnow": winnow}


def _recall(path: Path, planted: Sequence[tuple[int, int, float]]) -> list[str]:
    label = pl.read_parquet(path)["label"].to_list()
    shares = []
    for low, high in BINS:
        pairs = [(a, b) for a, b, exact in planted if low <= exact < high]
        shares.append(f"{sum(label[a] == label[b] for a, b in pairs) / max(1, len(pairs)):.3f}")
    return shares


def _check_precision(folder: Path) -> None:
    """Compare 5,000 verified edges with brute force; end with an error where one is below the threshold."""
    texts = pl.read_parquet(folder / "texts.parquet")["text"]
    edges = pl.read_parquet(folder / "edges.parquet").head(5000)
    wrong = [pair for pair in edges.rows() if similarity(*(texts[number].split() for number in pair)) < THRESHOLD]
    if wrong:
        sys.exit(f"FAIL, no speed: {len(wrong)} of {len(edges)} edges are below {THRESHOLD}")
    print(f"precision 1.000: {len(edges):,} of {len(edges):,} edges are at {THRESHOLD} or above by brute force")


def _variants(count: int) -> Iterator[str]:
    draw = random.Random(1)
    template = [f"w{draw.getrandbits(30)}" for _ in range(225)]
    for _ in range(count):
        variant = template.copy()
        for place in draw.sample(range(225), draw.randint(1, 11)):
            variant[place] = f"v{draw.getrandbits(30)}"
        yield " ".join(variant)


def _skewed(folder: Path) -> None:
    """Time 8,000 variants of one template among 30,000 texts: pairs looked at must stay few."""
    others = pl.read_parquet(folder / "texts.parquet")["text"].head(22_000)
    texts = pl.concat([others, pl.Series("text", list(_variants(8_000)))])
    started, cpu = time.perf_counter(), time.process_time()
    found = group(minhash.sketch(texts), texts.gather, THRESHOLD)
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"skewed: {len(texts):,} texts, 8,000 of one template: {wall:.1f} s, {cpu:.1f} CPU s, "
        f"{found.candidates:,} pairs shared a band of 31,996,000 possible, {found.verified:,} verified; "
        f"peak {peak:.0f} MiB with this program's own lists"
    )


def _print(costs: dict[str, Cost], count: int, recalls: dict[str, list[str]]) -> None:
    table = Table(title=f"{count:,} texts, near duplicates at Jaccard {THRESHOLD}; medians", title_justify="left")
    table.add_column("arm")
    for name in ("wall s", "ratio", "texts/s", "CPU s", "peak MiB", *(f"recall {low}+" for low, _ in BINS)):
        table.add_column(name, justify="right")
    baseline = costs["datasketch"].wall_s
    for name, cost in costs.items():
        figures = (f"{cost.wall_s:.1f}", f"{baseline / cost.wall_s:.1f}x", f"{count / cost.wall_s:,.0f}")
        table.add_row(name, *figures, f"{cost.cpu_s:.1f}", f"{cost.peak_mib:.0f}", *recalls[name])
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
