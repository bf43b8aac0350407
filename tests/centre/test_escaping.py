"""Markup is escaped and secrets are hidden wherever texts of people and exceptions are shown.

The tests in ``tests/browser`` look at the same in a browser.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from html import escape
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.test import Client

from async_downloads import cache, owners, store, tasks
from async_downloads.centre import rendering, websocket_request
from async_downloads.models import Download
from async_downloads.shortcuts import download_task
from async_downloads.store import cache_entries
from tests.factories import DownloadCollectionFactory, DownloadFactory

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]

#: Would break out of text, of both kinds of quotes, of an attribute and of JSON.
MARKUP = """<script>alert(1)</script>"'><img src=x onerror=alert(1)>{{ 7|add:7 }}</textarea>"""

DSN = "postgres://shop:hunter2@db.internal:5432/shop"

HTMX = {"HX-Request": "true"}


def page_of_all(client: Client, owner: Any) -> str:
    return client.get("/async_downloads/list/").text


def poll(client: Client, owner: Any) -> str:
    return client.get("/async_downloads/ajax_update/", headers=HTMX).text


def socket(client: Client, owner: Any) -> str:
    scope = {"type": "websocket", "path": "/ws/downloads/", "headers": [], "user": owner}
    request = websocket_request.request_of({**scope, "query_string": b""})
    listed = store.read_listing(owners.resolve(owner))
    return rendering.render_summary(
        store.read_summary(owners.resolve(owner)), request, listed.downloads
    )


def json_html(client: Client, owner: Any) -> str:
    return str(client.get("/async_downloads/ajax_update/").json()["html"])


def answer_to_clearing(client: Client, owner: Any) -> str:
    unknown = {"download_key": "0b6a1f2e-7c59-4f0a-9b1d-3f6f0a1c2d3e"}
    return client.post("/async_downloads/ajax_clear_download/", unknown, headers=HTMX).text


Renderer = Callable[[Client, Any], str]
RENDERERS: list[Renderer] = [page_of_all, poll, socket, json_html, answer_to_clearing]


def assert_escaped(html: str) -> None:
    assert escape(MARKUP) in html
    assert "<script>alert" not in html
    assert "<img" not in html
    assert "alert(1)>" not in html
    # A value is not rendered as a template.
    assert "{{ 7|add:7 }}" in html


@pytest.mark.parametrize("render", RENDERERS)
@pytest.mark.parametrize("state", [{}, {"running": True}, {"failed": True}, {"complete": True}])
def test_every_page_shows_markup_as_text(
    signed_in: Client, user: Any, render: Renderer, state: Any, settings: Any
) -> None:
    settings.ASYNC_DOWNLOADS_CSS_CLASS = MARKUP
    collection = DownloadCollectionFactory(user=user)
    fields = {"name": MARKUP, "filename": MARKUP, "errors": MARKUP if "failed" in state else ""}
    DownloadFactory(collection=collection, stored=False, **fields, **state)
    assert_escaped(render(signed_in, user))


@pytest.mark.parametrize("field", ["name", "errors", "filename", "filepath"])
def test_markup_in_a_single_field_is_escaped(signed_in: Client, user: Any, field: str) -> None:
    DownloadFactory(collection__user=user, failed=True, **{"name": "Orders", field: MARKUP})
    for render in RENDERERS:
        html = render(signed_in, user)
        assert "<script>alert" not in html
        assert "<img" not in html
        shown = field != "filename" and (render, field) != (socket, "filepath")
        assert (escape(MARKUP) in html) is shown


def test_markup_on_the_page_of_a_missing_file_is_escaped(signed_in: Client, user: Any) -> None:
    download = DownloadFactory(collection__user=user, complete=True, name=MARKUP)
    default_storage.delete(download.filepath)
    response = signed_in.get(download.url)
    assert response.status_code == 410
    assert_escaped(response.text)


def test_markup_in_the_address_of_a_page_is_escaped(signed_in: Client, user: Any) -> None:
    DownloadFactory(collection__user=user, complete=True)
    address = f"/?{MARKUP}"
    answers = [
        signed_in.get("/", {"q": MARKUP}).text,
        signed_in.get("/async_downloads/list/", {"page": MARKUP}).text,
        signed_in.get(
            "/async_downloads/ajax_update/",
            headers={**HTMX, "HX-Current-URL": f"http://testserver{address}"},
        ).text,
        signed_in.get("/async_downloads/ajax_update/", headers={"Referer": address}).json()["html"],
        signed_in.get("/async_downloads/ajax_update/", {"version": MARKUP}, headers=HTMX).text,
    ]
    for html in answers:
        assert "<script>alert" not in html
        assert "<img" not in html


def test_a_file_name_cannot_add_a_header(signed_in: Client, user: Any) -> None:
    _, key = cache.init_download(user, 'a"\r\nSet-Cookie: x=1\r\n\r\n<script>.html', MARKUP)
    cache.save_download(key, [["<script>alert(1)</script>"]])
    response = signed_in.get(Download.objects.get().url)
    assert "Set-Cookie" not in response.headers
    assert response.headers["Content-Disposition"].startswith("attachment; filename")
    assert b"".join(response) == b"<script>alert(1)</script>\n"  # type: ignore[call-overload]


@pytest.mark.parametrize("extension", ["html", "svg", "xhtml", "xml", "htm", "js", "pdf"])
def test_a_file_that_a_browser_could_execute_is_sent_as_an_attachment(
    signed_in: Client, user: Any, extension: str
) -> None:
    _, key = cache.init_download(user, f"report.{extension}")
    cache.save_download(key, [["<script>alert(1)</script>"]])
    response = signed_in.get(Download.objects.get().url)
    assert response.headers["Content-Disposition"] == f'attachment; filename="report.{extension}"'
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "private, no-store"
    b"".join(response)  # type: ignore[call-overload]


# In the admin


@pytest.mark.parametrize("what", ["list", "detail", "history", "deletion", "confirmation", "purge"])
@pytest.mark.parametrize("model", ["download", "downloadcollection"])
def test_every_page_of_the_admin_shows_markup_as_text(
    client: Client, staff_user: Any, model: str, what: str
) -> None:
    client.force_login(staff_user)
    download = DownloadFactory(
        collection__user=None,
        collection__label=MARKUP,
        name=MARKUP,
        filename=MARKUP,
        errors=MARKUP,
        error_detail=MARKUP,
        failed=True,
    )
    pk = download.pk if model == "download" else download.collection_id
    url = f"/admin/async_downloads/{model}/"
    data = {"action": "delete_selected", "_selected_action": str(pk)}
    html = {
        "list": lambda: client.get(url).text,
        "detail": lambda: client.get(f"{url}{pk}/change/").text,
        "history": lambda: client.get(f"{url}{pk}/history/").text,
        "deletion": lambda: client.get(f"{url}{pk}/delete/").text,
        "confirmation": lambda: client.post(url, data).text,
        "purge": lambda: client.post(url, {**data, "post": "yes"}, follow=True).text,
    }[what]()
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    # Django truncates a long name in the title of the history, after escaping it.
    assert ("&lt;script&gt;alert(1)" in html) is (what != "purge")


# Secrets


@download_task
def leaking(download_key: str) -> None:
    raise OSError(f"could not connect to {DSN}")


def leaking_rows(download_key: str) -> None:
    def rows() -> Any:
        yield ["Name"]
        raise OSError(f"could not connect to {DSN}")

    cache.save_download(download_key, rows())


def setting_the_error(download_key: str) -> None:
    try:
        leaking.__wrapped__(download_key)  # type: ignore[attr-defined]
    except OSError as error:
        cache.set_error(download_key, error)


@pytest.mark.parametrize("task", [leaking, leaking_rows, setting_the_error])
def test_owners_see_a_safe_text_and_staff_see_the_traceback(
    signed_in: Client, user: Any, staff_user: Any, task: Any
) -> None:
    _, key = cache.init_download(user, "orders.csv")
    # The exception is raised to the queue, whose log only operators read.
    with suppress(OSError):
        tasks.run_task(f"{__name__}.{task.__name__}", key)
    for render in RENDERERS:
        html = render(signed_in, user)
        assert "Something went wrong while creating the file. Please request it again." in html
        assert "hunter2" not in html
    answer = signed_in.get("/async_downloads/ajax_update/").text
    assert not re.search("hunter2|db.internal", answer)
    assert "hunter2" not in str(cache_entries.get_entry(key))
    signed_in.force_login(staff_user)
    detail = signed_in.get(f"/admin/async_downloads/download/{key}/change/").text
    assert escape(DSN) in detail
    assert "Traceback" in detail
