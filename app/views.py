"""Drawing prompts and responses as untrusted text.

Whoever wrote them must not be able to run anything, to make the browser ask another machine for anything, or to look
like a part of the page. So the markdown is turned into HTML here, from a fixed list of tags without links, images,
styles or event handlers: an image or a link stands there as text, HTML as the characters it is made of, a formula as
MathML or as its source. Code keeps every byte. The raw view shows the text as it is, character by character, and the
view of differences marks the words that only one of two responses has.
"""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from app import differences, formulas
from app.ballot import View
from ingest.schema import Message

TAGS: Final = frozenset(
    {"h1", "h2", "h3", "h4", "h5", "h6", "p", "br", "hr", "ul", "ol", "li", "blockquote", "pre", "code", "div", "span"}
    | {"table", "thead", "tbody", "tr", "th", "td", "strong", "em", "s"}
    | {"mark", "ins", "del"}
    | formulas.ELEMENTS
)
"""Every tag that this module gives. Its only attributes are `class`, `dir`, the start of an ordered list, and those of
formulas."""

ROLES: Final = {"system": "System", "developer": "Developer", "user": "User", "assistant": "Assistant", "tool": "Tool"}
"""Roles that have a look of their own; any other is drawn under the name it has."""


class _Untrusted(RendererHTML):
    """Gives tags without attributes, and whatever would load something or lead elsewhere as text."""

    @staticmethod
    def renderAttrs(token: Token) -> str:  # noqa: N802 (the library's name)
        """Keep only the number that an ordered list starts with, and on which side a column of a table stands.

        Lists, quotes and tables begin where their own language does.
        """
        if token.type in ("bullet_list_open", "ordered_list_open", "blockquote_open", "table_open"):
            start = token.attrs.get("start")
            return ' dir="auto"' if start is None else f' dir="auto" start="{int(start)}"'
        side = str(token.attrs.get("style", "")).removeprefix("text-align:")
        return f' class="to-{side}"' if token.type in ("th_open", "td_open") and side in ("right", "center") else ""

    def fence(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """Show a code block byte for byte, its language above it."""
        language = html.escape(tokens[idx].info.strip())
        label = f'<span class="code-language">{language}</span>' if language else ""
        return f'<div class="code-block">{label}{_pre(tokens[idx].content)}</div>'

    def code_block(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """Show an indented block like a fenced one."""
        return f'<div class="code-block">{_pre(tokens[idx].content)}</div>'

    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """Name the image instead of loading it."""
        title = html.escape(f"[image: {tokens[idx].content}]" if tokens[idx].content else "[image]")
        return f'<span class="not-loaded">{title} {html.escape(str(tokens[idx].attrs.get("src", "")))}</span>'

    def link_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """Begin the text of a link."""
        return '<span class="not-linked">'

    def link_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """Write where the link leads behind its text; `<https://...>` says it already. Links do not nest."""
        if tokens[idx].markup == "autolink":
            return "</span>"
        opening = next(token for token in reversed(tokens[:idx]) if token.type == "link_open")
        return f"</span> ({html.escape(str(opening.attrs.get('href', '')))})"

    def formula(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """Draw a formula, or show its source, backslashes and underscores kept.

        Behind a drawn one its source is hidden by label.css: Streamlit's own HTML takes MathML away, and shows that.
        """
        token = tokens[idx]
        drawn, source = formulas.mathml(token.info, block=token.block), html.escape(token.content)
        if drawn is None:
            return f'<span class="formula">{source}</span>'
        kind = "formula drawn block" if token.block else "formula drawn"
        return f'<span class="{kind}">{drawn}<span class="tex">{source}</span></span>'


def _parser() -> MarkdownIt:
    """Return a parser for which HTML is text, a line break is a line break, and no line is hidden as a definition."""
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True}, renderer_cls=_Untrusted)
    parser.inline.ruler.before("escape", "formula", formulas.rule)
    parser.block.ruler.before("fence", "formula", formulas.block_rule, {"alt": ["paragraph"]})
    return parser.enable(["table", "strikethrough"]).disable("reference")


_MARKDOWN: Final = _parser()


def markdown(text: str) -> str:
    """Return safe HTML of markdown `text`."""
    return f'<div class="markdown">{_one_line(_MARKDOWN.render(text))}</div>'


def raw(text: str) -> str:
    """Return safe HTML that shows `text` character by character."""
    return f'<div class="raw">{_one_line(_pre(text))}</div>'


def plain(text: str) -> str:
    """Return safe HTML of one line of text."""
    return _one_line(html.escape(text))


def conversation(messages: Sequence[Message], *, as_raw: bool = False) -> str:
    """Return safe HTML of a conversation: every turn under its role."""
    return "".join(_turn(message, raw if as_raw else markdown) for message in messages)


def response(messages: Sequence[Message], *, as_raw: bool = False) -> str:
    """Return safe HTML of a response: its text alone where it is one plain message, else as a conversation."""
    if _plain(messages):
        return _body(messages[0], raw if as_raw else markdown)
    return conversation(messages, as_raw=as_raw)


@dataclass(frozen=True)
class Parts:
    """Safe HTML of a question."""

    prompt: str
    left: str
    right: str


def parts(prompt: Sequence[Message], left: Sequence[Message], right: Sequence[Message], view: View) -> Parts:
    """Return the conversation and the two responses to it, as `view` shows them."""
    as_raw = view == "raw"
    above = conversation(prompt, as_raw=as_raw)
    if view != "diff":
        return Parts(above, response(left, as_raw=as_raw), response(right, as_raw=as_raw))
    marked = differences.sides(_text(left), _text(right))
    return Parts(above, *(f'<div class="raw"><pre>{_one_line(side)}</pre></div>' for side in marked))


def pair(drawn: Parts) -> str:
    """Return safe HTML of the question: the conversation above, two responses to it side by side."""
    sides = "".join(
        f'<div class="response {side}"><span class="role">{side}</span>{inner}</div>'
        for side, inner in (("left", drawn.left), ("right", drawn.right))
    )
    return (
        f'<div class="stage"><div class="prompt"><div>{drawn.prompt}</div></div><div class="sides">{sides}</div></div>'
    )


def edit(before: str, after: str) -> str:
    """Return safe HTML of an improved text: what was taken out of it, and what was put in."""
    return f'<div class="raw"><pre>{_one_line(differences.edit(before, after))}</pre></div>'


def _plain(messages: Sequence[Message]) -> bool:
    return [message["role"] for message in messages] == ["assistant"]


def _text(messages: Sequence[Message]) -> str:
    """Return what a response says as one text; turns have their roles in front where there are several."""
    said = [f"{message['content'] or ''}{message['tool_calls'] or ''}" for message in messages]
    if _plain(messages):
        return said[0]
    return "\n\n".join(f"{message['role']}: {text}" for message, text in zip(messages, said, strict=True))


def _turn(message: Message, draw: Callable[[str], str]) -> str:
    """Return one turn with its role, and the name of who or what spoke where it has one."""
    role = message["role"]
    name = message["name"] or message["tool_call_id"]
    heading = html.escape(ROLES.get(role, role) + (f" · {name}" if name else ""))
    look = role if role in ROLES else "other"
    return f'<div class="turn role-{look}"><span class="role">{_one_line(heading)}</span>{_body(message, draw)}</div>'


def _body(message: Message, draw: Callable[[str], str]) -> str:
    """Return what a message says and which tools it calls; a message that does neither says so."""
    content, calls = message["content"], message["tool_calls"]
    said = draw(content) if content else ""
    called = f'<span class="role">Tool calls</span>{raw(calls)}' if calls else ""
    return said + called or '<div class="empty">(empty)</div>'


def _pre(text: str) -> str:
    """Return `text` as it is, in a fixed-width block."""
    return f"<pre><code>{html.escape(text)}</code></pre>"


def _one_line(markup: str) -> str:
    """Write line ends as references: Streamlit strips lines of HTML that hold only spaces, and code may have them."""
    return markup.replace("\r", "&#13;").replace("\n", "&#10;")
