"""Who sees which screen: by typed name, by what an identity provider states, and nobody by mistake."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit import config
from streamlit.testing.v1 import AppTest

from app.screens import navigation
from app.screens.access import Visitor, roles
from ingest.errors import SettingsError
from ingest.settings import Labels, Roles
from ingest.settings import load as load_settings
from tests.app.conftest import Workspace, candidate

ROLES = """
[labels.roles]
annotator = ["ada", "ada@example.org"]
adjudicator = ["rae@example.org"]
admin = ["root@example.org"]
"""
OF_ROLE = {"annotator": ["label"], "adjudicator": ["review"], "admin": ["team", "data", "training"]}


@pytest.fixture(autouse=True)
def one_process() -> Iterator[None]:
    config.set_option("server.address", "127.0.0.1")
    yield
    st.cache_resource.clear()


@pytest.fixture
def open_page(
    make_workspace: Callable[..., Workspace], repository: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., AppTest]:
    workspace = make_workspace([candidate(0)])

    def start(*, sign_in: str, email: str | None = None, name: str | None = None, verified: bool = True) -> AppTest:
        text = workspace.config.read_text().split("sign_in")[0]
        workspace.config.write_text(f"{text}sign_in = '{sign_in}'\n{ROLES}")
        monkeypatch.setenv("WINNOW_CONFIG", str(workspace.config))
        page = AppTest.from_file(str(repository / "app/label.py"), default_timeout=60)
        page.query_params["page"] = "buttons"
        if name:
            page.query_params["annotator"] = name
        if sign_in == "oidc":
            page.user["is_logged_in"] = email is not None
            if email is not None:
                page.user["email"] = email
                page.user["email_verified"] = verified
        return page.run()

    return start


def words(page: AppTest) -> str:
    parts = [*page.subheader, *page.error, *page.text, *page.caption]
    return " ".join(str(part.value) for part in parts)


@pytest.mark.parametrize("role", list(OF_ROLE))
def test_a_role_has_its_screens_and_no_more(role: str) -> None:
    assert list(navigation.screens(Visitor("ada", frozenset({role})))) == OF_ROLE[role]


def test_names_have_the_roles_of_the_settings() -> None:
    labels = Labels(roles=Roles(annotator=("ada",), admin=("ada", "root")))
    assert roles(labels, "ada") == {"annotator", "admin"}
    assert roles(labels, "root") == {"admin"}
    assert roles(labels, "Ada") == frozenset()
    assert roles(Labels(), "anybody") == set(OF_ROLE)


def test_strangers_need_roles(tmp_path: Path) -> None:
    file = tmp_path / "winnow.toml"
    file.write_text('[labels]\nsign_in = "oidc"\n')
    with pytest.raises(SettingsError, match=r"needs \[labels.roles\]"):
        load_settings(file)


def test_who_is_not_signed_in_sees_the_way_to_do_so(open_page: Callable[..., AppTest]) -> None:
    page = open_page(sign_in="oidc", name="ada")  # a name in the address proves nothing
    assert not page.exception
    assert "Sign in to label" in words(page)
    assert [button.label for button in page.button] == ["Sign in"]


def test_a_signed_in_annotator_labels_under_their_address(open_page: Callable[..., AppTest]) -> None:
    page = open_page(sign_in="oidc", email="ada@example.org", name="root@example.org")
    assert not page.exception
    html = "".join(str(element.proto.body) for element in page.get("html"))
    assert "ada@example.org" in html
    assert "Question 0?" in html


def test_an_address_without_a_role_sees_nothing(open_page: Callable[..., AppTest]) -> None:
    page = open_page(sign_in="oidc", email="eve@example.org")
    assert "eve@example.org is named by no role" in words(page)
    assert "Question" not in "".join(str(element.proto.body) for element in page.get("html"))


def test_an_unverified_address_is_nobodys(open_page: Callable[..., AppTest]) -> None:
    page = open_page(sign_in="oidc", email="root@example.org", verified=False)
    assert "no verified e-mail address" in words(page)


def test_an_admin_starts_at_the_team(open_page: Callable[..., AppTest]) -> None:
    page = open_page(sign_in="oidc", email="root@example.org")
    assert not page.exception
    assert "Pairs in the queue" in [metric.label for metric in page.metric]


def test_a_typed_name_is_asked_for_before_anything_where_there_are_roles(open_page: Callable[..., AppTest]) -> None:
    assert "Who are you?" in words(open_page(sign_in="name"))
    assert "eve is named by no role" in words(open_page(sign_in="name", name="eve"))


def test_a_server_for_everybody_needs_no_typed_names(open_page: Callable[..., AppTest]) -> None:
    config.set_option("server.address", "0.0.0.0")
    assert "anyone could vote as anyone" in words(open_page(sign_in="name", name="ada"))
    assert "anyone" not in words(open_page(sign_in="oidc", email="ada@example.org"))
