"""Both pages in a real Chromium: keys, clicks, double presses, reloads, a killed server, hostile text."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.app.conftest import (
    BUTTONS,
    COMPONENT,
    ON_SCREEN,
    Workspace,
    await_done,
    await_question,
    candidate,
    free_port,
    look,
    serving,
    sides,
    sit_down,
)

MakeWorkspace = Callable[..., Workspace]
Serve = Callable[[Workspace], str]
both_pages = pytest.mark.parametrize("kind", [COMPONENT, BUTTONS])

PRESSES = [
    ("choice", "ArrowLeft", "left", None),
    ("choice", "ArrowRight", "right", None),
    ("choice", "t", "tie", None),
    ("choice", "b", "both_bad", None),
    ("choice", "s", "skip", None),
    ("choice", "Left is better", "left", None),
    ("choice", "Right is better", "right", None),
    *(("scale", str(place), "left" if place < 4 else "right" if place > 4 else "tie", place) for place in range(1, 8)),
    ("scale", "b", "both_bad", None),
    ("scale", "Left slightly better", "left", 3),
]  # fmt: skip


@both_pages
@pytest.mark.parametrize("mode", ["choice", "scale"])
def test_a_press_writes_exactly_one_event(
    page: Page, serve: Serve, make_workspace: MakeWorkspace, kind: str, mode: str
) -> None:
    """Each key and each button, one after the other: one event on the pair that stood there, sides as they stood."""
    presses = [press[1:] for press in PRESSES if press[0] == mode]
    if kind == BUTTONS and mode == "scale":  # a rerun each
        presses = presses[::3]
    rows = [candidate(n) for n in range(len(presses) + 1)]
    workspace = make_workspace(rows, task=f'mode = "{mode}"')
    sit_down(page, serve(workspace), kind)
    expected = []
    for number, (how, verdict, scale) in enumerate(presses):
        await_question(page, number)
        row = rows[number]
        by_text = {row[f"response_{s}"][0]["content"]: row[f"interaction_{s}"] for s in "ab"}  # type: ignore[index]
        expected.append((row["pair_id"], verdict, scale, *(by_text[text] for text in sides(page)), kind))
        look(page)
        if " " in how:
            page.get_by_role("button", name=how).click()
        else:
            page.keyboard.press(how)
    await_question(page, len(presses))
    look(page)
    said = [
        tuple(
            event[name]
            for name in ("pair_id", "verdict", "scale", "left_interaction_id", "right_interaction_id", "page")
        )
        for event in workspace.events()
    ]
    assert said == expected


def burst(page: Page, serve: Serve, workspace: Workspace, kind: str, gaps: list[int]) -> None:
    """Press twice, so many milliseconds apart, on one pair after the other: one label each, and on what was read."""
    sit_down(page, serve(workspace), kind)
    for number, gap in enumerate(gaps):
        await_question(page, number)
        look(page)
        page.keyboard.press("ArrowLeft")
        page.wait_for_timeout(gap)
        page.keyboard.press("ArrowLeft")
        await_done(page, number + 1)
    await_question(page, len(gaps))
    look(page)
    assert [event["pair_id"] for event in workspace.events()] == [candidate(n)["pair_id"] for n in range(len(gaps))]


@both_pages
def test_double_presses_are_one_label_each(page: Page, serve: Serve, make_workspace: MakeWorkspace, kind: str) -> None:
    burst(page, serve, make_workspace([candidate(n) for n in range(25)]), kind, [10, 60, 150] * 3)


@pytest.mark.slow
@both_pages
@pytest.mark.parametrize("gap", [10, 60, 150, 300])
def test_ten_double_presses_are_ten_labels(
    page: Page, serve: Serve, make_workspace: MakeWorkspace, kind: str, gap: int
) -> None:
    burst(page, serve, make_workspace([candidate(n) for n in range(25)]), kind, [gap] * 10)


def test_a_reload_and_a_killed_server_lose_and_double_nothing(
    page: Page, make_workspace: MakeWorkspace, repository: Path
) -> None:
    """The press while no server is there is kept by the page, and counts once the server is back, once."""
    workspace = make_workspace([candidate(n) for n in range(5)])
    port = free_port()
    with serving(workspace, repository, port=port) as address:
        sit_down(page, address)
        look(page)
        page.keyboard.press("ArrowLeft")
        await_done(page, 1)
        await_question(page, 1)
        page.reload()
        await_question(page, 1)
        look(page)
    page.keyboard.press("ArrowRight")
    await_question(page, 2)
    assert page.locator(".notice").inner_text() in (
        "Saving…",
        "Not saved yet: the server does not answer. Trying again…",
    )
    page.wait_for_timeout(600)
    page.keyboard.press("ArrowRight")  # the one before is not saved: this is no vote
    with serving(workspace, repository, port=port):
        await_done(page, 2)
        await_question(page, 2)
        look(page)
        page.keyboard.press("t")
        await_done(page, 3)
        page.reload()
        await_question(page, 3)
    said = [(event["verdict"], event["pair_id"]) for event in workspace.events()]
    assert said == [(verdict, candidate(n)["pair_id"]) for n, verdict in enumerate(["left", "right", "tie"])]


def test_the_page_of_buttons_survives_a_killed_server(
    page: Page, make_workspace: MakeWorkspace, repository: Path
) -> None:
    """A press while no server is there is swallowed, and labels nothing."""
    workspace = make_workspace([candidate(n) for n in range(4)])
    port = free_port()
    with serving(workspace, repository, port=port) as address:
        sit_down(page, address, BUTTONS)
        look(page)
        page.keyboard.press("ArrowLeft")
        await_done(page, 1)
    page.keyboard.press("ArrowLeft")
    with serving(workspace, repository, port=port):
        page.reload()
        await_question(page, 1)
        await_done(page, 1)
        look(page)
        page.keyboard.press("ArrowRight")
        await_done(page, 2)
    said = [(event["verdict"], event["pair_id"]) for event in workspace.events()]
    assert said == [("left", candidate(0)["pair_id"]), ("right", candidate(1)["pair_id"])]


def test_a_browser_that_cannot_run_the_component_gets_the_buttons(
    page: Page, serve: Serve, make_workspace: MakeWorkspace
) -> None:
    page.add_init_script("URL.createObjectURL = () => 'blob:nothing'")
    workspace = make_workspace([candidate(0), candidate(1)])
    page.goto(f"{serve(workspace)}/?annotator=ada")
    expect(page.locator(".st-key-verdicts")).to_be_visible(timeout=60_000)
    look(page)
    page.keyboard.press("ArrowLeft")
    await_done(page, 1)
    assert [event["page"] for event in workspace.events()] == [BUTTONS]


@both_pages
def test_undo_brings_the_pair_back(page: Page, serve: Serve, make_workspace: MakeWorkspace, kind: str) -> None:
    workspace = make_workspace([candidate(n) for n in range(4)])
    sit_down(page, serve(workspace), kind)
    for number in range(2):
        await_question(page, number)
        look(page)
        page.keyboard.press("ArrowRight")
        await_done(page, number + 1)
    await_question(page, 2)
    look(page)
    page.keyboard.press("u")
    page.keyboard.press("u")  # a double press takes one verdict back
    await_question(page, 1)
    await_done(page, 1)
    look(page)
    page.keyboard.press("t")
    await_question(page, 2)  # what was on screen when the verdict was taken back
    look(page)
    assert [(event["kind"], event["verdict"]) for event in workspace.events()] == [
        ("verdict", "right"), ("verdict", "right"), ("retract", None), ("verdict", "tie"),
    ]  # fmt: skip


TASK = """
mode = "scale"
rationale = "required"
skip_reasons = ["I cannot judge this", "Broken"]
tags = ["wrong facts", "too long"]
aspects = ["correct", "clear"]
[guidelines]
name = "v7"
file = "guidelines.md"
"""


def test_all_that_comes_with_a_verdict(page: Page, serve: Serve, make_workspace: MakeWorkspace) -> None:
    """By keys alone: why, a tag, two aspects, an improved text; then a skip with its reason."""
    workspace = make_workspace(
        [candidate(n, a=f"A {n} has a long answer.", b=f"B {n} is short.") for n in range(3)], task=TASK
    )
    (workspace.root / "guidelines.md").write_text("**Facts** first.")
    sit_down(page, serve(workspace))
    look(page)
    left, _ = sides(page)
    page.keyboard.press("g")
    expect(page.locator(".drawer strong")).to_have_text("Facts")
    page.keyboard.press("g")
    page.keyboard.press("2")
    expect(page.locator(".notice.refused")).to_have_text("Say why first (W).")
    page.keyboard.type("It is 2 t2 b")
    page.keyboard.press("Escape")
    page.keyboard.press("Shift+Digit2")
    page.keyboard.press("a")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("e")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Control+End")
    page.keyboard.type(" Really.")
    expect(page.locator(".difference ins")).to_have_text(" Really.", timeout=20_000)
    page.keyboard.press("Escape")
    expect(page.locator(".improvement ins")).to_have_text(" Really.", timeout=20_000)
    page.keyboard.press("2")
    await_done(page, 1)
    await_question(page, 1)
    look(page)
    page.keyboard.press("s")
    page.keyboard.press("2")
    await_question(page, 2)
    look(page)
    page.keyboard.press("h")
    expect(page.locator(".drawer .past")).to_have_count(2, timeout=20_000)
    verdict, skip = workspace.events()
    assert re.fullmatch("v7@[0-9a-f]{12}", str(verdict["guidelines_version"]))
    names = ("verdict", "scale", "rationale", "tags", "aspects", "edited_side", "edited_text")
    assert {name: verdict[name] for name in names} == {
        "verdict": "left", "scale": 2, "rationale": "It is 2 t2 b", "tags": '["too long"]',
        "aspects": '{"correct": "right", "clear": "tie"}', "edited_side": "left", "edited_text": f"{left} Really.",
    }  # fmt: skip
    layout = json.loads(str(verdict["layout"]))
    assert (layout["view"], layout["width"], layout["height"], layout["theme"]) == ("formatted", 1280, 800, "light")
    assert (left[0] == "A") == (layout["order"] == ("ab" if rows_a_first() else "ba"))
    assert (skip["verdict"], skip["skip_reason"], skip["scale"], skip["rationale"]) == ("skip", "Broken", None, None)


def rows_a_first() -> bool:
    """Whether text A has the smaller hash, and is response_a."""
    row = candidate(0, a="A 0 has a long answer.", b="B 0 is short.")
    return str(row["response_a"][0]["content"]).startswith("A")  # type: ignore[index]


def test_what_the_browser_sends_is_not_believed(page: Page, serve: Serve, make_workspace: MakeWorkspace) -> None:
    """A page whose own floor is taken away still cannot label what it had for less than the minimum."""
    workspace = make_workspace([candidate(n) for n in range(4)])
    page.add_init_script(
        "const now = Date.now(); performance.now = () => 1e9 + 40 * (Date.now() - now)"
    )  # a fast clock
    sit_down(page, serve(workspace))
    expect(page.get_by_role("button", name="Skip")).to_be_visible()
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
        page.wait_for_timeout(60)
    expect(page.locator(".notice")).not_to_have_text("Saving…", timeout=20_000)
    looked = [event["elapsed_ms"] for event in workspace.events()]
    assert all(isinstance(ms, int) and ms >= 400 for ms in looked)
    assert len(looked) <= 2


@both_pages
def test_nothing_is_called_saved_while_the_store_fails(
    page: Page, serve: Serve, make_workspace: MakeWorkspace, kind: str
) -> None:
    """The pair comes back, and its verdict counts when the store works again."""
    workspace = make_workspace([candidate(n) for n in range(3)])
    sit_down(page, serve(workspace), kind)
    look(page)
    change(workspace, "ALTER TABLE slot RENAME TO elsewhere")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".notice.failed, .stAlert").first).to_contain_text("slot", timeout=30_000)
    assert page.locator(".notice.saved").count() == 0
    assert workspace.events() == []
    change(workspace, "ALTER TABLE elsewhere RENAME TO slot")
    if kind == BUTTONS:
        page.reload()
    await_question(page, 0)
    look(page)
    page.keyboard.press("ArrowLeft")
    await_done(page, 1)
    assert [event["pair_id"] for event in workspace.events()] == [candidate(0)["pair_id"]]


def change(workspace: Workspace, statement: str) -> None:
    import sqlalchemy as sa

    engine = sa.create_engine(workspace.url)
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def test_typing_a_name_gives_no_verdict(page: Page, serve: Serve, make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace([candidate(0)])
    page.goto(serve(workspace))
    page.get_by_role("textbox").fill("best")
    page.get_by_role("textbox").press("t")
    page.get_by_role("textbox").press("Enter")
    expect(page.locator(".annotator")).to_have_text("bestt", timeout=60_000)
    assert "annotator=bestt" in page.url
    look(page)
    assert workspace.events() == []


@pytest.fixture
def sink() -> Iterator[tuple[str, list[str]]]:
    """A server that hears every request which a response causes."""
    heard: list[str] = []

    class Ear(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Ear) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}", heard
        server.shutdown()
        thread.join()


@both_pages
def test_a_formula_is_seen_on_either_page(page: Page, serve: Serve, make_workspace: MakeWorkspace, kind: str) -> None:
    """The component draws it; Streamlit's own HTML loses MathML, so the plain page shows its source."""
    address = serve(make_workspace([candidate(0, a=r"It is \(x_1\).", b=r"Or \(x_1\).")]))
    sit_down(page, address, kind)
    stage = page.locator(ON_SCREEN)
    expect(stage.locator("math")).to_have_count(2 if kind == COMPONENT else 0)
    assert (r"\(x_1\)" in stage.inner_text()) == (kind == BUTTONS)


@both_pages
def test_text_causes_no_request_and_runs_nothing(
    page: Page, serve: Serve, make_workspace: MakeWorkspace, sink: tuple[str, list[str]], kind: str
) -> None:
    """Images, HTML, links, CSS and formulas that would call home; and nobody but the app's own server is asked."""
    home, heard = sink
    url = f"http://{home}/x"
    hostile = "\n\n".join(
        [
            f"![i]({url}/markdown.png) <img src='{url}/html.png'> <{url}/auto> [l]({url}/link)",
            f"<script>document.title='owned'; fetch('{url}/script')</script>",
            f"<style>@import '{url}/css'; body {{ background: url({url}/bg) }}</style>",
            f"<link rel=stylesheet href='{url}/sheet'><iframe src='{url}/frame'></iframe>",
            f"<svg onload=\"fetch('{url}')\">",
            f"$$\\includegraphics{{{url}/katex.png}}$$ $\\href{{{url}}}{{x}}$ \\(\\url{{{url}}}\\)",
            f"```mermaid\ngraph TD; A[<img src='{url}/mermaid.png'>]\n```",
            "The end.",
        ]
    )
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    both = [candidate(0, a=hostile, b="Harmless."), candidate(1, a=hostile, b="The next pair is in the page too.")]
    address = serve(make_workspace(both))
    sit_down(page, address, kind)
    assert f"[image: i] {url}/markdown.png" in page.locator(ON_SCREEN).inner_text()
    look(page)
    for key in ("v", "d"):
        page.keyboard.press(key)
        expect(page.locator(ON_SCREEN).locator(".raw").first).to_be_visible(timeout=60_000)
        look(page)
    assert heard == []
    assert page.title() == "Winnow"
    assert page.locator(".stage").locator("a, img, script, style, iframe, svg, link").count() == 0
    foreign = [asked for asked in requests if not re.match(rf"({re.escape(address)}|data:|blob:)", asked)]
    assert foreign == []


def test_the_policy_stops_what_the_page_would_let_through(
    page: Page, serve: Serve, make_workspace: MakeWorkspace, sink: tuple[str, list[str]]
) -> None:
    """The second wall, on its own: an image and a request put into the page by hand go nowhere."""
    home, heard = sink
    sit_down(page, serve(make_workspace([candidate(0)])))
    page.evaluate(
        """async (home) => {
            const image = document.createElement('img');
            image.src = `http://${home}/image.png`;
            document.body.append(image);
            await fetch(`http://${home}/fetch`).catch(() => null);
        }""",
        home,
    )
    page.wait_for_timeout(300)
    assert heard == []


@both_pages
def test_code_reaches_the_screen_byte_for_byte(
    page: Page, serve: Serve, make_workspace: MakeWorkspace, kind: str
) -> None:
    """Tabs, trailing spaces, lines of only spaces, entities."""
    code = "\tif a < b && c:\n    \n\n  x = '&lt;'   \n\treturn\n"
    sit_down(page, serve(make_workspace([candidate(0, a=f"Code:\n\n```\n{code}```", b="None.")])), kind)
    assert page.locator(".code-block code").text_content() == code
    look(page)
    page.keyboard.press("v")
    expect(page.locator(ON_SCREEN).locator(".raw").first).to_be_visible(timeout=60_000)
    assert f"Code:\n\n```\n{code}```" in [page.locator(f".response.{s} code").text_content() for s in ("left", "right")]


@both_pages
def test_everything_needed_is_in_sight(page: Page, serve: Serve, make_workspace: MakeWorkspace, kind: str) -> None:
    """With two long responses: both stand beside each other and scroll, all keys are inside the window."""
    long = "\n\n".join(f"Paragraph {n}. " + "Words go on. " * 30 for n in range(40))
    sit_down(page, serve(make_workspace([candidate(0, a=long, b=long + " More.")])), kind)
    look(page)
    for width, height in ((1280, 800), (1920, 1080)):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(200)
        left, right = (page.locator(f"{ON_SCREEN} .response.{side}").bounding_box() for side in ("left", "right"))
        assert left and right
        assert (left["y"], left["height"]) == (right["y"], right["height"])
        assert left["x"] + left["width"] < right["x"]
        assert left["height"] > height / 3
        assert page.evaluate("document.querySelector('.stage:not(.back) .response.left').scrollHeight") > left["height"]
        for name in ("Left is better", "Tie", "Both bad", "Skip", "Right is better", "Raw view"):
            box = page.get_by_role("button", name=name).bounding_box()
            assert box
            assert box["y"] + box["height"] <= height
        assert page.evaluate("document.querySelector('.stMain').scrollHeight") <= height
