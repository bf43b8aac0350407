"""Where the menu's socket is: below the path of a site, behind the route of 0.6, or nowhere."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.test_websocket import (
    SAVE,
    Pushing,
    Seen,
    link,
    pushing,
    until,
    visit,
)
from tests.browser.test_websocket import seen as seen
from tests.faults.conftest import needs
from tests.faults.nginx import Nginx

#: Passes on what a socket needs.
UPGRADE: Final = """
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection "upgrade";
    proxy_set_header Host $http_host;
    location = /favicon.ico { return 204; }
"""

FORCED: Final = {"FORCE_SCRIPT_NAME": "/shop"}

#: A site below a path: its server, its settings, and what nginx does before it.
BELOW: Final = {
    "daphne, by a setting": (
        *("daphne", FORCED),
        "location /shop/ {{ proxy_pass {0}/; }} location /shop/static/ {{ proxy_pass {0}; }}",
    ),
    "uvicorn, by a setting": (
        *("uvicorn", FORCED),
        "location /shop/ {{ proxy_pass {0}/; }} location /shop/static/ {{ proxy_pass {0}; }}",
    ),
    "daphne, by its root path": ("daphne below", {}, "location /shop/ {{ proxy_pass {0}; }}"),
    "uvicorn, by its root path": ("uvicorn below", {}, "location /shop/ {{ proxy_pass {0}/; }}"),
    # Two servers, of which the one of the sockets does not know the path.
    "gunicorn beside daphne": (
        *("gunicorn below", {}),
        "location /shop/ {{ proxy_pass {0}; }} "
        "location /shop/ws/ {{ proxy_pass {1}/ws/; }} "
        "location /shop/static/ {{ proxy_pass {1}/shop/static/; }}",
    ),
}


@pytest.fixture
def user() -> str:
    return "bob@example.com"


@contextmanager
def site_below(name: str) -> Iterator[tuple[Pushing, str]]:
    """Run a site below ``/shop/``, behind nginx."""
    needs("nginx")
    kind, settings, locations = BELOW[name]
    settings = {"STATIC_URL": "/shop/static/", **settings}
    with ExitStack() as stack:
        # Its own server is the one that nothing has been said to.
        site = stack.enter_context(pushing(STATIC_URL="/shop/static/"))
        server = stack.enter_context(site.site.server(kind=kind, **settings))
        places = UPGRADE + locations.format(server.address, site.server.address)
        nginx = stack.enter_context(Nginx(server.address, site.site.media, locations=places))
        yield site, f"{nginx.address}/shop"


@pytest.mark.parametrize("name", BELOW)
def test_below_a_path_the_menu_is_pushed_to_and_its_links_lead_there(
    context: BrowserContext, user: str, seen: Seen, name: str
) -> None:
    with site_below(name) as (site, address):
        key = site.begin(user)
        page = visit(context, address, user, seen)
        # It may have been polled until the socket was there.
        seen.polls.clear()
        assert urlsplit(seen.sockets[0].url).path.startswith("/shop/ws/downloads/")
        with site.worker(key, f"cache.set_percentage(key, 30); time.sleep(0.6)\n{SAVE}"):
            expect(page.locator(".download-timestamp")).to_contain_text("30 %")
            expect(link(page)).to_be_visible()
        # What was pushed leads to where the site is.
        with page.expect_download() as download:
            link(page).click()
        assert download.value.path().read_bytes() == b"reference\nR1\n"
        page.get_by_role("button", name="Clear Orders").click()
        expect(page.get_by_text("No downloads")).to_be_visible()
        assert seen.polls == []
        assert len(seen.sockets) == 1
        assert seen.complaints == []


@pytest.fixture(scope="module")
def old() -> Iterator[Pushing]:
    """A site with the route of 0.6."""
    application = "tests.faults.site.old_asgi.application"
    with pushing(kind="daphne of 0.6", ASGI_APPLICATION=application) as site:
        yield site


@pytest.mark.parametrize("path", ["/", "/as-0-6-readme/", "/with-htmx-4/"])
@pytest.mark.parametrize("user", ["ada.l", "bob@example.com", "a+b-c"])
def test_behind_the_route_of_0_6_the_menu_is_pushed_to_whatever_its_user_is_called(
    old: Pushing, context: BrowserContext, user: str, seen: Seen, path: str
) -> None:
    key = old.begin(user)
    page = visit(context, old.server.address, user, seen, path)
    seen.polls.clear()
    with old.worker(key, SAVE):
        expect(link(page)).to_be_visible()
    page.get_by_role("button", name="Clear finished").click()
    assert seen.polls == []
    assert len(seen.sockets) == 1
    assert seen.complaints == []


@pytest.mark.parametrize("path", ["/", "/with-htmx-4/"])
def test_a_socket_that_is_refused_is_tried_less_and_less_often_and_told_once(
    context: BrowserContext, user: str, seen: Seen, path: str
) -> None:
    with pushing(kind="daphne without a route") as site:
        site.begin(user)
        page = context.new_page()
        page.goto(f"{site.server.address}/sign-in/{user}/")
        seen.watch(page)
        warnings: list[str] = []
        page.on(
            "console",
            lambda message: message.type == "warning" and warnings.append(message.text),
        )
        page.clock.install()
        page.goto(site.server.address + path)
        page.evaluate("document.getElementById('async-downloads').dataset.watched = ''")

        def wait(minutes: int) -> int:
            """Let minutes pass, and return how often it was tried meanwhile."""
            before = len(seen.sockets)
            for _ in range(minutes * 6):
                page.clock.run_for(10_000)
                # The answer of the server takes its own time.
                until(page, lambda: all(each.is_closed() for each in seen.sockets), "an answer")
            return len(seen.sockets) - before

        first = wait(5)
        assert 4 <= first <= 12
        # From then on every five minutes or so, rather than for ever as fast as at first.
        assert wait(20) <= 10
        assert len([text for text in warnings if "no websocket opens" in text]) == 1
        assert seen.polls
