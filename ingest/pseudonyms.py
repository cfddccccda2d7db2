"""User ids -> pseudonyms: the same user is the same pseudonym in every source, and no one without the key can tell who.

Reads, and makes where there is none, the key file that winnow.toml names. Without the key new rows of a user cannot be
joined to old ones, and nobody can be erased by name: back it up, apart from the lake.
"""

import hmac
import os
import secrets
import tempfile
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Final

from ingest.errors import SettingsError

KEY_BYTES: Final = 32


class Pseudonyms:
    """Makes pseudonyms with the secret in the file `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._key = _key(path)
        self._of = lru_cache(maxsize=65536)(self._hash)

    def of(self, user: str | None) -> str | None:
        """Return ``u:`` + 32 hex digits of HMAC-SHA256(key, user); None of nobody."""
        return None if user is None else self._of(user)

    def digest(self, text: str) -> str:
        """Return 32 hex digits of HMAC-SHA256(key, text); without the key nobody can try out texts."""
        return hmac.digest(self._key, text.encode("utf-8", errors="surrogatepass"), "sha256").hex()[:32]

    def _hash(self, user: str) -> str:
        return "u:" + hmac.digest(self._key, user.encode("utf-8"), "sha256").hex()[:32]


def _key(path: Path) -> bytes:
    """Return the key, made and written with mode 0600 where the file is absent."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise SettingsError(f"Cannot read the pseudonym key {path}: {error}. It is a line of hex digits.") from error
    if len(key) < KEY_BYTES:
        raise SettingsError(
            f"The pseudonym key {path} has {len(key)} bytes, expected {KEY_BYTES}. "
            "Restore it from a backup; a new key would give every user a new pseudonym."
        )
    return key


def _make(path: Path) -> None:
    """Write a new key and then give it its name, so that no kill leaves half a key; another run's key stays."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_bytes(KEY_BYTES).hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(name, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        Path(name).unlink()
