"""A PostgreSQL server of one's own for a benchmark: in a temporary folder, durable like a real one, removed after."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def running() -> Iterator[str]:
    """Give the URL of its empty database."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name  # initdb refuses root
    folder = Path(tempfile.mkdtemp(prefix="winnow-bench-postgres-"))
    shutil.chown(folder, user)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [str(programs / program), "-D", str(folder / "data"), *arguments],
            check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300,
        )  # fmt: skip

    run("initdb", "--auth=trust", "--username=winnow", "--encoding=UTF8", "--locale=C", "--no-sync")
    run("pg_ctl", "start", "-w", "-o", f"-p {port} -h 127.0.0.1 -k {folder}", "-l", str(folder / "log"))
    try:
        yield f"postgresql+psycopg://winnow@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "stop", "-m", "immediate")
        shutil.rmtree(folder)
