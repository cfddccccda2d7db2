"""Going on with a run that ended before it was finished, and refusing to where it would become another run.

A run's folder holds run.json (its options), inputs.json (hashes of what it reads) and, until it is finished,
checkpoints (`train.checkpoint`). One process has the folder at a time: it holds a lock on the folder itself, which the
system takes back whenever and however the process ends.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ingest.errors import ResumeError, SettingsError
from train.config import NOT_RESULTS, RunConfig

READ: frozenset[str] = frozenset({"data", "model", "validation"})
"""Options that name files: compared by content, so that a moved file is no change."""


def saved(folder: Path) -> dict[str, Any] | None:
    """Return the options of the run in `folder` that are not defaults, or None when no run has started there.

    Raises ResumeError when the run is finished, or its options cannot be read.
    """
    if not (folder / "run.json").exists():
        return None
    refuse_finished(folder)
    try:
        options: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        return RunConfig.model_validate(options).model_dump(mode="json", exclude_defaults=True)
    except ValueError as error:
        raise ResumeError(f"{folder / 'run.json'} is not the options of a run: {error}") from error


def refuse_finished(folder: Path) -> None:
    """Raise ResumeError when the run in `folder` is finished."""
    if (folder / "manifest.json").exists():
        raise ResumeError(f"The run in {folder} is finished: there is nothing to resume. Name another with --output.")


def unfinished(folder: Path, config: RunConfig) -> Path | None:
    """Return the folder in `folder` that holds an unfinished run of `config`, None when there is none.

    Raises ResumeError when there are several.
    """
    found = [path.parent for path in sorted(folder.glob("*/run.json")) if _is_unfinished(path.parent, config)]
    if len(found) > 1:
        names = ", ".join(str(path) for path in found)
        raise ResumeError(f"Several unfinished runs have these options: {names}. Name one with --output.")
    return found[0] if found else None


def _is_unfinished(folder: Path, config: RunConfig) -> bool:
    """Return whether `folder` holds an unfinished run of `config`: no finished one, and none of unknown options."""
    try:
        return not differences(saved(folder) or {}, config)
    except ResumeError:
        return False


def differences(before: Mapping[str, Any], config: RunConfig) -> list[str]:
    """Return a phrase for each option that decides results and is not what it was `before`."""
    now = config.model_dump(mode="json", exclude_defaults=True)
    fields = RunConfig.model_fields
    names = [name for name in fields if name not in NOT_RESULTS | READ and before.get(name) != now.get(name)]
    pairs = ((name, *(side.get(name, fields[name].default) for side in (before, now))) for name in names)
    return [f"--{name.replace('_', '-')} was {old}, now {new}" for name, old, new in pairs]


def refuse_other_options(config: RunConfig) -> None:
    """Raise ResumeError when the run in `config.output` was started with other options."""
    found = differences(saved(config.output) or {}, config)
    if found:
        raise ResumeError(
            f"The run in {config.output} was started with other options: {'; '.join(found)}. "
            "Resume it with its own, or start a new run with another --output."
        )


def refuse_other_inputs(folder: Path, inputs: Mapping[str, Any]) -> None:
    """Raise ResumeError when the run in `folder` read something else than `inputs`."""
    try:
        before = json.loads((folder / "inputs.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResumeError(f"{folder / 'inputs.json'} cannot be read ({error}); start a new run.") from error
    changed = [name for name in sorted({*before, *inputs}) if before.get(name) != inputs.get(name)]
    if changed:
        first = changed[0]
        raise ResumeError(
            f"The run in {folder} was started with another {' and '.join(changed)}: {first} was "
            f"{before.get(first)}, now {inputs.get(first)}. Put it back, or start a new run with another --output."
        )


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process. Raises SettingsError when a running one has it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SettingsError(f"Another process is writing the run in {folder}. Wait until it ends.") from error
        yield
    finally:
        os.close(descriptor)
