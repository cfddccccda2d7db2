"""Token ids of prompts and responses: what is rendered, and where the response starts."""

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from ingest.errors import ContractError, SettingsError
from train.tokens import Row, messages_for_template, tokenise

from .conftest import say


def text_of(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> str:
    return str(tokenizer.decode(ids))


def with_template(tokenizer: PreTrainedTokenizerFast, template: str | None) -> PreTrainedTokenizerFast:
    made = copy.deepcopy(tokenizer)
    made.chat_template = template
    return made


def chat_row(**changes: Any) -> Row:
    sides = {"prompt": [say("user", "Where?")], "chosen": [say("assistant", "Here.")]}
    return Row("t", **{**sides, "rejected": [say("assistant", "No idea.")], **changes})


def test_a_conversation_is_rendered_with_the_template_and_cut_after_the_generation_prompt(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    (pair,) = tokenise(tokenizer, [chat_row()])

    assert text_of(tokenizer, pair.prompt) == "<|user|>\nWhere?<|end|>\n<|assistant|>\n"
    assert text_of(tokenizer, pair.chosen) == "Here.<|end|>\n"
    assert text_of(tokenizer, pair.rejected) == "No idea.<|end|>\n"
    assert pair.unread == []


def test_plain_texts_end_in_the_end_token_once(tokenizer: PreTrainedTokenizerFast) -> None:
    (pair,) = tokenise(tokenizer, [Row("t", "Q: where? A:", " here", " nowhere<|end|>")])

    assert text_of(tokenizer, pair.prompt) == "Q: where? A:"
    assert text_of(tokenizer, pair.chosen) == " here<|end|>"
    assert text_of(tokenizer, pair.rejected) == " nowhere<|end|>"


def test_plain_texts_need_an_end_token(tokenizer: PreTrainedTokenizerFast) -> None:
    endless = copy.deepcopy(tokenizer)
    endless.eos_token = None

    with pytest.raises(SettingsError, match="no end token"):
        tokenise(endless, [Row("t", "a", "b", "c")])


def test_a_conversation_needs_a_template(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(SettingsError, match="no chat template"):
        tokenise(with_template(tokenizer, None), [chat_row()])


def test_null_keys_do_not_reach_the_template(tokenizer: PreTrainedTokenizerFast) -> None:
    """A template that asks whether tool_calls is defined would otherwise write "None" into every message."""
    asks = (
        "{% for m in messages %}{% if m.tool_calls is defined %}CALLS{% endif %}{{ m.content }};{% endfor %}"
        "{% if add_generation_prompt %}{% endif %}"
    )

    (pair,) = tokenise(with_template(tokenizer, asks), [chat_row()])

    assert text_of(tokenizer, pair.prompt + pair.chosen) == "Where?;Here.;"


def test_tool_calls_become_objects_and_content_may_be_absent() -> None:
    message = {**say("assistant", ""), "content": None, "tool_calls": '[{"name": "find"}]'}

    assert messages_for_template([message], "t") == [{"role": "assistant", "tool_calls": [{"name": "find"}]}]


def test_tools_are_rendered_on_both_sides(tokenizer: PreTrainedTokenizerFast) -> None:
    (pair,) = tokenise(tokenizer, [chat_row(tools='[{"name": "find"}]')])

    assert text_of(tokenizer, pair.prompt).startswith('<|tools|>[{"name": "find"}]<|end|>\n<|user|>')
    assert text_of(tokenizer, pair.chosen) == "Here.<|end|>\n"


def test_tools_that_are_not_json_are_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ContractError, match=r"^row:7: tools is not JSON"):
        tokenise(tokenizer, [replace(chat_row(tools="{find"), row_id="row:7")])


def test_the_response_starts_at_the_earlier_of_both_boundaries(tokenizer: PreTrainedTokenizerFast) -> None:
    """The template ends a prompt alone in "A: >", but only an answer that starts with ">" continues it so.

    Prompt alone "A: >"; with chosen "A: >yes"; with rejected "A: no". The common prefix with rejected ends before
    " >" or ">", so both responses start there and the prompt's last token is left out, as in TRL 1.16.
    """
    template = "A: {% for m in messages[1:] %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}>{% endif %}"

    (pair,) = tokenise(
        with_template(tokenizer, template),
        [chat_row(chosen=[say("assistant", ">yes")], rejected=[say("assistant", "no")])],
    )

    assert text_of(tokenizer, pair.prompt + pair.chosen) == "A: >yes"
    assert text_of(tokenizer, pair.prompt + pair.rejected) == "A: no"
    assert len(pair.unread) >= 1
    assert ">" not in text_of(tokenizer, pair.prompt)


@pytest.mark.parametrize(
    ("arguments", "rendered"),
    [
        pytest.param('{"city": "Bonn"}', '{"city": "Bonn"}', id="object"),
        pytest.param("{city", '"{city"', id="not JSON"),
        pytest.param('"Bonn"', '"\\"Bonn\\""', id="no object"),
    ],
)
def test_arguments_of_a_call_are_encoded_once(
    tokenizer: PreTrainedTokenizerFast, arguments: str, rendered: str
) -> None:
    calls = json.dumps([{"type": "function", "function": {"name": "find", "arguments": arguments}}])
    template = "{% for m in messages %}{% for c in m.tool_calls %}{{ c.function.arguments | tojson }}{% endfor %}"
    chosen = [{**say("assistant", ""), "tool_calls": calls}]

    (pair,) = tokenise(with_template(tokenizer, template + "{% endfor %}"), [chat_row(chosen=chosen)])

    assert text_of(tokenizer, pair.chosen) == rendered


@pytest.mark.parametrize(
    "template",
    [
        pytest.param("{{ raise_exception('No system role') }}", id="raises"),
        pytest.param("{% for m in messages %}", id="syntax"),
        pytest.param("{{ messages + 1 }}", id="type"),
    ],
)
def test_a_template_that_fails_names_the_row(tokenizer: PreTrainedTokenizerFast, template: str) -> None:
    with pytest.raises(ContractError, match=r"^row:7: the model's chat template cannot render the conversation: "):
        tokenise(with_template(tokenizer, template), [replace(chat_row(), row_id="row:7")])
