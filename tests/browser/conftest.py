"""Fixtures for tests in real browsers: most in Chromium, driven by Playwright."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect, sync_playwright

from tests import pace, services
from tests.browser.engines import ENGINES, Chromium, Engine, Firefox, WebKit
from tests.browser.server import running as server_in_thread
from tests.snippets import ROOT

#: The folders of screenshots, for the documentation and for people. No test needs them, so they are
#: taken only with UPDATE_SCREENSHOTS=1.
PICTURES = ROOT / "docs/images"
SHOTS = Path(__file__).parent / "shots"


def timeout() -> float:
    """Return the milliseconds after which an expectation of a page fails."""
    return pace.stretched(30) * 1000


def take_picture(page: Page, path: Path) -> None:
    """Save a screenshot of a page, if screenshots are wanted.

    On a busy machine, Chromium sometimes fails to capture a page that was just resized, and
    succeeds a moment later.
    """
    if not os.environ.get("UPDATE_SCREENSHOTS"):
        return
    for pause in (500, 1000, 2000):
        try:
            page.screenshot(path=path)
        except Error:
            page.wait_for_timeout(pause)
        else:
            return
    page.screenshot(path=path)


@contextmanager
def launched() -> Iterator[Browser]:
    """Start Chromium, or skip the test.

    Meanwhile Playwright keeps an event loop in the thread.
    """
    path = services.chromium()
    if path is None:
        pytest.skip("no Chromium is installed")
    expect.set_options(timeout=timeout())
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=services.CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Start Chromium once for all tests of this folder.

    Asynchronous tests in other folders need their own event loops.
    """
    with launched() as browser:
        yield browser


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Return a browser context without cookies and history."""
    with new_context(browser) as context:
        yield context


def new_context(browser: Browser, **options: Any) -> BrowserContext:
    """Return a browser context without cookies and history; the caller closes it."""
    context = browser.new_context(viewport={"width": 1280, "height": 720}, **options)
    context.set_default_timeout(timeout())
    return context


@pytest.fixture
def errors() -> list[str]:
    """Return the errors of the page's console so far."""
    return []


@pytest.fixture
def page(
    context: BrowserContext, live_server: Any, signed_in: Any, errors: list[str]
) -> Iterator[Page]:
    """Return a page of the site, signed in as ``user``; an error in its console fails the test."""
    yield new_page(context, live_server.url, signed_in, errors)
    assert errors == []


def new_page(context: BrowserContext, url: str, client: Client, errors: list[str]) -> Page:
    """Return a page with the session of a client; its console appends to ``errors``."""
    session = client.cookies[settings.SESSION_COOKIE_NAME].value
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": url}])
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console",
        lambda message: message.type == "error" and errors.append(message.text),
    )
    return page


#: Takes a user, and returns a page that is signed in as that user, and its console errors.
OpenPage = Callable[[Any], tuple[Page, list[str]]]


@pytest.fixture
def open_page(browser: Browser, live_server: Any) -> Iterator[OpenPage]:
    """Return a function that opens pages of several users side by side."""
    with ExitStack() as stack:

        def open_for(user: Any) -> tuple[Page, list[str]]:
            client, errors = Client(), list[str]()
            client.force_login(user)
            context = stack.enter_context(new_context(browser))
            return new_page(context, live_server.url, client, errors), errors

        yield open_for


def assert_accessible(page: Page, selector: str) -> None:
    """Check an element with axe-core, which the front-end packages must contain."""
    axe = services.node_modules() / "axe-core" / "axe.min.js"
    # A script tag would violate a strict content security policy.
    page.evaluate(axe.read_text())
    result = page.evaluate("selector => axe.run(selector)", selector)
    assert [
        f"{violation['id']}: {node['html']} {node['failureSummary']}"
        for violation in result["violations"]
        for node in violation["nodes"]
    ] == []
    assert result["passes"]


BUTTON = "#navbarDropdownAsyncDownloads"
MENU = "#downloads-dropdown"
TOASTS = "#async-downloads-toasts"

#: Asks for changes now.
LOOK = "() => document.body.dispatchEvent(new Event('async-downloads:look'))"

#: Whether an element is visible, with some text.
SHOWS = """(selector, text = "") => {
    const element = document.querySelector(selector);
    return element?.checkVisibility() && element.innerText.includes(text);
}"""

#: Whether no element matches, or no such element is visible.
HIDES = """(selector) =>
    ![...document.querySelectorAll(selector)].some((element) => element.checkVisibility())
"""


@pytest.fixture(scope="package")
def chromium(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Start a Chromium as one of the engines."""
    with Chromium(tmp_path_factory.mktemp("chromium"), browser) as engine:
        yield engine


@pytest.fixture(scope="package")
def firefox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Start Firefox once for all tests of this folder."""
    with Firefox(tmp_path_factory.mktemp("firefox")) as engine:
        yield engine


@pytest.fixture(scope="package")
def webkit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Start WebKit once for all tests of this folder."""
    with WebKit(tmp_path_factory.mktemp("webkit")) as engine:
        yield engine


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Return each engine in turn, with a page of 1280 pixels."""
    if not services.available(request.param):
        pytest.skip(f"no {request.param} is installed")
    engine: Engine = request.getfixturevalue(request.param)
    engine.prefer()
    engine.resize(1280, 800)
    yield engine
    # The page must ask for nothing while the database is emptied.
    engine.leave()


@pytest.fixture(scope="package")
def server() -> Iterator[str]:
    """Run the site of the tests in a thread, and return its address."""
    with server_in_thread() as address:
        yield address


@pytest.fixture(params=["polled", "pushed"])
def transport(request: pytest.FixtureRequest, settings: Any) -> str:
    """Return how changes reach a page."""
    if request.param == "pushed":
        if not services.available("redis"):
            pytest.skip(f"Redis does not answer at {services.redis_url()}")
        settings.ASYNC_DOWNLOADS_WS_MODE = True
        # Of the hosts that the test runner allows, none is that of the page.
        settings.ALLOWED_HOSTS = ["127.0.0.1"]
        backend = "channels_redis.core.RedisChannelLayer"
        config = {"hosts": [services.redis_url()], "prefix": f"async-downloads-{os.getpid()}"}
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": config}}
    return str(request.param)


#: Opens a page, given the version of htmx, the direction of text, and how new its CSS is.
Visit = Callable[..., None]


@pytest.fixture
def visit(engine: Engine, server: str, signed_in: Client) -> Iterator[Visit]:
    """Return a function that opens the page in an engine, signed in as ``user``.

    At the end, the page must have recorded no error and no violation of its policy.
    """
    engine.sign_in(server, signed_in.cookies[settings.SESSION_COOKIE_NAME].value)

    def open_page(*, version: int = 2, direction: str = "ltr", css: str = "new") -> None:
        engine.open(f"{server}/in-an-engine/{version}/{direction}/{css}/")
        engine.wait_for("() => window.htmx")
        if getattr(settings, "ASYNC_DOWNLOADS_WS_MODE", False):
            engine.wait_for("() => recorded.connected")

    yield open_page
    # The pages of the package itself have no recorder.
    recorded = engine.evaluate("() => window.recorded ?? {errors: [], violations: []}")
    assert recorded["errors"] == recorded["violations"] == []
