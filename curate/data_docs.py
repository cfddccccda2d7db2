"""Great Expectations' own pages about a gate, made to stand alone: no script, no remote address, no clock.

Reads the Data Docs that a checkpoint wrote; gives one HTML page for each suite, which the snapshot keeps as
gate-<suite>.html; part of `python -m curate run`. The pages come with scripts, styles and a logo from nine hosts, the
time at which they were made, and folds that need the scripts. What they say of expectations stays; curate/gate.css
dresses it.
"""

from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

from curate.statements import statement

SKIPPED: Final = {"script", "noscript", "style", "nav", "iframe", "object", "footer", "head"}
"""Elements that go with everything in them."""
SKIPPED_CLASSES: Final = {"collapse", "mb-3", "modal", "d-none", "col-lg-2"}
"""The same, by class: folds, the filter and the list of contents, which need scripts, and windows that open."""
VOID: Final = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
MARKS: Final = {"text-success": "✔ ", "text-danger": "✘ ", "text-warning": "! "}
"""Class of an icon -> what stands for it."""


def page(folder: Path, suite: str) -> str:
    """Return the page about `suite`'s validation among the Data Docs in `folder`."""
    (file,) = (folder / "validations" / suite).rglob("*.html")
    reader = _Stripped()
    reader.feed(file.read_text(encoding="utf-8"))
    reader.close()
    return _PAGE.format(suite=escape(suite), css=statement("gate.css"), body="".join(reader.kept))


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Winnow: the gate's {suite} suite</title>
<style>
{css}</style>
</head>
<body>
<main>
<h1>The gate's {suite} suite</h1>
{body}
</main>
</body>
</html>
"""


class _Stripped(HTMLParser):
    """Collects the body's markup without what SKIPPED names and without every attribute but `class`."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.kept: list[str] = []
        self._open: list[tuple[str, bool]] = []
        """Elements that are open, and whether they are kept."""

    @property
    def _keeping(self) -> bool:
        return not self._open or self._open[-1][1]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        classes = next((value or "" for name, value in attrs if name == "class"), "").split()
        if tag in VOID:
            if self._keeping and tag in ("br", "hr"):
                self.kept.append(f"<{tag}>")
            return
        fold = any(name == "data-toggle" and value == "collapse" for name, value in attrs)
        keep = self._keeping and tag not in SKIPPED and not SKIPPED_CLASSES & set(classes) and not fold
        self._open.append((tag, keep))
        if keep and tag not in ("html", "body"):
            self.kept.append(
                f'<{self._name(tag)} class="{escape(" ".join(classes))}">' if classes else f"<{self._name(tag)}>"
            )
            if tag == "i":
                self.kept += [mark for name, mark in MARKS.items() if name in classes]

    def handle_endtag(self, tag: str) -> None:
        while self._open:
            name, kept = self._open.pop()
            if kept and name not in ("html", "body"):
                self.kept.append(f"</{self._name(name)}>")
            if name == tag:
                return

    def handle_data(self, data: str) -> None:
        if self._keeping:
            self.kept.append(escape(data, quote=False) if data.strip() else "\n" if "\n" in data else " ")

    @staticmethod
    def _name(tag: str) -> str:
        return "span" if tag in ("a", "label") else tag
