"""Signing in with OpenID Connect, in a real browser, at a provider that runs beside the server."""

import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.app.conftest import Workspace, await_done, candidate, free_port, look, serving

ROLES = 'sign_in = "oidc"\n[labels.roles]\nannotator = ["ada@example.org"]\n'
SECRET, COOKIE_SECRET = "a-secret-of-the-client", "a-secret-of-the-cookies-that-is-long-enough"


@contextmanager
def provider(email: str) -> Iterator[str]:
    """Run the identity provider; give its address."""
    port = free_port()
    program = str(Path(__file__).with_name("identity_provider.py"))
    with subprocess.Popen([sys.executable, program, str(port), email]) as running:
        address = f"http://127.0.0.1:{port}"
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                try:
                    urllib.request.urlopen(f"{address}/keys", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield address
        finally:
            running.terminate()


def test_who_signs_in_votes_under_their_address_and_leaves_no_secret_behind(
    make_workspace: Callable[..., Workspace], repository: Path, page: Page
) -> None:
    """A name in the address is nobody; after signing in the event has the provider's; signing out ends it."""
    workspace = make_workspace([candidate(0), candidate(1)])
    workspace.config.write_text(workspace.config.read_text() + ROLES)
    port = free_port()
    secrets = workspace.root / "secrets.toml"
    with provider("ada@example.org") as issuer:
        secrets.write_text(
            f'[auth]\nredirect_uri = "http://127.0.0.1:{port}/oauth2callback"\ncookie_secret = "{COOKIE_SECRET}"\n'
            f'client_id = "winnow"\nclient_secret = "{SECRET}"\n'
            f'server_metadata_url = "{issuer}/.well-known/openid-configuration"\n'
        )
        with serving(workspace, repository, port=port, options=["--secrets.files", str(secrets)]) as address:
            page.goto(f"{address}/?annotator=eve&page=buttons")
            page.get_by_role("button", name="Sign in").click(timeout=60_000)
            expect(page.locator(".annotator")).to_have_text("ada@example.org", timeout=60_000)
            page.goto(f"{address}/?annotator=eve&page=buttons")  # the cookie keeps who it is
            expect(page.locator(".annotator")).to_have_text("ada@example.org", timeout=60_000)
            look(page)
            page.keyboard.press("ArrowLeft")
            await_done(page, 1)
    assert [(event["annotator"], event["verdict"]) for event in workspace.events()] == [("ada@example.org", "left")]
    log = (workspace.root / "server.log").read_text()
    for secret in (SECRET, COOKIE_SECRET, "code-0", "ada@example.org"):
        assert secret not in log
