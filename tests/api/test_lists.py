"""The list as JSON: its pages, and its entity tag."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import caches
from django.test import Client
from django.utils import timezone, translation

from async_downloads import cache, intervals
from async_downloads.models import Download, DownloadCollection, DownloadState
from tests.attempts import long_ago, stall_all
from tests.factories import DownloadCollectionFactory, DownloadFactory

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]

UPDATE = "/async_downloads/ajax_update/"

#: Django's own queries of a request, for the session and the user.
OF_DJANGO = 2


@pytest.fixture
def collection(user: Any) -> DownloadCollection:
    made: DownloadCollection = DownloadCollectionFactory(user=user)
    return made


@pytest.fixture
def many(collection: DownloadCollection) -> list[str]:
    """Return the names of 25 downloads, newest first."""
    now = timezone.now()
    for number in range(25):
        DownloadFactory(
            collection=collection,
            name=f"{number:02}",
            timestamp=now - timedelta(hours=number),
            complete=True,
            stored=False,
        )
    return [f"{number:02}" for number in range(25)]


def read(client: Client, **parameters: Any) -> Any:
    response = client.get(UPDATE, parameters)
    assert response.status_code == 200, response.text
    return response.json()


def names(answer: Any) -> list[str]:
    return [entry["name"] for entry in answer["downloads"]]


class TestPages:
    def test_pages_are_disjoint_and_each_has_the_total(
        self, signed_in: Client, many: list[str]
    ) -> None:
        pages = [read(signed_in, page=number, limit=10, html=0) for number in (1, 2, 3)]
        assert [names(page) for page in pages] == [many[:10], many[10:20], many[20:]]
        assert {(page["total"], page["limit"]) for page in pages} == {(25, 10)}
        assert [page["page"] for page in pages] == [1, 2, 3]

    def test_without_parameters_there_are_as_many_as_the_setting_says(
        self, signed_in: Client, many: list[str], settings: Any
    ) -> None:
        assert names(read(signed_in)) == many
        settings.ASYNC_DOWNLOADS_JSON_LIMIT = 7
        answer = read(signed_in)
        assert (names(answer), answer["limit"], answer["total"]) == (many[:7], 7, 25)

    def test_a_page_behind_the_last_one_is_404(self, signed_in: Client, many: list[str]) -> None:
        for page in (4, 1_000_000):
            response = signed_in.get(UPDATE, {"page": page, "limit": 10})
            assert response.status_code == 404

    def test_the_first_page_is_there_without_downloads(self, signed_in: Client) -> None:
        answer = read(signed_in, page=1, limit=10)
        assert (answer["downloads"], answer["total"], answer["poll_seconds"]) == ([], 0, None)

    @pytest.mark.parametrize(
        "parameters",
        [
            *({"page": text} for text in ("0", "-1", "x", "", "1.0", "٣", "1000001", "9" * 99)),
            *({"limit": text} for text in ("0", "-1", "x", "", "1001")),
            *({name: text} for name in ("html", "seen") for text in ("", "2", "false")),
        ],
        ids=str,
    )
    def test_an_invalid_parameter_is_400_and_named(
        self, signed_in: Client, parameters: dict[str, str]
    ) -> None:
        response = signed_in.get(UPDATE, parameters)
        assert response.status_code == 400
        assert response["Content-Type"] == "application/problem+json"
        assert response.json()["detail"].startswith(next(iter(parameters)))

    def test_markup_is_left_out_on_request(self, signed_in: Client, many: list[str]) -> None:
        assert "html" not in read(signed_in, html=0)
        assert "24" in read(signed_in, page=3, limit=10, html=1)["html"]

    def test_what_is_in_progress_counts_on_whatever_page_it_is(
        self, signed_in: Client, collection: DownloadCollection, many: list[str]
    ) -> None:
        old = timezone.now() - timedelta(days=2)
        DownloadFactory(collection=collection, running=True, timestamp=old)
        answer = read(signed_in, limit=10, html=0)
        assert (answer["in_progress"], answer["total"]) == (True, 26)


class TestEntries:
    def test_an_entry_says_what_the_menu_says(
        self, signed_in: Client, collection: DownloadCollection, settings: Any
    ) -> None:
        settings.ASYNC_DOWNLOADS_RESCUE = False
        DownloadFactory(collection=collection, name="complete", complete=True, rows_written=3)
        DownloadFactory(collection=collection, name="failed", failed=True, recorded=True)
        DownloadFactory(collection=collection, name="stalled", running=True, heard_at=long_ago())
        DownloadFactory(collection=collection, name="running", running=True, rows_expected=9)
        found = {entry["name"]: entry for entry in read(signed_in)["downloads"]}
        states = ("in_progress", "stalled", "failed", "complete", "can_retry")
        assert {
            name: [state for state in states if entry[state]] for name, entry in found.items()
        } == {
            "running": ["in_progress"],
            "stalled": ["stalled"],
            "failed": ["failed", "can_retry"],
            "complete": ["complete"],
        }
        assert found["stalled"]["state"] == "running"
        assert found["stalled"]["status_text"].startswith("Stalled:")
        assert found["failed"]["error_text"] == "Something went wrong."
        assert (found["complete"]["size"], found["complete"]["rows_written"]) == (4, 3)
        assert (found["running"]["size"], found["running"]["rows_expected"]) == (None, 9)
        assert found["running"]["expires_at"] is None
        row = Download.objects.get(name="complete")
        assert found["complete"]["expires_at"] == row.expires_at.isoformat()  # type: ignore[union-attr]
        assert found["complete"]["finished_at"] == row.finished_at.isoformat()  # type: ignore[union-attr]
        assert found["complete"]["url"] == row.url

    def test_texts_are_in_the_language_of_the_reader(
        self, signed_in: Client, collection: DownloadCollection, settings: Any
    ) -> None:
        locale = "django.middleware.locale.LocaleMiddleware"
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, locale]
        DownloadFactory(collection=collection, complete=True)
        with translation.override("en"):
            english = signed_in.get(UPDATE, headers={"Accept-Language": "en"})
            german = signed_in.get(
                UPDATE,
                headers={"Accept-Language": "de", "If-None-Match": english["ETag"]},
            )
        assert german.status_code == 200
        texts = [each.json()["downloads"][0]["status_text"] for each in (english, german)]
        assert texts[0] == "Complete"
        assert texts[1] not in ("", "Complete")

    def test_what_the_person_has_seen_is_no_longer_new_on_any_device(
        self, signed_in: Client, collection: DownloadCollection, any_cache: str
    ) -> None:
        DownloadFactory(collection=collection, complete=True)
        DownloadFactory(collection=collection, running=True)

        def unseen(**parameters: Any) -> list[bool]:
            return [entry["unseen"] for entry in read(signed_in, **parameters)["downloads"]]

        elsewhere = {"If-None-Match": signed_in.get(UPDATE)["ETag"]}
        assert sorted(unseen()) == [False, True]
        # The answer still shows what is new.
        assert sorted(unseen(seen=1)) == [False, True]
        assert unseen() == [False, False]
        assert signed_in.get(UPDATE, headers=elsewhere).status_code == 200

    def test_progress_of_all(self, signed_in: Client, collection: DownloadCollection) -> None:
        for percentage in (20, 40):
            DownloadFactory(collection=collection, running=True, percentage=percentage)
        answer = read(signed_in)
        assert (answer["running"], answer["percentage"]) == (2, 30)

    @pytest.mark.parametrize(
        ("columns", "seconds"),
        [
            # Times are those of the test, which may run long after this is read.
            (dict, intervals.POLL[0]),
            (lambda: {"timestamp": timezone.now() - timedelta(minutes=5)}, intervals.POLL[1]),
            (lambda: {"running": True, "heard_at": long_ago()}, intervals.STALLED_POLL),
            (lambda: {"failed": True}, None),
        ],
        ids=["young", "old", "stalled", "finished"],
    )
    def test_the_list_says_when_to_look_again(
        self, signed_in: Client, collection: DownloadCollection, columns: Any, seconds: int | None
    ) -> None:
        DownloadFactory(collection=collection, **columns())
        assert read(signed_in)["poll_seconds"] == seconds


class TestTags:
    def test_an_unchanged_list_is_304_with_each_cache(
        self, signed_in: Client, user: Any, any_cache: str
    ) -> None:
        _, key = cache.init_download(user, "orders.csv")
        first = signed_in.get(UPDATE)
        headers = {"If-None-Match": first["ETag"]}
        unchanged = signed_in.get(UPDATE, headers=headers)
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert unchanged["ETag"] == first["ETag"]
        assert "no-store" in unchanged["Cache-Control"]
        cache.set_percentage(key, 40)
        changed = signed_in.get(UPDATE, headers=headers)
        assert changed.json()["downloads"][0]["percentage"] == 40
        assert changed["ETag"] != first["ETag"]

    @pytest.mark.parametrize("number", [1, 100])
    def test_an_unchanged_list_costs_one_read_of_the_cache_and_no_query(
        self,
        number: int,
        signed_in: Client,
        collection: DownloadCollection,
        round_trips: list[str],
        django_assert_num_queries: Any,
    ) -> None:
        for _ in range(number):
            DownloadFactory(collection=collection, complete=True, stored=False)
        etag = signed_in.get(UPDATE)["ETag"]
        round_trips.clear()
        with django_assert_num_queries(OF_DJANGO):
            response = signed_in.get(UPDATE, headers={"If-None-Match": etag})
        assert response.status_code == 304
        assert round_trips == ["get_many"]

    @pytest.mark.parametrize("etag", ["W/{}", "{}", '"x", W/{} , "y"'])
    def test_a_tag_may_be_one_of_several_and_strong(
        self, signed_in: Client, collection: DownloadCollection, etag: str
    ) -> None:
        DownloadFactory(collection=collection, complete=True)
        sent = signed_in.get(UPDATE)["ETag"].removeprefix("W/")
        headers = {"If-None-Match": etag.format(sent)}
        assert signed_in.get(UPDATE, headers=headers).status_code == 304

    @pytest.mark.parametrize(
        "change", [{"page": 2}, {"limit": 11}, {"html": 0}], ids=["page", "limit", "html"]
    )
    def test_a_tag_is_of_one_selection(
        self, signed_in: Client, many: list[str], shared_cache: str, change: Any
    ) -> None:
        selection = {"page": 1, "limit": 10, "html": 1}
        headers = {"If-None-Match": signed_in.get(UPDATE, selection)["ETag"]}
        assert signed_in.get(UPDATE, selection, headers=headers).status_code == 304
        assert signed_in.get(UPDATE, selection | change, headers=headers).status_code == 200

    def test_a_tag_is_of_one_user(
        self, client: Client, user: Any, other_user: Any, shared_cache: str
    ) -> None:
        answers = []
        for person in (user, other_user):
            client.force_login(person)
            headers = {"If-None-Match": answers[0]["ETag"]} if answers else {}
            answers.append(client.get(UPDATE, headers=headers))
        assert [answer.status_code for answer in answers] == [200, 200]

    @pytest.mark.parametrize("etag", ["", "*", '"', "W/", '"a.b.c"', '"a.b"', "x" * 999])
    def test_another_tag_is_ignored(
        self, signed_in: Client, collection: DownloadCollection, etag: str
    ) -> None:
        assert signed_in.get(UPDATE, headers={"If-None-Match": etag}).status_code == 200

    def test_what_changes_by_time_alone_is_seen(
        self, signed_in: Client, collection: DownloadCollection, shared_cache: str
    ) -> None:
        DownloadFactory(collection=collection, state=DownloadState.RUNNING)
        etag = signed_in.get(UPDATE)["ETag"]
        stall_all()
        # The comparison with the rows has had its time.
        caches[shared_cache].clear()
        changed = signed_in.get(UPDATE, headers={"If-None-Match": etag})
        assert changed.json()["downloads"][0]["stalled"] is True

    def test_a_longer_life_is_seen(self, signed_in: Client, collection: DownloadCollection) -> None:
        row = DownloadFactory(collection=collection, complete=True)
        etag = signed_in.get(UPDATE)["ETag"]
        until = row.expires_at + timedelta(days=9)
        Download.objects.update(expires_at=until)
        changed = signed_in.get(UPDATE, headers={"If-None-Match": etag})
        assert changed.json()["downloads"][0]["expires_at"] == until.isoformat()
