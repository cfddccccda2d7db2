"""Whatever happens to the files between runs, the tables end as those of one run over the files that are left.

A writer appends whole and half lines; files are rotated (renamed, or copied and cut, with the hole of NULs that is left
by a writer that goes on at its old offset), packed, copied whole or in part, renamed so that they sort otherwise; some
come late; votes change, and come before what they are about; runs are in between. Many more histories are tried by

    pytest -m slow tests/ingest/test_histories.py
"""

import gzip
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.ingest.conftest import VOLATILE, Workspace, _interaction, _thumb

PROVENANCE = ("file_id", "byte_offset")
"""Where a row was read first: of a record that stands in two files, that is an accident of order."""
ANSWERS = 12
BAD = (b"no json", b'{"torn":"', b"[1]", b"", b'{"a":"\xff"}', b'{"winnow":1,"kind":"interaction","id":3}')


def line(number: int) -> bytes:
    """Return one line of the pool: two answers to each of 6 prompts, 12 votes that change twice, 6 lines of no record.

    A number has one content: which of two contents of one id is kept depends on the order, as it must.
    """
    which, group = number % ANSWERS, number // ANSWERS
    if group == 0:
        record = _interaction(which, f"Question {which // 2}", f"Answer {which}", conversation_id=f"c-{which // 2}")
    elif group <= 3:
        record = _thumb(which, which, 1 if (which + group) % 2 else -1, revision=group)
    else:
        return BAD[which % len(BAD)]
    return json.dumps(record).encode()


LINES = st.lists(st.integers(0, 5 * ANSWERS - 1), min_size=1, max_size=6).map(
    lambda numbers: b"".join(line(number) + b"\n" for number in numbers)
)


def packed(content: bytes, how: str, cut: int) -> bytes:
    """Return the content compressed, in one frame or in two."""
    compress: Any = gzip.compress if how.startswith("gz") else zstandard.compress
    cut = cut % (len(content) + 1) if how.endswith("2") else 0
    return b"".join(compress(part) for part in (content[:cut], content[cut:]) if part or not cut)


class Histories(RuleBasedStateMachine):
    """What may happen to a folder of logs."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="winnow-history-"))
        self.names = 0
        self.halves: dict[Path, bytes] = {}
        """Open file -> what its writer has yet to write of a line."""
        self.offsets: dict[Path, int] = {}
        """Open file -> where its writer goes on."""

    @initialize(commit_bytes=st.sampled_from([600, 4000, 10**6]), content=LINES)
    def begin(self, commit_bytes: int, content: bytes) -> None:
        self.workspace = Workspace(self.folder)
        self.workspace.limited(commit_bytes=commit_bytes)
        self.write(content, "m")

    @property
    def files(self) -> list[Path]:
        return sorted(self.workspace.logs.iterdir())

    def new(self, letter: str, suffix: str = "") -> Path:
        """Return a name that was never used, and sorts by `letter`."""
        self.names += 1
        return self.workspace.logs / f"{letter}{self.names}.log{suffix}"

    @rule(content=LINES, letter=st.sampled_from("amz"))
    def write(self, content: bytes, letter: str) -> None:
        path = self.new(letter)
        path.write_bytes(content)
        self.offsets[path] = len(content)

    def append_to(self, path: Path, content: bytes) -> None:
        content = self.halves.pop(path, b"") + content
        with path.open("r+b") as file:
            file.seek(self.offsets[path])
            file.write(content)
        self.offsets[path] += len(content)

    @precondition(lambda self: self.offsets)
    @rule(content=LINES, data=st.data())
    def append(self, content: bytes, data: st.DataObject) -> None:
        self.append_to(data.draw(st.sampled_from(sorted(self.offsets))), content)

    @precondition(lambda self: self.offsets)
    @rule(content=LINES, data=st.data())
    def append_half_a_line(self, content: bytes, data: st.DataObject) -> None:
        """The cut may fall right before the newline, too, where the record is whole."""
        path = data.draw(st.sampled_from(sorted(self.offsets)))
        cut = data.draw(st.integers(1, len(content.splitlines()[-1]) + 1))
        self.append_to(path, content[:-cut])
        self.halves[path] = content[-cut:]

    @precondition(lambda self: self.offsets)
    @rule(data=st.data())
    def rotate_by_renaming(self, data: st.DataObject) -> None:
        """The writer keeps the file open: it goes on under the new name."""
        path = data.draw(st.sampled_from(sorted(self.offsets)))
        moved = path.rename(self.new(data.draw(st.sampled_from("amz")), ".1"))
        self.offsets[moved] = self.offsets.pop(path)
        if path in self.halves:
            self.halves[moved] = self.halves.pop(path)

    @precondition(lambda self: self.offsets)
    @rule(data=st.data(), hole=st.booleans())
    def rotate_by_copying_and_cutting(self, data: st.DataObject, hole: bool) -> None:
        path = data.draw(st.sampled_from(sorted(self.offsets)))
        shutil.copyfile(path, self.new(data.draw(st.sampled_from("amz")), ".1"))
        os.truncate(path, 0)
        if not hole:
            self.offsets[path] = 0

    @precondition(lambda self: any(path.suffix not in (".gz", ".zst") for path in self.files))
    @rule(data=st.data(), how=st.sampled_from(["gz", "gz2", "zst", "zst2"]), cut=st.integers(0, 10_000))
    def pack(self, data: st.DataObject, how: str, cut: int) -> None:
        """The file is closed; what its writer had left is lost with it."""
        path = data.draw(st.sampled_from([path for path in self.files if path.suffix not in (".gz", ".zst")]))
        path.with_name(f"{path.name}.{how[:3].removesuffix('2')}").write_bytes(packed(path.read_bytes(), how, cut))
        path.unlink()
        self.offsets.pop(path, None)
        self.halves.pop(path, None)

    @rule(data=st.data(), letter=st.sampled_from("amz"))
    def copy(self, data: st.DataObject, letter: str) -> None:
        """All of it, or what a second collector got of it: without its first lines, or without its end."""
        path = data.draw(st.sampled_from(self.files))
        content = path.read_bytes()
        copied = self.new(letter, "".join(suffix for suffix in path.suffixes[-1:] if suffix in (".gz", ".zst")))
        if copied.suffix == ".log" and content:
            lines = content.splitlines(keepends=True)
            first = data.draw(st.integers(0, len(lines) - 1))
            content = b"".join(lines[first:])
            content = content[: data.draw(st.integers(1, len(content)))]
        copied.write_bytes(content)

    @precondition(lambda self: len(self.files) > len(self.offsets))
    @rule(data=st.data(), letter=st.sampled_from("amz"))
    def rename_so_that_it_sorts_otherwise(self, data: st.DataObject, letter: str) -> None:
        path = data.draw(st.sampled_from([path for path in self.files if path not in self.offsets]))
        path.rename(self.new(letter, "".join(path.suffixes[-1:])))

    @rule()
    def run(self) -> None:
        self.workspace.run()

    def teardown(self) -> None:
        try:
            if hasattr(self, "workspace"):
                self.check()
        finally:
            shutil.rmtree(self.folder)

    def check(self) -> None:
        """Let all files settle, run, and compare with one run over them in a fresh workspace."""
        for path in self.files:
            os.utime(path, (1, 1))
        self.workspace.run()
        versions = self.workspace.versions()
        assert self.workspace.run().totals()["lines"] == 0
        assert self.workspace.versions() == versions
        with tempfile.TemporaryDirectory() as folder:
            clean = Workspace(Path(folder))
            for path in self.files:
                shutil.copy2(path, clean.logs / path.name)
            clean.run()
            assert tables(self.workspace) == tables(clean)
        # An independent count: every line that stands whole in a file, plain or packed.
        whole = {line for path in self.files for line in plain(path).replace(b"\0", b"").split(b"\n")}
        for table, group in (("interactions", range(1)), ("feedback", range(1, 4))):
            planted = {line(ANSWERS * g + which) for g in group for which in range(ANSWERS)}
            assert self.workspace.arrow(table).num_rows == len(planted & whole)


def plain(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(content)
    if path.suffix == ".zst":
        with zstandard.ZstdDecompressor().stream_reader(content, read_across_frames=True) as stream:
            return stream.read()
    return content


def tables(workspace: Workspace) -> dict[str, list[dict[str, Any]]]:
    """Return all that must be the same: of quarantine all but the run and the name of the file.

    Its rows are known by place, and the same line at the same place of two files that begin alike is one.
    """
    found = {
        name: workspace.arrow(name).drop_columns([*VOLATILE, *PROVENANCE]) for name in ("interactions", "feedback")
    }
    found["quarantine"] = workspace.arrow("quarantine").drop_columns([*VOLATILE, "file_id", "path"])
    found |= {name: workspace.arrow(name) for name in ("triples", "unpaired")}
    return {name: table.to_pylist() for name, table in found.items()}


def histories(examples: int, steps: int) -> None:
    profile = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(Histories, settings=profile)


def test_any_history_ends_as_one_run_over_the_files() -> None:
    histories(12, 16)


@pytest.mark.slow
def test_a_thousand_histories_end_as_one_run_over_the_files() -> None:
    histories(1000, 30)
