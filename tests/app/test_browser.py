"""The page in a real Chromium: keys, clicks, double presses, reloads, a killed server, hostile text."""

import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.app.conftest import Workspace, candidate, free_port, look, serving

MakeWorkspace = Callable[..., Workspace]
Serve = Callable[[Workspace], str]


def sit_down(page: Page, address: str) -> None:
    page.goto(f"{address}/?annotator=ada")
    expect(page.locator(".response.right")).to_be_visible(timeout=30_000)


def sides(page: Page) -> tuple[str, str]:
    """What stands left and right on screen."""
    left, right = (page.locator(f".response.{side} .markdown").inner_text() for side in ("left", "right"))
    return left, right


def question(page: Page) -> str:
    return page.locator(".prompt .markdown").last.inner_text()


def await_done(page: Page, number: int) -> None:
    expect(page.locator(".st-key-header .count").first).to_have_text(f"{number} done", timeout=20_000)


@pytest.mark.parametrize(
    ("verdict", "how"),
    [
        pytest.param("left", "ArrowLeft", id="left-by-key"),
        pytest.param("right", "ArrowRight", id="right-by-key"),
        pytest.param("tie", "t", id="tie-by-key"),
        pytest.param("both_bad", "b", id="both-bad-by-key"),
        pytest.param("left", "Left is better", id="left-by-click"),
        pytest.param("right", "Right is better", id="right-by-click"),
    ],
)
def test_a_press_writes_exactly_one_event(
    page: Page, serve: Serve, make_workspace: MakeWorkspace, verdict: str, how: str
) -> None:
    row = candidate(0)
    workspace = make_workspace([row, candidate(1)])
    sit_down(page, serve(workspace))
    texts = sides(page)
    look(page)
    if " " in how:
        page.get_by_role("button", name=how).click()
    else:
        page.keyboard.press(how)
    expect(page.locator(".notice.saved")).to_be_visible(timeout=20_000)
    by_text = {row[f"response_{s}"][0]["content"]: row[f"interaction_{s}"] for s in "ab"}  # type: ignore[index]
    (event,) = workspace.events()
    assert event["verdict"] == verdict
    assert (event["left_interaction_id"], event["right_interaction_id"]) == tuple(by_text[text] for text in texts)
    assert question(page) == "Question 1?"


@pytest.mark.parametrize("gap", [10, 60, 150])
def test_ten_double_presses_are_ten_labels(page: Page, serve: Serve, make_workspace: MakeWorkspace, gap: int) -> None:
    """Each burst labels the pair that was read, and never the one that the first press brought."""
    workspace = make_workspace([candidate(n) for n in range(25)])
    sit_down(page, serve(workspace))
    for burst in range(10):
        assert question(page) == f"Question {burst}?"
        look(page)
        page.keyboard.press("ArrowLeft")
        page.wait_for_timeout(gap)
        page.keyboard.press("ArrowLeft")
        await_done(page, burst + 1)
        expect(page.locator(".prompt .markdown").last).to_have_text(f"Question {burst + 1}?")
    look(page)
    assert [event["pair_id"] for event in workspace.events()] == [candidate(n)["pair_id"] for n in range(10)]


def test_a_reload_and_a_killed_server_lose_and_double_nothing(
    page: Page, make_workspace: MakeWorkspace, repository: Path
) -> None:
    """A press while no server is there, and one on the page it left behind, must not label a pair not shown."""
    workspace = make_workspace([candidate(n) for n in range(4)])
    port = free_port()
    with serving(workspace, repository, port=port) as address:
        sit_down(page, address)
        look(page)
        page.keyboard.press("ArrowLeft")
        await_done(page, 1)
        page.reload()
        expect(page.locator(".prompt .markdown").last).to_have_text("Question 1?", timeout=20_000)
    page.keyboard.press("ArrowLeft")
    with serving(workspace, repository, port=port):
        page.reload()
        expect(page.locator(".prompt .markdown").last).to_have_text("Question 1?", timeout=20_000)
        await_done(page, 1)
        look(page)
        page.keyboard.press("ArrowRight")
        await_done(page, 2)
    said = [(event["verdict"], event["pair_id"]) for event in workspace.events()]
    assert said == [("left", candidate(0)["pair_id"]), ("right", candidate(1)["pair_id"])]


def test_keys_undo_and_skip(page: Page, serve: Serve, make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace([candidate(0), candidate(1)])
    sit_down(page, serve(workspace))
    look(page)
    page.keyboard.press("s")
    expect(page.locator(".notice.saved")).to_have_text("Saved: skipped", timeout=20_000)
    look(page)
    page.keyboard.press("u")
    expect(page.locator(".notice.saved")).to_have_text("Verdict taken back", timeout=20_000)
    assert question(page) == "Question 0?"
    assert [event["kind"] for event in workspace.events()] == ["verdict", "retract"]


def test_typing_a_name_gives_no_verdict(page: Page, serve: Serve, make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace([candidate(0)])
    page.goto(serve(workspace))
    page.get_by_role("textbox").fill("best")
    page.get_by_role("textbox").press("t")
    page.get_by_role("textbox").press("Enter")
    expect(page.locator(".annotator")).to_have_text("bestt", timeout=20_000)
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


def test_text_causes_no_request_and_runs_nothing(
    page: Page, serve: Serve, make_workspace: MakeWorkspace, sink: tuple[str, list[str]]
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
    address = serve(make_workspace([candidate(0, a=hostile, b="Harmless.")]))
    sit_down(page, address)
    assert f"[image: i] {url}/markdown.png" in page.locator(".stage").inner_text()
    look(page)
    page.keyboard.press("v")
    expect(page.locator(".stage .raw").first).to_be_visible(timeout=20_000)
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


def test_code_reaches_the_screen_byte_for_byte(page: Page, serve: Serve, make_workspace: MakeWorkspace) -> None:
    """Tabs, trailing spaces, lines of only spaces, entities."""
    code = "\tif a < b && c:\n    \n\n  x = '&lt;'   \n\treturn\n"
    sit_down(page, serve(make_workspace([candidate(0, a=f"Code:\n\n```\n{code}```", b="None.")])))
    assert page.locator(".code-block code").text_content() == code
    look(page)
    page.keyboard.press("v")
    expect(page.locator(".stage .raw").first).to_be_visible(timeout=20_000)
    assert f"Code:\n\n```\n{code}```" in [page.locator(f".response.{s} code").text_content() for s in ("left", "right")]


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (1920, 1080)])
def test_everything_needed_is_in_sight(
    page: Page, serve: Serve, make_workspace: MakeWorkspace, width: int, height: int
) -> None:
    """With two long responses: both stand beside each other and scroll, all keys are inside the window."""
    page.set_viewport_size({"width": width, "height": height})
    long = "\n\n".join(f"Paragraph {n}. " + "Words go on. " * 30 for n in range(40))
    sit_down(page, serve(make_workspace([candidate(0, a=long, b=long + " More.")])))
    look(page)
    left, right = (page.locator(f".response.{side}").bounding_box() for side in ("left", "right"))
    assert left and right
    assert (left["y"], left["height"]) == (right["y"], right["height"])
    assert left["x"] + left["width"] < right["x"]
    assert left["height"] > height / 3
    assert page.evaluate("document.querySelector('.response.left').scrollHeight") > left["height"]
    for name in ("Left is better", "Tie", "Both bad", "Skip", "Right is better", "Raw view"):
        box = page.get_by_role("button", name=name).bounding_box()
        assert box
        assert box["y"] + box["height"] <= height
    assert page.evaluate("document.querySelector('.stMain').scrollHeight") <= height
