"""Untrusted text is drawn, never obeyed."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ballot import View
from app.formulas import ATTRIBUTES
from app.views import TAGS, conversation, edit, markdown, pair, parts, plain, raw, response
from tests.app.conftest import message


class Reading(HTMLParser):
    """What a browser would make of the HTML: tags, attributes, text, and the text inside code."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.text = ""
        self.code: list[str] = []
        self.open: list[str] = []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {(tag, f"{name}={value}") for name, value in attrs}
        if tag not in {"br", "hr"}:
            self.open.append(tag)
        if tag == "code":
            self.code.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in {"br", "hr"}:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if "code" in self.open:
            self.code[-1] += data


TRICKS = [
    ("image", "![alt](http://evil.example/i.png)", "[image: alt] http://evil.example/i.png"),
    ("image-without-alt", "![](//evil.example/i.png)", "[image] //evil.example/i.png"),
    ("image-by-reference", "![a][r]\n\n[r]: http://evil.example", "![a][r][r]: http://evil.example"),
    ("link", "[here](http://evil.example/?q=1&r=2)", "here (http://evil.example/?q=1&r=2)"),
    ("link-in-bold", "**[a](http://x.example)** b", "a (http://x.example) b"),
    ("image-in-link", "[![a](http://i.example)](http://l.example)", "[image: a] http://i.example (http://l.example)"),
    ("autolink", "<https://evil.example>", "https://evil.example"),
    ("bare-address", "see www.evil.example and https://evil.example", "see www.evil.example and https://evil.example"),
    ("script-link", "[x](javascript:alert(1))", "[x](javascript:alert(1))"),
    ("html", '<img src=x onerror="alert(1)">', '<img src=x onerror="alert(1)">'),
    ("html-block", "<script>\nalert(1)\n</script>", "<script>alert(1)</script>"),
    ("style", "<style>b{background:url(//e.example)}</style>", "<style>b{background:url(//e.example)}</style>"),
    ("comment", "a <!-- hidden --> b", "a <!-- hidden --> b"),
    ("streamlit-directive", ":red[text] :smile: :material/home:", ":red[text] :smile: :material/home:"),
    ("money", "from $5 to $10", "from $5 to $10"),
    ("unknown-command", r"so \(\foo{a_1 * b_2} * c\) holds", r"so \(\foo{a_1 * b_2} * c\) holds"),
    ("dollar-formula", r"$$\href{http://e.example}{x}$$", r"$$\href{http://e.example}{x}$$"),
    ("fence-language", '```"><img src=x>\na\n```', '"><img src=x>a\n'),
    ("entity", "&lt;b&gt; &amp; &copy;", "<b> & ©"),
    ("chinese", "你好，**世界**", "你好，世界"),
    ("right-to-left", "שלום *עולם*", "שלום עולם"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "shown"), [pytest.param(*case, id=name) for name, *case in TRICKS])
def test_what_would_load_lead_or_run_is_shown_as_text(text: str, shown: str) -> None:
    seen = Reading(markdown(text))
    assert seen.text.replace("\n", "") == shown.replace("\n", "")
    assert seen.tags <= TAGS


PIECES = [
    *"ab \n\r\t<>&\"'`~*_#|-!:[]()\\$/.0{}^",
    "\\(",
    "\\)",
    "\\frac{a}",
    "\\href{",
    "\\text{",
    "http://e.example",
    "```",
    "![",
    "](",
    "<img src=x>",
    "    ",
]


@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
def test_only_known_tags_come_out_of_any_text(text: str) -> None:
    """Any mixture of markdown's own characters; attributes: our classes, the start of a list, those of formulas."""
    for draw in (markdown, raw, plain):
        seen = Reading(draw(text))
        assert seen.tags <= TAGS
        assert not seen.open
        names = {attribute.split("=")[0] for _, attribute in seen.attributes}
        assert names <= {"class", "dir", "start"} | ATTRIBUTES


LINES = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r\n`")), max_size=8)


@given(LINES)
def test_a_code_block_keeps_every_character(lines: list[str]) -> None:
    code = "".join(f"{line}\n" for line in lines)
    assert Reading(markdown(f"Look:\n\n```python\n{code}```\n\nDone.")).code == [code]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_raw_view_keeps_every_character(text: str) -> None:
    assert Reading(raw(text)).code == [text]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_no_line_ends_are_left_for_streamlit_to_strip(text: str) -> None:
    assert not set("\r\n") & set(markdown(text) + raw(text) + plain(text))


def test_starts_of_formulas_without_an_end_are_text() -> None:
    """As many as would take a search from each of them minutes."""
    assert Reading(markdown(r"\(" * 60_000)).text == "(" * 60_000 + "\n"
    assert '<span class="formula">$$$$$</span>' in markdown("$$$$$ $")
    assert "formula" not in markdown("$$$$")


def test_single_line_breaks_stay() -> None:
    assert markdown("one\ntwo").count("<br />") == 1


def test_a_list_keeps_its_first_number() -> None:
    assert '<ol dir="auto" start="3">' in markdown("3. three\n4. four")


def test_every_turn_is_under_its_role() -> None:
    tool, asked = message("tool", "42"), message("assistant", None)
    tool["name"], asked["tool_calls"] = "calculator<b>", '[{"name": "<b>"}]'
    drawn = conversation([message("system", "s"), message("user", "u"), asked, tool, message("judge", "j")])
    seen = Reading(drawn)
    assert [c for _, c in sorted(seen.attributes) if "role-" in c] == [
        "class=turn role-assistant", "class=turn role-other", "class=turn role-system", "class=turn role-tool",
        "class=turn role-user",
    ]  # fmt: skip
    assert seen.text.replace("\n", "") == 'SystemsUseruAssistantTool calls[{"name": "<b>"}]Tool · calculator<b>42judgej'


@pytest.mark.parametrize("content", [None, ""])
def test_an_empty_response_says_so(content: str | None) -> None:
    assert Reading(response([message("assistant", content)])).text == "(empty)"


def test_a_pair_shows_the_prompt_then_left_then_right() -> None:
    drawn = parts([message("user", "Q")], [message("assistant", "A")], [message("assistant", "B")], "formatted")
    assert Reading(pair(drawn)).text.replace("\n", "") == "UserQleftArightB"


@pytest.mark.parametrize(
    ("view", "shown"),
    [
        ("formatted", "UserQleftone threerighttwo three"),
        ("raw", "UserQleft*one* threeright*two* three"),
        ("diff", "UserQleft*one* threeright*two* three"),
    ],
)
def test_each_view_shows_all_of_the_text(view: View, shown: str) -> None:
    drawn = parts(
        [message("user", "Q")], [message("assistant", "*one* three")], [message("assistant", "*two* three")], view
    )
    assert Reading(pair(drawn)).text.replace("\n", "") == shown
    marked = [side.count("<mark>") for side in (drawn.prompt, drawn.left, drawn.right)]
    assert marked == ([0, 1, 1] if view == "diff" else [0, 0, 0])


def test_differences_of_a_response_of_several_turns() -> None:
    left = [message("assistant", "Let me look."), message("assistant", "It is 4.")]
    drawn = parts([message("user", "Q")], left, [message("assistant", "It is 5.")], "diff")
    assert Reading(drawn.left).text == "assistant: Let me look.\n\nassistant: It is 4."
    assert Reading(drawn.right).text == "It is 5."


def test_an_edit_shows_what_went_and_what_came() -> None:
    assert "It is <del>four</del><ins>five</ins>&#10;&lt;b&gt;." in edit("It is four\n<b>.", "It is five\n<b>.")


def test_columns_of_a_table_stand_where_their_line_says() -> None:
    drawn = markdown("| a | b | c |\n|:--|:-:|--:|\n| 1 | 2 | 3 |")
    assert '<td>1</td>&#10;<td class="to-center">2</td>&#10;<td class="to-right">3</td>' in drawn


def test_a_list_begins_where_its_language_does() -> None:
    assert '<ul dir="auto">' in markdown("- \u05e9\u05dc\u05d5\u05dd")
