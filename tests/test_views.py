"""The views that list, clear and send downloads, only for their owner."""

import re
import uuid
from datetime import timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.core.files.storage import default_storage
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.encoding import iri_to_uri

from async_downloads import cache, owners, store
from async_downloads.models import Download, DownloadState
from async_downloads.store import cache_entries
from tests.factories import DownloadCollectionFactory, DownloadFactory

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]

UPDATE = "/async_downloads/ajax_update/"
CLEAR = "/async_downloads/ajax_clear_download/"
HTMX = {"HX-Request": "true", "HX-Current-URL": "http://testserver/orders/?page=2"}


@pytest.fixture
def mine(user: Any) -> Download:
    return DownloadFactory(collection__user=user, complete=True)


def version_in(html: str) -> str:
    """Return the version that the next poll of a list sends."""
    match = re.search(r'async-downloads-(?:fragment|poll)"[^>]* data-version="([^"]+)"', html)
    assert match
    return match[1]


class TestUpdate:
    def test_json_has_the_documented_keys(self, signed_in: Client, mine: Download) -> None:
        answer = signed_in.get(UPDATE).json()
        assert answer.keys() >= {"html", "downloads", "in_progress"}
        (entry,) = answer["downloads"]
        assert entry["download_key"] == str(mine.pk)
        assert entry["user"] == "ada"
        assert entry["complete"] is True
        assert entry["percentage"] == 100
        assert entry["errors"] == ""
        assert entry["url"] == reverse("async_downloads:download", args=[mine.pk])
        assert mine.name in answer["html"]
        assert "hx-trigger" not in answer["html"]

    def test_json_has_the_place_in_the_queue_and_the_time_that_is_left(
        self, signed_in: Client, user: Any
    ) -> None:
        now, collection = timezone.now(), DownloadCollectionFactory(user=user)
        DownloadFactory(heard_at=now - timedelta(seconds=9))
        DownloadFactory(collection=collection, name="waiting")
        soon = now + timedelta(seconds=127)
        DownloadFactory(collection=collection, name="running", running=True, expected_at=soon)
        DownloadFactory(collection=collection, name="complete", complete=True)
        answer = signed_in.get(UPDATE).json()
        assert {
            entry["name"]: (entry["ahead"], entry["seconds_left"]) for entry in answer["downloads"]
        } == {
            "waiting": (1, None),
            "running": (None, pytest.approx(125, abs=5)),
            "complete": (None, None),
        }
        for text in ("1 ahead of it", "about 2 min left"):
            assert answer["html"].count(text) == 1
            assert signed_in.get("/async_downloads/list/").text.count(text) == 1
        entry = cache_entries.get_entry(answer["downloads"][0]["download_key"])
        assert entry is None or not entry.keys() & {"ahead", "seconds_left"}

    def test_json_lists_all_downloads_newest_first(self, signed_in: Client, mine: Download) -> None:
        now = timezone.now()
        for hours in (3, 1, 2):
            DownloadFactory(
                collection=mine.collection, name=str(hours), timestamp=now - timedelta(hours=hours)
            )
        names = [entry["name"] for entry in signed_in.get(UPDATE).json()["downloads"]]
        assert names == [mine.name, "1", "2", "3"]

    def test_json_is_limited_and_counts_downloads_beyond_the_limit(
        self, signed_in: Client, mine: Download, settings: Any
    ) -> None:
        settings.ASYNC_DOWNLOADS_JSON_LIMIT = 22
        hour = timedelta(hours=1)
        for number in range(1, 23):
            DownloadFactory(
                collection=mine.collection,
                name=f"number {number}",
                timestamp=timezone.now() - number * hour,
                complete=number < 22,
                running=number == 22,
                stored=False,
            )
        answer = signed_in.get(UPDATE).json()
        names = [entry["name"] for entry in answer["downloads"]]
        assert names == [mine.name, *(f"number {number}" for number in range(1, 22))]
        # Running, and older than all listed downloads.
        assert answer["in_progress"] is True
        assert answer["html"].count('class="download-container"') == 20
        assert "number 19<" in answer["html"]
        assert "number 20<" not in answer["html"]

    def test_htmx_gets_the_fragment(self, signed_in: Client, mine: Download) -> None:
        response = signed_in.get(UPDATE, headers=HTMX)
        assert response.headers["Content-Type"].startswith("text/html")
        assert 'class="async-downloads-fragment"' in response.text

    def test_htmx_gets_204_while_nothing_changed(
        self, signed_in: Client, user: Any, any_cache: str
    ) -> None:
        _, key = cache.init_download(user, "orders.csv")
        version = version_in(signed_in.get(UPDATE, headers=HTMX).text)
        unchanged = signed_in.get(UPDATE, {"version": version}, headers=HTMX)
        assert (unchanged.status_code, unchanged.content) == (204, b"")
        cache.set_percentage(key, 40)
        changed = signed_in.get(UPDATE, {"version": version}, headers=HTMX)
        assert changed.status_code == 200
        assert "40%" in changed.text

    def test_a_closed_menu_gets_the_summary_and_what_has_finished_since(
        self, signed_in: Client, user: Any, shared_cache: str
    ) -> None:
        _, key = cache.init_download(user, "orders.csv", "Orders")
        first = signed_in.get(UPDATE, {"summary": 1}, headers=HTMX).text
        assert 'data-state="in-progress"' in first
        assert "Orders" not in first
        shown = dict(re.findall(r' data-(version|since)="([^"]*)"', first))
        unchanged = signed_in.get(UPDATE, {"summary": 1, **shown}, headers=HTMX)
        assert (unchanged.status_code, unchanged.content) == (204, b"")
        cache.save_download(key, [["R1"]])
        changed = signed_in.get(UPDATE, {"summary": 1, **shown}, headers=HTMX).text
        assert 'data-state="has-new"' in changed
        assert "<bdi>Orders</bdi> is ready" in changed
        # A page that does not say since when gets no toasts.
        assert "Orders" not in signed_in.get(UPDATE, {"summary": 1}, headers=HTMX).text

    @pytest.mark.parametrize("number", [1, 100])
    def test_an_unchanged_poll_of_a_closed_menu_costs_one_read_of_the_cache(
        self,
        number: int,
        signed_in: Client,
        user: Any,
        round_trips: list[str],
        django_assert_num_queries: Any,
    ) -> None:
        for _ in range(number):
            cache.init_download(user, "orders.csv")
        text = signed_in.get(UPDATE, {"summary": 1}, headers=HTMX).text
        shown = {"summary": 1, "version": re.findall(r' data-version="([^"]+)"', text)[0]}
        round_trips.clear()
        # Django's two, for the session and the user.
        with django_assert_num_queries(2):
            assert signed_in.get(UPDATE, shown, headers=HTMX).status_code == 204
        assert round_trips == ["get_many"]

    def test_the_open_menu_marks_as_seen_and_a_prefetch_does_not(
        self, signed_in: Client, user: Any, shared_cache: str
    ) -> None:
        DownloadFactory(collection__user=user, complete=True)
        signed_in.get(UPDATE, {"prefetch": 1}, headers=HTMX)
        signed_in.get(UPDATE)
        assert store.read_summary(owners.resolve(user)).unseen == 1
        signed_in.get(UPDATE, headers=HTMX)
        assert store.read_summary(owners.resolve(user)).unseen == 0

    def test_a_menu_that_opens_with_the_list_gets_the_summary_and_marks_as_seen(
        self, signed_in: Client, user: Any, shared_cache: str
    ) -> None:
        DownloadFactory(collection__user=user, complete=True)
        listed = signed_in.get(UPDATE, {"prefetch": 1}, headers=HTMX).text
        opened = {"version": version_in(listed), "opened": 1}
        response = signed_in.get(UPDATE, opened, headers=HTMX)
        assert "async-downloads-summary" in response.text
        assert "download-container" not in response.text
        assert store.read_summary(owners.resolve(user)).unseen == 0
        # The list has changed since.
        DownloadFactory(collection__user=user, complete=True)
        response = signed_in.get(UPDATE, opened, headers=HTMX)
        assert response.text.count('class="download-container"') == 2

    def test_the_page_of_all_marks_as_seen(
        self, signed_in: Client, user: Any, shared_cache: str
    ) -> None:
        DownloadFactory(collection__user=user, complete=True)
        signed_in.get("/async_downloads/list/")
        assert store.read_summary(owners.resolve(user)).unseen == 0

    @pytest.mark.parametrize("number", [1, 100])
    def test_an_unchanged_poll_costs_no_query_of_the_app(
        self,
        number: int,
        signed_in: Client,
        user: Any,
        shared_cache: str,
        django_assert_num_queries: Any,
    ) -> None:
        for _ in range(number):
            cache.init_download(user, "orders.csv")
        version = version_in(signed_in.get(UPDATE, headers=HTMX).text)
        # Django's two, for the session and the user.
        with django_assert_num_queries(2):
            assert signed_in.get(UPDATE, {"version": version}, headers=HTMX).status_code == 204

    @pytest.mark.parametrize("number", [1, 100])
    @pytest.mark.parametrize("headers", [HTMX, {}], ids=["htmx", "json"])
    def test_any_other_poll_costs_one_query(
        self,
        number: int,
        headers: Any,
        signed_in: Client,
        user: Any,
        django_assert_num_queries: Any,
    ) -> None:
        for _ in range(number):
            cache.init_download(user, "orders.csv")
        Download.objects.update(state=DownloadState.RUNNING)
        with django_assert_num_queries(3):
            assert signed_in.get(UPDATE, headers=headers).status_code == 200

    def test_the_menu_says_that_the_session_has_ended(self, client: Client) -> None:
        response = client.get(UPDATE, {"version": "a.b"}, headers=HTMX)
        assert response.status_code == 200
        assert "signed out" in response.text
        assert "hx-trigger" not in response.text
        assert "password" not in response.text

    def test_the_link_to_sign_in_leads_back_to_the_page(self, client: Client) -> None:
        headers = HTMX | {"HX-Current-URL": "http://testserver/orders/?page=2"}
        html = client.get(UPDATE, headers=headers).text
        assert 'href="/admin/login/?next=/orders/%3Fpage%3D2"' in html

    def test_visitors_without_htmx_are_sent_to_sign_in(self, client: Client) -> None:
        assert client.get(UPDATE).url.startswith("/admin/login/")  # type: ignore[attr-defined]

    def test_downloads_of_others_are_not_listed(self, signed_in: Client) -> None:
        response = signed_in.get(UPDATE)
        assert "no-store" in response.headers["Cache-Control"]
        assert "HX-Request" in response.headers["Vary"]


class TestClear:
    @pytest.mark.parametrize("field", ["download_key", "filepath"])
    def test_clearing_deletes_row_and_file(
        self, signed_in: Client, mine: Download, field: str
    ) -> None:
        response = signed_in.post(CLEAR, {field: getattr(mine, field)})
        assert (response.status_code, response.content) == (200, b"")
        assert Download.objects.count() == 0
        assert not default_storage.exists(mine.filepath)

    def test_htmx_gets_the_remaining_list(self, signed_in: Client, mine: Download) -> None:
        left = DownloadFactory(collection=mine.collection, name="left")
        response = signed_in.post(CLEAR, {"download_key": mine.pk}, headers=HTMX)
        assert left.name in response.text
        assert mine.name not in response.text
        assert 'value="/orders/?page=2"' in response.text

    @pytest.mark.parametrize(
        ("back", "status"), [("/orders/", 302), ("https://evil.example/", 200), ("//evil", 200)]
    )
    def test_a_plain_form_leads_back_to_its_page(
        self, signed_in: Client, mine: Download, back: str, status: int
    ) -> None:
        response = signed_in.post(CLEAR, {"download_key": mine.pk, "next": back})
        assert response.status_code == status

    @pytest.mark.parametrize(
        ("back", "status"),
        [("/x/?" + "a" * 5000, 302), ("/é/?" + "é" * 300, 302), ("/" + "é" * 300, 200)],
    )
    def test_an_address_too_long_for_a_header_loses_its_query(
        self, signed_in: Client, mine: Download, back: str, status: int
    ) -> None:
        response = signed_in.post(CLEAR, {"download_key": mine.pk, "next": back})
        assert response.status_code == status
        if status == 302:
            assert response["Location"] == iri_to_uri(back.partition("?")[0])

    @pytest.mark.parametrize(
        "data",
        [{}, {"download_key": "x"}, {"filepath": "../../etc/passwd"}, {"filepath": "a\x00b"}],
    )
    def test_an_unknown_key_or_path_is_404(
        self, signed_in: Client, mine: Download, data: dict[str, str]
    ) -> None:
        assert signed_in.post(CLEAR, data).status_code == 404
        assert Download.objects.count() == 1

    def test_htmx_gets_the_list_if_the_download_was_already_cleared(
        self, signed_in: Client, mine: Download
    ) -> None:
        response = signed_in.post(CLEAR, {"download_key": uuid.uuid4()}, headers=HTMX)
        assert response.status_code == 200
        assert mine.name in response.text
        assert Download.objects.count() == 1

    def test_the_menu_says_that_the_session_has_ended(self, client: Client, mine: Download) -> None:
        response = client.post(CLEAR, {"download_key": mine.pk}, headers=HTMX)
        assert "signed out" in response.text
        assert "password" not in response.text
        assert Download.objects.count() == 1

    def test_clearing_needs_the_csrf_token(self, user: Any, mine: Download) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(user)
        assert client.post(CLEAR, {"download_key": mine.pk}).status_code == 403
        assert Download.objects.count() == 1


class TestDownload:
    def test_the_owner_gets_the_file(self, signed_in: Client, mine: Download) -> None:
        response = signed_in.get(mine.url)
        assert response.getvalue() == b"a,b\n"  # type: ignore[attr-defined]
        assert response.headers["Content-Disposition"] == f'attachment; filename="{mine.filename}"'
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == "private, no-store"
        assert response.headers["Content-Length"] == "4"

    @pytest.mark.parametrize("filename", ["Aufträge ‘24’.csv", "注文.csv", 'a"b;c.csv'])
    def test_the_response_has_the_filename(
        self, signed_in: Client, mine: Download, filename: str
    ) -> None:
        Download.objects.update(filename=filename)
        response = signed_in.get(mine.url)
        assert response.getvalue() == b"a,b\n"  # type: ignore[attr-defined]
        assert response.headers["Content-Disposition"].startswith("attachment; filename")

    @pytest.mark.parametrize("state", [{}, {"running": True}, {"failed": True}])
    def test_a_download_that_is_not_complete_is_404(
        self, signed_in: Client, user: Any, state: Any
    ) -> None:
        download = DownloadFactory(collection__user=user, **state)
        url = reverse("async_downloads:download", args=[download.pk])
        assert signed_in.get(url).status_code == 404

    def test_an_expired_download_is_404(self, signed_in: Client, user: Any) -> None:
        download = DownloadFactory(collection__user=user, complete=True, expired=True)
        assert signed_in.get(download.url).status_code == 404

    def test_a_missing_file_is_410(self, signed_in: Client, mine: Download) -> None:
        default_storage.delete(mine.filepath)
        response = signed_in.get(mine.url)
        assert response.status_code == 410
        assert "This file is missing" in response.text


class TestScript:
    @pytest.mark.parametrize("name", ["htmx-2.min.js", "async_downloads_centre.js"])
    def test_a_script_is_served_for_sites_that_do_not(self, client: Client, name: str) -> None:
        response = client.get(f"/async_downloads/scripts/{name}")
        assert response.headers["Content-Type"].startswith("text/javascript")
        assert b"htmx" in response.content
        etag = response.headers["ETag"]
        again = client.get(f"/async_downloads/scripts/{name}", headers={"If-None-Match": etag})
        assert again.status_code == 304

    @pytest.mark.parametrize("name", ["settings.py", "..%2F..%2Fhttp.py", "htmx-2.js"])
    def test_no_other_file_is_served(self, client: Client, name: str) -> None:
        assert client.get(f"/async_downloads/scripts/{name}").status_code == 404


class TestThePageOfAll:
    def test_downloads_are_paginated_newest_first(self, signed_in: Client, user: Any) -> None:
        collection = DownloadFactory(collection__user=user, name="oldest").collection
        for number in range(26):
            DownloadFactory(collection=collection, name=f"number {number}")
        first, second = (
            signed_in.get("/async_downloads/list/", {"page": page}).text for page in (1, 2)
        )
        assert first.count('class="download-container"') == 25
        assert second.count('class="download-container"') == 2
        assert "number 25" in first
        assert "oldest" in second
        assert "Page 2 of 2" in second

    @pytest.mark.parametrize("page", ["0", "-1", "x", "99", ""])
    def test_an_invalid_page_number_shows_the_nearest_page(
        self, signed_in: Client, page: str
    ) -> None:
        answer = signed_in.get("/async_downloads/list/", {"page": page})
        assert "Nothing here yet" in answer.text
        assert answer["Cache-Control"] == "private, no-store"

    def test_its_forms_lead_back_to_it(self, signed_in: Client, mine: Download) -> None:
        page = signed_in.get("/async_downloads/list/?page=1").text
        assert 'name="next" value="/async_downloads/list/?page=1"' in page
        assert "hx-post" not in page
        back = {"download_key": str(mine.pk), "next": "/async_downloads/list/?page=1"}
        answer = signed_in.post("/async_downloads/ajax_clear_download/", back)
        assert (answer.status_code, answer["Location"]) == (302, back["next"])

    def test_it_costs_the_same_for_any_number_of_downloads(
        self, signed_in: Client, user: Any, django_assert_num_queries: Any
    ) -> None:
        for _ in range(30):
            DownloadFactory(collection=DownloadCollectionFactory(user=user), running=True)
        # The session, the user, the number of downloads, and one page of them.
        with django_assert_num_queries(4):
            signed_in.get("/async_downloads/list/")


class TestPollsOfThePageOfAll:
    URL = "/async_downloads/list/"

    def poll(self, client: Client, version: str, **values: Any) -> Any:
        return client.get(self.URL, {"version": version, **values}, headers=HTMX)

    def test_the_page_polls_while_a_download_is_in_progress(
        self, signed_in: Client, user: Any
    ) -> None:
        download = DownloadFactory(collection__user=user)
        html = signed_in.get(self.URL).text
        assert 'data-url="/async_downloads/list/?page=1"' in html
        assert 'data-poll="1"' in html
        cache.save_download(download.download_key, [["R1"]])
        html = self.poll(signed_in, version_in(html)).text
        assert "data-poll" not in html
        # The response is the fragment to swap in, without the rest of the page.
        assert "<html" not in html
        assert html.count('class="download-container"') == 1
        assert 'name="next" value="/async_downloads/list/?page=1"' in html

    @pytest.mark.usefixtures("shared_cache")
    def test_an_unchanged_poll_costs_no_query_of_downloads(
        self, signed_in: Client, user: Any, django_assert_num_queries: Any
    ) -> None:
        download = DownloadFactory(collection__user=user)
        version = version_in(signed_in.get(self.URL).text)
        # The first poll fills the cache with the version.
        assert self.poll(signed_in, version, page=1).status_code == 204
        with django_assert_num_queries(2):
            unchanged = self.poll(signed_in, version, page=1)
        assert (unchanged.status_code, unchanged.content) == (204, b"")
        cache.set_error(download.download_key, "Gone.")
        assert self.poll(signed_in, version, page=1).status_code == 200

    def test_each_page_has_its_own_version(self, signed_in: Client, user: Any) -> None:
        collection = DownloadFactory(collection__user=user, complete=True, name="old").collection
        for _ in range(25):
            DownloadFactory(collection=collection, complete=True)
        second = signed_in.get(self.URL, {"page": 2}).text
        assert 'data-url="/async_downloads/list/?page=2"' in second
        version = version_in(second)
        assert self.poll(signed_in, version, page=2).status_code == 204
        assert self.poll(signed_in, version, page=1).status_code == 200
        Download.objects.filter(name="old").update(name="renamed")
        assert "renamed" in self.poll(signed_in, version, page=2).text

    @pytest.mark.parametrize("headers", [{}, HTMX, HTMX | {"HX-Boosted": "true"}], ids=str)
    def test_a_request_without_a_version_gets_the_whole_page(
        self, signed_in: Client, mine: Download, headers: Any
    ) -> None:
        assert "<html" in signed_in.get(self.URL, headers=headers).text

    def test_an_ended_session_is_reported_to_a_poll_but_not_to_a_boosted_link(
        self, client: Client
    ) -> None:
        assert "You are signed out." in self.poll(client, "a.b").text
        boosted = client.get(self.URL, headers=HTMX | {"HX-Boosted": "true"})
        assert (boosted.status_code, boosted["Location"][:13]) == (302, "/admin/login/")


class TestClearFinished:
    def test_downloads_in_progress_are_kept(self, signed_in: Client, user: Any) -> None:
        collection = DownloadFactory(collection__user=user, complete=True).collection
        DownloadFactory(collection=collection, failed=True)
        kept = [
            DownloadFactory(collection=collection, **state) for state in ({}, {"running": True})
        ]
        answer = signed_in.post("/async_downloads/clear_finished/")
        assert answer["Location"] == "/async_downloads/list/"
        assert set(Download.objects.all()) == set(kept)

    def test_htmx_gets_the_remaining_list(self, signed_in: Client, mine: Download) -> None:
        answer = signed_in.post("/async_downloads/clear_finished/", headers={"HX-Request": "true"})
        assert "Nothing here yet" in answer.text
        assert not Download.objects.exists()

    def test_what_has_finished_since_the_list_was_made_is_kept(
        self, signed_in: Client, mine: Download
    ) -> None:
        page = signed_in.get("/async_downloads/list/").text
        (until,) = re.findall(r'name="until" value="(.*?)"', page)
        later = DownloadFactory(collection=mine.collection, failed=True)
        signed_in.post("/async_downloads/clear_finished/", {"until": until})
        assert list(Download.objects.all()) == [later]

    @pytest.mark.parametrize("until", ["not a time", "2026-11-29", "0001-01-01T00:00:00+14:00"])
    def test_a_time_that_cannot_be_read_clears_nothing(
        self, signed_in: Client, mine: Download, until: str
    ) -> None:
        for data, query in (({"until": until}, {}), ({}, {"until": until})):
            url = f"/async_downloads/clear_finished/?{urlencode(query)}"
            answer = signed_in.post(url, data)
            assert answer.status_code == HTTPStatus.BAD_REQUEST
            assert f"not {until!r}" in answer.text
        assert Download.objects.exists()


@pytest.mark.parametrize("name", ["ajax_update", "download_list", "download"])
@pytest.mark.parametrize("login", ["/admin/login/", "https://sign-in.example/"])
def test_signing_in_leads_back_to_the_page(
    client: Client, settings: Any, name: str, login: str
) -> None:
    settings.LOGIN_URL = login
    path = reverse(f"async_downloads:{name}", args=[uuid.uuid4()] if name == "download" else [])
    host = "http://testserver" if login.startswith("https") else ""
    for query, kept_query in [("", ""), ("?page=2", "?page=2"), ("?page=" + "%C3%A9" * 400, "")]:
        address = client.get(path + query)["Location"]
        assert parse_qs(urlsplit(address).query)["next"] == [host + path + kept_query]
        assert address.startswith(login)
        assert len(address) < 2000


@pytest.mark.parametrize(
    ("method", "name"),
    [("get", "ajax_update"), ("post", "ajax_clear_download"), ("post", "clear_finished")],
)
def test_the_menu_reports_an_ended_session_on_sites_that_require_login(
    client: Client, settings: Any, method: str, name: str
) -> None:
    required = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, required]
    response = getattr(client, method)(reverse(f"async_downloads:{name}"), headers=HTMX)
    assert response.status_code == 200
    assert "You are signed out." in response.text
