"""The page itself, run by Streamlit's own test harness: each button writes exactly one event."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit import config
from streamlit.testing.v1 import AppTest

from app import sitting
from app.screens.access import clean_name
from app.voting import VERDICTS
from tests.app.conftest import Workspace, candidate

MakeWorkspace = Callable[..., Workspace]


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Presses come at once, and nothing that a test's server process cached is left for the next test."""
    monkeypatch.setattr(sitting, "MINIMUM_LOOK_SECONDS", 0.0)
    config.set_option("server.address", "127.0.0.1")
    yield
    st.cache_resource.clear()


@pytest.fixture
def open_page(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    def start(workspace: Workspace, annotator: str | None = "ada") -> AppTest:
        monkeypatch.setenv("WINNOW_CONFIG", str(workspace.config))
        page = AppTest.from_file(str(repository / "app/label.py"), default_timeout=30)
        page.query_params["page"] = "buttons"
        if annotator:
            page.query_params["annotator"] = annotator
        return page.run()

    return start


def press(page: AppTest, name: str) -> AppTest:
    """Click the button whose key begins with `name`."""
    return next(button for button in page.button if str(button.key).startswith(name)).click().run()


def html(page: AppTest) -> str:
    """All HTML the page drew."""
    return "".join(str(element.proto.body) for element in page.get("html"))


def without_id_and_time(event: dict[str, object]) -> dict[str, Any]:
    left_out = {"event_id", "event_time", "shown_time", "elapsed_ms", "layout"}
    return {key: value for key, value in event.items() if key not in left_out}


@pytest.mark.parametrize("verdict", VERDICTS)
def test_each_verdict_is_exactly_one_event(
    verdict: str, make_workspace: MakeWorkspace, open_page: Callable[..., AppTest]
) -> None:
    row = candidate(0, a="Text of a.", b="Text of b.")
    workspace = make_workspace([row, candidate(1)])
    page = open_page(workspace)
    drawn = html(page)
    a_left = drawn.index("Text of a.") < drawn.index("Text of b.")
    by_text = {row[f"response_{s}"][0]["content"]: row[f"interaction_{s}"] for s in "ab"}  # type: ignore[index]
    page = press(page, f"{verdict}-")
    assert not page.exception
    events = workspace.events()
    assert [without_id_and_time(event) for event in events] == [
        {
            "seq": 1,
            "annotator": "ada",
            "kind": "verdict",
            "verdict": verdict,
            "retracts": None,
            "pair_id": row["pair_id"],
            "left_interaction_id": by_text["Text of a." if a_left else "Text of b."],
            "right_interaction_id": by_text["Text of b." if a_left else "Text of a."],
            "guidelines_version": None,
            "late": 0,
            "purpose": "ask",
            "scale": None,
            "edited_side": None,
            "edited_text": None,
            "skip_reason": None,
            "rationale": None,
            "tags": None,
            "aspects": None,
            "page": "buttons",
        }
    ]
    assert "Question 1?" in html(page)
    assert "Saved: " in html(page)


def test_every_verdict_has_its_key(make_workspace: MakeWorkspace, open_page: Callable[..., AppTest]) -> None:
    page = open_page(make_workspace([candidate(0)]))
    keys = {"-".join(str(button.key).split("-")[:2]): button.proto.shortcut for button in page.button}
    assert keys == {
        "left-None": "left", "right-None": "right", "tie-None": "t", "both_bad-None": "b", "skip-None": "s",
        "view-raw": "v", "view-diff": "d",
    }  # fmt: skip


def test_undo_appends_and_brings_the_pair_back(
    make_workspace: MakeWorkspace, open_page: Callable[..., AppTest]
) -> None:
    workspace = make_workspace([candidate(0), candidate(1)])
    page = press(press(open_page(workspace), "left-"), "undo-")
    assert "Question 0?" in html(page)
    assert "Verdict taken back" in html(page)
    press(page, "tie-")
    assert [(event["kind"], event["verdict"]) for event in workspace.events()] == [
        ("verdict", "left"), ("retract", None), ("verdict", "tie"),
    ]  # fmt: skip


def test_the_raw_view_shows_what_was_written(make_workspace: MakeWorkspace, open_page: Callable[..., AppTest]) -> None:
    page = open_page(make_workspace([candidate(0, a="**bold**", b="plain")]))
    assert "<strong>bold</strong>" in html(page)
    assert "**bold**" in html(press(page, "view-raw"))
    assert "<strong>bold</strong>" in html(press(page, "view-raw"))


def test_the_name_is_asked_once(make_workspace: MakeWorkspace, open_page: Callable[..., AppTest]) -> None:
    page = open_page(make_workspace([candidate(0)]), annotator=None)
    assert not html(page).count("Question 0?")
    page.text_input[0].input("  Ada  ")
    page.button[0].click().run()
    assert "Question 0?" in html(page)
    assert page.query_params["annotator"] in ("Ada", ["Ada"])


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        pytest.param("  Ada Lovelace ", "Ada Lovelace", id="spaces-around"),
        pytest.param("Zoe\u0308", "Zoë", id="one-unicode-form"),
        pytest.param("", "", id="empty"),
        pytest.param("a\nb", "", id="two-lines"),
        pytest.param("a\u202eb", "", id="direction-override"),
        pytest.param("x" * 65, "", id="too-long"),
    ],
)
def test_a_name_is_one_printable_line(typed: str, name: str) -> None:
    assert clean_name(typed) == name


def test_the_page_says_when_nothing_is_left(make_workspace: MakeWorkspace, open_page: Callable[..., AppTest]) -> None:
    page = press(open_page(make_workspace([candidate(0)])), "left-")
    assert [heading.value for heading in page.subheader] == ["Nothing left to judge"]
    assert [str(button.key).split("-")[0] for button in page.button] == ["undo", "back"]


def test_a_workspace_without_a_snapshot_says_so(tmp_path: Path, open_page: Callable[..., AppTest]) -> None:
    (tmp_path / "winnow.toml").write_text("")
    page = open_page(Workspace(tmp_path))
    assert [heading.value for heading in page.subheader] == ["No pairs yet"]


def test_an_error_of_the_workspace_is_one_sentence(tmp_path: Path, open_page: Callable[..., AppTest]) -> None:
    (tmp_path / "winnow.toml").write_text("[labels]\ncolour = 1\n")
    page = open_page(Workspace(tmp_path))
    assert not page.exception
    assert len(page.error) == 1
    assert "labels.colour" in page.error[0].value


@pytest.mark.parametrize("address", [None, "0.0.0.0", "192.168.1.5"])
def test_typed_names_are_for_this_machine_only(
    address: str | None, make_workspace: MakeWorkspace, open_page: Callable[..., AppTest]
) -> None:
    config.set_option("server.address", address)
    page = open_page(make_workspace([candidate(0)]))
    assert "--server.address 127.0.0.1" in page.error[0].value
    assert not html(page).count("Question 0?")


def test_the_team_screen_counts_what_was_said(
    make_workspace: MakeWorkspace, repository: Path, open_page: Callable[..., AppTest]
) -> None:
    press(press(open_page(make_workspace([candidate(n) for n in range(4)])), "left-"), "skip-")

    def team() -> None:
        from app.screens import team

        team.draw()

    page = AppTest.from_function(team, default_timeout=30).run()
    assert not page.exception
    assert {metric.label: metric.value for metric in page.metric} == {
        "Pairs in the queue": "4", "Judged": "1", "On a screen now": "1", "Verdicts still wanted": "3",
    }  # fmt: skip
    assert page.dataframe[0].value.iloc[0]["Left"] == "100% (13% to 100%) of 1"
    row = page.dataframe[1].value.iloc[0]
    assert (row["Annotator"], row["Left"], row["Skipped"], row["Right"]) == ("ada", 1, 1, 0)


TASK = """
mode = "scale"
rationale = "required"
skip_reasons = ["Broken", "Unclear"]
tags = ["wrong facts", "too long"]
aspects = ["correct", "clear"]
"""


def test_the_form_of_the_plain_page_goes_into_the_event(
    make_workspace: MakeWorkspace, open_page: Callable[..., AppTest]
) -> None:
    """Without a reason why nothing is stored; then everything at once; then a skip with its reason."""
    workspace = make_workspace([candidate(0), candidate(1)], task=TASK)
    page = press(open_page(workspace), "left-2-")
    assert "Not counted: a reason why is required" in html(page)
    assert workspace.events() == []

    def field(group: Any, name: str) -> Any:
        return next(each for each in group if str(each.key).startswith(name))

    field(page.text_area, "why-").input("It answers.")
    field(page.button_group, "tags-").set_value(["too long"])
    field(page.button_group, "aspect-clear").set_value("tie")
    field(page.button_group, "edit-").set_value("right")
    page = page.run()
    before = field(page.text_area, "text-right").value
    field(page.text_area, "text-right").input(f"{before} Really.")
    page = press(page.run(), "left-2-")
    field(page.selectbox, "skip-").set_value("Unclear")
    press(page.run(), "skip-")
    verdict, skip = workspace.events()
    names = ("verdict", "scale", "rationale", "tags", "aspects", "edited_side", "edited_text", "page")
    assert [verdict[name] for name in names] == [
        "left", 2, "It answers.", '["too long"]', '{"clear": "tie"}', "right", f"{before} Really.", "buttons",
    ]  # fmt: skip
    assert (skip["verdict"], skip["skip_reason"], skip["rationale"]) == ("skip", "Unclear", None)
