"""Erasing a user: out of the lake, the label store and every published snapshot, with proof; and they stay out.

    python -m ingest erase --user ID            the user as the logs name them
    python -m ingest erase --pseudonym u:...    the user as the lake names them
    python -m ingest erase --user ID --dry-run  what would go

Writes the ledger (`ingest.subjects`) first: from then on no run takes up the user again, and an erasure that is killed
is completed by the next `erase` or `ingest run`. docs/erasure.md says what goes from where, and what cannot be reached.
"""

import glob
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from ingest import pairing
from ingest.erasure import label_store, snapshots
from ingest.erasure.proof import Needles, Proof, search
from ingest.erasure.rows import Rows, Search
from ingest.errors import ErasureError
from ingest.lake import SCHEMAS, Lake
from ingest.settings import Settings
from ingest.subjects import Subjects, named

STEPS: Final = ("find", "label store", "snapshots", "lake", "purge", "pair", "prove")
Progress = Callable[[str], None]
"""Called with each of STEPS as it begins."""


@dataclass
class Erasure:
    """What one erasure did, or of a dry run would do."""

    erasure: str
    pseudonym: str | None
    dry_run: bool
    removed: dict[str, int] = field(default_factory=dict)
    """Table, and "label_" + table of the label store -> rows that were deleted."""
    of_others: int = 0
    """Interactions among them that name another user: they stand in an erased conversation."""
    withdrawn: dict[str, dict[str, int]] = field(default_factory=dict)
    """Withdrawn snapshot -> file -> rows that made it so; no rows where only its report held a text."""
    trained_on: list[snapshots.TrainingRun] = field(default_factory=list)
    """Training runs that read a withdrawn snapshot, of this and earlier erasures."""
    raw_logs: dict[str, list[int]] = field(default_factory=dict)
    """Path -> offsets of records that are not erased, because raw logs are not Winnow's."""
    proof: Proof | None = None
    needles: Needles = field(default_factory=Needles)
    seconds: float = 0.0

    def summary(self) -> dict[str, Any]:
        """Return what `python -m ingest erase` prints on stdout."""
        searched = self.needles
        found = (
            {
                "files": self.proof.files,
                "bytes": self.proof.bytes,
                "texts": searched.texts,
                "pieces": len(searched.pieces),
                "pieces_others_say_too": searched.shared,
                "texts_too_short": searched.too_short,
                "hits": self.proof.hits,
            }
            if self.proof
            else None
        )
        return {
            "erasure": self.erasure,
            "pseudonym": self.pseudonym,
            "dry_run": self.dry_run,
            "removed": self.removed,
            "interactions_of_others": self.of_others,
            "withdrawn": self.withdrawn,
            "trained_on": [asdict(run) for run in self.trained_on],
            "not_erased": {"raw_logs": self.raw_logs},
            "proof": found,
            "seconds": self.seconds,
        }

    def table(self) -> Table:
        """Return what went from where."""
        title = f"erasure {self.erasure}" + (": nothing was changed, this would go" if self.dry_run else "")
        table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, min_width=len(title))
        table.add_column("place", no_wrap=True)
        table.add_column("rows", justify="right", no_wrap=True)
        for place, count in self.removed.items():
            table.add_row(Text(place), f"{count:,}")
        for name, rows in self.withdrawn.items():
            table.add_row(Text(f"snapshot {name}"), f"{sum(rows.values()):,}")
        return table

    def remarks(self) -> list[str]:
        """Return what is to be known and done besides, a sentence each."""
        found = []
        if not any(self.removed.values()):
            found.append("nothing of this user is in the lake or the label store: is the name as the logs have it?")
        if self.of_others:
            found.append(f"of the interactions, {self.of_others:,} name another user in a conversation with this one")
        if self.withdrawn:
            found.append("run `python -m curate run` to publish a snapshot without this user")
        found += [f"model made from erased rows: {run.run} (snapshot {run.snapshot})" for run in self.trained_on]
        if self.raw_logs:
            records = sum(map(len, self.raw_logs.values()))
            found.append(
                f"not erased: {records:,} records in {len(self.raw_logs):,} raw logs; the JSON line says where"
            )
        if self.proof:
            pieces = f"{len(self.needles.pieces):,} pieces of {self.needles.texts:,} texts and the pseudonym"
            found.append(f"proof: {pieces} are in none of {self.proof.files:,} files, {self.proof.bytes:,} bytes")
        return found


def erase(
    settings: Settings,
    *,
    user: str | None = None,
    pseudonym: str | None = None,
    dry_run: bool = False,
    progress: Progress = lambda _step: None,
) -> Erasure:
    """Erase one user, named as the logs do or as the lake does.

    Raises SettingsError without exactly one name, LakeBusyError while a run holds the lake or the snapshots, and
    ErasureError where the proof finds something.
    """
    begun = time.monotonic()
    name, pseudonyms = named(settings, user, pseudonym)
    erasure = Erasure(f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}", name, dry_run)
    lake = Lake(settings.lake)
    with lake.locked(erasure.erasure), snapshots.locked(settings.curated):
        subjects = Subjects(settings.subjects, pseudonyms)
        subjects.erased.users.add(name)
        _erase(settings, lake, subjects, erasure, progress)
    erasure.seconds = round(time.monotonic() - begun, 3)
    return erasure


def complete(settings: Settings, lake: Lake, subjects: Subjects, run_id: str) -> Erasure | None:
    """Within a run that holds the lake: end an erasure that was killed, or one of which the logs told more.

    Returns None where the lake holds nothing of it.
    """
    erasure = Erasure(run_id, None, dry_run=False)
    if not subjects.interrupted:
        with lake.database(run_id) as connection:
            if not Search(connection, lake, subjects, on_disk=False).finds():
                subjects.save(run_id, removed={})
                return None
    with snapshots.locked(settings.curated):
        _erase(settings, lake, subjects, erasure, lambda _step: None)
    return erasure


def _erase(settings: Settings, lake: Lake, subjects: Subjects, erasure: Erasure, progress: Progress) -> None:
    """Run the steps in order; every one does what is still to do, so that the whole can be run again at any time."""
    progress("find")
    with label_store.opened(settings.labels.url) as store:
        rows, gone, holding = _find(settings, lake, subjects, store, erasure)
        if erasure.dry_run:
            return
        subjects.save(erasure.erasure, began=True)  # from here on nothing brings the user back
        progress("label store")
        if store:
            removed = label_store.remove(store, gone, erasure.erasure)
            label_store.purge(store)
            erasure.removed |= {f"label_{table}": count for table, count in asdict(removed).items()}
        progress("snapshots")
        for found in holding:
            snapshots.withdraw(settings.curated, found.folder, found.rows, erasure.erasure)
        snapshots.complete(settings.curated, erasure.erasure)
        snapshots.forget_sketches(settings.curated)
        progress("lake")
        for table, keys in rows.keys().items():
            lake.delete(table, keys)
        progress("purge")
        for table in SCHEMAS:
            lake.purge(table)
        progress("pair")  # last, so that the next run finds nothing changed; what it replaces holds nothing of the user
        pairing.build(lake, erasure.erasure, settings.pairing)
        snapshots.forget_splits(settings.curated, lake)
        progress("prove")
        erasure.proof = _prove(settings, store, erasure)
    erasure.trained_on = snapshots.trained_on(settings.curated, settings.train.output)
    if erasure.proof.hits:
        raise ErasureError(
            f"Erased, but {len(erasure.proof.hits)} files still hold what the user said, or their pseudonym: "
            f"{', '.join(sorted(erasure.proof.hits))}. Delete them, or tell who wrote them, and run erase again."
        )
    proven = {"files": erasure.proof.files, "bytes": erasure.proof.bytes}
    subjects.save(erasure.erasure, removed=erasure.removed, proof=proven)


def _find(
    settings: Settings, lake: Lake, subjects: Subjects, store: sa.Engine | None, erasure: Erasure
) -> tuple[Rows, label_store.Gone, list[snapshots.Holding]]:
    """Find everything, put what identifies it into the ledger's scope, and what it says into the proof's needles."""
    erasure.needles.pseudonyms |= subjects.erased.users
    with lake.database(erasure.erasure) as connection:
        looked = Search(connection, lake, subjects, on_disk=True)
        looked.extend(subjects.erased)
        gone = label_store.find(store, subjects) if store else label_store.Gone()
        holding = snapshots.find(settings.curated, subjects)
        elsewhere = {*gone.texts, *(text for found in holding for text in found.texts)}
        rows = looked.rows(erasure.needles, elsewhere)
    subjects.erased.lines |= {subjects.line(key) for key in rows.quarantine}
    erasure.removed = {table: len(keys) for table, keys in rows.keys().items()} | {"label_pairs": len(gone.pairs)}
    erasure.of_others, erasure.raw_logs = rows.of_others, rows.places
    erasure.withdrawn = {found.folder.name: found.rows for found in holding}
    return rows, gone, holding


def _prove(settings: Settings, store: sa.Engine | None, erasure: Erasure) -> Proof:
    """Search everything that Winnow writes; snapshots that turn out to hold a text, such as in a report, go too."""
    folders = [settings.lake, settings.curated, settings.train.output, *_database_files(settings.labels.url)]
    proof = search(erasure.needles, folders)
    for folder in sorted({Path(hit).parent for hit in proof.hits if Path(hit).parent.parent == settings.curated}):
        snapshots.withdraw(settings.curated, folder, {}, erasure.erasure)
        erasure.withdrawn[folder.name] = {}
        proof = search(erasure.needles, folders)
    hits = dict(proof.hits)
    if store is not None and store.dialect.name != "sqlite":
        hits |= label_store.held(store, erasure.needles)
    return replace(proof, hits=hits)


def _database_files(url: str) -> list[Path]:
    """Return the files of a SQLite store, its logs included; none of a database elsewhere."""
    address = sa.make_url(url)
    if address.get_backend_name() != "sqlite" or not address.database:
        return []
    file = Path(address.database)
    return [file, *file.parent.glob(f"{glob.escape(file.name)}-*")]
