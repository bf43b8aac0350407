"""Errors are JSON for clients that want JSON, and stay as they are for others."""

import uuid
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import DatabaseError
from django.test import Client, RequestFactory
from django.urls import reverse

from async_downloads import store
from async_downloads.api.problems import wants_json
from async_downloads.models import Download
from tests import queues
from tests.factories import DownloadFactory
from tests.recorded_calls import download

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]

JSON = {"Accept": "application/json"}
PROBLEM = "application/problem+json"


def url_of(name: str, *args: Any) -> str:
    return reverse(f"async_downloads:{name}", args=args)


def assert_problem(response: Any, status: int, detail: str) -> None:
    assert (response.status_code, response["Content-Type"]) == (status, PROBLEM)
    data = response.json()
    assert (data["status"], data["detail"]) == (status, detail)
    assert data["title"] == response.reason_phrase
    assert "no-store" in response["Cache-Control"]
    assert "Accept" in response["Vary"]


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("application/json", True),
        ("application/json, text/plain, */*", True),
        ("application/problem+json", True),
        ("text/html;q=0.5, application/json", True),
        ("*/*", False),
        ("", False),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", False),
        ("application/json;q=0.5, text/html", False),
    ],
)
def test_a_client_wants_json_if_it_prefers_it_to_html(
    rf: RequestFactory, accept: str, wanted: bool
) -> None:
    assert wants_json(rf.get("/", headers={"Accept": accept})) is wanted
    assert not wants_json(rf.get("/", headers={"Accept": accept, "HX-Request": "true"}))


@pytest.mark.parametrize(
    ("method", "name", "args"),
    [
        ("get", "ajax_update", []),
        ("get", "detail", [uuid.uuid4()]),
        ("get", "download", [uuid.uuid4()]),
        ("get", "download_list", []),
        ("post", "ajax_clear_download", []),
        ("post", "clear_finished", []),
        ("post", "retry", []),
    ],
)
def test_a_visitor_gets_401(client: Client, method: str, name: str, args: Any) -> None:
    response = getattr(client, method)(url_of(name, *args), headers=JSON)
    assert (response.status_code, response["Content-Type"]) == (401, PROBLEM)
    assert response.json()["detail"] == "You are signed out."
    assert response["WWW-Authenticate"] == "Cookie"
    assert "Location" not in response


@pytest.mark.parametrize("name", ["ajax_clear_download", "retry"])
def test_an_unknown_download_is_404(signed_in: Client, name: str) -> None:
    response = signed_in.post(url_of(name), {"download_key": "x"}, headers=JSON)
    assert_problem(response, 404, "This download does not exist.")


@pytest.mark.parametrize("key", ["x", "%00", "%0A", "é", "0" * 33, "9" * 6000])
@pytest.mark.parametrize("name", ["detail", "download"])
def test_a_url_with_another_text_than_a_key_is_that_of_an_unknown_download(
    signed_in: Client, name: str, key: str
) -> None:
    response = signed_in.get(f"/async_downloads/{name}/{key}/", headers=JSON)
    assert_problem(response, 404, "This download does not exist.")


def test_a_key_in_capitals_is_the_key(signed_in: Client, user: Any) -> None:
    download = DownloadFactory(collection__user=user, complete=True)
    for url in (url_of("detail", download.pk), download.url):
        capitals = url.replace(str(download.pk), str(download.pk).upper())
        response = signed_in.get(capitals)
        response.close()
        assert response.status_code == 200


def test_another_method_is_405_and_names_those_that_are_allowed(signed_in: Client) -> None:
    response = signed_in.delete(url_of("ajax_update"), headers=JSON)
    assert_problem(response, 405, "")
    assert response["Allow"] == "GET"


@pytest.mark.parametrize("name", ["ajax_clear_download", "clear_finished", "retry"])
def test_a_busy_database_is_503_and_says_when_to_repeat(
    signed_in: Client, user: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise DatabaseError("locked")

    for function in ("clear", "clear_finished", "get_for_user"):
        monkeypatch.setattr(store, function, refuse)
    key = str(uuid.uuid4())
    response = signed_in.post(url_of(name), {"download_key": key}, headers=JSON)
    assert_problem(response, 503, "The server is busy. Please try again in a moment.")
    assert response["Retry-After"] == "5"


def test_a_missing_file_is_410_and_named(signed_in: Client, user: Any) -> None:
    row = DownloadFactory(collection__user=user, complete=True, name="Orders")
    default_storage.delete(row.filepath)
    for _ in range(2):
        response = signed_in.get(row.url, headers=JSON)
        assert_problem(response, 410, "The file of “Orders” is missing from the storage.")


def test_a_range_beyond_the_end_is_416(signed_in: Client, user: Any) -> None:
    row = DownloadFactory(collection__user=user, complete=True)
    response = signed_in.get(row.url, headers={**JSON, "Range": "bytes=9999-"})
    assert_problem(response, 416, "")
    assert response["Content-Range"] == "bytes */4"


def test_a_file_stays_a_file(signed_in: Client, user: Any) -> None:
    row = DownloadFactory(collection__user=user, complete=True)
    response = signed_in.get(row.url, headers=JSON)
    assert response.getvalue() == b"a,b\n"  # type: ignore[attr-defined]


def test_a_site_that_requires_login_leaves_this_to_the_package(
    client: Client, settings: Any
) -> None:
    required = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, required]
    assert client.get(url_of("detail", uuid.uuid4())).status_code == 401
    assert client.get(url_of("ajax_update"), headers=JSON).status_code == 401
    assert client.get(url_of("openapi")).status_code == 200


class TestPosts:
    """What a client gets that wants JSON, by the URLs of an entry and without a body."""

    def entry(self, client: Client) -> Any:
        (entry,) = client.get(url_of("ajax_update")).json()["downloads"]
        return entry

    def test_clearing(self, signed_in: Client, user: Any) -> None:
        DownloadFactory(collection__user=user, complete=True)
        response = signed_in.post(self.entry(signed_in)["clear_url"], headers=JSON)
        assert (response.status_code, response.content) == (204, b"")
        assert not Download.objects.exists()

    def test_clearing_needs_post(self, signed_in: Client, user: Any) -> None:
        DownloadFactory(collection__user=user, complete=True)
        assert signed_in.get(self.entry(signed_in)["clear_url"]).status_code == 405
        assert Download.objects.exists()

    def test_clearing_needs_the_csrf_token(self, user: Any) -> None:
        DownloadFactory(collection__user=user, complete=True)
        client = Client(enforce_csrf_checks=True)
        client.force_login(user)
        url = self.entry(client)["clear_url"]
        assert client.post(url, headers=JSON).status_code == 403
        client.get("/admin/password_change/")
        token = client.cookies["csrftoken"].value
        response = client.post(url, headers={**JSON, "X-CSRFToken": token})
        assert response.status_code == 204

    def test_clearing_what_has_finished(self, signed_in: Client, user: Any) -> None:
        DownloadFactory(collection__user=user, complete=True)
        url = signed_in.get(url_of("ajax_update")).json()["clear_finished_url"]
        response = signed_in.post(url, headers=JSON)
        assert (response.status_code, response.content) == (204, b"")
        assert not Download.objects.exists()

    def test_retrying_returns_the_same_download_with_its_url(
        self, signed_in: Client, user: Any
    ) -> None:
        row = download(user, failed=True)
        response = signed_in.post(self.entry(signed_in)["retry_url"], headers=JSON)
        assert response.status_code == 202
        assert response.json() == signed_in.get(response["Location"]).json()
        assert response.json()["download_key"] == row.download_key
        assert response.json()["in_progress"] is True
        queues.run_waiting()
        assert signed_in.get(response["Location"]).json()["complete"] is True

    def test_retrying_a_complete_one_returns_the_new_one(
        self, signed_in: Client, user: Any
    ) -> None:
        row = download(user, complete=True)
        url = self.entry(signed_in)["retry_url"]
        answers = [signed_in.post(url, headers=JSON) for _ in range(2)]
        assert {answer.status_code for answer in answers} == {202}
        # The second request finds the new one in progress.
        (key,) = {answer.json()["download_key"] for answer in answers}
        assert {key, row.download_key} == {str(row.pk) for row in Download.objects.all()}

    def test_retrying_above_the_limit_is_409_with_the_reason(
        self, signed_in: Client, user: Any, settings: Any
    ) -> None:
        settings.ASYNC_DOWNLOADS_MAX_ACTIVE = 1
        row = download(user, failed=True)
        DownloadFactory(collection=row.collection, running=True)
        response = signed_in.post(url_of("retry"), {"download_key": row.download_key}, headers=JSON)
        assert response.status_code == 409
        assert response.json()["detail"].startswith("You have 1 download in progress.")
