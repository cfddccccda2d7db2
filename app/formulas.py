r"""LaTeX in the text of prompts and responses: where a formula begins and ends, and its MathML.

A formula stands in `\( \)`, `\[ \]`, `$$ $$`, `\begin{x} \end{x}`, or in `$ $` by the rule of Pandoc, and then only
where what is inside looks like a formula: "from $5 to $10" is money. What the browser gets is MathML of a fixed list of
elements and attributes, made by latex2mathml and written anew here; a formula that would need anything else (a link, a
colour of its own, a command that is not known) is not drawn: its source is shown, every character of it.
"""

import html
import re
from bisect import bisect_left
from functools import lru_cache
from typing import Final
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert_to_element
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline

LONGEST: Final = 2_000
"""Characters; a longer formula is shown as its source."""
MOST_LINES: Final = 60
"""Of a formula that has its lines for itself."""

ELEMENTS: Final = frozenset(
    {"math", "mrow", "mi", "mo", "mn", "mtext", "mspace", "mfrac", "msqrt", "mroot", "mstyle", "menclose"}
    | {"msub", "msup", "msubsup", "munder", "mover", "munderover", "mmultiscripts", "mprescripts", "none"}
    | {"mtable", "mtr", "mtd"}
)
ATTRIBUTES: Final = frozenset(
    {"display", "displaystyle", "scriptlevel", "stretchy", "fence", "form", "accent", "accentunder", "separator"}
    | {"columnalign", "rowspacing", "columnspacing", "columnlines", "rowlines", "linethickness", "mathvariant"}
    | {"width", "minsize", "maxsize", "lspace", "rspace", "movablelimits", "largeop", "notation"}
)
IGNORED: Final = frozenset({"xmlns", "mathcolor", "mathbackground", "mathsize"})
"""Attributes without which a formula says the same: a colour could hide it."""
_VALUE: Final = re.compile(r"[a-zA-Z0-9. ]{0,60}|-?0?\.\d+em")
"""No address, no function; the only negative lengths are the small ones of `\\!`, which move nothing elsewhere."""
_SPACE: Final = re.compile(r"-?0?\.\d+em|[0-4](\.\d+)?em|0")

_CLOSERS: Final = {r"\(": r"\)", r"\[": r"\]", "$$": "$$"}
_ENVIRONMENT: Final = re.compile(r"\\begin\{([a-zA-Z]{1,20}\*?)\}")
_DOLLAR: Final = re.compile(r"\$(?![\s$])((?:[^$\\\n]|\\.)*?)(?<!\s)\$(?![\d$])")
_LOOKS_LIKE_A_FORMULA: Final = re.compile(r"[\\^_=<>+{}|]|^\s*-?\d{0,3}[A-Za-z]('|\(.{1,9}\))?\s*$")


class NotDrawnError(Exception):
    """The formula needs something that is not on the lists."""


def rule(state: StateInline, silent: bool) -> bool:
    """Take a formula out of the text before markdown sees it (a rule of markdown-it)."""
    found = _end(state)
    if found is None:
        return False
    opener, closer, end = found
    if not silent:
        token = state.push("formula", "", 0)
        token.content = state.src[state.pos : end]
        token.info = token.content if opener.startswith(r"\begin") else token.content[len(opener) : -len(closer)]
        token.block = opener in (r"\[", "$$") or opener.startswith(r"\begin")
    state.pos = end
    return True


def block_rule(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """Take a formula that has its lines for itself out of the text, before markdown makes a list of its minus signs."""
    start = state.bMarks[first] + state.tShift[first]
    source = state.src
    opener = next((opener for opener in (r"\[", "$$", r"\begin{") if source.startswith(opener, start)), None)
    if opener is None or state.is_code_block(first):
        return False
    environment = _ENVIRONMENT.match(source, start)
    closer = {r"\[": r"\]", "$$": "$$"}.get(opener) or (rf"\end{{{environment[1]}}}" if environment else "\n")
    for line in range(first, min(last, first + MOST_LINES)):
        begins = start + len(opener) if line == first else state.bMarks[line]
        text = source[begins : state.eMarks[line]]
        if not text.strip() and line > first:
            return False
        if text.rstrip().endswith(closer):
            break
    else:
        return False
    content = state.getLines(first, line + 1, state.blkIndent, False).strip()
    latex = content if environment else content[len(opener) : -len(closer)]
    if not latex.strip():
        return False
    if not silent:
        token = state.push("formula", "", 0)
        token.block, token.map = True, [first, line + 1]
        token.content, token.info = content, latex
        state.line = line + 1
    return True


def _end(state: StateInline) -> tuple[str, str, int] | None:
    """Return what the formula at the parser's position begins and ends with, and where; None where none begins."""
    source, at = state.src, state.pos
    if source[at] not in "\\$":
        return None
    opener = source[at : at + 2]
    if opener in _CLOSERS:
        closer = _CLOSERS[opener]
    elif opener[0] == "$":
        return _dollars(source, at, state.posMax)
    elif environment := _ENVIRONMENT.match(source, at):
        opener, closer = environment[0], rf"\end{{{environment[1]}}}"
    else:
        return None
    # All ends are looked up once: a search from every start is quadratic in a text of starts alone.
    ends: dict[tuple[str, str], list[int]] = state.env.setdefault("formula ends", {})
    if (source, closer) not in ends:
        overlapping = re.finditer(f"(?={re.escape(closer)})", source)
        ends[source, closer] = [match.start() + len(closer) for match in overlapping]
    places = ends[source, closer]
    next_one = bisect_left(places, at + len(opener) + len(closer) + 1)  # between both stands one character or more
    if next_one == len(places) or places[next_one] > state.posMax:
        return None
    return opener, closer, places[next_one]


def _dollars(source: str, at: int, last: int) -> tuple[str, str, int] | None:
    """Return the formula between single dollars that begins at `at`."""
    found = _DOLLAR.match(source, at, min(last, at + LONGEST))
    if found is None or not _LOOKS_LIKE_A_FORMULA.search(found[1]):
        return None
    return "$", "$", found.end()


@lru_cache(maxsize=512)
def mathml(latex: str, *, block: bool) -> str | None:
    """Return safe MathML of `latex` without its delimiters; None where it cannot be drawn faithfully."""
    if len(latex) > LONGEST or not _whole(latex):
        return None
    try:
        return _written(convert_to_element(latex.strip(), display="block" if block else "inline"))
    except Exception:  # of any input that it cannot read the library raises what it likes
        return None


def _whole(latex: str) -> bool:
    """Return whether every brace has its other one, and no dollar is left over: the library would draw what it can."""
    depth = 0
    for mark in re.findall(r"\\.|[{}$]", latex, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(mark, 0)
        if depth < 0 or mark == "$":
            return False
    return depth == 0


def _written(element: Element) -> str:
    """Return the element as text, of the lists' elements and attributes alone. Raises NotDrawnError."""
    tag, text = element.tag, html.unescape(element.text or "")
    if tag not in ELEMENTS or text.startswith("\\") or (element.tail or "").strip():
        raise NotDrawnError(tag)
    written = "".join(f' {name}="{value}"' for name, value in element.attrib.items() if _allowed(tag, name, value))
    inner = html.escape(text) + "".join(map(_written, element))
    if tag == "menclose":  # browsers do not draw it; `\boxed` is what it is for
        if element.attrib.get("notation") != "box":
            raise NotDrawnError(tag)
        return f'<mrow class="boxed">{inner}</mrow>'
    return f"<{tag}{written}>{inner}</{tag}>"


def _allowed(tag: str, name: str, value: str) -> bool:
    """Return whether an attribute is written; False for one that changes nothing. Raises NotDrawnError."""
    if name in IGNORED:
        return False
    pattern = _SPACE if (tag, name) == ("mspace", "width") else _VALUE
    if name not in ATTRIBUTES or not pattern.fullmatch(value):
        raise NotDrawnError(name)
    return True
