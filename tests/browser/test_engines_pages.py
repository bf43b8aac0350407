"""In each engine, the download centre goes on when the page around it changes."""

import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from async_downloads import cache, store
from async_downloads.models import Download
from tests import pace, services
from tests.browser.conftest import BUTTON, HIDES, LOOK, MENU, SHOWS, TOASTS
from tests.browser.engines import Engine
from tests.factories import DownloadFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_cache")]

COUNT = "#async-downloads-count"

#: Whether the query of the page's URL is this.
AT = "(query) => location.search === query"

#: Notes whether the menu ever says that the connection is lost.
WATCH = """() => {
    const isLost = () => document.querySelector(".async-downloads-centre.is-lost") !== null;
    window.wasLost = isLost();
    new MutationObserver(() => (window.wasLost ||= isLost()))
        .observe(document.documentElement, {subtree: true, attributeFilter: ["class"]});
}"""

#: Opens a page of the site, given by its path, as ``user``.
Go = Callable[[str], None]


@pytest.fixture
def go(engine: Engine, server: str, signed_in: Client) -> Iterator[Go]:
    """Return a function that opens a page in an engine."""
    engine.sign_in(server, signed_in.cookies[settings.SESSION_COOKIE_NAME].value)

    def open_page(path: str) -> None:
        engine.open(server + path)
        engine.wait_for("() => Boolean(window.asyncDownloadsCentre)")

    yield open_page
    # Warn now, not in another test.
    gc.collect()


@pytest.fixture(params=["htmx", "turbo", "unpoly"])
def framework(request: pytest.FixtureRequest) -> str:
    """Return what replaces the page without a navigation."""
    packages = {"turbo": "@hotwired/turbo", "unpoly": "unpoly"}
    package = packages.get(request.param)
    if package and not (services.node_modules() / package).is_dir():
        pytest.skip(f"no npm package {package} in {services.node_modules()}")
    return str(request.param)


def test_the_menu_lives_on_when_a_framework_replaces_the_page(
    engine: Engine, go: Go, framework: str, user: Any
) -> None:
    key = cache.init_download(user, "orders.csv", "Orders")[1]
    go(f"/in-a-framework/{framework}/")
    engine.evaluate("() => { window.isSamePage = true; }")
    engine.click("#again")
    engine.wait_for(AT, "?again")
    engine.click(BUTTON)
    for percentage in (30, 60):
        cache.set_percentage(key, percentage)
        engine.wait_for(SHOWS, f"{MENU} progress[value='{percentage}']")
    cache.save_download(key, [["R1"]])
    # The framework leaves the file to the browser.
    engine.wait_for(SHOWS, f"{MENU} .download-get")
    engine.click(f"{MENU} .download-get")
    assert engine.downloaded("orders.csv") == b"R1\n"
    assert engine.evaluate("() => window.isSamePage")
    assert Download.objects.get().fetch_count == 1


def leave_and_return(engine: Engine, user: Any) -> None:
    """Leave the page, start an export meanwhile, go back, and wait until the page shows it."""
    engine.click("#again")
    engine.wait_for(AT, "?again")
    cache.init_download(user, "orders.csv", "Orders")
    engine.back()
    engine.wait_for(AT, "")
    engine.wait_for(SHOWS, COUNT, "1")
    engine.click(BUTTON)
    engine.wait_for(SHOWS, MENU, "Orders")


def test_a_page_that_a_framework_shows_again_looks_for_changes(
    engine: Engine, go: Go, framework: str, user: Any
) -> None:
    go(f"/in-a-framework/{framework}/")
    engine.evaluate("() => { window.isSamePage = true; }")
    leave_and_return(engine, user)
    assert engine.evaluate("() => window.isSamePage")


@pytest.mark.parametrize("path", ["none", "cached"])
def test_a_page_to_which_a_person_returns_looks_for_changes(
    engine: Engine, go: Go, user: Any, path: str
) -> None:
    go(f"/in-a-framework/{path}/")
    leave_and_return(engine, user)


@pytest.fixture
def no_workers(engine: Engine) -> Iterator[None]:
    """Remove the service worker of the page at the end."""
    yield
    engine.evaluate(
        """async () => {
            for (const each of await navigator.serviceWorker.getRegistrations())
                await each.unregister();
            await caches.delete("pages");
        }"""
    )


@pytest.mark.usefixtures("no_workers")
def test_a_page_that_a_service_worker_has_kept_looks_for_changes(
    engine: Engine, go: Go, user: Any
) -> None:
    path = "/in-a-framework/kept/"
    rendered = "() => document.querySelector('#rendered').innerText"
    go(path)
    if not engine.evaluate("() => 'serviceWorker' in navigator"):
        pytest.skip(f"{engine.name} has no service workers here")
    engine.wait_for("() => Boolean(navigator.serviceWorker.controller)")
    go(path)
    before = engine.evaluate(rendered)
    cache.init_download(user, "orders.csv", "Orders")
    go(path)
    assert engine.evaluate(rendered) == before
    engine.wait_for(SHOWS, COUNT, "1")
    engine.click(BUTTON)
    engine.wait_for(SHOWS, MENU, "Orders")


def test_a_page_from_the_cache_of_the_browser_looks_for_changes(
    engine: Engine, go: Go, user: Any
) -> None:
    rendered = "() => document.querySelector('#rendered').innerText"
    go("/in-a-framework/cached/?again")
    before = engine.evaluate(rendered)
    go("/in-a-framework/cached/")
    cache.init_download(user, "orders.csv", "Orders")
    engine.click("#again")
    engine.wait_for(AT, "?again")
    engine.wait_for(SHOWS, COUNT, "1")
    # WebKit requests the page again while it is driven by a test.
    assert engine.evaluate(rendered) == before or engine.name == "webkit"


def test_two_download_centres_of_a_page_both_follow(engine: Engine, go: Go, user: Any) -> None:
    key = cache.init_download(user, "orders.csv", "Orders")[1]
    go("/two-centres/")
    second = "#wide .async-downloads-menu"
    ids = engine.evaluate("() => [...document.querySelectorAll('[id]')].map(({id}) => id)")
    assert len(ids) == len(set(ids))
    for place in ("#narrow", "#wide"):
        engine.click(f"{place} .async-downloads-button")
        menu = f"{place} .async-downloads-menu"
        cache.set_percentage(key, 30 if place == "#narrow" else 60)
        engine.wait_for(SHOWS, f"{menu} progress[value='{30 if place == '#narrow' else 60}']")
        engine.press("Escape")
        engine.wait_for(HIDES, menu)
    # A site shows one of them on a phone, and the other one on a wide screen.
    go("/two-centres/?wide")
    cache.save_download(key, [["R1"]])
    engine.evaluate(LOOK)
    engine.wait_for(SHOWS, "#wide .async-downloads-toast", "Orders")
    engine.wait_for(SHOWS, "#wide .async-downloads-count", "1")
    engine.click("#wide .async-downloads-button")
    engine.wait_for(SHOWS, f"{second} .download-get")
    engine.wait_for(HIDES, "#wide .async-downloads-count")
    assert engine.evaluate("() => recorded.errors.concat(recorded.violations)") == []


def test_a_request_that_a_download_ends_is_not_a_lost_connection(
    engine: Engine, go: Go, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    DownloadFactory(collection__user=user, complete=True, name="Customers", filename="c.csv")
    key = cache.init_download(user, "orders.csv", "Orders")[1]
    go("/in-a-framework/none/")
    engine.click(BUTTON)
    engine.wait_for(SHOWS, f"{MENU} .download-get")
    engine.evaluate(WATCH)
    released, read = threading.Event(), store.read_changes
    held = threading.Lock()

    def read_late(*arguments: Any, **options: Any) -> Any:
        # Only the first one: the request after it must not wait for the download.
        if held.acquire(blocking=False):
            released.wait(pace.LONGEST_WAIT)
        return read(*arguments, **options)

    monkeypatch.setattr(store, "read_changes", read_late)
    engine.evaluate(LOOK)
    engine.wait_for("() => recorded.pending")
    engine.click(f"{MENU} .download-get")
    assert engine.downloaded("c.csv") == b"a,b\n"
    released.set()
    cache.set_percentage(key, 40)
    engine.wait_for(SHOWS, f"{MENU} progress[value='40']")
    assert engine.evaluate("() => window.wasLost") is False


@pytest.mark.parametrize("transport", ["pushed"], indirect=True)
@pytest.mark.usefixtures("transport")
def test_the_socket_speaks_the_language_of_the_page_that_htmx_has_put_in(
    engine: Engine, go: Go, user: Any
) -> None:
    key = cache.init_download(user, "orders.csv", "Orders")[1]
    go("/in-a-framework/htmx/")
    engine.wait_for("() => recorded.connected")
    engine.click("#german")
    engine.wait_for(AT, "?language=de")
    engine.wait_for("() => recorded.connected === 2")
    cache.save_download(key, [["R1"]])
    engine.wait_for(SHOWS, f"{TOASTS} .async-downloads-toast", "Orders ist fertig")
