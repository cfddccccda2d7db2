"""Which files a source's glob matches."""

import glob
from pathlib import Path


def find(pattern: str) -> list[Path]:
    """Return the files that the glob `pattern` matches, sorted; hidden ones only where the pattern names the dot."""
    # Not Path.glob: it matches hidden files, such as those that a copying tool is still writing.
    return sorted(path for path in map(Path, glob.glob(pattern, recursive=True)) if path.is_file())  # noqa: PTH207
