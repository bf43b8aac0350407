"""The address of the menu's socket: below the path of a site, at the route of 0.6, or unknown."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.test_websocket import SAVE, Pushing, Seen, pushing, until
from tests.browser.test_websocket import seen as seen
from tests.faults.conftest import needs
from tests.faults.nginx import Nginx

#: Directives of nginx that a websocket needs.
UPGRADE: Final = """
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection "upgrade";
    proxy_set_header Host $http_host;
    location = /favicon.ico { return 204; }
"""

FORCED: Final = {"FORCE_SCRIPT_NAME": "/shop"}

#: Sites below a path: the server, its settings, and the locations of nginx.
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
    # Two servers; the one with the websockets does not know the path.
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


def visit(context: BrowserContext, address: str, user: str, seen: Seen, path: str = "/") -> Page:
    """Sign in, open a page with a closed menu, and wait for the first message of its socket."""
    page = context.new_page()
    page.goto(f"{address}/sign-in/{user}/")
    seen.watch(page)
    page.goto(address + path)
    until(page, lambda: seen.messages, "a first message")
    # The page may have polled until the socket was open.
    seen.polls.clear()
    return page


def toast_link(page: Page) -> Locator:
    """Return the link in the toast of a complete download."""
    return page.locator(".async-downloads-toast").get_by_role("link", name="Download Orders")


def clear_in_menu(page: Page, button: str) -> None:
    """Open the menu, and remove the download by a button."""
    page.get_by_role("button", name="Downloads").click()
    page.get_by_role("button", name=button).click()
    expect(page.get_by_text("Nothing here yet")).to_be_visible()


@contextmanager
def site_below(name: str) -> Iterator[tuple[Pushing, str]]:
    """Run a site below ``/shop/``, behind nginx."""
    needs("nginx")
    kind, settings, locations = BELOW[name]
    settings = {"STATIC_URL": "/shop/static/", **settings}
    with ExitStack() as stack:
        # This server does not know the path.
        site = stack.enter_context(pushing(STATIC_URL="/shop/static/"))
        server = stack.enter_context(site.site.server(kind=kind, **settings))
        places = UPGRADE + locations.format(server.address, site.server.address)
        nginx = stack.enter_context(Nginx(server.address, site.site.media, locations=places))
        yield site, f"{nginx.address}/shop"


@pytest.mark.parametrize("name", BELOW)
def test_below_a_path_pushes_reach_the_menu_and_their_links_work(
    context: BrowserContext, user: str, seen: Seen, name: str
) -> None:
    with site_below(name) as (site, address):
        key = site.begin(user)
        page = visit(context, address, user, seen)
        assert urlsplit(seen.sockets[0].url).path.startswith("/shop/ws/downloads/")
        with site.worker(key, f"cache.set_percentage(key, 30); time.sleep(0.6)\n{SAVE}"):
            ring = page.locator(".async-downloads-ring circle")
            expect(ring).to_have_attribute("stroke-dasharray", "30 100")
            expect(toast_link(page)).to_be_visible()
        assert seen.polls == []
        # The link of a push, and the form of the list, lead below the path.
        with page.expect_download() as download:
            toast_link(page).click()
        assert download.value.path().read_bytes() == b"reference\nR1\n"
        clear_in_menu(page, "Remove Orders")
        assert len(seen.sockets) == 1
        assert seen.errors == []


@pytest.fixture(scope="module")
def legacy_site() -> Iterator[Pushing]:
    """Run a site with the route of 0.6."""
    application = "tests.faults.site.old_asgi.application"
    with pushing(kind="daphne of 0.6", ASGI_APPLICATION=application) as site:
        yield site


@pytest.mark.parametrize(
    ("path", "user"),
    [
        *(("/as-0-6-readme/", name) for name in ("ada.l", "bob@example.com", "a+b-c")),
        *((path, "bob@example.com") for path in ("/", "/with-htmx-4/")),
    ],
)
def test_with_the_route_of_0_6_pushes_reach_users_of_any_name(
    legacy_site: Pushing, context: BrowserContext, user: str, seen: Seen, path: str
) -> None:
    key = legacy_site.begin(user)
    page = visit(context, legacy_site.server.address, user, seen, path)
    with legacy_site.worker(key, SAVE):
        expect(toast_link(page)).to_be_visible()
    assert seen.polls == []
    clear_in_menu(page, "Clear finished")
    assert len(seen.sockets) == 1
    assert seen.errors == []


@pytest.mark.parametrize("path", ["/", "/with-htmx-4/"])
def test_a_refused_socket_is_retried_ever_more_seldom_and_one_warning_is_logged(
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

        def wait(minutes: int) -> int:
            """Let minutes pass, and return the number of attempts to connect."""
            before = len(seen.sockets)
            for _ in range(minutes * 6):
                page.clock.run_for(10_000)
                # The clock of the page does not speed up the server.
                until(page, lambda: all(each.is_closed() for each in seen.sockets), "an answer")
            return len(seen.sockets) - before

        first = wait(5)
        assert 4 <= first <= 12
        # From then on about every five minutes.
        assert wait(20) <= 10
        assert len([text for text in warnings if "no websocket opens" in text]) == 1
        assert seen.polls
