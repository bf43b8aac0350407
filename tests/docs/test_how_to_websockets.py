"""docs/how-to/websockets.md."""

import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from async_downloads import intervals, ws_consumers
from async_downloads.centre import socket_watcher
from tests import services
from tests.docs.helpers import ROOT, executed, problems
from tests.snippets import Page

pytestmark = pytest.mark.any_database

PAGE = "docs/how-to/websockets.md"

COVERED = {
    "pip install": "test_the_extra_exists",
    "ASYNC_DOWNLOADS_WS_MODE = True": "test_the_settings_satisfy_the_checks",
    "ProtocolTypeRouter(": "test_the_settings_satisfy_the_checks",
    "proxy_set_header Upgrade": "test_nginx_understands_its_location",
}


@pytest.fixture
def asgi(page: Page, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Install the module of the site that the settings name."""
    module = types.ModuleType("mysite.asgi")
    monkeypatch.setitem(sys.modules, "mysite.asgi", module)
    vars(module).update(executed(page.placed("ProtocolTypeRouter(")))
    return module


NAMES = ("ASGI_APPLICATION", "ASYNC_DOWNLOADS_WS_MODE", "CHANNEL_LAYERS")


def test_the_extra_exists(page: Page) -> None:
    (extra,) = re.findall(r"django-async-downloads\[([\w-]+)\]", page.snippet("pip install"))
    assert f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text()


def test_the_settings_satisfy_the_checks(
    as_documented: Any, settings: Any, asgi: types.ModuleType
) -> None:
    documented = as_documented("ASYNC_DOWNLOADS_WS_MODE = True")
    assert documented["INSTALLED_APPS"][0] == "daphne"
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "file"
    assert problems(settings, documented, NAMES) == []
    assert set(asgi.application.application_mapping) == {"http", "websocket"}


def test_another_route_needs_the_setting(
    as_documented: Any, settings: Any, asgi: types.ModuleType, page: Page
) -> None:
    from channels.routing import URLRouter
    from django.urls import path

    documented = as_documented()
    (setting,) = re.findall(r'`(ASYNC_DOWNLOADS_WS_URL = "push/")`', page.text)
    documented |= {name: value for name, value in executed(setting).items() if name.isupper()}
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "file"
    # With the routes of the page, nothing is at this address.
    names = (*NAMES, "ASYNC_DOWNLOADS_WS_URL")
    assert [each.id for each in problems(settings, documented, names)] == ["async_downloads.W012"]
    routes = [path("push/", ws_consumers.DownloadsConsumer.as_asgi())]
    asgi.application.application_mapping["websocket"] = URLRouter(routes)
    assert problems(settings, documented, names) == []


def test_nginx_understands_its_location(page: Page, tmp_path: Path) -> None:
    program = services.nginx()
    if program is None:
        pytest.skip("no nginx is installed")
    location = page.snippet("proxy_set_header Upgrade")
    configuration = f"pid {tmp_path}/pid; events {{}} http {{ server {{ {location} }} }}"
    (tmp_path / "nginx.conf").write_text(f"error_log {tmp_path}/log;\n{configuration}")
    arguments = [program, "-t", "-p", tmp_path, "-e", tmp_path / "log", "-c", "nginx.conf"]
    tested = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stderr


def test_the_seconds_are_those_of_the_socket(page: Page) -> None:
    assert (intervals.SOCKET_BUSY, intervals.SOCKET_IDLE) == (2, 15)
    text = " ".join(page.text.split())
    assert "costs two seconds while something is in progress, and fifteen otherwise" in text
    assert intervals.SOCKET_LOOK == 1
    assert "reads it once a second" in text
    assert (intervals.SOCKET_RECHECK, intervals.SESSION_IDLE) == (60 * 60, 20 * 60)
    assert "of its rows every hour, of its session every twenty minutes" in text
    assert intervals.SESSION_MAXIMUM == 60
    assert "has not been checked in the last minute" in text
    assert socket_watcher.READS + 1 == 4
    assert "at most four to the database" in text
    assert intervals.SOCKET_MINIMUM == 1 / 4
    assert "four times a second" in page.text.replace("\n  ", " ")
    script = (ROOT / "async_downloads/static/js/async_downloads_centre.js").read_text()
    assert "LONGEST_PAUSE_MILLISECONDS = 300_000" in script
    assert "no websocket opens at" in script
