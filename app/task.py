"""What annotators are asked: scale or choice, reasons, tags, aspects and guidelines, from one TOML file.

Reads the file that `[labels] file` of winnow.toml names (docs/labelling.md shows one with every key); without it, the
defaults below. A relative path in the file is relative to the file's own folder, and an unknown key is an error.
"""

import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ingest.errors import SettingsError

Name = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^\S(.*\S)?$")]
"""One line that stands on a button."""

MOST: Final = 9
"""Tags and reasons have the keys 1 to 9."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Guidelines(_Strict):
    """What annotators go by."""

    name: Name
    """Its version as the team calls it: part of every event."""
    file: Path
    """Markdown."""
    text: str = ""
    """What the file says; not a key of the TOML file."""

    @property
    def version(self) -> str:
        """What an event names: the team's name, and a hash, because a file may be edited and the name forgotten."""
        return f"{self.name}@{hashlib.sha256(self.text.encode()).hexdigest()[:12]}"


class Task(_Strict):
    """The configuration of the labelling page."""

    mode: Literal["scale", "choice"] = "scale"
    """"scale": seven places, from left is much better to right is much better; "choice": left, right or tie."""
    both_bad: bool = True
    """Whether an annotator can say that neither is good enough."""
    edit: bool = True
    """Whether an annotator can improve a response."""
    rationale: Literal["off", "optional", "required"] = "optional"
    """Whether an annotator says why; where it is required, ties and both bad need it too, a skip never does."""
    skip_reasons: tuple[Name, ...] = ()
    """One of them is chosen with every skip; without any, a skip says nothing."""
    tags: tuple[Name, ...] = ()
    aspects: tuple[Name, ...] = ()
    """On each of them the annotator can say which side is better."""
    guidelines: Guidelines | None = None

    @property
    def guidelines_version(self) -> str | None:
        """Version of the guidelines, where there are any."""
        return self.guidelines.version if self.guidelines else None

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for key, most in (("skip_reasons", MOST), ("tags", MOST), ("aspects", MOST)):
            names: tuple[str, ...] = getattr(self, key)
            if len(set(names)) < len(names):
                raise ValueError(f"{key} names one thing twice")
            if len(names) > most:
                raise ValueError(f"{key} has {len(names)} entries; the keys 1 to {most} choose them")
        return self


def load(file: Path | None) -> Task:
    """Read the task from `file`; None is the defaults.

    Raises SettingsError when the file or its guidelines cannot be read, or a key is wrong or unknown.
    """
    if file is None:
        return Task()
    try:
        values = tomllib.loads(_text(file, "labels.file"))
        task = Task.model_validate(values)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file} is not TOML: {error}.") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors())
        raise SettingsError(f"{file} is wrong: {problems}.") from error
    if task.guidelines is None:
        return task
    if task.guidelines.text:
        raise SettingsError(f"{file} sets `guidelines.text`. Put the text into a file and name it with `file`.")
    path = file.parent / task.guidelines.file
    text = _text(path, f"guidelines.file of {file}")
    return task.model_copy(update={"guidelines": task.guidelines.model_copy(update={"file": path, "text": text})})


def _text(file: Path, named_by: str) -> str:
    """Return what a file says. Raises SettingsError."""
    try:
        return file.read_bytes().decode()
    except OSError as error:
        raise SettingsError(f"Cannot read {file}, which {named_by} names: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file}, which {named_by} names, is not UTF-8 text.") from error
