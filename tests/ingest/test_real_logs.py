"""Every file of ../shared/data/logs: who knows it, what a run makes of it, and Langfuse's own reading beside ours."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ingest.lake import Lake
from ingest.readers import registry
from ingest.readers.langfuse import Langfuse
from ingest.run import Summary, run
from ingest.scan import LogFile
from ingest.settings import Labels, Settings, Source

pytestmark = pytest.mark.real_data

FOLDERS = ("langfuse-traces", "langsmith", "librechat")

READ: dict[str, tuple[str | None, int, int, int, dict[str, int]]] = {
    # file: reader, records, interactions, feedback, skipped by reason
    "agno-2025-06-11": (
        "langfuse",
        *(7, 0, 0),
        {"not_a_generation": 2, "trace_without_messages": 1, "unreadable_generation": 4},
    ),
    "autogen-2025-06-06": ("langfuse", 3, 1, 0, {"not_a_generation": 1, "unreadable_generation": 1}),
    "beeai-2025-08-01": (
        "langfuse",
        *(32, 1, 0),
        {"no_prompt": 2, "no_response": 3, "not_a_generation": 24, "score_not_a_thumb": 2},
    ),
    "claude-agent-2025-12-22": (
        "langfuse",
        *(11, 2, 1),
        {"not_a_generation": 3, "score_not_a_thumb": 2, "unreadable_generation": 3},
    ),
    "crewai-2025-07-11": ("langfuse", 9, 1, 0, {"no_prompt": 1, "not_a_generation": 5, "score_not_a_thumb": 2}),
    "csharp-agent-with-gemini-2026-03-09": (
        "langfuse",
        *(9, 3, 0),
        {"not_a_generation": 5, "trace_without_messages": 1},
    ),
    "google-adk-2025-08-28": (
        "langfuse",
        *(8, 2, 0),
        {"not_a_generation": 3, "score_not_a_thumb": 2, "trace_without_messages": 1},
    ),
    "google-gemini-2025-08-01": ("langfuse", 4, 2, 0, {"score_not_a_thumb": 2}),
    "koog-2025-08-26": ("langfuse", 12, 2, 0, {"no_prompt": 1, "not_a_generation": 9}),
    "langgraph-js-2025-10-30": ("langfuse", 23, 3, 0, {"not_a_generation": 18, "score_not_a_thumb": 2}),
    "langgraph-python-2025-08-22": ("langfuse", 12, 3, 0, {"not_a_generation": 7, "score_not_a_thumb": 2}),
    "llamaindex-2025-06-05": ("langfuse", 3, 1, 0, {"not_a_generation": 1, "unreadable_generation": 1}),
    "microsoft-agent-2025-12-17": ("langfuse", 8, 3, 1, {"not_a_generation": 2, "score_not_a_thumb": 2}),
    "openai-agents-2025-09-30": ("langfuse", 8, 2, 0, {"no_prompt": 1, "not_a_generation": 3, "score_not_a_thumb": 2}),
    "pydantic-ai-2025-06-06": ("langfuse", 5, 2, 1, {"not_a_generation": 2}),
    # The same trace as in the file before, its observations in another order.
    "pydantic-ai-tools-2025-06-06": ("langfuse", 5, 0, 0, {"duplicate": 3, "not_a_generation": 2}),
    "pydantic-ai-tools-2025-12-04": ("langfuse", 13, 4, 0, {"not_a_generation": 8, "trace_without_messages": 1}),
    "pydantic-ai-with-gemini-2025-12-24": ("langfuse", 2, 2, 0, {}),
    "vercel-aisdk-2025-11-17": ("langfuse", 6, 3, 0, {"not_a_generation": 1, "score_not_a_thumb": 2}),
    "vertex-ai-2025-08-01": ("langfuse", 4, 2, 0, {"score_not_a_thumb": 2}),
    "langsmith_js_wrap_openai_default": ("langsmith", 1, 1, 0, {}),
    "langsmith_js_wrap_openai_reasoning": ("langsmith", 1, 1, 0, {}),
    "langsmith_js_wrap_openai_stream": ("langsmith", 1, 1, 0, {}),
    "langsmith_py_wrap_openai_": ("langsmith", 1, 1, 0, {}),
    "langsmith_py_wrap_openai_reasoning": ("langsmith", 1, 1, 0, {}),
    "langsmith_py_wrap_openai_stream": ("langsmith", 1, 1, 0, {}),
    "langsmith_py_wrap_openai_stream_no_usage": ("langsmith", 1, 1, 0, {}),
    # Calls of a client library as [method, arguments]: no run, no request with its response.
    "anthropic_managed_builtin_tools": (None, 15, 0, 0, {"blank_line": 1}),
    "anthropic_managed_custom_tools": (None, 19, 0, 0, {}),
    "anthropic_managed_mcp_tools": (None, 22, 0, 0, {}),
    "anthropic_managed_mcp_tools_reject": (None, 27, 0, 0, {}),
    "chatbotui-export": ("chatbotui_export", 3, 3, 0, {}),
    "chatgpt-export": ("chatgpt_export", 9, 9, 0, {}),
    "chatgpt-tree": ("chatgpt_export", 6, 5, 0, {"unfinished": 1}),
    "librechat-export": ("librechat", 3, 3, 0, {}),
    "librechat-linear": ("librechat", 1, 1, 0, {}),
    "librechat-opts-nonr-branches": ("librechat", 3, 2, 0, {"unfinished": 1}),
    "librechat-tree": ("librechat", 5, 5, 0, {}),
}


def logs(root: Path) -> list[Path]:
    """Return every log of the folders; `.chatml.json` is no log but Langfuse's reading of one."""
    found = (path for folder in FOLDERS for path in (root / "logs" / folder).iterdir())
    return sorted(path for path in found if not path.name.endswith(".chatml.json"))


def name_of(path: str | Path) -> str:
    return Path(path).name.split(".")[0]


@pytest.fixture(scope="module")
def ingested(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Summary, Settings]]:
    root = tmp_path_factory.mktemp("real")
    (root / "key").write_text("ab" * 32)
    settings = Settings(
        root=root,
        lake=root / "lake",
        curated=root / "curated",
        pseudonym_key=root / "key",
        sources=tuple(Source(name=name_of(path), path=str(path)) for path in logs(shared_data)),
        labels=Labels(url=f"sqlite:///{root}/labels.db"),
    )
    # One source for the two files that hold the same trace, so that its second copy is known.
    shared = [s.model_copy(update={"name": "langfuse"}) if "pydantic" in s.name else s for s in settings.sources]
    settings = settings.model_copy(update={"sources": tuple(shared)})
    yield run(settings), settings


def test_every_file_is_known_to_its_reader_alone(shared_data: Path) -> None:
    assert {name_of(path) for path in logs(shared_data)} == set(READ)
    for path in logs(shared_data):
        for line in LogFile(path).lines(0, 1 << 26, settled=True):
            known = [] if line.record is None else [r.name for r in registry.READERS if r.sniff(line.record)]
            expected = READ[name_of(path)][0]
            assert known == ([expected] if expected else []), path.name


def test_every_file_ends_in_these_counts(ingested: tuple[Summary, Settings]) -> None:
    found = {
        name_of(t.origin.path): (t.records, t.interactions, t.feedback, dict(t.skipped)) for t in ingested[0].tallies
    }
    assert found == {name: expected[1:] for name, expected in READ.items()}
    assert ingested[0].quarantined() == {"not_an_object": 14 + 19 + 22 + 27}
    assert sum(t.lines for t in ingested[0].tallies if t.records and t.origin.path.endswith(".json")) == 20 + 7 + 8


def test_the_parts_of_a_trace_are_all_accounted_for(ingested: tuple[Summary, Settings]) -> None:
    """The trace itself, each observation, each score and each correction; no generation there has two answers."""
    for tally in ingested[0].tallies:
        if tally.origin.path.endswith(".trace.json"):
            record = json.loads(Path(tally.origin.path).read_text("utf-8"))
            trace = record["trace"]
            parts = 1 + len(record["observations"]) + len(trace.get("scores", [])) + len(trace.get("corrections", []))
            assert tally.records == parts, tally.origin.path


def test_branches_are_siblings(ingested: tuple[Summary, Settings]) -> None:
    """Two answers to "thanks" in LibreChat's tree, two to "tell me a joke" in ChatGPT's; nothing else has a sibling."""
    with duckdb.connect() as connection:
        Lake(ingested[1].lake).view(connection, "interactions")
        found = connection.execute(
            "SELECT source, prompt[-1].content, count(*) FROM interactions WHERE source LIKE 'librechat%' "
            "OR source LIKE 'chatgpt%' GROUP BY sibling_group, 1, 2 HAVING count(*) > 1 ORDER BY 1"
        ).fetchall()
    assert found == [("chatgpt-tree", "tell me a joke", 2), ("librechat-tree", "thanks", 2)]


def test_the_recorded_calls_are_each_known_to_one_reader(shared_data: Path) -> None:
    counts: Counter[str] = Counter()
    with gzip.open(shared_data / "logs" / "llm_calls.jsonl.gz", "rt", encoding="utf-8") as file:
        for record in map(json.loads, file):
            [name] = [reader.name for reader in registry.READERS if reader.sniff(record)]
            counts[name] += 1
    assert counts == {
        "openai_chat": 761,
        "anthropic_messages": 262,
        "openai_responses": 152,
        "openai_completions": 122,
        "gemini": 90,
        "ollama": 40,
    }


PRINTED = "neither: the messages are Python objects printed as text, of which they keep the tools alone"
UNPROMPTED = "theirs: they keep the response, whose prompt neither can read"
NO_ANSWER = "neither: they show a request without any response, which is no interaction"
NO_ROLE = 'theirs: the request is {"content": "role"}, a broken export; they keep the response'
ONE_MESSAGE = "ours: the request is one message, not a list; they refuse it"
TEXT = "ours: the response is plain text, which they refuse"
DIFFERENCES: dict[tuple[str, str, str], str] = {
    ("agno-2025-06-11", "b38a82eaa62b551e", "input"): PRINTED,
    ("agno-2025-06-11", "b38a82eaa62b551e", "output"): UNPROMPTED,
    ("agno-2025-06-11", "ca136de468e156c9", "input"): PRINTED,
    ("agno-2025-06-11", "ca136de468e156c9", "output"): UNPROMPTED,
    ("beeai-2025-08-01", "52df0f7f9dad6b23", "input"): NO_ANSWER,
    ("beeai-2025-08-01", "4c5c5a7936ca24bc", "input"): NO_ANSWER,
    ("beeai-2025-08-01", "1f956cbea34725bd", "input"): NO_ANSWER,
    ("claude-agent-2025-12-22", "371496f71d82baed", "output"): NO_ROLE,
    ("claude-agent-2025-12-22", "f8e8f040dc94e67e", "output"): NO_ROLE,
    ("claude-agent-2025-12-22", "2cc13e77781787fd", "output"): NO_ROLE,
    ("claude-agent-2025-12-22", "e9aac170e5d48125", "input"): ONE_MESSAGE,
    ("crewai-2025-07-11", "231c43964b7e7e63", "output"): TEXT,
    ("google-adk-2025-08-28", "bded677884f031ce", "input"): "ours: a function's response is the tool's, not a user's",
    ("langgraph-js-2025-10-30", "0856a1825ccee968", "input"): "ours: the role is the tool's name, so the role is tool",
    ("pydantic-ai-2025-06-06", "5cb389a3bdd21a6e", "output"): "ours: they leave the message within its choice",
    ("pydantic-ai-tools-2025-06-06", "5cb389a3bdd21a6e", "output"): "ours: they leave the message within its choice",
    ("vercel-aisdk-2025-11-17", "1dc6768109615657", "input"): 'ours: the request is {"prompt": text}; they refuse it',
}
"""(file, observation, side) -> who is right, where Langfuse's reading and ours differ."""


def theirs(message: dict[str, Any]) -> tuple[Any, ...]:
    """Return a message of Langfuse's in our notation: texts joined, tool_use blocks as calls, "model" as assistant."""
    content, calls = message.get("content"), message.get("tool_calls") or []
    calls = [(call.get("id") or None, call["name"], json.loads(call["arguments"])) for call in calls]
    if isinstance(content, list):
        calls = [(p["id"], p["name"], p["input"]) for p in content if p["type"] == "tool_use"]
        content = "\n".join(part["text"] for part in content if part["type"] == "text")
    role = "assistant" if message.get("role") == "model" else message.get("role")
    return role, content or None, calls, message.get("tool_call_id")


def ours(message: Any) -> tuple[Any, ...]:
    calls = json.loads(message["tool_calls"] or "[]")
    made = [(c.get("id"), c["function"]["name"], json.loads(c["function"]["arguments"])) for c in calls]
    return message["role"], message["content"] or None, made, message["tool_call_id"]


def test_generations_agree_with_langfuses_own_reading(shared_data: Path) -> None:
    """42 generations, two sides each: 67 agree (both may find nothing), and the others are listed with who is right."""
    agree, differ = 0, set()
    for path in sorted((shared_data / "logs" / "langfuse-traces").glob("*.trace.json")):
        record = json.loads(path.read_text("utf-8"))
        reference = json.loads(path.with_name(path.name.replace(".trace.", ".chatml.")).read_text("utf-8"))
        read = {one.source_id: one for one in Langfuse().read(record).interactions}
        for observation in record["observations"]:
            if observation["type"] != "GENERATION":
                continue
            one = read.get(observation["id"])
            sides = {"input": one.prompt, "output": one.response} if one else {"input": None, "output": None}
            for side, messages in sides.items():
                said = reference.get(observation["id"], {}).get(side, {"success": False})
                expected = [theirs(message) for message in said["data"]] if said["success"] else None
                if (None if messages is None else [ours(message) for message in messages]) == expected:
                    agree += 1
                else:
                    differ.add((name_of(path), observation["id"], side))
    assert differ == set(DIFFERENCES)
    assert agree == 67 == 2 * 42 - len(DIFFERENCES)
