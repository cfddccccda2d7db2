"""docs/operations.md: each schedule is read by a tool of its own kind, and the command in it is run in a workspace."""

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cronsim import CronSim

from ingest import settings
from ingest.__main__ import EXIT_CODES
from ingest.lake import SCHEMAS, Lake

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
HOME = "/srv/winnow"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """What stands in /srv/winnow: settings, a day of the sample's log, and .venv."""
    folder = tmp_path / "winnow"
    (folder / "data" / "raw").mkdir(parents=True)
    shutil.copy(REPOSITORY / "data" / "sample" / "log" / "2026-10-18.jsonl.gz", folder / "data" / "raw")
    shutil.copy(REPOSITORY / "winnow.toml", folder)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def shell(command: str, home: Path) -> "subprocess.CompletedProcess[str]":
    """Run a command as cron does: sh, and next to no environment."""
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(home), "SHELL": "/bin/sh"}
    if "PYTHONPATH" in os.environ:
        bare["PYTHONPATH"] = os.environ["PYTHONPATH"]
    here = command.replace(HOME, str(home))
    return subprocess.run(["/bin/sh", "-c", here], cwd=home, env=bare, capture_output=True, text=True, check=False)


def summaries(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_cron_line(home: Path) -> None:
    """Ten minutes apart; silent when all is well, one line that names the code when it is not."""
    [block] = blocks("crontab")
    [line] = [line for line in block.splitlines() if not re.match(r"[A-Z]+=", line)]
    *fields, command = line.split(maxsplit=5)
    times = list(islice(CronSim(" ".join(fields), datetime(2026, 11, 20, 23, 45, tzinfo=UTC)), 2))
    assert times == [datetime(2026, 11, 20, 23, 50, tzinfo=UTC), datetime(2026, 11, 21, 0, 0, tzinfo=UTC)]
    assert "%" not in command, "cron reads % as a newline"
    good = shell(command, home)
    assert (good.returncode, good.stdout, good.stderr) == (0, "", "")
    (home / "winnow.toml").write_text("lakes = 1")
    assert shell(command, home).stdout == "winnow ingest ended with 2, see ingest.log\n"
    [summary] = summaries((home / "ingest.jsonl").read_text())
    assert (summary["complete"], summary["interactions"]) == (True, 69)
    assert "error: " in (home / "ingest.log").read_text()


SERVICE = {
    "Unit": {"Description", "Documentation"},
    "Service": {
        "Type", "User", "Group", "WorkingDirectory", "ExecStart", "KillMode", "TimeoutStopSec", "TimeoutStartSec",
        "SuccessExitStatus", "Nice", "MemoryMax", "UMask", "NoNewPrivileges", "ProtectSystem", "ProtectHome",
        "PrivateTmp", "PrivateNetwork", "ReadWritePaths", "ReadOnlyPaths",
    },
}  # fmt: skip
TIMER = {
    "Unit": {"Description"},
    "Timer": {"OnCalendar", "RandomizedDelaySec", "Persistent"},
    "Install": {"WantedBy"},
}
"""Section -> keys, as systemd.exec(5), systemd.service(5), systemd.kill(5), systemd.resource-control(5) and
systemd.timer(5) spell them; systemd ignores a key that it does not know."""


def units() -> dict[str, str]:
    service, timer = blocks("ini")
    return {"winnow-ingest.service": service, "winnow-ingest.timer": timer}


def unit(text: str) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    parser.read_string(text)
    return {name: dict(parser[name]) for name in parser.sections()}


def test_the_systemd_units(home: Path) -> None:
    service, timer = (unit(text) for text in units().values())
    assert {section: set(keys) for section, keys in service.items()} == SERVICE
    assert {section: set(keys) for section, keys in timer.items()} == TIMER
    assert int(service["Service"]["TimeoutStartSec"]) > int(service["Service"]["ExecStart"].split()[5])
    done = shell(service["Service"]["ExecStart"], home)
    assert done.returncode == 0, done.stderr
    assert summaries(done.stdout)[0]["interactions"] == 69
    assert set(service["Service"]["SuccessExitStatus"].split()) <= set(re.findall(r"\d+", EXIT_CODES))


def test_systemd_knows_every_key_of_the_units(home: Path) -> None:
    """Where systemd is installed; elsewhere the names stand in SERVICE and TIMER above."""
    if not shutil.which("systemd-analyze"):
        return
    for name, text in units().items():
        (home / name).write_text(text.replace(HOME, str(home)).replace("=winnow", "=root"))
    done = subprocess.run(
        ["systemd-analyze", "verify", *(str(home / name) for name in units())],
        capture_output=True, text=True, check=False, env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
    )  # fmt: skip
    assert [line for line in done.stderr.splitlines() if "winnow-ingest" in line] == []


def test_the_cron_job(home: Path) -> None:
    """Every field is one that Kubernetes knows, with a type that it takes; two runs never meet."""
    [block] = blocks("yaml")
    job = yaml.safe_load(block)
    kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)
    spec = job["spec"]
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert next(CronSim(spec["schedule"], datetime(2026, 11, 20, tzinfo=UTC))).minute == 10
    assert (spec["concurrencyPolicy"], pod["restartPolicy"]) == ("Forbid", "Never")
    words = [*container["command"], *container["args"]]
    assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] > int(words[words.index("--max-seconds") + 1])
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert container["workingDir"] == HOME
    assert all(mount["mountPath"].startswith(HOME) for mount in container["volumeMounts"])
    assert words[0] == "python"
    done = shell(".venv/bin/" + " ".join(words), home)
    assert done.returncode == 0, done.stderr
    writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    written = {path for path in home.rglob("*") if path.is_file() and ".venv" not in path.parts}
    ours = {str(path.relative_to(home)) for path in written} - {"winnow.toml"}
    kept = [name for name in ours if not name.startswith("data/raw/")]
    assert writable == {f"{HOME}/data/lake", f"{HOME}/keys"}
    assert all(name.startswith("data/lake/") or name == "pseudonym.key" for name in kept)


def test_the_table_of_exit_codes_is_that_of_the_help() -> None:
    table = re.findall(r"^\| ([\d, ]+) \| .*\|$", PAGE, re.MULTILINE)
    assert [code for cell in table for code in cell.split(", ")] == re.findall(r"^  (\d+) ", EXIT_CODES, re.MULTILINE)


TYPES: dict[str, Any] = {
    "text": lambda value: isinstance(value, str),
    "true or false": lambda value: isinstance(value, bool),
    "count": lambda value: type(value) is int and value >= 0,
    "number": lambda value: isinstance(value, float) and value >= 0,
    "list": lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
    "counts": lambda value: isinstance(value, dict) and all(type(each) is int and each > 0 for each in value.values()),
}


def fields() -> dict[str, str]:
    """Path of a field -> its type, as the page has them."""
    rows = re.findall(r"^\| `([a-z_.]+)` \| ([a-z ]+) \| .*\|$", PAGE, re.MULTILINE)
    assert len(rows) == len(dict(rows))
    return dict(rows)


def flat(summary: dict[str, Any], documented: dict[str, str]) -> dict[str, Any]:
    """Give each value the path that the page names it by."""
    found: dict[str, Any] = {}
    for name, value in summary.items():
        if isinstance(value, dict) and name not in documented:
            found |= {f"{name}.{inner}": each for inner, each in value.items()}
        else:
            found[name] = value
    return found


@pytest.mark.parametrize("again", [False, True], ids=["with_new_lines", "nothing_new"])
def test_the_line_for_monitors_has_the_fields_of_the_page_and_adds_up(home: Path, again: bool) -> None:
    command = ".venv/bin/python -m ingest run"
    done = [shell(command, home) for _ in range(1 + again)][-1]
    assert ("Nothing new" in done.stderr) == again
    [summary] = summaries(done.stdout)
    documented = fields()
    found = flat(summary, documented)
    assert list(found) == list(documented)
    for name, kind in documented.items():
        assert TYPES[kind.removesuffix(" or null")](found[name]) or (
            found[name] is None and kind.endswith("or null")
        ), name
    assert summary["records"] == sum(summary[n] for n in ("interactions", "feedback", "quarantined", "skipped"))
    for part in ("quarantined", "skipped"):
        assert summary[part] == sum(summary[f"{part}_by_reason"].values())
    assert summary["triples"]["total"] == sum(summary["triples"]["by_signal"].values())
    assert summary["interactions"] == sum(summary["consent"][n] for n in ("allowed", "not_allowed", "unknown"))
    events = summary["events"]
    waiting = summary["orphans"] + sum(summary["no_pair"].values())
    assert events["total"] == events["paired"] + events["unpaired"] + waiting
    assert summary["interactions"] == (0 if again else 69)


def test_what_is_null_of_a_stopped_run_is_what_the_page_says(home: Path) -> None:
    [summary] = summaries(shell(".venv/bin/python -m ingest run --max-seconds 0", home).stdout)
    [sentence] = re.findall(r"Of a run that was stopped, (.*?) are null", PAGE, re.DOTALL)
    assert {name for name, value in summary.items() if value is None} == set(re.findall(r"`(\w+)`", sentence))


def test_a_backup_is_restored_and_nothing_is_read_twice(home: Path) -> None:
    command = ".venv/bin/python -m ingest run"
    first = summaries(shell(command, home).stdout)[0]
    (home / "subjects.jsonl").write_text("")
    shell(
        ".venv/bin/python -c \"import sqlite3; sqlite3.connect('data/labels.db').execute('CREATE TABLE t (a)')\"", home
    )
    [backup] = blocks("backup")
    for name in ("backup", "backup-of-keys"):
        (home / name).mkdir()
    done = shell("set -e\n" + re.sub(r"/backup(?=[-/])", f"{home}/backup", backup), home)
    assert (done.returncode, done.stderr) == (0, "")
    kept = {path.name: path.stat().st_mode & 0o777 for path in (home / "backup-of-keys").iterdir()}
    assert kept == {"pseudonym.key": 0o600, "subjects.jsonl": 0o600}
    assert (home / "backup" / "labels.db").stat().st_size > 0
    shutil.rmtree(home / "data" / "lake")
    (home / "backup" / "lake").rename(home / "data" / "lake")
    second = summaries(shell(command, home).stdout)[0]
    assert (second["records"], second["triples"]["new"]) == (0, 0)
    assert second["triples"]["total"] == first["triples"]["total"] > 0


def test_the_copy_waits_for_a_run_and_a_run_for_the_copy(home: Path) -> None:
    """flock(1) takes the lock that a run takes."""
    command = ".venv/bin/python -m ingest run"
    assert shell(command, home).returncode == 0
    (home / "data" / "raw" / "new.jsonl").write_text("{}\n")
    assert shell(f"flock data/lake/.lock {command}", home).returncode == 5
    with Lake(home / "data" / "lake").locked("a run"):
        assert shell("flock --nonblock data/lake/.lock true", home).returncode == 1


@pytest.mark.parametrize("text", blocks("toml"), ids=["limits", "labels"])
def test_the_settings_that_are_shown_are_settings(text: str) -> None:
    settings.Settings.model_validate(tomllib.loads(text))


def test_what_a_run_writes_is_private(home: Path) -> None:
    assert shell("umask 000; .venv/bin/python -m ingest run", home).returncode == 0
    lake = home / "data" / "lake"
    assert {table for table in SCHEMAS if (lake / table).is_dir()} >= {"interactions", "feedback", "files"}
    paths = (lake, home / "pseudonym.key", *lake.rglob("*"))
    modes = {(path.is_dir(), f"{path.stat().st_mode & 0o777:o}") for path in paths}
    assert modes == {(True, "700"), (False, "600")}
