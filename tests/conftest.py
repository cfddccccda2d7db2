"""Fixtures that more than one room needs.

A part of the system that a test needs, and real data, are skipped with the reason where they are absent. In CI nothing
skips: what is absent there fails.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["GX_ANALYTICS_ENABLED"] = "False"

REPOSITORY = Path(__file__).resolve().parent.parent
CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"] + [
    f"--disable-{part}" for part in ("background-networking", "component-update", "sync")
]


def absent(what: str) -> None:
    """Skip the test for want of `what`; in CI, fail it."""
    if os.environ.get("CI"):
        pytest.fail(f"needs {what}")
    pytest.skip(f"needs {what}")


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def sample() -> Path:
    """The synthetic deployment log that the README uses."""
    return REPOSITORY / "data" / "sample"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data beside the checkout; it is never part of it."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        absent(f"real data at {folder}")
    return folder


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A real browser, for all tests of all rooms."""
    if not CHROMIUM.exists():
        absent("Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def postgresql_programs() -> Path:
    """Folder of initdb and pg_ctl, the newest one installed."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        absent("PostgreSQL: apt-get install postgresql")
    return folders[-1]
