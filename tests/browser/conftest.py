"""Fixtures for tests in a real Chromium, driven by Playwright."""

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

#: The folders of screenshots; UPDATE_SCREENSHOTS=1 replaces those of the documentation.
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
    """Return the milliseconds after which an expectation of a page fails."""
    return pace.stretched(30) * 1000


def take_picture(page: Page, path: Path) -> None:
    """Save a screenshot of a page.

    On a busy machine, Chromium sometimes fails to capture a page that was just resized, and
    succeeds a moment later.
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
    """Start Chromium once for all tests of this folder.

    Meanwhile Playwright keeps an event loop in the thread. Asynchronous tests in other folders
    need their own.
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
    """Return a browser context without cookies and history."""
    with new_context(browser) as context:
        yield context


def new_context(browser: Browser) -> BrowserContext:
    """Return a browser context without cookies and history; the caller closes it."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
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
