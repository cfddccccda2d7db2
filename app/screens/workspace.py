"""What every screen needs before it can draw: the settings, the open store, the latest candidates in it."""

from pathlib import Path
from typing import Final

import streamlit as st

from app.candidates import latest, load
from app.store import Store, open_store
from ingest import settings
from ingest.errors import SettingsError
from ingest.settings import Settings

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


def open_workspace() -> tuple[Settings, Store]:
    """Return the settings and the store, with the pairs of the newest snapshot in its queue.

    Raises WinnowError when one of them is wrong.
    """
    workspace = settings.load()
    address = st.get_option("server.address")
    if workspace.labels.sign_in == "name" and address not in LOOPBACK:
        raise SettingsError(
            f"The server listens on {address or 'every address'}, but annotators only type their names: anyone could"
            " vote as anyone. Start it with --server.address 127.0.0.1, or set `labels.sign_in` to oidc."
        )
    store = _store(workspace.labels.url)
    if file := latest(workspace):
        _load(workspace.labels.url, file, workspace.labels.annotators_per_pair)
    return workspace, store


@st.cache_resource(show_spinner=False)
def _store(url: str) -> Store:
    """Open the store once per server process."""
    return open_store(url)


@st.cache_resource(show_spinner="Loading the pairs of the latest snapshot")
def _load(url: str, file: Path, k: int) -> bool:
    """Load a snapshot's candidates once per server process; the path names the snapshot."""
    load(_store(url), file, k=k)
    return True
