"""Real preference sets through a whole run: LLaMA-Factory, LLMBar, OASST. The truth is ../shared/data/SOURCES.md."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ingest import settings
from ingest.globs import find
from ingest.lake import Lake
from ingest.readers import registry
from ingest.run import Summary, run
from ingest.scan import LogFile

pytestmark = pytest.mark.real_data

LLAMA = "preferences/llamafactory"
BAR = "preferences/llmbar"
TREES = "preferences/oasst-en_100_tree.jsonl"
SETS = {
    "dpo_en": f"{LLAMA}/dpo_en_demo.json",
    "dpo_zh": f"{LLAMA}/dpo_zh_demo.json",
    "kto": f"{LLAMA}/kto_en_demo.json",
    "adversarial": f"{BAR}/Adversarial-*.json",
    "natural": f"{BAR}/Natural.json",
    "processed": f"{BAR}/Processed-*.json",
    "oasst": TREES,
}


@pytest.fixture(scope="module")
def ingested(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Summary, settings.Settings]:
    """All sets through one run."""
    folder = tmp_path_factory.mktemp("workspace")
    blocks = [f'[[sources]]\nname = "{name}"\npath = "{shared_data / path}"\n' for name, path in SETS.items()]
    (folder / "winnow.toml").write_text("\n".join(blocks), encoding="utf-8")
    workspace = settings.load(folder / "winnow.toml")
    return run(workspace), workspace


def ask(workspace: settings.Settings, query: str) -> list[tuple[Any, ...]]:
    lake = Lake(workspace.lake)
    with duckdb.connect() as connection:
        for table in ("interactions", "feedback", "triples", "unpaired"):
            lake.view(connection, table)
        return connection.execute(query).fetchall()


ACCOUNTS = [
    # set: lines, records = interactions + feedback + duplicates, reader
    # dpo: 5 and 11 rows stand twice, and with each go two responses and a choice
    ("dpo_en", 300, 900, 590, 295, 15, "sharegpt_preference@1"),
    ("dpo_zh", 300, 900, 578, 289, 33, "sharegpt_preference@1"),
    ("kto", 300, 600, 300, 300, 0, "kto@1"),
    ("adversarial", 319, 957, 638, 319, 0, "llmbar@1"),
    ("natural", 100, 300, 200, 100, 0, "llmbar@1"),
    # processed: some answers to one prompt stand in several rows, beside other answers
    ("processed", 466, 1398, 814, 466, 118, "llmbar@1"),
    # oasst: 687 replies, 212 messages with two or more ranked replies
    ("oasst", 100, 899, 687, 212, 0, "oasst_tree@1"),
]


@pytest.mark.parametrize(
    ("name", "lines", "records", "interactions", "feedback", "duplicates", "reader"),
    ACCOUNTS,
    ids=[account[0] for account in ACCOUNTS],
)
def test_a_run_accounts_for_every_row(
    name: str,
    lines: int,
    records: int,
    interactions: int,
    feedback: int,
    duplicates: int,
    reader: str,
    ingested: tuple[Summary, settings.Settings],
) -> None:
    summary, workspace = ingested
    tallies = [tally for tally in summary.tallies if tally.origin.source.name == name]
    assert (sum(t.lines for t in tallies), sum(t.records for t in tallies)) == (lines, records)
    assert (sum(t.interactions for t in tallies), sum(t.feedback for t in tallies)) == (interactions, feedback)
    assert sum((t.skipped for t in tallies), start=type(tallies[0].skipped)()).total() == duplicates
    assert set(summary.skipped()) == {"duplicate"}
    assert summary.quarantined() == {}
    assert records == interactions + feedback + duplicates
    assert ask(workspace, f"SELECT DISTINCT reader FROM interactions WHERE source = '{name}'") == [(reader,)]


FILES = [*SETS.items(), ("calls", "logs/llm_calls.jsonl.gz"), ("hh", "preferences/hh-rlhf-harmless-base-test.jsonl.gz")]


@pytest.mark.parametrize("pattern", [file[1] for file in FILES], ids=[file[0] for file in FILES])
def test_every_record_is_known_to_one_reader_alone(pattern: str, shared_data: Path) -> None:
    records = 0
    for path in find(str(shared_data / pattern)):
        for line in LogFile(path).lines(0, 1 << 26, settled=True):
            assert line.record is not None
            assert sum(reader.sniff(line.record) for reader in registry.READERS) == 1
            records += 1
    assert records >= 100


PROMPTS = [("dpo_en", 295), ("dpo_zh", 289), ("adversarial", 318), ("natural", 100), ("processed", 339)]


@pytest.mark.parametrize(("name", "prompts"), PROMPTS)
def test_unique_prompts(name: str, prompts: int, ingested: tuple[Summary, settings.Settings]) -> None:
    query = f"SELECT count(DISTINCT prompt_hash) FROM interactions WHERE source = '{name}'"
    assert ask(ingested[1], query) == [(prompts,)]


def test_pairs_and_thumbs(ingested: tuple[Summary, settings.Settings]) -> None:
    """Processed: 466 rows, 5 of them again with the sides swapped, 1 whose sides are the same text."""
    summary, workspace = ingested
    triples = ask(workspace, "SELECT source, signal, count(*) FROM triples GROUP BY ALL ORDER BY ALL")
    assert triples == [
        ("adversarial", "choice", 319),
        ("dpo_en", "choice", 295),
        ("dpo_zh", "choice", 289),
        ("kto", "thumb", 1),
        ("natural", "choice", 100),
        ("oasst", "rank", 754),
        ("processed", "choice", 466 - 5 - 1),
    ]
    # Two of the 300 thumbs are on two answers to one prompt, and make the pair.
    assert ask(workspace, "SELECT label, count(*) FROM unpaired GROUP BY ALL ORDER BY ALL") == [
        (False, 149),
        (True, 149),
    ]
    assert summary.paired is not None
    assert (summary.paired.identical, summary.paired.no_pair) == (1, {"choice": 1})
    longer = """
        SELECT source, round(100 * avg((length(chosen[-1].content) > length(rejected[-1].content))::INT), 1)
        FROM triples WHERE source IN ('adversarial', 'natural') GROUP BY source ORDER BY source
    """
    assert ask(workspace, longer) == [("adversarial", 17.9), ("natural", 56.0)]


def paths(shared_data: Path) -> Iterator[tuple[str, list[str], dict[int, str]]]:
    """Yield (message_id, texts down to it, rank -> message_id of its replies) of every prompter's message."""

    def walk(message: dict[str, Any], above: list[str]) -> Iterator[tuple[str, list[str], dict[int, str]]]:
        texts = [*above, message["text"]]
        replies = message["replies"]
        if message["role"] == "prompter":
            ranks = {reply["rank"]: reply["message_id"] for reply in replies if reply.get("rank") is not None}
            yield message["message_id"], texts, ranks
        for reply in replies:
            yield from walk(reply, texts)

    with (shared_data / TREES).open(encoding="utf-8") as file:
        for line in file:
            yield from walk(json.loads(line)["prompt"], [])


def test_prompts_and_ranks_of_the_trees(ingested: tuple[Summary, settings.Settings], shared_data: Path) -> None:
    """754 pairs over 212 prompts, once every better reply is paired with every worse one."""
    query = """
        SELECT f.source_id, f.target_id, i.prompt, list_transform(f.other_ids, lambda o: served.ids[o])
        FROM feedback f JOIN interactions i USING (interaction_id),
          (SELECT map(list(interaction_id), list(source_id)) AS ids FROM interactions WHERE source = 'oasst') served
        WHERE f.source = 'oasst'
    """
    rankings = {
        event: ([message["content"] for message in prompt], [best, *others])
        for event, best, prompt, others in ask(ingested[1], query)
    }
    expected = {
        message: (texts, [ranks[rank] for rank in sorted(ranks)])
        for message, texts, ranks in paths(shared_data)
        if len(ranks) > 1
    }
    assert rankings == expected
    assert (len(rankings), sum(len(r) * (len(r) - 1) // 2 for _, r in rankings.values())) == (212, 754)
