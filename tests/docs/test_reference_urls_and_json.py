"""The page on URLs has each name, method, status and JSON key."""

import re
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.test import Client
from django.urls import reverse

from async_downloads import urls
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

ARGUMENTS = {"download": ["00000000-0000-0000-0000-000000000007"], "script": ["missing.js"]}


def address(name: str, *args: Any) -> str:
    return reverse(f"async_downloads:{name}", args=args or ARGUMENTS.get(name))


def keys(header: str) -> list[str]:
    return [row[0].strip("`") for row in rows_of(TEXT, header)]


def statuses(status: int) -> set[str]:
    """Return the views that the table of statuses names for one."""
    rows = {code: views for code, views, _ in rows_of(TEXT, "| status | of | when |")}
    return set(re.findall(r"`(\w+)`", rows[str(status)]))


def test_the_table_has_each_url() -> None:
    assert METHODS.keys() == {pattern.name for pattern in urls.urlpatterns}


@pytest.mark.django_db
@pytest.mark.parametrize("name", METHODS)
def test_a_url_takes_the_methods_of_the_table(signed_in: Client, name: str) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
        response = signed_in.generic(method, address(name))
        assert (response.status_code != 405) == (method in METHODS[name]), method


@pytest.mark.django_db
def test_the_json_has_the_keys_of_the_tables(signed_in: Client, user: Any) -> None:
    DownloadFactory(collection__user=user, complete=True)
    found = signed_in.get(address("ajax_update")).json()
    assert found.keys() == set(keys("| key | meaning |"))
    rows = rows_of(TEXT, "| key | type | meaning |")
    (entry,) = found["downloads"]
    assert entry.keys() == {key.strip("`") for key, _, _ in rows}
    kinds = {"text": str, "number": int, "boolean": bool, "text or null": (str, type(None))}
    for key, kind, _ in rows:
        assert isinstance(entry[key.strip("`")], kinds[kind]), key


@pytest.mark.django_db
def test_a_page_that_is_up_to_date_gets_204(signed_in: Client, user: Any) -> None:
    DownloadFactory(collection__user=user, complete=True)
    for name in statuses(204):
        headers = {"HX-Request": "true"}
        first = signed_in.get(address(name), {"version": "0.0"}, headers=headers)
        version = re.search(r'"version": "([\w.]+)"', first.content.decode())
        assert version, name
        again = signed_in.get(address(name), {"version": version[1]}, headers=headers)
        assert again.status_code == 204, name


@pytest.mark.django_db
def test_a_visitor_is_sent_to_sign_in(client: Client) -> None:
    for name in METHODS.keys() - {"script"}:
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
        "download": signed_in.get(address("download", key)),
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


@pytest.mark.django_db
def test_a_post_without_the_token_is_403(user: Any) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    for name in (name for name, methods in METHODS.items() if "POST" in methods):
        assert client.post(address(name)).status_code == 403
