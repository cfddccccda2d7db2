"""What DuckDB reads off texts: normalisation, blankness, lengths, the language where the script says it."""

import unicodedata
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import scripts
from curate.statements import statement

from .conftest import judge_triples, make_triple, varied


@pytest.fixture(scope="module")
def macros() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect()
    scripts.add_functions(connection)
    connection.execute(statement("style.sql"))
    connection.execute(statement("signs.sql"))
    connection.execute(statement("features.sql").split("CREATE TEMP TABLE")[0])
    yield connection
    connection.close()


def value(connection: duckdb.DuckDBPyConnection, expression: str, said: str) -> Any:
    ((found,),) = connection.execute(
        f"SELECT {expression} FROM (SELECT $said::VARCHAR AS said)", {"said": said}
    ).fetchall()
    return found


@pytest.mark.parametrize(
    ("said", "language"),
    [
        ("The refund was sent on Monday.", None),
        ("Возврат отправлен в понедельник.", None),
        ("תודה רבה", None),
        ("返金は月曜日に送信されました。", "ja"),
        ("退款已于星期一发出，请查收您的账户。", "zh"),
        ("退款", None),
        ("환불이 월요일에 전송되었습니다.", "ko"),
        ("ส่งคืนเงินแล้ว", "th"),
        ("Η επιστροφή χρημάτων στάλθηκε.", "el"),
        ("The letters α and β are Greek.", None),
        ("Call `refund()`: 返金は月曜日に送信されました。", "ja"),
        ("12 + 3 = 15 👍", None),
        ("", None),
    ],
    ids=["English", "Russian", "Hebrew", "Japanese", "Chinese", "two Han characters", "Korean", "Thai", "Greek",
         "Greek letters in English", "code in Japanese", "no letters", "nothing"],
)  # fmt: skip
def test_language(macros: duckdb.DuckDBPyConnection, said: str, language: str | None) -> None:
    assert value(macros, "script_language(said)", said) == language


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30))
def test_normalised_as_python_does_it(macros: duckdb.DuckDBPyConnection, said: str) -> None:
    """NFC, lower case, white space to one space; letter by letter, since Python alone knows a final sigma."""
    lowered = "".join(c if c == "\u0130" else c.lower() for c in unicodedata.normalize("NFC", said))
    by_python = " ".join(unicodedata.normalize("NFC", lowered).split())
    by_duckdb = value(macros, "normalised(said)", said)
    known = all(unicodedata.category(c) != "Cn" and c != "\u0130" for c in said)
    assert by_duckdb == by_python or not known


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8))
def test_blank_shows_nothing(macros: duckdb.DuckDBPyConnection, said: str) -> None:
    shows = any(unicodedata.category(c)[0] not in "ZC" for c in said)
    known = all(unicodedata.category(c) != "Cn" for c in said)
    assert value(macros, "is_blank(said)", said) != shows or not known


def test_lengths_are_characters_of_content_and_tool_calls() -> None:
    """ "Hé" and "a" with a line feed between are 4 characters; "ok" and the call `[1]` are 6; an emoji is one."""
    message = {"role": "user", "content": "a", "tool_calls": None, "tool_call_id": None, "name": None}
    row = make_triple(
        prompt=[message | {"role": "system", "content": "Hé"}, message],
        chosen=[message | {"role": "assistant", "content": "ok", "tool_calls": "[1]"}],
        rejected="🙂",
    )
    found = judge_triples([row, *varied(2)]).curated[row["triple_id"]]
    assert (found["prompt_chars"], found["chosen_chars"], found["rejected_chars"]) == (4, 6, 1)


def test_roles_and_tool_calls_are_part_of_what_is_said() -> None:
    """The same words from another role, or with another call, are another response."""
    said = {"role": "assistant", "content": "ok", "tool_calls": None, "tool_call_id": None, "name": None}
    rows = [
        make_triple("A?", chosen=[said], rejected=[said | {"role": "tool"}]),
        make_triple("B?", chosen=[said], rejected=[said | {"tool_calls": "[1]"}]),
    ]
    assert not judge_triples(rows).dropped
