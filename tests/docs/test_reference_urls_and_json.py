"""The page on URLs has each name, method, status and JSON key."""

import re
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.test import Client
from django.urls import reverse

from async_downloads import cache, urls
from async_downloads.api import DownloadData, DownloadListData, ProblemData
from async_downloads.api.openapi import schema_of
from async_downloads.models import Download
from async_downloads.shortcuts import start_download
from async_downloads.store import write_through
from tests import recorded_calls
from tests.docs.helpers import rows_of
from tests.factories import DownloadFactory
from tests.snippets import PAGES

pytestmark = pytest.mark.any_database

PAGE = "docs/reference/urls-and-json.md"

TEXT = PAGES[PAGE].text

METHODS = {
    name.strip("`").partition(":")[2]: set(methods.split(", "))
    for name, methods, _ in rows_of(TEXT, "| name | methods | what it does |")
}

KEY = "00000000-0000-0000-0000-000000000007"

ARGUMENTS = {"detail": [KEY], "download": [KEY], "script": ["missing.js"]}

JSON = {"Accept": "application/json"}

#: The tables of keys, by their headers.
OBJECTS = {
    "| key | type | meaning |": DownloadListData,
    "| key of a download | type | meaning |": DownloadData,
    "| key of an error | type | meaning |": ProblemData,
}


def address(name: str, *args: Any) -> str:
    return reverse(f"async_downloads:{name}", args=args or ARGUMENTS.get(name))


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statuses(status: int) -> set[str]:
    """Return the views that the table of statuses names for one."""
    rows = rows_of(TEXT, "| status | of | when |")
    views = " ".join(views for code, views, _ in rows if code == str(status))
    return set(re.findall(r"`(\w+)`", views))


def test_the_table_has_each_url() -> None:
    assert METHODS.keys() == {pattern.name for pattern in urls.urlpatterns}


@pytest.mark.django_db
@pytest.mark.parametrize("name", METHODS)
def test_a_url_takes_the_methods_of_the_table(signed_in: Client, name: str) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
        response = signed_in.generic(method, address(name))
        assert (response.status_code != 405) == (method in METHODS[name]), method


@pytest.mark.parametrize("header", OBJECTS)
def test_a_table_of_keys_is_that_of_the_type(header: str) -> None:
    schema = schema_of(OBJECTS[header])["properties"]
    words = {"string": "text", "integer": "number"}
    kinds = {
        key: [words.get(kind, kind) for kind in listed(value["type"])]
        for key, value in schema.items()
    }
    assert [[cell.replace("`", "") for cell in row] for row in rows_of(TEXT, header)] == [
        [key, " or ".join(kinds[key]), value["description"]] for key, value in schema.items()
    ]


@pytest.mark.django_db
def test_the_json_has_the_keys_of_the_tables(signed_in: Client, user: Any) -> None:
    download = DownloadFactory(collection__user=user, complete=True)
    found = signed_in.get(address("ajax_update")).json()
    assert found.keys() == DownloadListData.__annotations__.keys()
    (entry,) = found["downloads"]
    assert entry == signed_in.get(entry["detail_url"]).json()
    assert list(entry) == list(DownloadData.__annotations__)
    assert "The first twelve keys are also the cache entry" in TEXT
    assert write_through.cache_entry_of(download) == {key: entry[key] for key in list(entry)[:12]}


@pytest.mark.django_db
def test_a_page_that_is_up_to_date_gets_204(signed_in: Client, user: Any) -> None:
    DownloadFactory(collection__user=user, complete=True)
    polled = {"ajax_update", "download_list"}
    for name in polled:
        headers = {"HX-Request": "true"}
        first = signed_in.get(address(name), {"version": "0.0"}, headers=headers)
        # The last one is that of the list; the button has another.
        *_, version = re.findall(r'data-version="([\w.]+)"', first.content.decode())
        again = signed_in.get(address(name), {"version": version}, headers=headers)
        assert again.status_code == 204, name
    posted = statuses(204) - polled
    assert posted == {"ajax_clear_download", "clear_finished"}
    key = Download.objects.get().download_key
    for name in sorted(posted):
        response = signed_in.post(address(name), {"download_key": key}, headers=JSON)
        assert response.status_code == 204


@pytest.mark.django_db
def test_the_statuses_of_json(client: Client, user: Any) -> None:
    of_all = METHODS.keys() - {"openapi", "script"}
    for name in of_all:
        (method, *_) = sorted(METHODS[name])
        assert client.generic(method, address(name), headers=JSON).status_code == 401, name
    client.force_login(user)
    download = DownloadFactory(collection__user=user, failed=True, recorded=True)
    assert client.get(address("ajax_update"), {"page": "x"}).status_code == 400
    assert client.post(address("clear_finished"), {"until": "x"}).status_code == 400
    assert client.get(address("ajax_update"), {"page": 2}).status_code == 404
    for name, arguments in {"ajax_update": [], "detail": [download.download_key]}.items():
        url = address(name, *arguments)
        etag = client.get(url)["ETag"]
        assert client.get(url, headers={"If-None-Match": etag}).status_code == 304
        assert name in statuses(304)
    retried = client.post(address("retry"), {"download_key": download.pk}, headers=JSON)
    assert retried.status_code == 202
    assert retried["Location"] == address("detail", download.download_key)
    assert (statuses(400), statuses(202)) == ({"ajax_update", "clear_finished"}, {"retry"})
    assert statuses(401) == {"openapi", "script"}  # all but these


@pytest.mark.django_db
def test_a_visitor_is_sent_to_sign_in(client: Client) -> None:
    assert statuses(302) == {"detail", "openapi", "script"}  # all but these
    for name in METHODS.keys() - statuses(302):
        (method, *_) = sorted(METHODS[name])
        response = client.generic(method, address(name))
        assert response.status_code == 302, name
        assert response["Location"].startswith("/admin/login/")
    response = client.get(address("ajax_update"), headers={"HX-Request": "true"})
    assert response.status_code == 200
    assert "async_downloads/signed_out.html" in [each.name for each in response.templates]


@pytest.mark.django_db
def test_what_belongs_to_another_person_is_404(signed_in: Client) -> None:
    download = DownloadFactory(complete=True)
    key = str(download.pk)
    answers = {
        "ajax_clear_download": signed_in.post(
            address("ajax_clear_download"), {"download_key": key}
        ),
        "ajax_update": signed_in.get(address("ajax_update"), {"page": 2}),
        "detail": signed_in.get(address("detail", key)),
        "download": signed_in.get(address("download", key)),
        "keep": signed_in.post(address("keep"), {"download_key": key}),
        "retry": signed_in.post(address("retry"), {"download_key": key}),
        "script": signed_in.get(address("script")),
    }
    assert answers.keys() == statuses(404)
    assert {response.status_code for response in answers.values()} == {404}


@pytest.mark.django_db(transaction=True)
def test_a_file_has_the_statuses_of_the_table(signed_in: Client, user: Any) -> None:
    download = DownloadFactory(collection__user=user, complete=True)
    url = address("download", str(download.pk))
    whole = signed_in.get(url)
    etag = whole["ETag"]
    whole.close()
    asked = {
        200: {},
        206: {"Range": "bytes=0-0"},
        304: {"If-None-Match": etag},
        416: {"Range": "bytes=1000000000-"},
    }
    for status, headers in asked.items():
        response = signed_in.get(url, headers=headers)
        response.close()
        assert response.status_code == status
    download.delete()
    assert signed_in.get(url).status_code == 404
    for status in (206, 304, 410, 416, 503):
        assert "download" in statuses(status)


@pytest.mark.django_db(transaction=True)
def test_a_missing_file_is_410(signed_in: Client, user: Any) -> None:
    download = DownloadFactory(collection__user=user, complete=True)
    default_storage.delete(download.filepath)
    assert signed_in.get(address("download", str(download.pk))).status_code == 410
    assert statuses(410) == {"download"}


@pytest.mark.django_db(transaction=True)
def test_what_is_refused_for_now_is_409(signed_in: Client, user: Any, settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ACTIVE = 1
    _, key = start_download(recorded_calls.export, user, "orders.csv")
    cache.set_error(key, "It failed.")
    DownloadFactory(collection__user=user, running=True)
    assert signed_in.post(address("retry"), {"download_key": key}).status_code == 409
    DownloadFactory(collection__user=user, complete=True, held=True)
    held = Download.objects.get(held=True)
    clear = signed_in.post(address("ajax_clear_download"), {"download_key": held.pk})
    assert clear.status_code == 409
    settings.ASYNC_DOWNLOADS_MAX_LIFETIME = 60
    assert signed_in.post(address("keep"), {"download_key": held.pk}).status_code == 409
    assert statuses(409) == {"ajax_clear_download", "keep", "retry"}


@pytest.mark.django_db
def test_a_post_without_the_token_is_403(user: Any) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    for name in (name for name, methods in METHODS.items() if "POST" in methods):
        assert client.post(address(name)).status_code == 403
