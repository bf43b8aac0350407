"""docs/how-to/path-prefix.md."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import set_script_prefix

from tests import services
from tests.docs.helpers import problems
from tests.factories import DownloadFactory
from tests.snippets import Page

pytestmark = pytest.mark.any_database

PAGE = "docs/how-to/path-prefix.md"

COVERED = {
    "FORCE_SCRIPT_NAME = ": "test_every_url_is_below_the_path",
    "proxy_pass": "test_nginx_understands_its_configuration",
    "ASYNC_DOWNLOADS_WS_URL": "test_a_relative_address_of_the_websocket_is_below_the_path",
}

NAMES = ("FORCE_SCRIPT_NAME", "STATIC_URL", "SESSION_COOKIE_PATH", "CSRF_COOKIE_PATH")

Below = Callable[..., None]


@pytest.fixture
def below(as_documented: Any, settings: Any) -> Iterator[Below]:
    """Applies settings of the page, named by texts in their blocks."""

    def apply(*containing: str) -> None:
        documented = as_documented(*containing)
        names = {*NAMES, "ASYNC_DOWNLOADS_WS_URL"} & documented.keys()
        settings.ASYNC_DOWNLOADS_CACHE_NAME = "file"
        assert problems(settings, documented, names) == []
        # Django does so at each request, but not for its test client.
        set_script_prefix(settings.FORCE_SCRIPT_NAME)

    yield apply
    set_script_prefix("/")


@pytest.mark.django_db
def test_every_url_is_below_the_path(below: Below, signed_in: Client, user: Any) -> None:
    below("FORCE_SCRIPT_NAME = ")
    complete = DownloadFactory(collection__user=user, complete=True)
    DownloadFactory(collection=complete.collection, running=True)
    for path, number in (
        ("/", 5),
        ("/async_downloads/list/", 8),
        ("/async_downloads/ajax_update/", 5),
    ):
        markup = signed_in.get(path, headers={"HX-Request": "true"}).content.decode()
        pattern = r'(?:href|src|action|data-url|data-htmx|value)="(/[^"]*)"'
        addresses = re.findall(pattern, markup)
        # The page's own links are its own affair.
        ours = [address for address in addresses if "downloads" in address or "htmx" in address]
        assert len(ours) >= number
        assert [address for address in ours if not address.startswith("/shop/")] == []
    response = signed_in.get(complete.url.removeprefix("/shop"))
    assert response.getvalue() == b"a,b\n"
    # A visitor is sent to the sign-in, and from there back to this path.
    location = Client().get("/async_downloads/list/")["Location"]
    assert "next=/shop/async_downloads/list/" in location


@pytest.mark.django_db
def test_clearing_works_below_the_path(below: Below, user: Any) -> None:
    below("FORCE_SCRIPT_NAME = ")
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    complete = DownloadFactory(collection__user=user, complete=True)
    token = client.get("/").context["csrf_token"]
    assert client.cookies["csrftoken"]["path"] == "/shop"
    values = {"download_key": complete.download_key, "csrfmiddlewaretoken": str(token)}
    response = client.post("/async_downloads/ajax_clear_download/", values)
    assert response.status_code == 200
    assert complete.collection.downloads.count() == 0


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("containing", "expected"),
    [
        (["FORCE_SCRIPT_NAME = "], "/shop/ws/downloads/"),
        (["FORCE_SCRIPT_NAME = ", "ASYNC_DOWNLOADS_WS_URL"], "/shop/push/"),
    ],
)
def test_a_relative_address_of_the_websocket_is_below_the_path(
    below: Below, signed_in: Client, settings: Any, containing: list[str], expected: str
) -> None:
    below(*containing)
    settings.ASYNC_DOWNLOADS_WS_MODE = True
    markup = signed_in.get("/").content.decode()
    (address,) = re.findall(r'data-ws-connect="([^"?]+)\?', markup)
    # A process that has not loaded the routes appends a name that any of them matches.
    assert address.removesuffix("_/") == expected


def test_nginx_understands_its_configuration(page: Page, tmp_path: Path) -> None:
    program = services.nginx()
    if program is None:
        pytest.skip("no nginx is installed")
    server = page.snippet("proxy_pass")
    assert "location /shop/ {" in server
    assert "proxy_pass http://127.0.0.1:8000/;" in server
    (tmp_path / "nginx.conf").write_text(
        f"error_log {tmp_path}/log;\npid {tmp_path}/pid; events {{}} http {{ {server} }}"
    )
    arguments = [program, "-t", "-p", tmp_path, "-e", tmp_path / "log", "-c", "nginx.conf"]
    tested = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert tested.returncode == 0 or "Permission denied" in tested.stderr, tested.stderr


def test_real_servers_below_the_path_are_those_of_the_browser_tests(page: Page) -> None:
    from tests.browser import test_addresses

    assert test_addresses.FORCED == {"FORCE_SCRIPT_NAME": "/shop"}
    locations = {name: places for name, (_, _, places) in test_addresses.BELOW.items()}
    # What the page says of the slash behind the port.
    assert "{0}/;" in locations["uvicorn, by its root path"]
    for name in ("daphne, by its root path", "gunicorn beside daphne"):
        assert "proxy_pass {0};" in locations[name]
    assert "gunicorn and Daphne expect the path in the request" in page.text
