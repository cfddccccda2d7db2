"""Whole runs over hand-made logs: exact counts, exactly once, under any name, in any pieces."""

import gzip
import json
import os
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest import schema
from ingest.errors import LakeBusyError, LakeError, SettingsError
from ingest.readers.reading import Interaction, Reading
from ingest.readers.winnow import Winnow
from ingest.scan import LogFile
from ingest.settings import Source

Make = Callable[..., dict[str, Any]]
Log = Callable[..., bytes]


def counts(summary: Any) -> tuple[int, ...]:
    """Return (lines, records, interactions, feedback, quarantined, skipped)."""
    return tuple(summary.totals().values())


def test_every_line_is_counted_once(workspace: Any, interaction: Make, thumb: Make, log: Log) -> None:
    """Nine lines: 2 interactions (one line has two choices), 1 thumb, 3 quarantined, 4 skipped."""
    two = interaction(2)
    two["response"]["choices"].append({"index": 1, "message": {"role": "assistant", "content": "Other"}})
    one = interaction(1)
    content = (
        log(one, two, thumb(1, 1), one, interaction(3, status=429)) + b"\n" + b"[1]\ntext\n" + log({"a": 1}) + b" \r\n"
    )
    (workspace.logs / "a.jsonl").write_bytes(content)
    summary = workspace.run()
    assert counts(summary) == (10, 11, 3, 1, 3, 4)
    assert summary.quarantined() == {"not_an_object": 1, "not_json": 1, "unknown_format": 1}
    assert summary.skipped() == {"duplicate": 1, "http_status_429": 1, "blank_line": 2}
    (row,) = workspace.arrow("files").to_pylist()
    assert (row["read_from"], row["read_to"]) == (0, len(content))
    assert row["records"] == row["interactions"] + row["feedback"] + row["quarantined"] + row["skipped"] == 11
    ids = {
        schema.interaction_id("app", "int-1"),
        schema.interaction_id("app", "int-2"),
        schema.interaction_id("app", "int-2", 1),
    }
    assert set(workspace.rows("interactions", "interaction_id")) == ids


def test_rows_say_where_they_come_from(workspace: Any, interaction: Make, thumb: Make, log: Log) -> None:
    first = interaction(1)
    content = log(first, thumb(1, 1))
    (workspace.logs / "a.jsonl").write_bytes(content)
    run_id = workspace.run().run_id
    (row,) = workspace.arrow("interactions").to_pylist()
    (vote,) = workspace.arrow("feedback").to_pylist()
    (file,) = workspace.arrow("files").to_pylist()
    assert (row["byte_offset"], vote["byte_offset"]) == (0, len(log(first)))
    assert row["file_id"] == vote["file_id"] == file["file_id"]
    assert {row["run_id"], vote["run_id"], file["run_id"]} == {run_id}
    assert (row["reader"], row["day"], row["status"]) == (f"winnow@{Winnow.version}", "2026-10-01", "ok")
    prompt = [{"role": "user", "content": "Question"}]
    assert row["prompt_hash"] == schema.messages_hash(prompt)
    assert row["response_hash"] == schema.messages_hash([{"role": "assistant", "content": "Answer"}])
    assert row["sibling_group"] == schema.content_id(["siblings", "app", "conv-1", row["prompt_hash"]])
    # HMAC-SHA256 with the key ab...ab, by openssl dgst -sha256 -mac HMAC
    assert row["user_id"] == vote["rater_id"] == USER
    assert (vote["interaction_id"], vote["target_id"]) == (row["interaction_id"], "int-1")


USER = "u:a275d10234f2f91327825e7427f7c913"


def test_a_second_run_adds_nothing_and_commits_nothing(workspace: Any, interaction: Make, log: Log) -> None:
    (workspace.logs / "a.jsonl").write_bytes(log(interaction(1)) + b"bad\n")
    (workspace.logs / "b.jsonl.gz").write_bytes(gzip.compress(log(interaction(2)) + b'{"torn'))
    assert counts(workspace.run()) == (4, 4, 2, 0, 2, 0)
    before = workspace.versions()
    again = workspace.run()
    assert counts(again) == (0, 0, 0, 0, 0, 0)
    assert again.files == 2
    assert workspace.versions() == before


def test_a_growing_file_is_read_on_from_where_it_was(workspace: Any, interaction: Make, log: Log) -> None:
    path = workspace.logs / "a.jsonl"
    first, second = log(interaction(1)), log(interaction(2))
    path.write_bytes(first + second[:50])
    one = workspace.run()
    assert (counts(one), one.pending) == ((1, 1, 1, 0, 0, 0), {str(path): 50})
    path.write_bytes(first + second[:-1])  # whole, without its newline
    two = workspace.run()
    assert (counts(two), two.pending) == ((1, 1, 1, 0, 0, 0), {})
    path.write_bytes(first + second)  # the newline alone is no line
    assert counts(workspace.run()) == (0, 0, 0, 0, 0, 0)
    path.write_bytes(first + second + log(interaction(3)))
    assert counts(workspace.run()) == (1, 1, 1, 0, 0, 0)
    assert len(set(workspace.rows("files", "file_id"))) == 1
    assert workspace.lake.cursor("files", workspace.rows("files", "file_id")[0]) == path.stat().st_size


def test_a_torn_end_is_quarantined_once_the_file_has_settled(workspace: Any, interaction: Make, log: Log) -> None:
    path = workspace.logs / "a.jsonl"
    path.write_bytes(log(interaction(1)) + b'{"winnow":1,"mail":"bob@example.com')
    assert counts(workspace.run()) == (1, 1, 1, 0, 0, 0)
    old = time.time() - 3601
    os.utime(path, (old, old))
    summary = workspace.run()
    assert (counts(summary), summary.quarantined()) == ((1, 1, 0, 0, 1, 0), {"torn": 1})
    assert workspace.rows("quarantine", "raw", "raw_bytes") == [('{"winnow":1,"mail":"<EMAIL_1>', 35)]
    assert counts(workspace.run()) == (0, 0, 0, 0, 0, 0)


def test_what_is_torn_in_one_copy_is_read_where_it_goes_on(workspace: Any, interaction: Make, log: Log) -> None:
    """The copy that was cut sorts first; and a file that has settled may be written on, once its program is back."""
    content = log(interaction(1), interaction(2))
    for name, end in (("a.log", -50), ("b.log", None)):
        (workspace.logs / name).write_bytes(content[:end])
        os.utime(workspace.logs / name, (1, 1))
    assert counts(workspace.run()) == (3, 3, 2, 0, 1, 0)
    with (workspace.logs / "a.log").open("ab") as file:
        file.write(content[-50:] + log(interaction(3)))
    assert counts(workspace.run()) == (1, 1, 1, 0, 0, 0)
    assert sorted(workspace.rows("interactions", "source_id")) == ["int-1", "int-2", "int-3"]


def test_an_archive_that_was_only_touched_is_unpacked_once_more(
    workspace: Any, interaction: Make, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What changed is its time; the run that has found so notes the time, and the next one leaves the file alone."""
    path = workspace.logs / "a.gz"
    path.write_bytes(gzip.compress(log(interaction(1))))
    workspace.run()
    os.utime(path, (1, 1))
    assert counts(workspace.run()) == (0, 0, 0, 0, 0, 0)
    before = workspace.versions()

    def unpacked(_file: LogFile, *_args: Any, **_options: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(LogFile, "head", unpacked)
    monkeypatch.setattr(LogFile, "lines", unpacked)
    assert counts(workspace.run()) == (0, 0, 0, 0, 0, 0)
    assert workspace.versions() == before


def test_a_torn_end_that_is_a_commit_of_its_own_is_read_once(workspace: Any, interaction: Make, log: Log) -> None:
    """Its piece begins and ends where the one before it ended; which of them is the later one must not be chance."""
    workspace.limited(commit_bytes=1)
    for number in range(8):
        path = workspace.logs / f"{number}.log"
        path.write_bytes(log(interaction(number)) + b'{"torn"')
        os.utime(path, (1, 1))
    assert counts(workspace.run()) == (16, 16, 8, 0, 8, 0)
    assert counts(workspace.run()) == (0, 0, 0, 0, 0, 0)


def test_rotation_renames_and_compression_change_nothing(workspace: Any, interaction: Make, log: Log) -> None:
    path = workspace.logs / "app.log"
    content = log(*(interaction(i) for i in range(20)))
    path.write_bytes(content)
    assert counts(workspace.run()) == (20, 20, 20, 0, 0, 0)
    path = path.rename(workspace.logs / "app.log.1")
    assert counts(workspace.run()) == (0, 0, 0, 0, 0, 0)
    path.unlink()
    # Rotated again, with two lines that came after the last run, and packed.
    content += log(interaction(20), interaction(21))
    (workspace.logs / "app.log.2.gz").write_bytes(gzip.compress(content[:9000]) + gzip.compress(content[9000:]))
    (workspace.logs / "app.log").write_bytes(log(interaction(30)))
    assert counts(workspace.run()) == (3, 3, 3, 0, 0, 0)
    (workspace.logs / "copy.jsonl").write_bytes(content)
    assert counts(workspace.run()) == (0, 0, 0, 0, 0, 0)


def test_files_that_begin_alike_are_two_files(workspace: Any, interaction: Make, log: Log) -> None:
    """Were a file known by its first line alone, the second line of b would never be read."""
    (workspace.logs / "a.jsonl").write_bytes(log(interaction(1), interaction(2)))
    assert counts(workspace.run()) == (2, 2, 2, 0, 0, 0)
    (workspace.logs / "b.jsonl").write_bytes(log(interaction(1), interaction(3), interaction(4)))
    assert counts(workspace.run()) == (3, 3, 2, 0, 0, 1)
    assert counts(workspace.run()) == (0, 0, 0, 0, 0, 0)
    assert len(set(workspace.rows("files", "file_id"))) == 2


def test_a_file_that_is_written_anew_is_read_anew(workspace: Any, interaction: Make, log: Log) -> None:
    path = workspace.logs / "a.jsonl"
    path.write_bytes(log(interaction(1), interaction(2), interaction(3)))
    assert counts(workspace.run()) == (3, 3, 3, 0, 0, 0)
    path.write_bytes(log(interaction(1), interaction(4)))
    assert counts(workspace.run()) == (2, 2, 1, 0, 0, 1)


def test_the_order_of_commits_and_their_size_change_nothing(workspace: Any, interaction: Make, log: Log) -> None:
    records = [interaction(i % 30, answer="x" * (i % 30)) for i in range(40)]
    (workspace.logs / "a.jsonl").write_bytes(log(*records[:25]) + b"bad\n" + log(*records[25:]))
    workspace.limited(commit_bytes=1500)
    assert counts(workspace.run()) == (41, 41, 30, 0, 1, 10)
    assert workspace.lake.version("interactions") > 5
    rows = workspace.arrow("files").to_pylist()
    pieces = sorted((row["read_from"], row["read_to"]) for row in rows)
    assert [end for _, end in pieces[:-1]] == [start for start, _ in pieces[1:]]
    assert sum(row["lines"] for row in rows) == 41
    assert counts(workspace.run()) == (0, 0, 0, 0, 0, 0)


def test_limits_hold(workspace: Any, interaction: Make, log: Log) -> None:
    workspace.limited(line_bytes=1000)
    (workspace.logs / "a.jsonl").write_bytes(log(interaction(1, answer="x" * 2000), interaction(2)))
    assert counts(workspace.run()) == (2, 2, 1, 0, 1, 0)
    ((reason, raw, raw_bytes),) = workspace.rows("quarantine", "reason", "raw", "raw_bytes")
    assert (reason, raw) == ("oversized", None)
    assert raw_bytes > 2000


def test_a_cut_archive_is_awaited_then_quarantined_and_read_on_when_it_is_mended(
    workspace: Any, interaction: Make, log: Log
) -> None:
    path = workspace.logs / "a.jsonl.gz"
    first, second = gzip.compress(log(interaction(1))), gzip.compress(log(interaction(2)))
    path.write_bytes(first + second[:-10])
    one = workspace.run()
    assert one.totals()["quarantined"] == 0
    assert list(one.pending) == [str(path)]
    old = time.time() - 3601
    os.utime(path, (old, old))
    assert workspace.run().quarantined() == {"corrupt_archive": 1}
    assert counts(workspace.run()) == (0, 0, 0, 0, 0, 0)
    path.write_bytes(first + second)
    assert workspace.run().totals()["quarantined"] == 0
    assert len(workspace.rows("interactions", "interaction_id")) == 2


def test_two_archives_of_which_nothing_can_be_read_are_two_lines(workspace: Any) -> None:
    for name in ("a.gz", "b.gz"):
        path = workspace.logs / name
        path.write_bytes(b"\x1f\x8b\x08\x00" + name.encode())
        os.utime(path, (0, 0))
    assert workspace.run().quarantined() == {"corrupt_archive": 2}
    assert counts(workspace.run()) == (0, 0, 0, 0, 0, 0)


def test_arrays_and_parquet_are_read_once(workspace: Any, interaction: Make, thumb: Make) -> None:
    votes = [thumb(i, i) for i in range(600)]
    (workspace.logs / "votes.json").write_text(json.dumps(votes, indent=1))
    rows = [{"prompt": f"Q{i}", "chosen": f"Yes {i}", "rejected": f"No {i}"} for i in range(600)]
    pq.write_table(pa.Table.from_pylist(rows), workspace.logs / "pairs.parquet")
    workspace.limited(commit_bytes=20_000)
    assert counts(workspace.run()) == (1200, 2400, 1200, 1200, 0, 0)
    assert counts(workspace.run()) == (0, 0, 0, 0, 0, 0)
    os.utime(workspace.logs / "votes.json")
    os.utime(workspace.logs / "pairs.parquet")
    assert counts(workspace.run()) == (0, 0, 0, 0, 0, 0)


def test_text_is_redacted_before_it_is_hashed_or_written(
    workspace: Any, interaction: Make, thumb: Make, log: Log
) -> None:
    served = interaction(1, prompt="I am bob@example.com", answer="Hello bob@example.com and eve@example.com")
    served["response"]["choices"][0] |= {"token_ids": [1, 2], "logprobs": None}
    clean = interaction(2, prompt="I am bob@example.com")
    clean["response"]["choices"][0] |= {"token_ids": [3, 4], "logprobs": None}
    edit = thumb(1, 1, signal="edit", text="Hello bob@example.com", value=None, scale=None)
    (workspace.logs / "a.jsonl").write_bytes(log(served, clean, edit) + b'{"torn":"eve@example.com\n')
    summary = workspace.run()
    rows = {row["source_id"]: row for row in workspace.arrow("interactions").to_pylist()}
    assert rows["int-1"]["prompt"][0]["content"] == "I am <EMAIL_1>"
    assert rows["int-1"]["response"][0]["content"] == "Hello <EMAIL_1> and <EMAIL_2>"
    assert rows["int-1"]["redactions"] == [("email", 3), ("token_ids", 2)]
    assert rows["int-1"]["response_hash"] == schema.messages_hash(rows["int-1"]["response"])
    # Sampled tokens spell the e-mail address: they go with it. Those of an untouched response stay.
    assert (rows["int-1"]["token_ids"], rows["int-2"]["token_ids"]) == (None, [3, 4])
    assert rows["int-1"]["prompt_hash"] == rows["int-2"]["prompt_hash"]
    assert workspace.rows("feedback", "text", "redactions") == [("Hello <EMAIL_1>", [("email", 1)])]
    assert summary.redactions() == {"email": 6, "token_ids": 2}
    assert workspace.rows("quarantine", "raw") == ['{"torn":"<EMAIL_1>']
    for path in workspace.settings.lake.rglob("*"):
        assert not path.is_file() or b"example.com" not in path.read_bytes()


def test_consent_is_the_records_else_the_sources(workspace: Any, interaction: Make, log: Log) -> None:
    (workspace.logs / "a.jsonl").write_bytes(log(interaction(1, consent="none"), interaction(2)))
    (workspace.root / "more").mkdir()
    (workspace.root / "more" / "b.jsonl").write_bytes(
        log(
            interaction(3, consent="none"),
            interaction(4),
            interaction(5, consent=""),
            interaction(6, consent=None),
        )
    )
    more = Source(name="more", path=str(workspace.root / "more" / "*"), consent="training", format="winnow")
    workspace.settings = workspace.settings.model_copy(update={"sources": (*workspace.settings.sources, more)})
    workspace.run()
    assert dict(workspace.rows("interactions", "source_id", "consent")) == {
        "int-1": "none",
        "int-2": None,
        "int-3": "none",
        "int-4": "training",
        "int-5": "",
        "int-6": "training",
    }


def test_a_value_that_no_column_holds_quarantines_its_line_alone(
    workspace: Any, interaction: Make, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that lets a number through that is too large for int32."""
    read = Winnow.read

    def lenient(self: Winnow, record: Any) -> Reading:
        found = read(self, record)
        served: Interaction = found.interactions[0]
        served.tokens_in = record.get("tokens")
        return found

    monkeypatch.setattr(Winnow, "read", lenient)
    (workspace.logs / "a.jsonl").write_bytes(log(interaction(1), interaction(2, tokens=2**40), interaction(3)))
    summary = workspace.run()
    assert (counts(summary), summary.quarantined()) == ((3, 3, 2, 0, 1, 0), {"bad_value": 1})
    assert workspace.rows("quarantine", "detail") == ["A value does not fit its column."]


def test_a_named_reader_takes_only_its_own_form(workspace: Any, log: Log) -> None:
    source = Source(name="app", path=str(workspace.logs / "*"), format="winnow")
    workspace.settings = workspace.settings.model_copy(update={"sources": (source,)})
    (workspace.logs / "a.jsonl").write_bytes(log({"prompt": "Q", "chosen": "A", "rejected": "B"}))
    assert workspace.run().quarantined() == {"unknown_format": 1}


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=2), commit=st.sampled_from([1, 10**6])
)
def test_any_bytes_in_any_pieces_are_accounted_for(
    tmp_path_factory: pytest.TempPathFactory, workspace: Any, content: bytes, cuts: list[int], commit: int
) -> None:
    """The run itself raises where the equation does not hold; the pieces add up to the whole file."""
    here = type(workspace)(tmp_path_factory.mktemp("any"))
    here.limited(commit_bytes=commit, line_bytes=40)
    path = here.logs / "a.jsonl"
    lines = 0
    for cut in [*sorted(cuts), len(content)]:
        path.write_bytes(content[:cut])
        if cut == len(content):
            os.utime(path, (0, 0))
        lines += here.run().totals()["lines"]
    total = here.arrow("files").to_pylist()
    assert sum(row["records"] for row in total) == lines
    assert sum(row["quarantined"] for row in total) == here.arrow("quarantine").num_rows
    assert here.run().totals()["lines"] == 0


def test_one_run_at_a_time(workspace: Any) -> None:
    with workspace.lake.locked("other"), pytest.raises(LakeBusyError, match="other"):
        workspace.run()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        pytest.param(Source(name="labels", path="x"), 'source name "labels" is taken', id="name of the app"),
        pytest.param(Source(name="app", path="x", format="csv"), 'No reader is named "csv"', id="unknown format"),
    ],
)
def test_a_wrong_source_stops_the_run_before_it_reads(workspace: Any, source: Source, message: str) -> None:
    workspace.settings = workspace.settings.model_copy(update={"sources": (source,)})
    with pytest.raises(SettingsError, match=message):
        workspace.run()
    assert not workspace.settings.lake.exists()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        pytest.param("abcd", "has 2 bytes, expected 32", id="short"),
        pytest.param("secret", "It is a line of hex digits", id="not hex"),
    ],
)
def test_a_broken_key_is_never_replaced(workspace: Any, key: str, message: str) -> None:
    (workspace.root / "pseudonym.key").write_text(key)
    with pytest.raises(SettingsError, match=message):
        workspace.run()
    assert (workspace.root / "pseudonym.key").read_text() == key


def test_the_key_is_made_once_for_its_owner_only(workspace: Any, interaction: Make, log: Log) -> None:
    key = workspace.root / "pseudonym.key"
    key.unlink()
    (workspace.logs / "a.jsonl").write_bytes(log(interaction(1)))
    workspace.run()
    first = key.read_text()
    assert (len(bytes.fromhex(first)), key.stat().st_mode & 0o777) == (32, 0o600)
    (workspace.logs / "b.jsonl").write_bytes(log(interaction(2)))
    workspace.run()
    assert key.read_text() == first
    assert len(set(workspace.rows("interactions", "user_id"))) == 1


def test_an_unreadable_file_is_named(workspace: Any) -> None:
    """Nothing is mapped at address 0 of a process, so that this file gives an input/output error even to root."""
    source = Source(name="app", path="/proc/self/mem")
    workspace.settings = workspace.settings.model_copy(update={"sources": (source,)})
    with pytest.raises(LakeError, match="Cannot read /proc/self/mem"):
        workspace.run()


def test_a_kill_while_the_key_is_made_leaves_none(
    workspace: Any, interaction: Make, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = workspace.root / "pseudonym.key"
    key.unlink()
    (workspace.logs / "a.jsonl").write_bytes(log(interaction(1)))

    def killed(_descriptor: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            workspace.run()
    assert not key.exists()
    assert workspace.run().totals()["interactions"] == 1
    assert len(bytes.fromhex(key.read_text())) == 32
