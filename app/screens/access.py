"""Who is at the browser, and which screens they may see.

`[labels] sign_in` of winnow.toml says how they sign in: with a typed name, on a server that only this machine reaches,
or with OpenID Connect, whose [auth] stands in .streamlit/secrets.toml. `[labels.roles]` says who may do what.
"""

import unicodedata
from dataclasses import dataclass
from typing import Any, Final

import streamlit as st

from ingest.errors import SettingsError
from ingest.settings import Labels

LONGEST_NAME: Final = 64
ROLES: Final = ("annotator", "adjudicator", "admin")
NAME: Final = "name of who is here"


@dataclass(frozen=True)
class Visitor:
    """Who is here."""

    name: str | None
    """None where nobody had to say yet."""
    roles: frozenset[str]
    """Of `ROLES`."""


def visitor(labels: Labels) -> Visitor | None:
    """Return who is here; None after drawing what they sign in with. Raises SettingsError."""
    if labels.sign_in == "oidc":
        name = _identity()
    elif labels.roles is None:
        return Visitor(known_name(), frozenset(ROLES))
    else:
        name = typed_name("Who are you?")
    return None if name is None else Visitor(name, roles(labels, name))


def roles(labels: Labels, name: str) -> frozenset[str]:
    """Return the roles that the settings give to `name`."""
    if labels.roles is None:
        return frozenset(ROLES)
    return frozenset(role for role in ROLES if name in getattr(labels.roles, role))


def known_name() -> str | None:
    """Return the name that was typed before, in this session or this address."""
    return clean_name(st.query_params.get("annotator", st.session_state.get(NAME, ""))) or None


def typed_name(question: str) -> str | None:
    """Return who is here by their own word; ask when it is not known. The address keeps it over a reload."""
    if name := known_name():
        st.session_state[NAME] = name
        if st.query_params.get("annotator") != name:
            st.query_params["annotator"] = name
        return name
    with st.container(key="sign-in", width=420), st.form("name", enter_to_submit=True):
        st.subheader(question, anchor=False)
        typed = st.text_input(
            "Your name", max_chars=LONGEST_NAME, placeholder="It stands beside every verdict you give"
        )
        st.caption("You will see a conversation and two responses to it. Say which one is better, or that neither is.")
        if not st.form_submit_button("Start", type="primary", width="stretch"):
            return None
    if name := clean_name(typed):
        st.query_params["annotator"] = name
        st.rerun()
    st.error("Type a name of letters, digits, spaces or punctuation first.")
    return None


def clean_name(typed: str) -> str:
    """Return the name in one form (NFC, no spaces around it); empty when it is not one printable line."""
    name = unicodedata.normalize("NFC", typed).strip()
    return name if name.isprintable() and len(name) <= LONGEST_NAME else ""


def _identity() -> str | None:
    """Return the verified e-mail address of who signed in, else None after drawing the way to do so."""
    if not st.user.is_logged_in:
        with st.container(key="sign-in", width=420, border=True):
            st.subheader("Sign in to label", anchor=False)
            st.caption("Your address stands beside every verdict you give.")
            st.button("Sign in", type="primary", width="stretch", on_click=st.login)
        return None
    claims: Any = st.user
    name = str(claims.get("email") or "")
    if not name or claims.get("email_verified") is False:
        raise SettingsError("The identity provider states no verified e-mail address for you. Ask it for scope email.")
    return name


def refused(name: str | None) -> None:
    """Say that this visitor has no role."""
    with st.container(key="sign-in", width=520, border=True):
        st.subheader("No role yet", anchor=False)
        st.text(f"{name} is named by no role of this workspace.")
        st.caption("An administrator adds names to [labels.roles] of winnow.toml.")
        sign_out()


def sign_out() -> None:
    """Draw the way out."""
    if getattr(st.user, "is_logged_in", False):
        st.button("Sign out", on_click=st.logout)
    elif NAME in st.session_state:
        st.button("Somebody else", on_click=_forget)


def _forget() -> None:
    st.session_state.pop(NAME, None)
    st.query_params.pop("annotator", None)
