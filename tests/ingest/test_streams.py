"""Stored files as plain bytes: every frame, and everything that can be decoded of a damaged one."""

import gzip
import random
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from ingest.streams import Stream

TEXT = b"".join(b"line %d %d\n" % (i, i * i % 9973) for i in range(40_000))

COMPRESSORS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("zstd", zstandard.ZstdCompressor(write_checksum=True).compress),
]


def written(path: Path, content: bytes) -> Stream:
    path.write_bytes(content)
    return Stream(path)


@pytest.mark.parametrize(
    ("compress", "archive"),
    [pytest.param(bytes, False, id="plain"), *(pytest.param(c, True, id=name) for name, c in COMPRESSORS)],
)
def test_all_bytes_from_any_offset(tmp_path: Path, compress: Callable[[bytes], bytes], archive: bool) -> None:
    stream = written(tmp_path / "log", compress(TEXT))
    assert stream.is_archive == archive
    for start in (0, 1, 4096, len(TEXT) - 1, len(TEXT), len(TEXT) + 5):
        assert b"".join(stream.blocks(start)) == TEXT[start:]
        assert stream.read(start, 100) == TEXT[start : start + 100]
    assert stream.damage is None


@pytest.mark.parametrize("compress", [pytest.param(c, id=name) for name, c in COMPRESSORS])
def test_many_frames_with_padding_are_one_text(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    frames = compress(TEXT[:1000]) + compress(b"") + compress(TEXT[1000:]) + b"\0" * 512
    stream = written(tmp_path / "log", frames)
    assert (b"".join(stream.blocks()), stream.damage) == (TEXT, None)


@pytest.mark.parametrize("compress", [pytest.param(c, id=name) for name, c in COMPRESSORS])
def test_a_cut_archive_gives_what_is_there(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    """All but the last bytes are the file; the second frame is cut, the first is whole."""
    whole = compress(TEXT[:1000])
    stream = written(tmp_path / "log", whole + compress(TEXT[1000:])[:-20])
    found = b"".join(stream.blocks())
    assert TEXT.startswith(found)
    assert len(found) >= 1000
    assert stream.damage == "It ends in the middle of a compressed frame."


def test_a_wrong_checksum_costs_no_byte(tmp_path: Path) -> None:
    """zlib gives back nothing of the block in which it finds the error; reading it bytewise does."""
    packed = bytearray(gzip.compress(TEXT))
    packed[-6] ^= 1  # in the CRC-32 that stands behind the data
    stream = written(tmp_path / "log", bytes(packed))
    assert b"".join(stream.blocks()) == TEXT
    assert stream.damage == "It cannot be decompressed: error."


@pytest.mark.parametrize("compress", [pytest.param(c, id=name) for name, c in COMPRESSORS])
def test_garbage_behind_a_frame_is_damage(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    stream = written(tmp_path / "log", compress(TEXT) + b"garbage")
    assert b"".join(stream.blocks()) == TEXT
    assert stream.damage is not None


@pytest.mark.parametrize("seed", range(20))
def test_flipped_bytes_never_raise_and_what_comes_before_is_kept(tmp_path: Path, seed: int) -> None:
    """The reference decodes byte by byte until zlib raises."""
    draw = random.Random(seed)
    packed = bytearray(gzip.compress(TEXT[:100_000]))
    packed[draw.randrange(10, len(packed))] ^= 1 << draw.randrange(8)
    decoder, expected = zlib.decompressobj(wbits=31), b""
    try:
        for byte in packed:
            expected += decoder.decompress(bytes([byte]))
    except zlib.error:
        pass
    stream = written(tmp_path / "log", bytes(packed))
    assert b"".join(stream.blocks()) == expected
    assert stream.damage is not None


def test_an_empty_file_has_no_bytes(tmp_path: Path) -> None:
    stream = written(tmp_path / "log", b"")
    assert (list(stream.blocks()), stream.damage, stream.is_archive) == ([], None, False)
