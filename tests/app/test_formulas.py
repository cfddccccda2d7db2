"""Where formulas begin and end, and that what is drawn of them is on the lists, whatever they say."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.formulas import ATTRIBUTES, ELEMENTS, LONGEST, mathml
from app.views import markdown
from tests.app.test_views import Reading

DRAWN = [
    ("parentheses", r"so \(a_1 * b_2\) holds", "so a1*b2 holds", "inline"),
    ("brackets", r"so \[ x + 1 \] holds", "so x+1 holds", "block"),
    ("dollars", r"so $$x^2$$ holds", "so x2 holds", "block"),
    ("dollar", "let $x$ be and $n^2 - 1$.", "let x be and n2−1.", "inline"),
    ("function", "so $f(x)$ is", "so f(x) is", "inline"),
    ("environment", "\\begin{align*}a&=b\\\\c&=d\\end{align*}", "a=bc=d", "block"),
    ("lines-of-its-own", "\\[\na\n- b\n+ c\n\\]", "a−b+c", "block"),
    ("dollar-lines", "$$\nx\n= 1\n$$\nend", "x=1end", "block"),
    ("in-a-list", "- item\n\n  $$\n  x\n  - 2\n  $$\n", "itemx−2", "block"),
    ("in-a-quote", "> \\[\n> x\n> \\]", "x", "block"),
    ("boxed", r"\(\boxed{42}\)", "42", "inline"),
    ("escapes-within", r"\(\text{a < b & c}\)", "a\u00a0<\u00a0b\u00a0&\u00a0c", "inline"),
    ("coloured", r"\(\color{red}{x}\)", "x", "inline"),
]


SOURCE = re.compile('<span class="tex">.*?</span>')
"""What stands behind a drawn formula, and is seen where MathML is taken away."""


def test_the_source_stands_behind_what_is_drawn() -> None:
    assert r'</math><span class="tex">\(x &lt; 1\)</span></span></p>' in markdown(r"\(x < 1\)")


@pytest.mark.parametrize(("text", "shown", "display"), [pytest.param(*case, id=name) for name, *case in DRAWN])
def test_a_formula_is_drawn(text: str, shown: str, display: str) -> None:
    seen = Reading(SOURCE.sub("", markdown(text)))
    assert seen.text.replace("\n", "") == shown
    assert ("math", f"display={display}") in seen.attributes
    assert {a.split("=")[0] for _, a in seen.attributes} <= ATTRIBUTES | {"class", "dir"}


KEPT = [
    ("money", "from $5 to $10"),
    ("more-money", "it is $5, or 5$ more, $20k-$30k, US$ 3 and $ 4"),
    ("shell", "run $HOME/bin and $PATH"),
    ("link", r"\(\href{http://e.example}{x}\)"),
    ("style", r"\(\style{color:url(http://e.example)}{x}\)"),
    ("class", r"\(\class{notice saved}{x}\)"),
    ("image", r"\(\includegraphics{http://e.example/x.png}\)"),
    ("unknown", r"\(\unknown{x}\)"),
    ("hidden", r"\(\phantom{x}\)"),
    ("far-away", r"\(\hspace{-90em}x\)"),
    ("broken", r"\(\frac{a\)"),
    ("too-long", r"\(" + "x+" * LONGEST + r"x\)"),
    ("too-deep", r"\(" + "{" * 900 + "x" + "}" * 900 + r"\)"),
]


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in KEPT])
def test_what_is_no_formula_or_cannot_be_drawn_stands_as_it_was_written(text: str) -> None:
    seen = Reading(markdown(text))
    assert seen.text.strip() == text
    assert "math" not in seen.tags


def test_code_is_no_formula() -> None:
    assert Reading(markdown("`$x$` and `\\(y\\)`\n\n```\n\\[\n- z\n\\]\n```")).code == [
        "$x$",
        "\\(y\\)",
        "\\[\n- z\n\\]\n",
    ]


PIECES = [
    *"ab1+-=<>&{}[]()^_ \\\n\"'", r"\frac", r"\sqrt", r"\left(", r"\right)", r"\text{", r"\href{", r"\style{", "url(x)",
    r"\begin{matrix}", r"\end{matrix}", r"\hspace{-9em}", r"\color{red}", r"\operatorname{", "<img src=x>", "&amp;lt;",
]  # fmt: skip
LATEX = st.lists(st.sampled_from(PIECES), max_size=25).map("".join)


@given(LATEX, st.booleans())
def test_whatever_is_drawn_is_on_the_lists(latex: str, block: bool) -> None:
    drawn = mathml(latex, block=block)
    if drawn is not None:
        seen = Reading(drawn)
        assert seen.tags <= ELEMENTS
        assert not seen.open
        assert {a.split("=")[0] for _, a in seen.attributes} <= ATTRIBUTES | {"class"}
        assert not any("(" in a or ":" in a or "/" in a for _, a in seen.attributes)
