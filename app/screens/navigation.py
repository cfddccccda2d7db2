"""Which screens this visitor has, by role, and the one that they are at.

A screen that a visitor has no role for is not among the pages that the server knows in their session: its address
leads to their first screen.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import streamlit as st

from app.screens import access, data, label, review, team, training
from app.screens.access import Visitor
from ingest import settings
from ingest.errors import WinnowError

if TYPE_CHECKING:
    from streamlit.navigation.page import StreamlitPage

ICONS: Final = {
    "label": ":material/balance:", "review": ":material/gavel:", "team": ":material/group:",
    "data": ":material/database:", "training": ":material/monitoring:",
}  # fmt: skip


def draw() -> None:
    """Draw the screen that the address names, or the way to sign in."""
    try:
        visitor = access.visitor(settings.load().labels)
    except WinnowError as error:
        st.error(str(error), icon=":material/error:")
        return
    if visitor is None:
        return
    mine = screens(visitor)
    if not mine:
        access.refused(visitor.name)
        return
    pages: list[StreamlitPage] = [
        st.Page(screen, title=name.capitalize(), icon=ICONS[name], url_path=name, default=place == 0)
        for place, (name, screen) in enumerate(mine.items())
    ]
    st.navigation(pages, position="top").run()


def screens(visitor: Visitor) -> dict[str, Callable[[], None]]:
    """Return the screens of the visitor's roles; the first one is at the root of the address."""
    of_role: dict[str, dict[str, Callable[[], None]]] = {
        "annotator": {"label": partial(label.draw, visitor.name)},
        "adjudicator": {"review": partial(review.draw, visitor.name)},
        "admin": {
            "team": team.draw, "data": partial(data.draw, visitor.name), "training": training.draw,
        },
    }  # fmt: skip
    return {name: draw for role in access.ROLES if role in visitor.roles for name, draw in of_role[role].items()}
