"""50 people label at once in one server process: how long a verdict takes until the next pair has been sent.

    python -m bench.label_sessions [--people 50] [--think 5] [--seconds 60]

Starts `streamlit run app/label.py` on a workspace of its own, and speaks its protocol over one WebSocket per person,
without a browser: open the page of buttons, press one, wait until the script has ended, think. Target: rerun
p95 250 ms at 5 seconds of thought, 0 labels lost or doubled.
"""

import argparse
import asyncio
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

from app.store import open_store
from app.tables import EVENT
from bench.label_queue import candidates, percentiles

PAIRS = 20_000


@dataclass
class Session:
    """One page in one person's hands."""

    socket: ClientConnection
    query: str
    page: str = ""
    buttons: dict[str, str] = field(default_factory=dict)
    """Label -> id of the buttons that the last run drew."""

    async def rerun(self, press: str | None = None) -> float:
        """Run the page's script, for the press of a button; return the milliseconds until all of it has been sent."""
        message = BackMsg()
        message.rerun_script.query_string = self.query
        message.rerun_script.page_script_hash = self.page
        if press is not None:
            message.rerun_script.widget_states.widgets.add(id=self.buttons[press], trigger_value=True)
        started = time.perf_counter()
        await self.socket.send(message.SerializeToString())
        self.buttons = {}
        while True:
            answer = ForwardMsg()
            answer.ParseFromString(bytes(await self.socket.recv(decode=False)))
            kind = answer.WhichOneof("type")
            if kind == "new_session":
                self.page = answer.new_session.page_script_hash
            elif kind == "delta" and answer.delta.new_element.WhichOneof("type") == "button":
                button: Any = answer.delta.new_element.button
                self.buttons[button.label] = button.id
            elif kind == "script_finished":
                if answer.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY:
                    return 1000 * (time.perf_counter() - started)
                if answer.script_finished == ForwardMsg.FINISHED_WITH_COMPILE_ERROR:
                    raise RuntimeError("the page did not compile")


async def person(address: str, name: str, think: float, ends: float, warm: float) -> list[tuple[float, bool]]:
    """Label until `ends`; return what each press took, and whether it came after `warm`."""
    took = []
    async with connect(f"ws://{address}/_stcore/stream", subprotocols=["streamlit"], max_size=None) as socket:  # type: ignore[list-item]
        session = Session(socket, f"annotator={name}&page=buttons")
        await asyncio.sleep(random.uniform(0, think))
        await session.rerun()
        while time.monotonic() < ends:
            await asyncio.sleep(random.uniform(0.5, 1.5) * think)
            verdict = random.choice(["Left is better", "Right is better", "Tie"])
            if verdict not in session.buttons:
                raise RuntimeError(f"the page drew no button {verdict!r}, but {sorted(session.buttons)}")
            late = time.monotonic() > warm
            took.append((await session.rerun(press=verdict), late))
    return took


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Run the app on a workspace of its own; give its host and port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    snapshot = folder / "data/curated/0123456789ab"
    snapshot.mkdir(parents=True)
    candidates(snapshot / "candidates.parquet", PAIRS)
    (folder / "data/curated/latest").symlink_to(snapshot.name)
    (folder / "winnow.toml").write_text('[labels]\nannotators_per_pair = 2\nfile = "labels.toml"\n')
    (folder / "labels.toml").write_text('mode = "choice"\n')
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
            yield f"127.0.0.1:{port}"
        finally:
            app.kill()


async def measure(address: str, people: int, think: float, seconds: float) -> list[tuple[float, bool]]:
    """Let everybody label; return what the presses took, and whether the crowd had arrived by then."""
    await person(address, "first", 0.5, time.monotonic(), 0)  # loads the pairs
    ends = time.monotonic() + seconds + 2 * think
    each = (person(address, f"person-{n}", think, ends, ends - seconds) for n in range(people))
    return [press for presses in await asyncio.gather(*each) for press in presses]


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--think", type=float, default=5)
    parser.add_argument("--seconds", type=float, default=30)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="winnow-bench-") as name:
        with server(Path(name)) as address:
            presses = asyncio.run(measure(address, given.people, given.think, given.seconds))
        took = [milliseconds for milliseconds, counted in presses if counted]
        print(f"{given.people} people, {given.think:.0f} s of thought: {len(took)} reruns, ms {percentiles(took)}")
        store = open_store(f"sqlite:///{name}/data/labels.db")
        with store.reading() as connection:
            twice = sa.select(EVENT.c.pair_id).group_by(EVENT.c.pair_id, EVENT.c.annotator)
            duplicates = len(connection.execute(twice.having(sa.func.count() > 1)).all())
            stored = connection.execute(sa.select(sa.func.count()).select_from(EVENT)).scalar_one()
        store.engine.dispose()
        print(f"pressed {len(presses)}, labels stored {stored}, doubled {duplicates}")


if __name__ == "__main__":
    main(sys.argv[1:])
