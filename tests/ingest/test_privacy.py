"""Personal data in ids, names and quarantined lines: gone from the lake, and all that is joined still joins."""

import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest

from ingest.errors import ContractError, RecordError
from ingest.readers.oasst_tree import OASSTTree
from ingest.readers.openai_responses import OpenAIResponses
from ingest.readers.reading import Reading
from ingest.readers.winnow import Winnow
from ingest.redact import Placeholders
from ingest.schema import interaction_id

Make = Callable[..., dict[str, Any]]
Log = Callable[..., bytes]

KEY = bytes.fromhex("ab" * 32)
"""The workspace's."""


def keyed(text: str) -> str:
    return hmac.new(KEY, text.encode(), "sha256").hexdigest()[:32]


def test_names_and_ids_that_hold_personal_data_are_not_stored_and_join_as_before(
    workspace: Any, interaction: Make, thumb: Make, log: Log
) -> None:
    mail = "jane@example.com"
    named = interaction(1, id=mail, conversation_id=f"{mail}-7", parent_id=mail, arm=mail, consent=mail)
    named |= {"logprob_model": "sk-abcdefgh12345678901234"}
    named["request"]["model"] = mail
    named["response"]["choices"][0]["finish_reason"] = mail
    vote = thumb(1, 1, id=f"vote of {mail}")
    vote["target"]["id"] = mail
    (workspace.logs / "a.jsonl").write_bytes(log(named, vote, interaction(2), thumb(2, 2)))
    workspace.run()
    rows = {row["turn_index"]: row for row in workspace.arrow("interactions").to_pylist() if "id:" in row["source_id"]}
    row = rows[0]
    pseudonym = f"id:{keyed(mail)}"
    assert (row["source_id"], row["parent_id"]) == (pseudonym, pseudonym)
    assert row["conversation_id"] == f"id:{keyed(f'{mail}-7')}"
    assert row["interaction_id"] == interaction_id("app", pseudonym)
    assert [row[name] for name in ("arm", "consent", "finish_reason", "model_requested")] == ["<EMAIL_1>"] * 4
    assert row["logprob_model"] == "<API_KEY_1>"
    assert dict(row["redactions"]) == {"email": 4, "api_key": 1}
    votes = {row["target_id"]: row for row in workspace.arrow("feedback").to_pylist()}
    assert votes[pseudonym]["interaction_id"] == row["interaction_id"]
    assert votes[pseudonym]["source_id"] == f"id:{keyed(f'vote of {mail}')}"
    assert votes["int-2"]["interaction_id"] == interaction_id("app", "int-2")  # others stay as they are
    for path in workspace.settings.lake.rglob("*"):
        assert not path.is_file() or b"example.com" not in path.read_bytes()


def test_a_response_finds_its_parent_by_an_id_that_holds_personal_data(workspace: Any, log: Log) -> None:
    def call(name: str, parent: str | None) -> dict[str, Any]:
        said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": f"to {name}"}]}
        response = {"id": f"{name}@example.com", "object": "response", "status": "completed", "output": [said]}
        return {"request": {"model": "m", "input": name, "previous_response_id": parent}, "response": response}

    (workspace.logs / "a.jsonl").write_bytes(log(call("bob", "ann@example.com"), call("ann", None)))
    summary = workspace.run()
    assert (summary.completed, summary.awaiting_parent) == (1, 0)
    prompts = [[message["content"] for message in prompt] for prompt in workspace.rows("interactions", "prompt")]
    assert sorted(prompts) == [["ann"], ["ann", "to ann", "bob"]]


def test_users_in_quarantined_lines_are_the_pseudonyms_of_rows(workspace: Any, interaction: Make, log: Log) -> None:
    bad = {"winnow": 1, "kind": "interaction", "id": "i9", "user_id": "u-017", "time": "bad"}
    vote = {"winnow": 1, "kind": "feedback", "rater": {"kind": "user", "id": "u-017"}}
    nested = {"a": json.dumps({"user": "u-017", "end_user": 17})}
    torn = b'{"winnow":1,"rater":{"kind":"user","id":"u-017"},"user_id":"u-017","x\n{"user": "u-0'
    (workspace.logs / "a.jsonl").write_bytes(log(interaction(1), bad, vote, nested) + torn + b"\n")
    assert workspace.run().totals()["quarantined"] == 5
    (user,) = workspace.rows("interactions", "user_id")
    assert user == f"u:{keyed('u-017')}"
    raws = workspace.rows("quarantine", "raw")
    inner = {"user": user, "end_user": f"u:{keyed('17')}"}
    assert sorted(raws) == sorted(
        [
            json.dumps(bad | {"user_id": user}),
            json.dumps(vote | {"rater": {"kind": "user", "id": user}}),
            json.dumps({"a": json.dumps(inner)}),
            f'{{"winnow":1,"rater":{{"kind":"user","id":"{user}"}},"user_id":"{user}","x',
            f'{{"user": "u:{keyed("u-0")}"',
        ]
    )


def test_without_pseudonyms_a_user_is_a_text_like_any_other() -> None:
    assert Placeholders().json_text('{"user": "u-017"}') == '{"user": "u-017"}'


def test_a_status_that_the_format_does_not_know_is_no_reason() -> None:
    row = {"request": {"input": "q"}, "response": {"object": "response", "status": "jane@example.com", "output": []}}
    with pytest.raises(RecordError, match=r"bad_value: response\.status: expected completed") as caught:
        OpenAIResponses().read(row)
    assert "jane" not in str(caught.value)
    with pytest.raises(RecordError, match="bad_value: tree_state: expected one of aborted_low_grade"):
        OASSTTree().read({"message_tree_id": "t", "tree_state": "jane", "prompt": {}})


@pytest.mark.parametrize(
    "found", [Reading(skipped="of jane"), Reading(skipped_parts={"[/x]": 1})], ids=["of a line", "of a part"]
)
def test_a_reason_that_is_no_code_is_a_bug(
    workspace: Any, interaction: Make, log: Log, monkeypatch: pytest.MonkeyPatch, found: Reading
) -> None:
    monkeypatch.setattr(Winnow, "read", lambda _self, _record: found)
    (workspace.logs / "a.jsonl").write_bytes(log(interaction(1)))
    with pytest.raises(ContractError, match="bug in the reader") as caught:
        workspace.run()
    assert "jane" not in str(caught.value)
