"""Where a workspace's settings file is, and which state of it that is; imports next to nothing.

`ingest.settings` reads and checks what it says.
"""

import hashlib
import os
from pathlib import Path
from typing import Final

from ingest.errors import SettingsError

FILE_NAME: Final = "winnow.toml"
CONFIG_VARIABLE: Final = "WINNOW_CONFIG"
"""Environment variable that names the settings file, for commands that take no --config."""
DEFAULT_LAKE: Final = "data/lake"


def locate(path: Path | None) -> Path | None:
    """Return the settings file: `path`, else $WINNOW_CONFIG, else ./winnow.toml; None where none is named and none is.

    Raises SettingsError when a named file is absent.
    """
    named = path or (Path(os.environ[CONFIG_VARIABLE]) if os.environ.get(CONFIG_VARIABLE) else None)
    file = named or Path(FILE_NAME)
    if file.is_file():
        return file
    if named:
        raise SettingsError(f"No settings file at {file}. Name an existing one, or leave the name out.")
    return None


def under(root: Path, path: Path | str) -> Path:
    """Return `path` seen from `root`, without detours through `..`; links are left as they are."""
    return Path(os.path.normpath(root / path))


def digest(root: Path, content: bytes) -> str:
    """Return a hash of the settings `content` of the workspace in `root`; a workspace that moved is another one."""
    return hashlib.blake2b(os.fsencode(root) + b"\n" + content, digest_size=16).hexdigest()
