"""Real parts for the app's tests: a PostgreSQL server, label stores, workspaces, a Streamlit server, pages."""

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, Page, expect

os.environ["STREAMLIT_SERVER_ADDRESS"] = "127.0.0.1"  # AppTest has no server, but the page asks where it listens

from app.store import Store, open_store
from app.tables import EVENT
from ingest.schema import CANDIDATE, LABEL_EVENT_COLUMNS, Message, interaction_id, messages_hash, pair_id


def free_port() -> int:
    """A loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- PostgreSQL ---


@dataclass(frozen=True)
class Postgres:
    """A running server of one's own."""

    port: int

    def database(self) -> str:
        """URL of the one database, emptied."""
        url = f"postgresql+psycopg://winnow@127.0.0.1:{self.port}/postgres"
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
        engine.dispose()
        return url


@pytest.fixture(scope="session")
def postgres(postgresql_programs: Path) -> Iterator[Postgres]:
    # initdb refuses to run as root, so root lends it the system's own user.
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    folder = Path(tempfile.mkdtemp(prefix="winnow-postgres-"))
    shutil.chown(folder, user)
    port = free_port()

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [str(postgresql_programs / program), "-D", str(folder / "data"), *arguments],
            check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120,
        )  # fmt: skip

    run("initdb", "--auth=trust", "--username=winnow", "--encoding=UTF8", "--locale=C", "--no-sync")
    run("pg_ctl", "start", "-w", "-o", f"-p {port} -h 127.0.0.1 -k {folder} -c fsync=off", "-l", str(folder / "log"))
    try:
        yield Postgres(port)
    finally:
        run("pg_ctl", "stop", "-m", "immediate")
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new store on each database that the app supports."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/labels.db"
    server: Postgres = request.getfixturevalue("postgres")
    return server.database()


@pytest.fixture
def open_url() -> Iterator[Callable[[str], Store]]:
    """Opens stores and closes them at the end."""
    with ExitStack() as opened:

        def open_one(url: str) -> Store:
            store = open_store(url)
            opened.callback(store.engine.dispose)
            return store

        yield open_one


@pytest.fixture
def store(store_url: str, open_url: Callable[[str], Store]) -> Store:
    return open_url(store_url)


# --- candidates and workspaces ---


def message(role: str, content: str | None) -> Message:
    return {"role": role, "content": content, "tool_calls": None, "tool_call_id": None, "name": None}


def candidate(number: int, *, priority: float | None = None, a: str = "", b: str = "") -> dict[str, object]:
    """A row of candidates.parquet; interaction_a belongs to text `a` whichever hash is smaller."""
    prompt = [message("user", f"Question {number}?")]
    sides = [
        ([message("assistant", a or f"First answer {number}.")], interaction_id("demo", f"a-{number}")),
        ([message("assistant", b or f"Second answer {number}.")], interaction_id("demo", f"b-{number}")),
    ]
    (response_a, key_a), (response_b, key_b) = sorted(sides, key=lambda side: messages_hash(side[0]))
    return {
        "pair_id": pair_id(messages_hash(prompt), messages_hash(response_a), messages_hash(response_b)),
        "prompt": prompt,
        "response_a": response_a,
        "response_b": response_b,
        "interaction_a": key_a,
        "interaction_b": key_b,
        "source": "demo",
        "prompt_group": messages_hash(prompt),
        "priority": float(-number) if priority is None else priority,
        "why": "unjudged",
    }


def write_candidates(file: Path, rows: list[dict[str, object]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=CANDIDATE), file)
    return file


@dataclass(frozen=True)
class Workspace:
    """A folder with winnow.toml and a published snapshot of candidates."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "winnow.toml"

    @property
    def url(self) -> str:
        return f"sqlite:///{self.root}/data/labels.db"

    def events(self) -> list[dict[str, object]]:
        """Everything that was said, in its order, read past the app."""
        engine = sa.create_engine(self.url)
        with engine.connect() as connection:
            rows = connection.execute(sa.select(*(EVENT.c[name] for name in LABEL_EVENT_COLUMNS)).order_by(EVENT.c.seq))
            found = [dict(row._mapping) for row in rows]
        engine.dispose()
        return found


@pytest.fixture
def make_workspace(tmp_path: Path) -> Callable[..., Workspace]:
    def make(
        rows: list[dict[str, object]], *, k: int = 1, lease_seconds: int = 600, task: str = 'mode = "choice"'
    ) -> Workspace:
        (tmp_path / "winnow.toml").write_text(
            f"[labels]\nannotators_per_pair = {k}\nlease_seconds = {lease_seconds}\nseed = 7\nfile = 'labels.toml'\n"
        )
        (tmp_path / "labels.toml").write_text(task)
        write_candidates(tmp_path / "data/curated/0123456789ab/candidates.parquet", rows)
        (tmp_path / "data/curated/latest").symlink_to("0123456789ab")
        return Workspace(tmp_path)

    return make


# --- server and browser ---


@contextmanager
def serving(
    workspace: Workspace, repository: Path, *, port: int | None = None, options: Sequence[str] = ()
) -> Iterator[str]:
    """Run `streamlit run app/label.py` on a workspace; give its address."""
    port = port or free_port()
    command = [str(Path(sys.executable).parent / "streamlit"), "run", "app/label.py", "--server.port", str(port)]
    command += options
    environment = {key: value for key, value in os.environ.items() if key != "STREAMLIT_SERVER_ADDRESS"}
    with (
        (workspace.root / "server.log").open("ab") as log,
        subprocess.Popen(
            command, cwd=repository, env=environment | {"WINNOW_CONFIG": str(workspace.config)}, stdout=log, stderr=log
        ) as server,
    ):
        try:
            _await_health(server, port, workspace.root / "server.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()  # SIGKILL: no acknowledged label may depend on a clean end


def _await_health(server: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"the server did not come up: {log.read_text()}")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[tuple[str, Path]]:
    """One server for many tests, and the settings file that it reads anew for every page."""
    shared = Workspace(tmp_path_factory.mktemp("served"))
    shared.config.touch()
    with serving(shared, repository) as address:
        yield address, shared.config


@pytest.fixture
def serve(server: tuple[str, Path]) -> Callable[[Workspace], str]:
    """Points the server at a test's own workspace; gives its address."""
    address, config = server

    def point(workspace: Workspace) -> str:
        labels = tomllib.loads(workspace.config.read_text()).get("labels", {}) | {"url": workspace.url}
        if "file" in labels:
            labels["file"] = str(workspace.root / labels["file"])
        values = "".join(f"{key} = {json.dumps(value)}\n" for key, value in labels.items())
        config.write_text(f'curated = "{workspace.root}/data/curated"\n[labels]\n{values}')
        return address

    return point


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    yield context.new_page()
    context.close()


LOOK = 500
"""Milliseconds that a test's annotator looks at a pair: longer than the component's minimum, half that of buttons."""

COMPONENT, BUTTONS = "component", "buttons"


def sit_down(page: Page, address: str, kind: str = COMPONENT, annotator: str = "ada") -> None:
    """Open one of the two pages, and wait until it has a pair."""
    page.goto(f"{address}/?annotator={annotator}" + ("&page=buttons" if kind == BUTTONS else ""))
    expect(page.locator(ON_SCREEN).locator(".response.right")).to_be_visible(timeout=60_000)


ON_SCREEN = ".stage:not(.back)"
"""The component has the next pair in the page too, where it is not seen."""


def look(page: Page) -> None:
    """Look at the pair until a press counts.

    Of the page of buttons the responses are on screen before the buttons that listen for the keys, and the page counts
    the look only from the end of its script; both are far behind on a busy machine. The browser hears of that end after
    the server noted it. The component takes a press only when the store has answered the one before.
    """
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning", timeout=60_000)
    expect(page.locator(".notice.saving")).to_have_count(0, timeout=60_000)
    expect(page.get_by_role("button", name="Skip").first).to_be_visible(timeout=60_000)
    page.wait_for_timeout(LOOK * (2 if page.locator(".st-key-verdicts").count() else 1))


def question(page: Page) -> str:
    """The last turn above the responses."""
    return page.locator(ON_SCREEN).locator(".prompt .markdown").last.inner_text()


def await_question(page: Page, number: int) -> None:
    expect(page.locator(ON_SCREEN).locator(".prompt .markdown").last).to_have_text(
        f"Question {number}?", timeout=60_000
    )


def sides(page: Page) -> tuple[str, str]:
    """What stands left and right on screen."""
    stage = page.locator(ON_SCREEN)
    left, right = (stage.locator(f".response.{side} .markdown").inner_text() for side in ("left", "right"))
    return left, right


def await_done(page: Page, number: int) -> None:
    expect(page.locator(".count").first).to_have_text(f"{number} done", timeout=60_000)
