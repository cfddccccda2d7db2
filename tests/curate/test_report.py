"""The report: true numbers, nothing remote, no script, nothing unescaped; and Chromium draws it."""

import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from .conftest import make_triple, make_workspace, varied

HOSTILE = "<script>alert(1)</script>"
VOID = {"meta", "path", "line", "rect", "br"}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 68 triples: one empty, one dissent of three, one signal whose name is markup."""
    rows = [
        *varied(60),
        make_triple("61?", chosen=" ", signal="edit"),
        make_triple("62?", n_agree=2),
        make_triple("62?", chosen="no", rejected="yes"),
        make_triple("63?", signal=HOSTILE),
        make_triple("64?", signal="a & b"),
        make_triple("65?", chosen="ans" * 4000),
    ]
    long = "Please explain to me in a few plain words how a {} works and why it does so"
    rows += [make_triple(long.format(what) + ("?" if what == "heat pump" else " today?"), f"It moves {n}.", f"No {n}.")
             for n, what in enumerate(("heat pump", "heat pump then"))]  # fmt: skip
    return make_workspace(tmp_path_factory.mktemp("report"), rows).curate().report


class Page(HTMLParser):
    """Collects what matters, and checks that tags nest."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def test_counts_add_up(report: Path) -> None:
    rows = {row[0]: row[1] for row in Page(report.read_text(encoding="utf-8")).rows if len(row) == 2}
    assert rows["triples in"] == "68"
    assert rows["− empty_side"] == "1"
    assert rows["− contradiction_minority"] == "1"
    assert rows["= curated"] == "65"
    dropped = sum(int(count) for what, count in rows.items() if what.startswith("−"))
    assert dropped + int(rows["= curated"]) == 68
    assert sum(int(count) for what, count in rows.items() if what.startswith("of them")) == 65


def test_nothing_remote_and_no_script(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    assert set(re.findall(r"\w+://[^\s\"'<)]*", text)) == {"http://www.w3.org/2000/svg"}, "the name of a namespace only"
    page = Page(text)
    tags = {tag for tag, _, _ in page.attributes}
    assert not tags & {"script", "link", "img", "iframe", "object", "a", "use", "image"}
    assert not [
        name for _, name, _ in page.attributes if name.startswith("on") or name in {"src", "href", "xlink:href"}
    ]
    assert "@import" not in text
    assert not re.findall(r"url\((?!#)", text)


def test_markup_in_data_is_text(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    assert HOSTILE not in text
    assert "&lt;script" in text
    assert "a &amp; b" in text


def test_ids_are_unique(report: Path) -> None:
    ids = [value for _, name, value in Page(report.read_text(encoding="utf-8")).attributes if name == "id"]
    assert len(set(ids)) == len(ids)


def test_only_the_questions_of_clusters_are_shown(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    assert "how a heat pump works" in text
    assert "It moves" not in text
    assert "Question 7?" not in text
    assert "Answer 7" not in text


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_chromium_draws_it_offline(chromium: Browser, report: Path, scheme: str, width: int) -> None:
    context = chromium.new_context(
        color_scheme="dark" if scheme == "dark" else "light", viewport={"width": width, "height": 900}, offline=True
    )
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("requestfailed", lambda request: problems.append(request.url))
    page.goto(report.as_uri())
    assert page.locator("svg").count() == 7
    drawn = page.locator("svg").evaluate_all("charts => charts.map(c => c.getBoundingClientRect().width)")
    assert min(drawn) > 200
    red, green, blue = (int(part) for part in re.findall(r"\d+", page.evaluate(
        "getComputedStyle(document.body).backgroundColor"))[:3])  # fmt: skip
    assert (red + green + blue < 150) == (scheme == "dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "only charts may scroll sideways"
    assert problems == []
    if folder := os.environ.get("WINNOW_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/report-{scheme}-{width}.png", full_page=True)
    context.close()
