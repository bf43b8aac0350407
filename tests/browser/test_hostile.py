"""Markup and scripts in names, errors and files, in a real browser: nothing runs. Case 41."""

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as project_settings
from django.test import Client
from playwright.sync_api import Dialog, Page, expect
from playwright.sync_api import Error as PlaywrightError

from async_downloads import cache
from async_downloads.models import Download
from tests.browser.test_download_centre import open_menu
from tests.factories import DownloadCollectionFactory, DownloadFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_cache")]

#: Each would tell on itself: by a dialog, or by a request that nothing else makes.
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

#: Of a site without a content security policy, which would have stopped scripts by itself.
PAGE = "/with-htmx/"


@pytest.fixture
def ran(page: Page) -> list[str]:
    """What of it has run."""
    found: list[str] = []

    def note(dialog: Dialog) -> None:
        found.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", note)
    page.on("request", lambda request: "pwned" in request.url and found.append(request.url))
    return found


def settled(page: Page) -> None:
    """Let everything run that would, and see that no element was made of the text."""
    page.wait_for_load_state("networkidle")
    assert page.locator("img, iframe, [onload], [onerror], [href^='javascript:']").count() == 0


def test_the_traps_work(page: Page, live_server: Any, ran: list[str], complaints: Any) -> None:
    """Else the other tests would show nothing."""
    page.goto(live_server.url + PAGE)
    page.evaluate("html => document.body.insertAdjacentHTML('beforeend', html)", MARKUP)
    page.wait_for_load_state("networkidle")
    assert "image" in ran
    assert any("pwned" in found for found in ran)
    complaints.clear()


def test_markup_is_shown_as_text_in_menu_toast_and_list(
    page: Page, live_server: Any, user: Any, ran: list[str]
) -> None:
    collection = DownloadCollectionFactory(user=user)
    DownloadFactory(collection=collection, complete=True, name=MARKUP)
    DownloadFactory(collection=collection, failed=True, name=MARKUP, errors=MARKUP)
    key, failing = (cache.init_download(user, "orders.csv", MARKUP)[1] for _ in range(2))
    page.goto(live_server.url + PAGE)
    page.wait_for_function("() => Boolean(window.htmx)")
    cache.save_download(key, [["R1"]])
    cache.set_error(failing, MARKUP)
    # What htmx swaps in, and what the script writes into a toast.
    expect(page.get_by_role("status").filter(has_text=f"{MARKUP} is ready.")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text=f"{MARKUP} has failed.")).to_be_visible()
    open_menu(page)
    assert page.locator(".download-name").all_text_contents() == [MARKUP] * 4
    assert page.locator(".download-error").all_text_contents() == [MARKUP] * 2
    settled(page)
    page.goto(f"{live_server.url}/async_downloads/list/")
    assert page.locator(".download-name").all_text_contents() == [MARKUP] * 4
    settled(page)
    assert ran == []


def test_a_script_that_inserts_the_json_inserts_text(
    page: Page, live_server: Any, user: Any, ran: list[str]
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
    settled(page)
    assert ran == []


def test_markup_is_shown_as_text_in_the_admin(
    page: Page, live_server: Any, staff_user: Any, ran: list[str]
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
    assert ran == []


@pytest.mark.parametrize("extension", FILES)
def test_a_file_with_a_script_in_it_is_saved_and_never_shown(
    page: Page, live_server: Any, user: Any, ran: list[str], extension: str, tmp_path: Path
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
        page.get_by_role("link", name="Report").click()
    assert saved.value.suggested_filename == f"report.{extension}"
    assert Path(saved.value.path()).read_bytes() == content
    # Nor where somebody sends a link to it, or another page frames it.
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
    assert ran == []
