"""Real data, counted: HH-RLHF, Tulu's human evaluation and recorded calls. The truth is ../shared/data/SOURCES.md."""

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from ingest import settings
from ingest.lake import Lake
from ingest.readers import registry
from ingest.readers.hh_rlhf import render
from ingest.readers.reading import Reading
from ingest.run import Summary, run
from ingest.schema import messages_hash

pytestmark = pytest.mark.real_data

HH = "preferences/hh-rlhf-harmless-base-test.jsonl.gz"
TULU = "preferences/tulu-human-eval/eval_annotations_tulu_1.parquet"
CALLS = "logs/llm_calls.jsonl.gz"


def lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def read(record: dict[str, Any], expected: str) -> Reading:
    reader = registry.detect(record)
    assert reader is not None
    assert reader.name == expected
    return reader.read(record)


def roles(messages: Any) -> str:
    """Return one letter a turn: "u" user, "a" assistant."""
    return "".join(message["role"][0] for message in messages)


def test_hh_rlhf_is_read_without_loss(shared_data: Path) -> None:
    records = list(lines(shared_data / HH))
    empty, several_turns, prompts = [], [], set()
    for i, record in enumerate(records):
        reading = read(record, "hh_rlhf")
        chosen, rejected = reading.interactions
        assert render(chosen.prompt + chosen.response) == record["chosen"]
        assert render(rejected.prompt + rejected.response) == record["rejected"]
        assert chosen.prompt[-1]["role"] == "user"
        prompts.add(messages_hash(chosen.prompt))
        if chosen.response[-1]["content"] == "":
            empty.append(i)
        if len(chosen.response) > 1 or len(rejected.response) > 1:
            several_turns.append(i)
    assert len(records) == 2312
    assert empty == [86, 516, 925, 1103]
    assert several_turns == [1254, 1688, 1950, 1952, 2036]
    assert len(prompts) == 2310


DIVERGING = [
    # record; roles of prompt, chosen, rejected; how the first turn of chosen and of rejected begin
    (1254, "uau", "aa", "a", "No. Men who impersonate", "A drag king is the opposite"),
    (1688, "uau", "aa", "a", "Human: I think there's an easier way", "I'd suggest that you do it"),
    (1950, "u", "a", "aa", "Hey human, if you want", "Snatching purses is a very serious crime"),
    (1952, "uau", "aa", "a", "Alrighty, I’ll do my best", "You mean a password, right?"),
    (2036, "uauauauau", "aa", "a", "Human: Okay, so once you have", "Human: Okay, so first we should"),
]


@pytest.mark.parametrize(
    ("number", "prompt", "chosen", "rejected", "a", "b"), DIVERGING, ids=[str(d[0]) for d in DIVERGING]
)
def test_hh_rlhf_records_whose_histories_part_early(
    number: int, prompt: str, chosen: str, rejected: str, a: str, b: str, shared_data: Path
) -> None:
    """The raw text is cut by hand here: at the position where it says `a` in chosen and `b` in rejected."""
    record = list(lines(shared_data / HH))[number]
    better, worse = read(record, "hh_rlhf").interactions
    assert (roles(better.prompt), roles(better.response), roles(worse.response)) == (prompt, chosen, rejected)
    for side, text, start in ((better, record["chosen"], a), (worse, record["rejected"], b)):
        cut = text.index(f"\n\nAssistant: {start}")
        assert text.count(f"\n\nAssistant: {start}") == 1
        assert render(side.prompt) == text[:cut]
        assert render(side.response) == text[cut:]


def test_tulu_judgements(shared_data: Path) -> None:
    records = pq.read_table(shared_data / TULU).to_pylist()
    signals: Counter[str] = Counter()
    degrees: Counter[float | None] = Counter()
    directed: list[tuple[str, str, str]] = []
    ids = set()
    for record in records:
        reading = read(record, "battles")
        target, other = reading.interactions
        [event] = reading.feedback
        signals[event.signal] += 1
        degrees[event.value] += 1
        ids.add(event.source_id)
        if event.signal == "choice":
            sides = [messages_hash(side.response) for side in (target, other)]
            directed.append((messages_hash(target.prompt), sides[0], sides[1]))
    groups = defaultdict(list)
    for prompt, chosen, rejected in directed:
        groups[(prompt, *sorted((chosen, rejected)))].append(chosen)
    contradictory = [votes for votes in groups.values() if len(set(votes)) > 1]
    assert signals == {"choice": 774, "tie": 376}
    assert degrees == {None: 376, 0.5: 235 + 191, 1.0: 188 + 160}
    assert len(ids) == len(records) == 1150
    assert len(directed) - len(set(directed)) == 63
    assert (len(contradictory), sum(map(len, contradictory))) == (23, 52)
    assert sum(chosen == rejected for _, chosen, rejected in directed) == 0


CALLS_READ: list[tuple[str, dict[str, int], int, int]] = [
    # kind, what became of the calls, choices, of them not copies of one another
    (
        "openai_chat",
        {
            "read": 740,
            "no_response": 4,
            "error_response": 3,
            "http_status_404": 6,
            "http_status_401": 4,
            "http_status_400": 4,
        },
        746,
        583,
    ),
    ("anthropic_messages", {"read": 255, "http_status_404": 7}, 255, 208),
    ("openai_responses", {"read": 151, "http_status_400": 1}, 151, 146),
    ("openai_completions", {"read": 122}, 122, 71),
    ("gemini", {"read": 87, "http_status_400": 2, "http_status_404": 1}, 87, 86),
    ("ollama", {"read": 39, "http_status_404": 1}, 39, 16),
]


@pytest.mark.parametrize(("kind", "expected", "choices", "distinct"), CALLS_READ, ids=[c[0] for c in CALLS_READ])
def test_recorded_calls(kind: str, expected: dict[str, int], choices: int, distinct: int, shared_data: Path) -> None:
    """1,427 calls, 26 of them not answered with 200; of the chat calls 4 have no body, 3 an error for one."""
    outcomes: Counter[str] = Counter()
    served = defaultdict(list)
    for record in lines(shared_data / CALLS):
        if record["kind"] == kind:
            reading = read(record, kind)
            outcomes[reading.skipped or "read"] += 1
            for one in reading.interactions:
                said = (messages_hash(one.prompt), messages_hash(one.response))
                served[one.source_id, one.choice_index].append(said)
    assert outcomes == expected
    assert (sum(map(len, served.values())), len(served)) == (choices, distinct)
    # Recordings that share an id are copies: what was asked and what was said are the same.
    assert {len(set(contents)) for contents in served.values()} == {1}


def test_prompts_with_several_answers(shared_data: Path) -> None:
    """118 prompts have two or more different recorded answers; of 89 of them the answers say different things.

    An oracle that knows nothing of readers compares the answers' bodies as recorded. Of the other 29 prompts two have
    an answer without a body beside one with it; the others' answers differ in ids, signatures, probabilities,
    reasoning, empty fields, or in how a stream was cut.
    """
    recorded: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    said: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for record in lines(shared_data / CALLS):
        if record["status"] != 200:
            continue
        request, body = record["request"], record["response_raw"] or ""
        asked = next(request[key] for key in ("messages", "prompt", "contents", "input") if key in request)
        system = [request.get(key) for key in ("system", "instructions", "systemInstruction")]
        prompt = (record["kind"], json.dumps([asked, system], sort_keys=True))
        recorded[prompt].add(answer(body))
        said[prompt] |= {messages_hash(one.response) for one in read(record, record["kind"]).interactions}
    several = [prompt for prompt, bodies in recorded.items() if len(bodies) > 1]
    alike = [prompt for prompt in several if len(said[prompt]) < 2]
    assert len(several) == 118
    assert sum(len(answers) > 1 for answers in said.values()) == 118 - len(alike) == 89
    assert sum("" in recorded[prompt] for prompt in alike) == 2


def answer(body: str) -> str:
    """Return what a body says as JSON text; of a stream the body."""
    try:
        value = json.loads(body)
    except ValueError:
        return body
    keys = ("choices", "content", "output", "candidates", "message", "response")
    return json.dumps(next((value[key] for key in keys if key in value), None), sort_keys=True)


def test_recorded_streams_say_what_their_chunks_say(shared_data: Path) -> None:
    """An oracle that shares no code with the reader: all content deltas of choice 0, in order."""
    compared = 0
    for record in lines(shared_data / CALLS):
        if record["kind"] != "openai_chat" or record["status"] != 200 or not record["stream"]:
            continue
        chunks = [
            json.loads(line.strip()[5:])
            for line in record["response_raw"].split("\n")
            if line.strip().startswith("data:") and "[DONE]" not in line
        ]
        deltas = [c["delta"] for chunk in chunks for c in chunk["choices"] if c["index"] == 0]
        [first, *_] = read(record, "openai_chat").interactions
        assert (first.response[0]["content"] or "") == "".join(d.get("content") or "" for d in deltas)
        arguments = [t["function"].get("arguments") or "" for d in deltas for t in d.get("tool_calls") or []]
        calls = json.loads(first.response[0]["tool_calls"] or "[]")
        assert sum(len(call["function"]["arguments"]) for call in calls) == sum(map(len, arguments))
        compared += 1
    assert compared == 172


@pytest.fixture(scope="module")
def ingested(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Summary, settings.Settings]:
    """The three sets through a whole run."""
    folder = tmp_path_factory.mktemp("workspace")
    sources = (("hh", HH, "training"), ("tulu", TULU, "training"), ("calls", CALLS, None))
    blocks = [
        f'[[sources]]\nname = "{name}"\npath = "{shared_data / path}"\n'
        + (f'consent = "{consent}"\n' if consent else "")
        for name, path, consent in sources
    ]
    (folder / "winnow.toml").write_text("\n".join(blocks), encoding="utf-8")
    workspace = settings.load(folder / "winnow.toml")
    return run(workspace), workspace


def ask(workspace: settings.Settings, query: str) -> list[tuple[Any, ...]]:
    lake, connection = Lake(workspace.lake), duckdb.connect()
    for table in ("interactions", "feedback", "triples", "unpaired", "quarantine"):
        lake.view(connection, table)
    found = connection.execute(query).fetchall()
    connection.close()
    return found


def test_a_run_accounts_for_every_line(ingested: tuple[Summary, settings.Settings]) -> None:
    """Lines: 2,312 + 1,150 + 1,427. Duplicates: a response judged again, or a recording that is a copy.

    Tulu: 2 x 1,150 sides are 1,328 responses, so 972 are there already. Calls: 1,400 choices of 1,394 answers are 1,110
    after the copies, so 290 are; 33 have no answer.
    """
    summary, _ = ingested
    assert summary.totals() == {
        "lines": 4889,
        "records": 4889 + 2 * 2312 + 2 * 1150 + 6,
        "interactions": 2 * 2312 + 1328 + 1110,
        "feedback": 2312 + 1150,
        "quarantined": 0,
        "skipped": 972 + 290 + 33,
    }
    assert summary.skipped() == {
        "duplicate": 972 + 290,
        "http_status_404": 15,
        "http_status_401": 4,
        "http_status_400": 7,
        "no_response": 4,
        "error_response": 3,
    }


def test_a_run_rebuilds_the_prompts_that_follow_a_response(ingested: tuple[Summary, settings.Settings]) -> None:
    """Three recorded requests name a previous_response_id, and all three of these responses are recorded too."""
    summary, workspace = ingested
    assert (summary.completed, summary.awaiting_parent) == (3, 0)
    query = "SELECT prompt FROM interactions WHERE parent_id IS NOT NULL"
    assert sorted(roles(prompt) for (prompt,) in ask(workspace, query)) == ["suat", "suat", "suatt"]


def test_a_run_pairs_what_was_judged(ingested: tuple[Summary, settings.Settings]) -> None:
    """Tulu: 774 decisive judgements, 63 of them again in the same direction, are 711 triples."""
    summary, workspace = ingested
    pairing = summary.paired
    assert pairing is not None
    assert (pairing.total, pairing.by_signal) == (2312 + 711, {"choice": 2312 + 711})
    assert (pairing.events, pairing.paired, pairing.no_pair) == (2312 + 1150, 2312 + 774, {"tie": 376})
    assert (pairing.orphans, pairing.mismatched, pairing.identical, pairing.unpaired_total) == (0, 0, 0, 0)
    per_source = "SELECT source, count(*), sum(len(event_ids))::INT FROM triples GROUP BY ALL ORDER BY ALL"
    assert ask(workspace, per_source) == [("hh", 2312, 2312), ("tulu", 711, 774)]
    empty = "SELECT count(*) FROM triples WHERE len(chosen) = 1 AND chosen[1].content = ''"
    assert ask(workspace, empty) == [(4,)]
    several = "SELECT count(*) FROM triples WHERE len(chosen) > 1 OR len(rejected) > 1"
    assert ask(workspace, several) == [(5,)]


def test_a_run_finds_the_contradictory_groups(ingested: tuple[Summary, settings.Settings]) -> None:
    groups = """
        SELECT count(*), sum(judgements)::INT FROM (
          SELECT count(*) AS directions, sum(len(event_ids)) AS judgements FROM triples WHERE source = 'tulu'
          GROUP BY prompt_hash, least(chosen_hash, rejected_hash), greatest(chosen_hash, rejected_hash)
        ) WHERE directions = 2
    """
    assert ask(ingested[1], groups) == [(23, 52)]


def test_a_second_run_adds_nothing(ingested: tuple[Summary, settings.Settings]) -> None:
    _, workspace = ingested
    lake = Lake(workspace.lake)
    tables = ("interactions", "feedback", "triples", "unpaired", "quarantine")
    before = [lake.version(table) for table in tables]
    again = run(workspace)
    assert set(again.totals().values()) == {0}
    assert again.paired is not None
    assert (again.paired.total, again.paired.new, again.paired.removed) == (3023, 0, 0)
    assert [lake.version(table) for table in tables] == before
