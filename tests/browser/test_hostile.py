"""Markup and scripts in names, errors and files are not executed by a real browser."""

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as project_settings
from django.test import Client
from django.utils.text import Truncator
from playwright.sync_api import Dialog, Page, expect
from playwright.sync_api import Error as PlaywrightError

from async_downloads import cache
from async_downloads.models import Download
from tests.browser.test_download_centre import open_menu
from tests.browser.test_menu import wait_for_htmx
from tests.factories import DownloadCollectionFactory, DownloadFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_cache")]

#: Each would show that it was executed: by a dialog, or by a request that nothing else sends.
MARKUP = (
    "<script>alert('name')</script>\"'><img src=/pwned onerror=alert('image')>"
    "<svg onload=alert('svg')></svg><iframe src=/pwned></iframe>"
    "<a href=\"javascript:alert('link')\" hx-get=/pwned hx-trigger=load>x</a>{name}${alert(1)}"
)

SCRIPT = "<script>alert('file'); fetch('/pwned')</script>"
FILES = {
    "html": f"<!doctype html><title>x</title>{SCRIPT}<img src=/pwned onerror=alert(1)>",
    "svg": f'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)">{SCRIPT}</svg>',
    "xhtml": f'<html xmlns="http://www.w3.org/1999/xhtml"><body>{SCRIPT}</body></html>',
}

#: A page without a content security policy, which would block the scripts by itself.
PAGE = "/with-htmx/"


@pytest.fixture
def executed(page: Page) -> list[str]:
    """Return the traces of executed scripts so far."""
    traces: list[str] = []

    def note(dialog: Dialog) -> None:
        traces.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", note)
    page.on("request", lambda request: "pwned" in request.url and traces.append(request.url))
    return traces


def assert_no_elements(page: Page) -> None:
    """Wait until the page is idle, and check that the text has become no elements."""
    page.wait_for_load_state("networkidle")
    assert page.locator("img, iframe, [onload], [onerror], [href^='javascript:']").count() == 0


def test_the_markup_would_be_executed_if_inserted(
    page: Page, live_server: Any, executed: list[str], errors: Any
) -> None:
    """Without this, the other tests could not fail."""
    page.goto(live_server.url + PAGE)
    with page.expect_event("dialog", lambda dialog: dialog.message == "image"):
        page.evaluate("html => document.body.insertAdjacentHTML('beforeend', html)", MARKUP)
    page.wait_for_load_state("networkidle")
    assert "image" in executed
    assert any("pwned" in traces for traces in executed)
    errors.clear()


def test_markup_is_shown_as_text_in_menu_toast_and_list(
    page: Page, live_server: Any, user: Any, executed: list[str]
) -> None:
    collection = DownloadCollectionFactory(user=user)
    DownloadFactory(collection=collection, complete=True, name=MARKUP)
    DownloadFactory(collection=collection, failed=True, name=MARKUP, errors=MARKUP)
    key, failing = (cache.init_download(user, "orders.csv", MARKUP)[1] for _ in range(2))
    page.goto(live_server.url + PAGE)
    wait_for_htmx(page)
    cache.save_download(key, [["R1"]])
    cache.set_error(failing, MARKUP)
    # The toasts, and then the list, that the script swaps in.
    # A toast cuts long names.
    name = Truncator(MARKUP).chars(40)
    expect(page.get_by_role("status").filter(has_text=f"{name} is ready")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text=f"{name} has failed")).to_be_visible()
    open_menu(page)
    expect(page.locator(".download-name")).to_have_count(4)
    assert page.locator(".download-name").all_text_contents() == [MARKUP] * 4
    assert page.locator(".download-error").all_text_contents() == [MARKUP] * 2
    assert_no_elements(page)
    page.goto(f"{live_server.url}/async_downloads/list/")
    assert page.locator(".download-name").all_text_contents() == [MARKUP] * 4
    assert_no_elements(page)
    assert executed == []


def test_the_html_in_the_json_inserts_text(
    page: Page, live_server: Any, user: Any, executed: list[str]
) -> None:
    DownloadFactory(collection__user=user, failed=True, name=MARKUP, errors=MARKUP)
    page.goto(live_server.url + PAGE)
    page.evaluate(
        """async () => {
            const answer = await (await fetch("/async_downloads/ajax_update/")).json();
            const place = document.createElement("div");
            place.id = "inserted";
            place.innerHTML = answer.html;
            document.body.append(place);
        }"""
    )
    expect(page.locator("#inserted .download-error")).to_have_text(MARKUP)
    assert_no_elements(page)
    assert executed == []


def test_markup_is_shown_as_text_in_the_admin(
    page: Page, live_server: Any, staff_user: Any, executed: list[str]
) -> None:
    download = DownloadFactory(
        collection__user=None,
        collection__label=MARKUP,
        failed=True,
        name=MARKUP,
        errors=MARKUP,
        error_detail=MARKUP,
    )
    staff = Client()
    staff.force_login(staff_user)
    name = project_settings.SESSION_COOKIE_NAME
    cookie = {"name": name, "value": staff.cookies[name].value, "url": live_server.url}
    page.context.add_cookies([cookie])  # type: ignore[list-item]
    admin = f"{live_server.url}/admin/async_downloads"
    page.goto(f"{admin}/download/")
    expect(page.locator(".field-name a")).to_have_text(MARKUP)
    page.goto(f"{admin}/download/{download.pk}/change/")
    expect(page.locator(".async-downloads-detail")).to_have_text(MARKUP)
    page.goto(f"{admin}/download/{download.pk}/delete/")
    expect(page.get_by_text("alert('name')").first).to_be_visible()
    page.goto(f"{admin}/downloadcollection/")
    expect(page.get_by_text("alert('name')").first).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert executed == []


@pytest.mark.parametrize("extension", FILES)
def test_a_file_with_a_script_is_saved_and_never_shown(
    page: Page, live_server: Any, user: Any, executed: list[str], extension: str, tmp_path: Path
) -> None:
    content = FILES[extension].encode()
    path = tmp_path / "export"
    path.write_bytes(content)
    _, key = cache.init_download(user, f"report.{extension}", "Report")
    with path.open("rb") as file:
        cache.save_download(key, file=file)
    page.goto(live_server.url + PAGE)
    open_menu(page)
    with page.expect_download() as saved:
        page.get_by_role("link", name="Report", exact=True).click()
    assert saved.value.suggested_filename == f"report.{extension}"
    assert Path(saved.value.path()).read_bytes() == content
    # The same for a direct link and for a frame of another page.
    url = live_server.url + Download.objects.get().url
    with page.expect_download(), pytest.raises(PlaywrightError, match="Download is starting"):
        page.goto(url)
    page.goto(live_server.url + PAGE)
    with page.expect_download():
        page.evaluate(
            """url => {
                const frame = document.createElement("iframe");
                frame.src = url;
                document.body.append(frame);
            }""",
            url,
        )
    page.wait_for_load_state("networkidle")
    assert executed == []
