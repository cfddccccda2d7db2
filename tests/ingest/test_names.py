"""Names of people and places: the real Presidio over a real spaCy pipeline whose entities are listed; no network."""

import json
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import redact, replay, workers
from ingest.errors import SettingsError
from ingest.redact import Placeholders, find, suspects
from ingest.rereading import Chosen
from ingest.settings import Redaction, load
from tests.ingest.conftest import Workspace

Make = Callable[..., dict[str, Any]]
Log = Callable[..., bytes]

ENTITIES = {
    "PERSON": ("Maria Keller", "Jonas", "Keller 203.0.113.7 Jun"),
    "GPE": ("Lisbon",),
    "FAC": ("12 Rua Augusta",),
    "ORG": ("Acme",),
}
"""Label -> what the pipeline marks with it."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import spacy

    pipeline = spacy.blank("en")
    pipeline.add_pipe("entity_ruler").add_patterns(
        [{"label": label, "pattern": text} for label, texts in ENTITIES.items() for text in texts]
    )
    folder = tmp_path_factory.mktemp("model")
    pipeline.to_disk(folder)
    return folder


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refused(*_args: Any, **_options: Any) -> None:
        raise AssertionError("something asked a host")

    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(socket.socket, "connect", refused)
    yield
    redact.use(Redaction())


@pytest.fixture
def names(model: Path, offline: None) -> Redaction:
    settings = Redaction(names=True, names_model=str(model))
    redact.use(settings)
    return settings


CASES = [
    # name, text, expected
    ("people", "Maria Keller met Jonas.", "<NAME_1> met <NAME_2>."),
    ("one value has one number", "Jonas, Maria Keller, Jonas", "<NAME_1>, <NAME_2>, <NAME_1>"),
    ("places", "From Lisbon, 12 Rua Augusta", "From <LOCATION_1>, <LOCATION_2>"),
    ("other entities stay", "Acme hired Jonas", "Acme hired <NAME_1>"),
    ("beside a pattern's kind", "Jonas <jonas@example.com>", "<NAME_1> <<EMAIL_1>>"),
    ("around a pattern's kind", "by Keller 203.0.113.7 Jun", "by <NAME_1> <IP_1> <NAME_2>"),
    ("a placeholder that somebody typed", "<NAME_1> and Jonas", "<NAME_1> and <NAME_2>"),
    ("nothing", "Ordinary text.", "Ordinary text."),
]


@pytest.mark.parametrize(("text", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_names_become_placeholders(text: str, expected: str, names: Redaction) -> None:
    for _ in range(2):  # the second time it is remembered
        assert Placeholders().text(text) == expected
        assert suspects([text, "", "Jonas"]) == [text != expected, False, True]


def test_names_are_found_in_json_and_in_prose_alone(names: Redaction) -> None:
    placeholders = Placeholders()
    assert placeholders.json_text('{"to": ["Jonas", 1], "Lisbon": "{\\"a\\": \\"Jonas\\"}"}') == (
        '{"to": ["<NAME_1>", 1], "<LOCATION_1>": "{\\"a\\": \\"<NAME_1>\\"}"}'
    )
    assert placeholders.counts == {"name": 2, "location": 1}
    assert placeholders.without_names().json_text('{"model": "Jonas", "by": "a@b.de"}') == (
        '{"model": "Jonas", "by": "<EMAIL_1>"}'
    )
    assert placeholders.counts == {"name": 2, "location": 1, "email": 1}
    assert suspects(["Jonas", "Jonas", "a@b.de"], prose=1) == [True, False, True]
    assert find("Jonas", prose=False) == []


def test_without_the_setting_nothing_is_a_name(names: Redaction) -> None:
    assert find("Jonas") == [(0, 5, "NAME")]
    redact.use(Redaction())
    assert find("Jonas") == []


@given(st.lists(st.sampled_from(["a", " ", "\n", "Jonas"]), max_size=60).map("".join), st.integers(1, 9))
def test_pieces_are_the_text(text: str, size: int) -> None:
    from ingest import names

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(names, "PIECE", size)
        found = list(names.pieces(text))
    assert "".join(text[begin:end] for begin, end in found) == text
    assert all(0 < end - begin <= size for begin, end in found)


def test_a_text_of_more_than_one_piece(names: Redaction) -> None:
    """A million characters and more are what a pipeline refuses."""
    text = f"{'x' * 2000} by Jonas.\n" * 550
    assert Placeholders().text(text) == text.replace("Jonas", "<NAME_1>")


def test_a_run_stores_no_name(workspace: Workspace, names: Redaction, interaction: Make, thumb: Make, log: Log) -> None:
    tokens = {"token": "x", "logprob": -0.5, "bytes": None, "top_logprobs": []}
    answer = interaction(1, "Who is Maria Keller?", "Jonas and Maria Keller, of Lisbon")
    answer["response"]["choices"][0]["logprobs"] = {"content": [tokens], "refusal": None}
    answer["request"]["model"] = "Jonas"
    answer["request"]["messages"][0]["name"] = "Jonas"
    edit = thumb(1, 1, signal="edit", value=None, text="Maria Keller and Jonas")
    torn = b'{"winnow": 1, "said": "Maria Keller of Lisbon\n'
    (workspace.logs / "a.jsonl").write_bytes(log(answer, edit) + torn + b"{}\n")
    workspace.settings = workspace.settings.model_copy(update={"redaction": names})
    summary = workspace.run()
    [row] = workspace.arrow("interactions").to_pylist()
    [message] = row["prompt"]
    assert (message["content"], message["name"]) == ("Who is <NAME_1>?", "<NAME_2>")
    assert row["response"][0]["content"] == "<NAME_2> and <NAME_1>, of <LOCATION_1>"
    assert row["model_requested"] == "Jonas"  # what the deployment calls its model is no person
    assert dict(row["redactions"]) == {"name": 4, "location": 1, "token_logprobs": 1}
    assert row["token_logprobs"] is None
    [event] = workspace.arrow("feedback").to_pylist()
    assert event["text"] == "<NAME_1> and <NAME_2>"
    assert dict(event["placeholders"])["NAME_1"] == dict(row["placeholders"])["NAME_1"]
    [triple] = workspace.arrow("triples").to_pylist()
    assert triple["chosen"][0]["content"] == "<NAME_1> and <NAME_2>"
    raw = [text for text in workspace.rows("quarantine", "raw") if "said" in text]
    assert raw == ['{"winnow": 1, "said": "<NAME_1> of <LOCATION_1>']
    assert summary.redactions() == {"name": 7, "location": 2, "token_logprobs": 1}


def test_processes_that_read_a_part_of_a_file_redact_likewise(
    workspace: Workspace, names: Redaction, interaction: Make, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "LEAST_BYTES", 1)
    monkeypatch.setattr(workers, "RANGE_BYTES", 1500)
    lines = log(*(interaction(i, f"Question {i}", "Jonas") for i in range(5)))
    (workspace.logs / "a.jsonl").write_bytes(lines)
    workspace.limited(workers=2)
    workspace.settings = workspace.settings.model_copy(update={"redaction": names})
    assert len(workers.ranges(0, len(lines))) > 0
    workspace.run()
    assert {row[0]["content"] for row in workspace.rows("interactions", "response")} == {"<NAME_1>"}


def test_a_replay_redacts_likewise(workspace: Workspace, names: Redaction, interaction: Make, log: Log) -> None:
    (workspace.logs / "a.jsonl").write_bytes(log(interaction(1, answer="Jonas " + "x" * 900), interaction(2)))
    workspace.settings = workspace.settings.model_copy(update={"redaction": names})
    workspace.limited(line_bytes=800)
    assert workspace.run().quarantined() == {"oversized": 1}
    workspace.limited()
    redact.use(Redaction())
    replay.replay(workspace.settings, Chosen())
    assert {row[0]["content"][:8] for row in workspace.rows("interactions", "response")} == {"Answer", "<NAME_1>"}


def test_settings_name_a_folder_or_a_package(tmp_path: Path, model: Path, offline: None) -> None:
    file = tmp_path / "winnow.toml"
    (tmp_path / "pipeline").symlink_to(model)
    file.write_text('[redaction]\nnames = true\nnames_model = "pipeline"\n')
    redact.use(load(file).redaction)
    assert find("Jonas") == [(0, 5, "NAME")]
    file.write_text('[redaction]\nnames = true\nnames_model = "en_core_web_lg"\n')
    with pytest.raises(SettingsError, match="'en_core_web_lg', which is neither a folder nor an installed package"):
        redact.use(load(file).redaction)
    assert find("Jonas") == [(0, 5, "NAME")]  # what was in use stays


WRONG = [
    ("no model", "names = true", "names = true needs names_model"),
    ("no effect", 'names_model = "x"', "names_model has no effect without names = true"),
    ("no region", 'regions = ["Germany"]', "redaction.regions.0"),
    ("unknown key", "name = true", "redaction.name"),
]


@pytest.mark.parametrize(("text", "message"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_wrong_settings(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "winnow.toml").write_text(f"[redaction]\n{text}\n")
    with pytest.raises(SettingsError, match=message):
        load(tmp_path / "winnow.toml")


def test_what_is_no_pipeline_with_entities(tmp_path: Path, offline: None) -> None:
    import spacy

    spacy.blank("de").to_disk(tmp_path / "blank")
    (tmp_path / "empty").mkdir()
    for folder, message in (("blank", "marks no entities"), ("empty", "cannot be loaded: .*meta.json")):
        with pytest.raises(SettingsError, match=message):
            redact.use(Redaction(names=True, names_model=str(tmp_path / folder)))


def test_presidio_is_not_installed(model: Path, offline: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ingest.names", raising=False)
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(SettingsError, match=r"pip install winnow\[names\]"):
        redact.use(Redaction(names=True, names_model=str(model)))


def test_the_setting_travels_as_json(names: Redaction) -> None:
    assert Redaction.model_validate(json.loads(json.dumps(redact.in_use().model_dump()))) == names
