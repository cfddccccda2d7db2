"""Texts -> hashes of their overlapping word triples, for whole columns at once.

Reads Arrow strings and makes NumPy arrays; no text is ever a Python object. A word is a run of letters, digits and
other characters above ASCII; every character of a script that puts no spaces between words (Chinese, Japanese, Thai,
Lao, Khmer, Burmese; Hangul too) is a word of its own. Case and Unicode form are evened out first.

A text of one or two words has no word triple: all of it is its one shingle. Its characters would be too alike ("Order
12" and "Order 13"). Only a text without any word has none.

Hashes depend on nothing but the bytes, so they may be stored: words are mixed eight bytes at a time with splitmix64's
finaliser (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
"""

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
U32 = NDArray[np.uint32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
Bits = NDArray[np.bool_]

VERSION: Final = 2
"""Raised whenever the same text gives other hashes."""
WORDS: Final = 3
"""Words of a shingle."""
BLOCK_TEXTS: Final = 128
"""Texts hashed at a time: few enough that their arrays stay in a core's cache."""
LONG_WORD: Final = 256
"""Bytes from which a word is hashed by itself, so that one endless word costs no pass over all words."""

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)
_NONE: Final = np.uint64(0)
_PADDING: Final = 16
"""Zero bytes behind a block, so that eight bytes can be read at the start of its last word."""
_WORD: Final = bytes(
    byte if byte >= 128 else ord(chr(byte).lower()) if chr(byte).isalnum() else 0 for byte in range(256)
)
"""Byte -> itself in lower case, or 0 where it is no part of a word."""
_LOW_BYTES: Final = np.array([(1 << (8 * n)) - 1 for n in range(9)], dtype=np.uint64)


@dataclass(frozen=True, slots=True)
class Shingles:
    """The shingles of some texts, one text after the other."""

    hashes: U64
    """Of every shingle in the order of the text; one that stands twice is here twice."""
    offsets: I64
    """Text i has hashes[offsets[i] : offsets[i + 1]]; one more than there are texts."""


def normalised(texts: pl.Series) -> pl.Series:
    """Return the texts in Unicode form NFKC and lower case, where they hold more than ASCII; `_WORD` does ASCII."""
    plain = texts.str.len_bytes() == texts.str.len_chars()
    if plain.all():
        return texts
    return pl.select(pl.when(plain).then(texts).otherwise(texts.str.normalize("NFKC").str.to_lowercase())).to_series()


def shingles(texts: pl.Series) -> Shingles:
    """Return the shingles of `texts`, which may not be null."""
    array = normalised(texts).rechunk().to_arrow().cast(pa.large_string())
    # A zero byte behind each text, so that no word crosses a border.
    array = pc.binary_join_element_wise(array, pa.scalar("", pa.large_string()), pa.scalar("\0", pa.large_string()))
    _, offset_buffer, data = array.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[: len(array) + 1]
    parts, counts = [], []
    for first in range(0, len(array), BLOCK_TEXTS):
        block = offsets[first : first + BLOCK_TEXTS + 1]
        hashes, sizes = _block(data.slice(block[0], block[-1] - block[0]).to_pybytes(), block - block[0])
        parts.append(hashes)
        counts.append(sizes)
    sizes = np.concatenate(counts) if counts else np.zeros(0, np.int64)
    return Shingles(
        np.concatenate(parts) if parts else np.zeros(0, np.uint64),
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
    )


def mixed(values: U64) -> U64:
    """Return splitmix64's finaliser of each value, in place."""
    values ^= values >> np.uint64(30)
    values *= _FIRST
    values ^= values >> np.uint64(27)
    values *= _SECOND
    values ^= values >> np.uint64(31)
    return values


def _block(said: bytes, offsets: I64) -> tuple[U64, I64]:
    """Return the shingles of a block of texts, each with a zero byte behind it, and how many each text has."""
    padded = np.frombuffer(said.translate(_WORD) + bytes(_PADDING), np.uint8)
    starts, ends = _words(padded[: len(said)])
    words = _word_hashes(padded, starts, ends)
    bounds = np.searchsorted(starts, offsets)
    per_text = np.diff(bounds)
    hashes = words * _FIRST
    hashes[:-1] += words[1:] * _SECOND
    hashes[:-2] ^= words[2:] * _GOLDEN
    few = np.flatnonzero((per_text == 1) | (per_text == 2))  # one shingle, of what words there are
    first, second = words[bounds[few]], words[np.minimum(bounds[few] + 1, len(words) - 1)]
    hashes[bounds[few]] = first * _FIRST + np.where(per_text[few] == 2, second, _NONE) * _SECOND
    # A text's last two words begin no triple of their own; the first of a text of one or two words does.
    begins = np.ones(len(words), np.bool_)
    for back in range(1, WORDS):
        begins[bounds[1:][per_text > back] - back] = False
    return mixed(hashes[begins]), np.maximum(per_text - (WORDS - 1), np.minimum(per_text, 1))


def _words(text: U8) -> tuple[I64, I64]:
    """Return where each word of a block begins and ends; `text` is zero outside of words, and ends with a zero."""
    if not len(text):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    word = text != 0
    if text.max() >= 0xE0:
        single = _unspaced(text)
        if single.any():
            return _words_and_characters(word, single)
    edges = np.flatnonzero(word[1:] != word[:-1]) + 1
    if word[0]:
        edges = np.concatenate([[0], edges])
    return edges[0::2], edges[1::2]


def _words_and_characters(word: Bits, single: Bits) -> tuple[I64, I64]:
    """Return the same where every byte of `single` begins a character that is a word of its own."""
    begin = word.copy()
    begin[1:] &= ~word[:-1]
    begin |= single
    begin[3:] |= single[:-3] & word[3:]  # behind such a character, which has three bytes, a new word begins
    last = word.copy()
    last[:-1] &= ~word[1:] | begin[1:]
    return np.flatnonzero(begin), np.flatnonzero(last) + 1


def _unspaced(text: U8) -> Bits:
    """Return where a three-byte character of a script without spaces between words begins."""
    found = (text >= 0xE3) & (text <= 0xED)  # U+3000 to U+DFFF: kana, Han, Hangul
    rare = (text == 0xE0) | (text == 0xE1)
    if rare.any():
        places = np.flatnonzero(rare[:-1])
        second = text[places + 1]
        thai_lao = (text[places] == 0xE0) & (second >= 0xB8) & (second <= 0xBB)
        burmese_khmer = (text[places] == 0xE1) & (
            ((second >= 0x80) & (second <= 0x82)) | (second == 0x9E) | (second == 0x9F)
        )
        found[places[thai_lao | burmese_khmer]] = True
    return found


def _word_hashes(padded: U8, starts: I64, ends: I64) -> U64:
    """Return the hash of each word: its bytes, of a longer word eight at a time."""
    eights: U64 = np.ndarray((len(padded) - 7,), "<u8", buffer=padded.data, strides=(1,))
    lengths = ends - starts
    hashes = eights[starts]
    hashes &= _LOW_BYTES[np.minimum(lengths, 8)]
    rest = np.flatnonzero((lengths > 8) & (lengths < LONG_WORD))
    done = 8
    while len(rest):
        more = eights[starts[rest] + done] & _LOW_BYTES[np.minimum(lengths[rest] - done, 8)]
        hashes[rest] = mixed(hashes[rest] + _GOLDEN) ^ more
        done += 8
        rest = rest[lengths[rest] > done]
    for index in np.flatnonzero(lengths >= LONG_WORD):
        hashes[index] = _digest(padded[starts[index] : ends[index]])
    return hashes


def _digest(content: U8) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(content.tobytes(), digest_size=8).digest(), "little"))
