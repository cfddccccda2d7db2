"""Folders that a run writes to: readable by their owner alone, since what they hold was learnt from users' texts."""

from pathlib import Path


def private_folder(folder: Path) -> None:
    """Make `folder` with mode 0700, or give it that mode where it is there and empty; one in use is left as it is."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not any(folder.iterdir()):
        folder.chmod(0o700)
