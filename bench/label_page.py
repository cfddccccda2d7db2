"""What an annotator waits for: from the key to the next pair on screen, and to the store's answer, in a real Chromium.

    python -m bench.label_page [--votes 30] [--chromium /usr/bin/chromium]

Starts the app on two workspaces of the same pairs and votes the same keys on both pages: the component's, and the page
of plain buttons, which is the baseline. The gate: both stores hold the same verdicts on the same pairs. Times are the
browser's own, from the key's event to the frame that shows what it waits for. Targets: component's next pair p50 30 ms
and p95 60 ms, its vote saved p50 100 ms, next pair of the buttons p50 200 ms.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from playwright.sync_api import Browser, Page, sync_playwright

from app.store import open_store
from app.tables import EVENT
from bench.label_queue import candidates, percentiles

PAIRS = 2_000
LOOK_MS = 700
KEYS = "2463157"

WATCH = """
() => {
  const question = () => document.querySelector(".stage:not(.back) .prompt .markdown")?.textContent;
  const saved = () => document.querySelector(".count b")?.textContent;
  window.waited = [];
  document.addEventListener("keydown", (event) => {
    const before = [question(), saved()];
    const entry = { shown: null, saved: null };
    window.waited.push(entry);
    const frame = () => {
      const now = performance.now() - event.timeStamp;
      if (entry.shown === null && question() && question() !== before[0]) entry.shown = now;
      if (entry.saved === null && saved() && saved() !== before[1]) entry.saved = now;
      if (entry.shown === null || entry.saved === null) requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }, true);
}
"""
"""A frame's callback runs before it is painted: what it sees is on screen with that frame."""


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Run the app on a workspace of its own; give its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    snapshot = folder / "data/curated/0123456789ab"
    snapshot.mkdir(parents=True)
    candidates(snapshot / "candidates.parquet", PAIRS)
    (folder / "data/curated/latest").symlink_to(snapshot.name)
    (folder / "winnow.toml").write_text("[labels]\nseed = 7\n")
    command = [str(Path(sys.executable).parent / "streamlit"), "run", "app/label.py", "--server.port", str(port)]
    environment = os.environ | {"WINNOW_CONFIG": str(folder / "winnow.toml")}
    with (folder / "log").open("wb") as log, subprocess.Popen(command, env=environment, stdout=log, stderr=log) as app:
        try:
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            app.kill()


def sit_down(browser: Browser, address: str, page_name: str) -> Page:
    """Open a page and wait for its first pair."""
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.goto(f"{address}/?annotator=ada" + ("&page=buttons" if page_name == "buttons" else ""))
    page.wait_for_selector(".stage:not(.back) .response.right", timeout=60_000)
    page.wait_for_timeout(2_000)
    page.evaluate(WATCH)
    return page


def vote(page: Page, number: int) -> dict[str, float]:
    """Look, press a key, and return the milliseconds until the next pair was shown and this vote was saved."""
    page.wait_for_timeout(LOOK_MS)
    page.keyboard.press(KEYS[number % len(KEYS)])
    page.wait_for_function("(n) => waited.length === n && waited[n - 1].shown && waited[n - 1].saved", arg=number + 1)
    waited: dict[str, float] = page.evaluate("waited.at(-1)")
    return waited


def said(folder: Path) -> list[tuple[Any, ...]]:
    """Return the verdicts of a store."""
    store = open_store(f"sqlite:///{folder}/data/labels.db")
    with store.reading() as connection:
        found = connection.execute(sa.select(EVENT.c.pair_id, EVENT.c.verdict, EVENT.c.scale).order_by(EVENT.c.seq))
        rows = [tuple(row) for row in found]
    store.engine.dispose()
    return rows


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--votes", type=int, default=30)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    given = parser.parse_args(arguments)
    waited: dict[str, list[dict[str, float]]] = {"component": [], "buttons": []}
    with tempfile.TemporaryDirectory(prefix="winnow-bench-") as name, sync_playwright() as playwright:
        folders = {page: Path(name) / page for page in waited}
        with server(folders["component"]) as first, server(folders["buttons"]) as second:
            browser = playwright.chromium.launch(executable_path=given.chromium, args=["--no-sandbox"])
            pages = {
                page: sit_down(browser, address, page) for page, address in zip(waited, (first, second), strict=True)
            }
            for number in range(given.votes):  # in turn, so that a noisy minute meets both
                for page_name, page in pages.items():
                    page.bring_to_front()
                    waited[page_name].append(vote(page, number))
            browser.close()
        if said(folders["component"]) != said(folders["buttons"]) or len(said(folders["buttons"])) != given.votes:
            raise RuntimeError("the two pages did not store the same verdicts")
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{given.votes} votes on each page, the same verdicts on the same pairs; load {load}")
    for page_name, found in waited.items():
        for what in ("shown", "saved"):
            print(f"{page_name}: next pair {what}" if what == "shown" else f"{page_name}: vote saved", end="")
            print(f", ms {percentiles([each[what] for each in found])}")


if __name__ == "__main__":
    main(sys.argv[1:])
