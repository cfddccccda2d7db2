"""Which files a source's glob matches."""

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import Final

from ingest.errors import LakeError

_MAGIC: Final = re.compile(r"[*?[]")
ANY_FOLDERS: Final = "**"
LOST_AND_FOUND: Final = "lost+found"
"""A file system's own folder, which root alone may read: no logger writes there."""
_NOTHING: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""What the system says of a path behind which there is nothing, a link that leads nowhere too."""


def find(pattern: str) -> list[Path]:
    """Return the files that the glob `pattern` matches, sorted; hidden ones only where the pattern names the dot.

    `**` stands for any folders, linked ones too, and behind the last slash for any file. What is renamed or removed
    meanwhile is left out; raises LakeError for a folder that cannot be read, since nobody knows what it holds.
    """
    # Not glob.glob, which passes over such folders without a word; nor Path.glob, which matches hidden files, such as
    # those that a copying tool is still writing.
    first, *names = PurePath(pattern).parts or (".",)
    absolute = PurePath(first).is_absolute()
    try:
        return sorted(map(Path, set(_below(first, names) if absolute else _below("", [first, *names]))))
    except OSError as error:
        name = os.fsencode(error.filename or pattern).decode("utf-8", errors="backslashreplace")
        raise LakeError(
            f"Cannot look for log files in {name}: {error.strerror}. Make it readable, or narrow the glob {pattern}."
        ) from error


def matches(pattern: str, path: Path) -> bool:
    """Return whether the glob `pattern` would match a file `path`, whether there is one or not."""
    return _matches(PurePath(pattern).parts, path.parts)


def _matches(names: Sequence[str], parts: Sequence[str]) -> bool:
    if not names or not parts:
        return not names and not parts
    if names[0] == ANY_FOLDERS:
        if len(names) == 1:
            return not any(part.startswith(".") for part in parts)
        return _matches(names[1:], parts) or (not parts[0].startswith(".") and _matches(names, parts[1:]))
    return _fits(parts[0], names[0]) and _matches(names[1:], parts[1:])


def _fits(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) and (pattern.startswith(".") or not name.startswith("."))


def _below(folder: str, names: Sequence[str]) -> Iterator[str]:
    """Yield the files below `folder` whose path from there the patterns `names` match."""
    name, rest = names[0], names[1:]
    if not _MAGIC.search(name):
        path = os.path.join(folder, name)  # noqa: PTH118 - of many thousands of files
        if rest:
            yield from _below(path, rest)
        elif _is_file(path):
            yield path
        return
    deep = name == ANY_FOLDERS
    if deep and rest:
        yield from _below(folder, rest)
    for entry in _entries(folder):
        if not _fits(entry.name, "*" if deep else name):
            continue
        if not (deep or rest):
            if _is(entry, os.DirEntry.is_file):
                yield entry.path
        elif _is(entry, os.DirEntry.is_dir):
            if not deep or not _leads_back(entry):
                yield from _below(entry.path, names if deep else rest)
        elif not rest and _is(entry, os.DirEntry.is_file):
            yield entry.path


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """Return what is in the folder; nothing where there is none."""
    try:
        with os.scandir(folder or ".") as entries:
            return [entry for entry in entries if entry.name != LOST_AND_FOUND]
    except OSError as error:
        if error.errno in _NOTHING:
            return []
        raise


def _is(entry: os.DirEntry[str], kind: Callable[[os.DirEntry[str]], bool]) -> bool:
    """Return whether the entry, or what it links to, is of a kind; raises OSError where that cannot be told."""
    try:
        return kind(entry)
    except OSError as error:
        if error.errno in _NOTHING:
            return False
        raise


def _is_file(path: str) -> bool:
    """Return whether there is such a file; raises OSError where that cannot be told."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116
    except OSError as error:
        if error.errno in _NOTHING:
            return False
        raise


def _leads_back(entry: os.DirEntry[str]) -> bool:
    """Return whether a linked folder holds the link itself, so that there is no end to it."""
    if not entry.is_symlink():
        return False
    inside, target = os.path.realpath(os.path.dirname(entry.path)), os.path.realpath(entry.path)  # noqa: PTH120
    return os.path.commonpath([inside, target]) == target
