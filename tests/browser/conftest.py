"""A real Chromium, driven by Playwright."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect, sync_playwright

from tests import pace, services
from tests.snippets import ROOT

#: Where pictures are kept; UPDATE_SCREENSHOTS=1 replaces those of the documentation.
SHOTS = Path(__file__).parent / "shots"
PICTURES = ROOT / "docs/images" if os.environ.get("UPDATE_SCREENSHOTS") else SHOTS

ARGUMENTS = [
    # Chromium's own sandbox does not start for root, as in most containers.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def timeout() -> float:
    """Return the milliseconds that a page may take for what is expected of it."""
    return pace.stretched(30) * 1000


def take_picture(page: Page, path: Path) -> None:
    """Keep a picture of what a page shows.

    Chromium now and then cannot capture a page that has just been resized while the
    processors are busy, and can a moment later.
    """
    for pause in (500, 1000, 2000):
        try:
            page.screenshot(path=path)
        except Error:
            page.wait_for_timeout(pause)
        else:
            return
    page.screenshot(path=path)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium, once for all of these tests.

    Playwright keeps an event loop in the thread for as long, and asynchronous
    tests of other packages need one of their own.
    """
    path = services.chromium()
    if path is None:
        pytest.skip("no Chromium is installed")
    expect.set_options(timeout=timeout())
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser without a past."""
    with new_context(browser) as context:
        yield context


def new_context(browser: Browser) -> BrowserContext:
    """Return a browser without a past, to be closed."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    context.set_default_timeout(timeout())
    return context


@pytest.fixture
def complaints() -> list[str]:
    """What the page's console complained of."""
    return []


@pytest.fixture
def page(
    context: BrowserContext, live_server: Any, signed_in: Any, complaints: list[str]
) -> Iterator[Page]:
    """A page of the site, signed in as ``user``; a complaint in its console fails the test."""
    yield new_page(context, live_server.url, signed_in, complaints)
    assert complaints == []


def new_page(context: BrowserContext, url: str, client: Client, complaints: list[str]) -> Page:
    """Return a page of the site, signed in as a client is; its console fills ``complaints``."""
    session = client.cookies[settings.SESSION_COOKIE_NAME].value
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": url}])
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda message: message.type == "error" and complaints.append(message.text),
    )
    return page


#: Takes a user, and returns a page that is signed in as that user, with its complaints.
OpenPage = Callable[[Any], tuple[Page, list[str]]]


@pytest.fixture
def open_page(browser: Browser, live_server: Any) -> Iterator[OpenPage]:
    """Open pages of several people, side by side."""
    with ExitStack() as stack:

        def open_for(user: Any) -> tuple[Page, list[str]]:
            client, complaints = Client(), list[str]()
            client.force_login(user)
            context = stack.enter_context(new_context(browser))
            return new_page(context, live_server.url, client, complaints), complaints

        yield open_for
