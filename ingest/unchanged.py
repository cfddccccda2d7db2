"""Whether anything changed since the last complete run; if nothing did, a run has nothing to do.

Reads and writes `<lake>/.unchanged.json` (mode 0600): what a complete run was given, as hashes and file stamps, and the
summary that a run after it prints as long as all of that is the same. It only ever saves work: where it is absent,
unreadable or says anything else than what is found now, the run looks at everything itself. Imports nothing heavy: what
a scheduled run with nothing new costs is Python's start and what is done here.
"""

import hashlib
import json
import os
import time
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ingest import settings_file
from ingest.globs import find

if TYPE_CHECKING:
    from ingest.settings import Settings

FILE_NAME: Final = ".unchanged.json"
LOG_FOLDER: Final = "_delta_log"
_PASSING: Final = (".lock", FILE_NAME)
"""What the lake's folder also holds, and what says nothing about its tables."""
_SQLITE: Final = "sqlite:///"


@dataclass(frozen=True)
class Inputs:
    """What decides whether a run has anything to do, but for the lake itself; everything as a hash."""

    settings: str
    """Of the settings file and its folder."""
    code: str
    """Of every module and rule of ingest: a new version of one may read or pair otherwise."""
    logs: str
    """Of the paths that the sources' globs match, with size, time of change and inode of each."""
    labels: str
    """Of the label store's file and its write-ahead log, likewise."""

    @classmethod
    def of(cls, digest: str, patterns: Iterable[str], labels: str) -> "Inputs":
        """Look at everything as it is now; `labels` is the path of the label store's file."""
        logs = (path for pattern in patterns for path in [Path(pattern), *find(pattern)])
        return cls(digest, _code(), _stamps(logs), _stamps([Path(labels), Path(labels + "-wal")]))


class Record:
    """What one run is given, taken before it reads anything: what comes later is the next run's work."""

    def __init__(self, settings: "Settings") -> None:
        self._lake = settings.lake
        self._digest = settings.digest
        self._patterns = [source.path for source in settings.sources]
        self._labels = sqlite_file(settings.labels.url)
        self._beside = [str(settings.pseudonym_key), str(settings.subjects)]
        self._inputs = Inputs.of(self._digest, self._patterns, self._labels) if self._labels else None

    def keep(self, summary: Mapping[str, Any], changes_at: float | None) -> None:
        """Write it, while the run still holds the lake; `summary` is what a run with nothing new would print.

        At `changes_at`, in seconds since 1970, time alone gives a run work. Of settings that no file states, and of a
        label store that is no SQLite file, nothing is kept.
        """
        if self._inputs is None or not self._digest:
            return
        record = {
            "patterns": self._patterns,
            "labels": self._labels,
            "beside": self._beside,
            "inputs": asdict(self._inputs),
            "lake": _lake(self._lake, self._beside),
            "changes_at": changes_at,
            "summary": summary,
        }
        path = self._lake / FILE_NAME
        new = path.with_name(FILE_NAME + ".new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(record, file)
        new.replace(path)


def look(config: Path | None) -> dict[str, Any] | None:
    """Return the summary of a run that has nothing to do; None where there may be something to do."""
    begun = time.monotonic()
    file = settings_file.locate(config)
    try:
        if file is None:
            return None
        content, root = file.read_bytes(), file.resolve().parent
        lake = settings_file.under(root, tomllib.loads(content.decode()).get("lake", settings_file.DEFAULT_LAKE))
        record = json.loads((lake / FILE_NAME).read_bytes())
        now = asdict(Inputs.of(settings_file.digest(root, content), record["patterns"], record["labels"]))
        same = now == record["inputs"] and _lake(lake, record["beside"]) == record["lake"]
        if not same or (record["changes_at"] is not None and time.time() >= record["changes_at"]):
            return None
        run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.urandom(3).hex()}"
        return {**record["summary"], "run_id": run_id, "seconds": round(time.monotonic() - begun, 3)}
    except (OSError, ValueError, TypeError, KeyError):  # the record is only ever a shortcut
        return None


def _code() -> str:
    """Return a hash of all of ingest, whichever of it is imported."""
    found = hashlib.blake2b(digest_size=16)
    for folder, folders, names in os.walk(Path(__file__).parent):
        folders.sort()
        for name in sorted(names):
            if name.endswith((".py", ".sql")):
                content = Path(folder, name).read_bytes()
                found.update(f"{name} {len(content)} ".encode())
                found.update(content)
    return found.hexdigest()


def _stamps(paths: Iterable[Path | str]) -> str:
    """Return a hash of the paths with each one's size, time of change and inode, where there is such a file."""
    found = hashlib.blake2b(digest_size=16)
    for path in paths:
        found.update(os.fsencode(path))
        try:
            stat = os.stat(path)  # noqa: PTH116 - of many thousands of files
            found.update(b"\0%d %d %d\n" % (stat.st_size, stat.st_mtime_ns, stat.st_ino))
        except OSError:
            found.update(b"\0absent\n")
    return found.hexdigest()


def _lake(lake: Path, beside: Iterable[str]) -> str:
    """Return a hash of every table's log, of what else is in the lake's folder, and of the files `beside` it."""
    found = hashlib.blake2b(_stamps(beside).encode(), digest_size=16)
    for entry in sorted(os.scandir(lake), key=lambda each: each.name):
        if entry.name.startswith(_PASSING):
            continue
        found.update(_stamps([entry.path]).encode())
        log = Path(entry.path) / LOG_FOLDER
        if log.is_dir():
            found.update("\n".join(sorted(os.listdir(log))).encode())  # noqa: PTH208
    return found.hexdigest()


def sqlite_file(url: str) -> str:
    """Return the path of the SQLite file that `url` names, "" where it names anything else."""
    path = url.removeprefix(_SQLITE)
    return "" if path == url or path.startswith(":memory:") or "?" in path else path
