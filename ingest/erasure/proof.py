"""Proof of an erasure: whether any byte of any file still holds a pseudonym or a piece of an erased text.

Reads every file under the folders it is given: as it stands, and decompressed where it is gzip, zstd or Parquet. A
text is searched by pieces of 32 characters that every file format here writes as they are. Pieces that somebody else
says too, in a row that stays, prove nothing: they are left out, and counted.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingest.streams import Stream

PIECE: Final = 32
"""Characters. What is left of a run of at least 2 * PIECE - 1 of them holds a whole piece."""
SHORTEST_RUN: Final = 16
"""A shorter run of characters is no piece, unless it is the whole text."""
SHORTEST_TEXT: Final = 8
"""A shorter text is not searched, nor one word of ASCII shorter than a piece: anybody may have said it."""
UNIT_BYTES: Final = 4 << 20
CALL_BYTES: Final = 64 << 20
"""Bytes searched in one go: making the automaton costs as much as searching some megabytes."""
PATTERNS: Final = 50_000
"""Of one automaton; more are searched in several passes."""

# Quotes, backslashes, markup and control characters are written in different ways by JSON and HTML.
_RUN: Final = re.compile(r"""[^\x00-\x1f\x7f"'\\<>&`/]+""")


_WORD: Final = re.compile(r"[!-~]*")


@dataclass
class Needles:
    """What to search for."""

    pseudonyms: set[str] = field(default_factory=set)
    pieces: set[str] = field(default_factory=set)
    texts: int = 0
    """Erased texts."""
    too_short: int = 0
    """Of them, texts without a piece: they are not searched."""
    shared: int = 0
    """Pieces that rows of others hold too: they are not searched."""

    @staticmethod
    def of(pseudonyms: Iterable[str], texts: Iterable[str]) -> "Needles":
        """Return the pieces of `texts`."""
        found = Needles(pseudonyms=set(pseudonyms))
        for text in set(texts):
            pieces = set(_pieces(text))
            found.texts += 1
            found.too_short += not pieces
            found.pieces |= pieces
        return found

    def add(self, other: "Needles") -> None:
        """Search for `other` besides."""
        self.pseudonyms |= other.pseudonyms
        self.pieces |= other.pieces
        self.texts += other.texts
        self.too_short += other.too_short
        self.shared += other.shared

    def patterns(self) -> list[str]:
        """Return every form in which a file may hold what is searched, as text of one character per byte."""
        escaped = {json.dumps(piece)[1:-1] for piece in self.pieces}
        return sorted(_latin(text) for text in self.pseudonyms | self.pieces | escaped)

    def leave_out(self, texts: Iterable[pa.Array]) -> None:
        """Leave out the pieces that one of `texts`, arrays of strings, holds."""
        for array in texts:
            if self.pieces:
                said = pl.Series(pl.from_arrow(array)).str.extract_many(sorted(self.pieces), overlapping=True)
                shared = set(said.explode(empty_as_null=False).drop_nulls().to_list())
                self.pieces -= shared
                self.shared += len(shared)

    def hold(self, texts: Sequence[str]) -> list[bool]:
        """Return for each of `texts` whether it holds a piece."""
        if not self.pieces or not texts:
            return [False] * len(texts)
        forms = sorted(self.pieces | {json.dumps(piece)[1:-1] for piece in self.pieces})
        return pl.Series(texts, dtype=pl.String).str.contains_any(forms).to_list()


@dataclass(frozen=True)
class Proof:
    """What was searched, and where something was found."""

    files: int
    bytes: int
    """Of the files as they stand, and of what their archives and columns hold."""
    hits: dict[str, int]
    """Path -> different things that were found in it; empty where the erasure is complete."""


def search(needles: Needles, folders: Iterable[Path], keep_out: Iterable[Path] = ()) -> Proof:
    """Search every file under `folders`, which may be files, less those of `keep_out`."""
    patterns, left_out = needles.patterns(), set(keep_out)
    files = sorted({file for folder in folders for file in _files(folder)} - left_out)
    hits: dict[str, set[str]] = {}
    total, waiting, size = 0, list[tuple[Path, str]](), 0
    for file in files:
        for unit, new in _units(file):
            waiting.append((file, unit))
            total, size = total + new, size + len(unit)
            if size >= CALL_BYTES:
                _match(patterns, waiting, hits)
                waiting, size = [], 0
    _match(patterns, waiting, hits)
    return Proof(len(files), total, {str(file): len(found) for file, found in hits.items()})


def _match(patterns: list[str], units: Sequence[tuple[Path, str]], hits: dict[str, set[str]]) -> None:
    texts = pl.Series([text for _, text in units], dtype=pl.String)
    for first in range(0, len(patterns) if units else 0, PATTERNS):
        some = patterns[first : first + PATTERNS]
        found = texts.str.contains_any(some)
        for index in found.arg_true().to_list():
            [said] = texts.slice(index, 1).str.extract_many(some, overlapping=True).to_list()
            hits.setdefault(str(units[index][0]), set()).update(said)


def _files(place: Path) -> Iterator[Path]:
    """Yield the files at or under `place`; a link is followed to no other folder."""
    if place.is_file():
        yield place
    elif place.is_dir():
        yield from (path for path in place.rglob("*") if path.is_file() and not path.is_symlink())


def _units(file: Path) -> Iterator[tuple[str, int]]:
    """Yield the bytes of `file` and of what it packs, cut so that no pattern lies across two cuts alone."""
    yield from _cut(_blocks(file))
    try:
        if file.suffix == ".parquet":
            yield from _cut(_columns(file))
        elif Stream(file).is_archive:
            yield from _cut(Stream(file).blocks())
    except (OSError, pa.ArrowException):
        return  # damaged, such as by a kill: its bytes were searched as they stand


def _blocks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while block := opened.read(UNIT_BYTES):
            yield block


def _columns(file: Path) -> Iterator[bytes]:
    """Yield the texts of every column, values one after the other."""
    parquet = pq.ParquetFile(file)
    for group in range(parquet.num_row_groups):
        for column in parquet.read_row_group(group).columns:
            for chunk in column.chunks:
                yield from (_joined(leaf) for leaf in leaves(chunk))


def leaves(array: pa.Array, but: str = "") -> Iterator[pa.Array]:
    """Yield the arrays of strings within `array`, less those of fields called `but`."""
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        yield array
    elif pa.types.is_map(kind):
        yield from (leaf for part in (array.keys, array.items) for leaf in leaves(part, but))
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield from leaves(array.flatten(), but)
    elif pa.types.is_struct(kind):
        parts = zip(kind, array.flatten(), strict=True)
        yield from (leaf for field, part in parts if field.name != but for leaf in leaves(part, but))
    elif pa.types.is_dictionary(kind):
        yield from leaves(array.dictionary, but)


def _joined(texts: pa.Array) -> bytes:
    values = texts.drop_null().cast(pa.large_string())
    whole = pa.LargeListArray.from_arrays(pa.array([0, len(values)], pa.int64()), values)
    return str(pc.binary_join(whole, pa.scalar("\n", pa.large_string()))[0].as_py()).encode()


def _cut(blocks: Iterable[bytes]) -> Iterator[tuple[str, int]]:
    """Yield each block with the end of the one before it, and how many bytes are the block's."""
    end = b""
    for block in blocks:
        whole = end + block
        yield whole.decode("latin-1"), len(block)
        end = whole[-OVERLAP:]


OVERLAP: Final = 12 * PIECE
"""Bytes of the longest form of a piece: two escapes of six bytes for each character."""


def _latin(text: str) -> str:
    return text.encode("utf-8", errors="surrogatepass").decode("latin-1")


def _pieces(text: str) -> Iterator[str]:
    """Yield pieces of PIECE characters that together cover every run of characters that files write as they are."""
    for run in _RUN.findall(text):
        if len(run) >= PIECE:
            yield from (run[at : at + PIECE] for at in range(0, len(run) - PIECE + 1, PIECE))
            yield run[-PIECE:]
        elif len(run) >= (SHORTEST_TEXT if run == text else SHORTEST_RUN) and not _WORD.fullmatch(run):
            yield run
