"""Every field of transformers' TrainingArguments is an option, has one under another name, or a reason against it."""

from dataclasses import fields

import pytest
from transformers import TrainingArguments

from train.config import RunConfig
from train.dpo import main, parser
from train.foreign import OURS, REFUSED


def test_no_field_is_forgotten_and_none_is_answered_twice() -> None:
    named = {field.name for field in fields(TrainingArguments)}
    options = {action.option_strings[0][2:] for action in parser()._actions}

    assert named == set(OURS) | set(REFUSED) | (named & set(RunConfig.model_fields))
    assert not set(OURS) & set(REFUSED)
    assert not (set(OURS) | set(REFUSED)) & set(RunConfig.model_fields)
    assert {text.split(" ")[0].rstrip(",") for text in OURS.values()} <= options


@pytest.mark.parametrize(
    ("argument", "answer"),
    [
        ("--max-steps", "--max-steps of TrainingArguments is no option: --epochs says how long a run is"),
        ("--push_to_hub=yes", "nothing is uploaded"),
        ("--num-train-epochs", "--num-train-epochs is --epochs here"),
    ],
)
def test_a_field_on_the_command_line_is_answered(
    argument: str, answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data", "x.parquet", argument]) == 2
    assert answer in capsys.readouterr().err


def test_what_is_no_field_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--data", "x.parquet", "--nonsense", "1"])
    assert "unrecognized arguments: --nonsense 1" in capsys.readouterr().err
