"""Whole SQL statements live in .sql files beside the module that runs them; this reads one."""

from importlib.resources import files


def statement(name: str) -> str:
    """Return the text of curate/`name`."""
    return files("curate").joinpath(name).read_text(encoding="utf-8")
