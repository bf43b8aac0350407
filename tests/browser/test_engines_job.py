"""In each engine, a person starts an export, watches it, fetches its file and clears it."""

from collections.abc import AsyncIterator
from threading import Event
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.test import Client

from async_downloads import cache
from async_downloads.models import Download
from async_downloads.serving import StoredFileResponse
from tests.browser.conftest import BUTTON, MENU, SHOWS, TOASTS, Visit
from tests.browser.engines import Engine, Firefox
from tests.faults.processes import eventually
from tests.pace import LONGEST_WAIT

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_cache")]


def only_key() -> str:
    """Return the download key of the only download."""
    return str(Download.objects.get().pk)


def fetch(engine: Engine, place: str, key: str) -> None:
    """Wait for the link to the file of a download, and click it."""
    link = f"{place} a.download-get[href='{Download.objects.get(pk=key).url}']"
    engine.wait_for(SHOWS, link)
    # Firefox and WebKit end the requests of a page when a download begins.
    engine.wait_for("() => !recorded.pending")
    engine.click(link)


@pytest.mark.parametrize(
    ("transport", "version"), [("polled", 2), ("pushed", 4)], indirect=["transport"]
)
@pytest.mark.usefixtures("transport")
def test_a_person_exports_watches_fetches_and_clears(
    engine: Engine, visit: Visit, version: int
) -> None:
    visit(version=version)
    # Starts: the button counts it.
    engine.click("main form[hx-post] button")
    engine.wait_for(SHOWS, "#async-downloads-count", "1")
    key = only_key()
    # Watches, with the menu open.
    engine.click(BUTTON)
    for percentage in (30, 60):
        cache.set_percentage(key, percentage)
        engine.wait_for(SHOWS, f"{MENU} progress[value='{percentage}']")
    cache.save_download(key, [["reference"], ["R1"]])
    # Fetches by the link that has appeared.
    fetch(engine, MENU, key)
    assert engine.downloaded("orders.csv") == b"reference\nR1\n"
    # Clears it, and leaves before the time to undo that is over.
    engine.click(f"{MENU} .download-clear")
    engine.wait_for(SHOWS, f"{MENU} .download-removed button")
    visit(version=version)
    eventually(lambda: not Download.objects.exists(), why="the download is cleared")
    # Another ends while the menu is closed: a toast has its file.
    engine.click("main form[hx-post] button")
    engine.wait_for(SHOWS, "#async-downloads-count", "1")
    key = only_key()
    cache.save_download(key, [["reference"], ["R2"]])
    fetch(engine, TOASTS, key)
    assert engine.downloaded("orders.csv") == b"reference\nR2\n"


@pytest.mark.parametrize(("fails", "end"), [(False, "saved"), (True, "failed")])
def test_firefox_notices_that_a_transfer_was_cut(
    firefox: Firefox,
    server: str,
    signed_in: Client,
    user: Any,
    fails: bool,
    end: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It compares no length with a file that has a content encoding."""
    _, key = cache.init_download(user, "orders.csv")
    cache.save_download(key, [["reference"] * 10] * 5_000)
    begun = Event()
    pieces_of = StoredFileResponse.__aiter__

    async def send(response: StoredFileResponse) -> AsyncIterator[bytes]:
        async for piece in pieces_of(response):
            yield piece
            await sync_to_async(begun.wait, thread_sensitive=False)(LONGEST_WAIT)
            if fails:
                response.source.close()
                raise ConnectionError("The storage does not answer any more.")

    monkeypatch.setattr(StoredFileResponse, "__aiter__", send)
    firefox.sign_in(server, signed_in.cookies[settings.SESSION_COOKIE_NAME].value)
    firefox.open(f"{server}/async_downloads/list/")
    firefox.forget_transfers()
    firefox.evaluate("(url) => { location.href = url; }", Download.objects.get(pk=key).url)
    eventually(lambda: firefox.transfers() == ["running"], why="Firefox has begun to save it")
    begun.set()
    eventually(lambda: firefox.transfers() == [end], why="Firefox has ended the transfer")
    firefox.leave()
    firefox.forget_transfers()
