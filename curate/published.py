"""Snapshots that `python -m curate run` published: where they are, and what their manifest says.

Reads <curated>/<snapshot>/manifest.json; part of the commands that look at a snapshot: verify, diff, export, candidates
and report.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb

from ingest import settings
from ingest.errors import SnapshotError
from ingest.schema import SCHEMA_VERSION

SETTINGS: Final = ("recipe", "rules", "evaluation_sets")
"""Keys of a manifest that its content hash covers."""


@dataclass(frozen=True)
class Snapshot:
    """One published snapshot."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def name(self) -> str:
        """As its manifest calls it."""
        return str(self.manifest["snapshot"])

    @property
    def settings(self) -> dict[str, Any]:
        """Recipe and rules as the content hash covers them."""
        return {key: self.manifest[key] for key in SETTINGS}


def find(snapshot: Path | None, config: Path | None) -> Snapshot:
    """Return the snapshot in a folder, by default the latest of the workspace that `config` names.

    Raises SnapshotError where there is none, one of another schema, or one that an erasure withdrew; SettingsError for
    a wrong `config`.
    """
    folder = settings.load(config).curated / "latest" if snapshot is None else snapshot
    file = folder / "manifest.json"
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SnapshotError(
            f"{folder} is no snapshot: manifest.json cannot be read ({error.strerror}). Name a folder that "
            "`python -m curate run` published, or run it first."
        ) from error
    except ValueError as error:
        raise SnapshotError(f"{file} is not JSON: {error}. The snapshot is damaged; curate again.") from error
    needed = ("snapshot", "schema_version", "content_hash", "counts", "files", "row_groups", *SETTINGS)
    if not isinstance(manifest, dict) or (lacking := [key for key in needed if key not in manifest]):
        what = f"lacks {', '.join(lacking)}" if isinstance(manifest, dict) else "is no JSON object"
        raise SnapshotError(f"{file} {what}. It is damaged, or of another version of Winnow; curate again.")
    if "superseded" in manifest:
        raise SnapshotError(
            f"{folder} was withdrawn by an erasure; nothing but its manifest is left. Its successor: "
            f"{manifest['superseded'].get('by') or 'none yet, run `python -m curate run`'}."
        )
    if manifest["schema_version"] != SCHEMA_VERSION:
        raise SnapshotError(
            f"{folder} is of schema {manifest['schema_version']}, and this version of Winnow knows {SCHEMA_VERSION}. "
            "Curate again, or take the version that wrote it."
        )
    return Snapshot(folder, manifest)


def connect() -> duckdb.DuckDBPyConnection:
    """Open an in-memory DuckDB that never fetches an extension, and shows times in UTC."""
    connection = duckdb.connect(
        config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false", "memory_limit": "2GB"}
    )
    connection.execute("SET TimeZone = 'UTC'")
    return connection
