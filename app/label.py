"""The labelling app's page: which screens there are, and the server that sends them.

Reads candidates.parquet of the latest snapshot, writes label events to the store of winnow.toml (WINNOW_CONFIG names
another file). From the repository root:

    streamlit run app/label.py
"""

from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

from app.content_security import ContentSecurity
from app.screens import navigation

if __name__ == "__main__":  # a browser asks for the page
    st.set_page_config(page_title="Winnow", page_icon=str(Path(__file__).with_name("icon.svg")), layout="wide")
    st.html(Path(__file__).with_name("label.css"))
    navigation.draw()
else:  # `streamlit run` imports this module to find the server
    app = st.App(__file__, middleware=[Middleware(ContentSecurity)])
