"""Several processes read what one reads: the same rows at the same offsets, the same counts, the same position."""

import itertools
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.litellm_log import Writer
from ingest import workers
from ingest.errors import LakeError
from ingest.splitting import Run, Span, lines
from ingest.streams import Stream
from tests.ingest.conftest import Workspace

LIMIT = 1 << 20


@given(
    st.lists(st.sampled_from([b"\n", b"a", b"bc", b"\0", b"x" * 40])).map(b"".join),
    st.sets(st.integers(1, 120)),
)
def test_every_line_belongs_to_one_range(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, cuts: set[int]
) -> None:
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    path.write_bytes(content)
    places = [0, *sorted(cut for cut in cuts if cut < len(content)), len(content) + 1]
    found: list[Span] = []
    for start, end in itertools.pairwise(places):
        for piece in workers.pieces(Stream(path), start, end, LIMIT):
            found += map(piece.span, range(len(piece))) if isinstance(piece, Run) else [piece]
    assert found == list(lines(iter([content] if content else []), 0, LIMIT))


def test_the_last_range_is_left_to_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "RANGE_BYTES", 10)
    monkeypatch.setattr(workers, "LEAST_BYTES", 25)
    assert workers.ranges(5, 30) == [(5, 15), (15, 25)]
    assert workers.ranges(5, 29) == []
    assert workers.ranges(0, 31) == [(0, 10), (10, 20), (20, 30)]


def mixed_log(interaction: Callable[..., dict[str, Any]], thumb: Callable[..., dict[str, Any]]) -> bytes:
    """Return lines of every fate: read, skipped, quarantined, conflicting; one spans many ranges, one has no end."""
    writer, rng = Writer(3), random.Random(5)
    records: list[bytes] = [json.dumps(writer.record(i), ensure_ascii=False).encode() for i in range(12)]
    records += [json.dumps(interaction(i, answer=f"Answer {i} to mail{i}@example.org")).encode() for i in range(12)]
    records += [json.dumps(thumb(i, i)).encode() for i in range(12)]
    records += [json.dumps(interaction(3, answer="Another answer")).encode()] * 2  # id conflicts, and a duplicate
    records += [records[0], json.dumps(interaction(40, status=429)).encode(), b"", b"not json", b'{"a":1}', b"\0\0{}"]
    records += [json.dumps(interaction(41, answer="long " * 2000)).encode()]
    rng.shuffle(records)
    return b"\xef\xbb\xbf" + b"\n".join(records) + b'\n{"torn'


def results(workspace: Workspace) -> dict[str, Any]:
    """Return what must not depend on the number of processes."""
    summary = workspace.run()
    position = max(workspace.rows("files", "read_to", "tail", "tail_bytes"))[:1]
    return {
        "tables": workspace.stable(),
        "totals": summary.totals(),
        "reasons": (summary.quarantined(), summary.skipped()),
        "pending": sum(summary.pending.values()),
        "position": position,
    }


def test_one_two_and_three_processes_make_the_same_tables(
    tmp_path: Path,
    interaction: Callable[..., dict[str, Any]],
    thumb: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "RANGE_BYTES", 3000)
    monkeypatch.setattr(workers, "LEAST_BYTES", 6000)
    content, found = mixed_log(interaction, thumb), []
    for number in (1, 2, 3):
        (tmp_path / str(number)).mkdir()
        workspace = Workspace(tmp_path / str(number))
        workspace.limited(workers=number, commit_bytes=20_000)
        (workspace.logs / "app.jsonl").write_bytes(content[: len(content) // 3])
        first = results(workspace)
        (workspace.logs / "app.jsonl").write_bytes(content + b'"}\n' + content.split(b"\n")[4] + b"\n")
        found.append((first, results(workspace)))
    assert found[0][0]["totals"]["quarantined"] + found[0][1]["totals"]["quarantined"] >= 5
    assert found[0] == found[1] == found[2]


def test_a_process_that_fails_ends_the_run_and_nothing_is_taken_for_read(
    workspace: Workspace, interaction: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "RANGE_BYTES", 1000)
    monkeypatch.setattr(workers, "LEAST_BYTES", 1000)
    (workspace.logs / "app.jsonl").write_bytes(b"".join(json.dumps(interaction(i)).encode() + b"\n" for i in range(20)))
    workspace.limited(workers=2)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/bin/false")
        with pytest.raises(LakeError, match=r"A process that read .*app\.jsonl ended with 1"):
            workspace.run()
    assert workspace.rows("interactions", "interaction_id") == []
    assert workspace.run().totals()["interactions"] == 20
