"""The documented functions, on every kind of cache."""

import csv
import io
import logging
import uuid
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.cache import caches
from django.core.files.storage import default_storage
from django.core.files.storage.filesystem import FileSystemStorage
from django.db import transaction

from async_downloads import cache, store
from async_downloads.exceptions import DownloadCancelled, DownloadError
from async_downloads.models import Download, DownloadCollection
from tests.factories import DownloadFactory

pytestmark = pytest.mark.django_db(transaction=True)

ROWS = [
    ["id", "name", "note"],
    [1, 'with "quotes"', "two\nlines"],
    [2, None, Decimal("1.50")],
    [3, date(2026, 1, 31), datetime(2026, 1, 31, 9, 5)],  # noqa: DTZ001
    [-4, "=1+1", "ünïcode"],
]


def content_of(download: Download) -> bytes:
    with default_storage.open(download.filepath) as file:
        return bytes(file.read())


def stored_names() -> list[str]:
    root = default_storage.path("")
    return sorted(str(path.relative_to(root)) for path in Path(root).rglob("*") if path.is_file())


@pytest.mark.usefixtures("any_cache")
class TestTheJob:
    """A download from start to end gives the same result on every cache."""

    def test_init_save_and_read_back(self, user: Any) -> None:
        collection_key, download_key = cache.init_download(user, "orders.csv", "Orders")
        assert collection_key == f"async_downloads/{user.pk}"
        assert str(uuid.UUID(download_key, version=4)) == download_key
        cache.save_download(download_key, ROWS)
        download = Download.objects.get()
        assert (download.state, download.percentage, download.errors) == ("complete", 100, "")
        assert download.filepath == f"downloads/{download_key}/orders.csv"
        expected = io.StringIO(newline="")
        csv.writer(expected, lineterminator="\n").writerows(ROWS)
        assert content_of(download) == expected.getvalue().encode()
        assert download.size == len(content_of(download))

    def test_the_name_defaults_to_the_file_name(self, user: Any) -> None:
        cache.init_download(user, "orders.csv")
        assert Download.objects.get().name == "orders.csv"

    def test_a_binary_file_is_stored_from_its_beginning(self, user: Any) -> None:
        _, key = cache.init_download(user, "orders.zip")
        file = io.BytesIO(b"PK\x00\xff")
        file.seek(2)
        cache.save_download(key, file=file)
        assert content_of(Download.objects.get()) == b"PK\x00\xff"

    def test_progress_is_recorded_and_clamped(self, user: Any) -> None:
        _, key = cache.init_download(user, "orders.csv")
        for given, shown in [(12.9, 12), (-5, 0), (250, 100), ("40", 40), (float("inf"), 100)]:
            cache.set_percentage(key, given)  # type: ignore[arg-type]
            assert Download.objects.get().percentage == shown

    def test_an_error_is_shown_without_a_file(self, user: Any) -> None:
        _, key = cache.init_download(user, "orders.csv")
        cache.set_error(key, "No orders today")
        download = Download.objects.get()
        assert (download.state, download.errors) == ("failed", "No orders today")
        assert (download.complete, download.url) == (False, "")

    def test_a_failing_row_fails_the_download_and_leaves_no_file(self, user: Any) -> None:
        _, key = cache.init_download(user, "orders.csv")

        def rows() -> Iterator[list[int]]:
            yield [1]
            raise RuntimeError("postgres://root:secret@db")

        cache.save_download(key, rows())
        download = Download.objects.get()
        assert download.state == "failed"
        assert "secret" not in download.errors
        assert "secret" in download.error_detail
        assert stored_names() == []

    def test_a_retry_after_a_failure_finishes_it(self, user: Any) -> None:
        _, key = cache.init_download(user, "orders.csv")
        cache.save_download(key, (1 / 0 for _ in range(3)))  # type: ignore[arg-type, misc]
        cache.save_download(key, ROWS)
        download = Download.objects.get()
        assert (download.state, download.errors, download.attempts) == ("complete", "", 2)

    def test_cleanup_collection_deletes_only_expired_downloads(self, user: Any) -> None:
        collection_key, key = cache.init_download(user, "kept.csv")
        collection = DownloadCollection.objects.get()
        DownloadFactory(collection=collection, complete=True, expired=True)
        cache.cleanup_collection(collection_key)
        assert [str(pk) for pk in Download.objects.values_list("pk", flat=True)] == [key]
        assert stored_names() == []


@pytest.mark.parametrize("moment", range(6))
def test_a_flushed_cache_changes_nothing(
    moment: int, any_cache: str, signed_in: Any, user: Any
) -> None:
    """At whatever moment the cache is lost, the owner sees the same."""

    def maybe_flush(now: int) -> None:
        if now != moment:
            return
        if any_cache == "redis":
            # Not clear(): it would delete all keys of this Redis.
            keys = [str(pk) for pk in Download.objects.values_list("pk", flat=True)]
            keys.append(f"async_downloads/{user.pk}")
            caches["redis"].delete_many(keys)
        else:
            caches[any_cache].clear()

    def poll() -> dict[str, Any]:
        answer: dict[str, Any] = signed_in.get("/async_downloads/ajax_update/").json()
        return answer

    _, key = cache.init_download(user, "orders.csv")
    maybe_flush(0)
    cache.set_percentage(key, 30)
    maybe_flush(1)
    shown = poll()
    assert [d["percentage"] for d in shown["downloads"]] == [30]
    assert shown["in_progress"] is True
    maybe_flush(2)
    cache.update_percentage(key, 10, 4)
    maybe_flush(3)
    assert [d["percentage"] for d in poll()["downloads"]] == [50]
    cache.save_download(key, ROWS)
    maybe_flush(4)
    shown = poll()
    assert [d["complete"] for d in shown["downloads"]] == [True]
    assert shown["in_progress"] is False
    maybe_flush(5)
    response = signed_in.get(shown["downloads"][0]["url"])
    assert response.getvalue().startswith(b"id,name")


@pytest.mark.usefixtures("any_cache")
class TestBadInputIsRefusedBeforeAnythingIsWritten:
    @pytest.fixture(autouse=True)
    def nothing_written(self) -> Iterator[None]:
        before = Download.objects.count()
        yield
        assert Download.objects.count() == before
        assert stored_names() == []

    @pytest.mark.parametrize("filename", ["", "   ", "\x00\n"])
    def test_empty_file_name(self, user: Any, filename: str) -> None:
        with pytest.raises(ValueError, match="filename"):
            cache.init_download(user, filename)

    @pytest.mark.parametrize("filename", [None, 5, b"orders.csv"])
    def test_a_file_name_that_is_not_text(self, user: Any, filename: Any) -> None:
        with pytest.raises(TypeError, match="file name"):
            cache.init_download(user, filename)

    def test_anonymous_user(self) -> None:
        with pytest.raises(ValueError, match="anonymous"):
            cache.init_download(AnonymousUser(), "orders.csv")

    @pytest.mark.parametrize("percentage", ["many", None, float("nan"), [1]])
    def test_a_percentage_that_is_not_a_number(self, user: Any, percentage: Any) -> None:
        download = DownloadFactory()
        with pytest.raises(ValueError, match="percentage must be a number"):
            cache.set_percentage(download.download_key, percentage)
        download.delete()

    def test_an_encoding_that_does_not_exist(self) -> None:
        download = DownloadFactory()
        with pytest.raises(ValueError, match="klingon"):
            cache.save_download(download.download_key, ROWS, encoding="klingon")
        assert Download.objects.get().state == "pending"
        download.delete()

    def test_neither_rows_nor_file(self) -> None:
        with pytest.raises(ValueError, match="either"):
            cache.save_download(str(uuid.uuid4()))

    def test_rows_and_file(self) -> None:
        with pytest.raises(ValueError, match="either"):
            cache.save_download(str(uuid.uuid4()), ROWS, io.BytesIO())

    @pytest.mark.parametrize("file", [io.StringIO("text"), "orders.csv", 5])
    def test_a_file_that_is_not_binary(self, file: Any) -> None:
        with pytest.raises(TypeError, match="binary"):
            cache.save_download(str(uuid.uuid4()), file=file)


@pytest.mark.parametrize("key", ["4a9ba1a2-35c0-4b43-9bd0-6f9c3f1f2d11", "no uuid", ""])
@pytest.mark.parametrize(
    "call",
    [
        lambda key: cache.save_download(key, ROWS),
        lambda key: cache.set_percentage(key, 5),
        lambda key: cache.update_percentage(key, 10, 5),
        lambda key: cache.set_error(key, "late"),
    ],
    ids=["save_download", "set_percentage", "update_percentage", "set_error"],
)
def test_an_unknown_key_is_a_logged_warning(
    call: Any, key: str, shared_cache: str, caplog: pytest.LogCaptureFixture
) -> None:
    call(key)
    assert Download.objects.count() == 0
    assert stored_names() == []
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


@pytest.mark.usefixtures("any_cache")
class TestUserNamesAndKeys:
    def test_a_user_may_be_named_in_four_ways(self, user: Any) -> None:
        for named in (user, user.pk, user.get_username()):
            assert cache.get_username(named) == "ada"
            assert cache.get_collection_key(named) == f"async_downloads/{user.pk}"
            cache.init_download(named, "orders.csv")
        assert Download.objects.filter(collection__user=user).count() == 3
        assert cache.get_username("the accounts team") == "the accounts team"
        assert cache.get_collection_key("the accounts team") == "async_downloads/the accounts team"

    def test_a_text_that_is_not_a_user_has_a_collection_of_its_own(self, user: Any) -> None:
        for _ in range(2):
            cache.init_download("the accounts team", "orders.csv")
        collection = DownloadCollection.objects.get()
        assert (collection.user, collection.label) == (None, "the accounts team")
        assert collection.downloads.count() == 2

    def test_a_text_that_spells_a_primary_key_is_not_that_user(self, user: Any) -> None:
        cache.init_download(str(user.pk), "orders.csv")
        assert not Download.objects.filter(collection__user=user).exists()

    def test_the_key_follows_the_format(self, user: Any, settings: Any) -> None:
        old_key, _ = cache.init_download(user, "old.csv")
        settings.ASYNC_DOWNLOADS_COLLECTION_KEY_FORMAT = "exports:{}"
        new_key, _ = cache.init_download(user, "new.csv")
        assert (old_key, new_key) == (f"async_downloads/{user.pk}", f"exports:{user.pk}")
        assert DownloadCollection.objects.get().key == new_key


@pytest.mark.usefixtures("any_cache")
class TestFailures:
    @pytest.mark.parametrize("error", [SystemExit("time-out"), KeyboardInterrupt()])
    def test_an_exception_that_ends_the_process_is_recorded_and_raised(
        self, error: BaseException
    ) -> None:
        download = DownloadFactory()

        def rows() -> Iterator[list[int]]:
            yield [1]
            raise error

        with pytest.raises(type(error)):
            cache.save_download(download.download_key, rows())
        download.refresh_from_db()
        assert download.state == "failed"
        assert download.errors
        assert stored_names() == []

    def test_the_text_of_a_download_error_is_for_the_owner(self) -> None:
        download = DownloadFactory()

        def rows() -> Iterator[list[int]]:
            yield [1]
            raise DownloadError("The month is not closed yet.")

        cache.save_download(download.download_key, rows())
        download.refresh_from_db()
        assert download.errors == "The month is not closed yet."

    @pytest.mark.parametrize(
        ("error", "shown"),
        [
            ("Plain text", "Plain text"),
            (DownloadError("For people"), "For people"),
            (
                RuntimeError("dsn"),
                "Something went wrong while creating the file. Please request it again.",
            ),
            (
                SystemExit("9"),
                "It took too long, or was stopped. Please request it again.",
            ),
            *(
                (
                    nothing,
                    "Something went wrong while creating the file. Please request it again.",
                )
                for nothing in ("", " ", None)
            ),
        ],
    )
    def test_set_error_shows_only_texts_for_the_owner(self, error: Any, shown: str) -> None:
        download = DownloadFactory()
        cache.set_error(download.download_key, error)
        download.refresh_from_db()
        assert download.errors == shown

    def test_a_storage_that_fails_fails_the_download(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def save(self: Any, name: str, content: Any) -> str:
            FileSystemStorage.path(self, name)
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(FileSystemStorage, "_save", save)
        download = DownloadFactory()
        cache.save_download(download.download_key, ROWS)
        download.refresh_from_db()
        assert (download.state, download.url, download.size) == ("failed", "", None)

    def test_the_path_of_the_storage_is_recorded(self) -> None:
        download = DownloadFactory()
        default_storage.save(download.filepath, io.BytesIO(b"taken"))
        cache.save_download(download.download_key, ROWS)
        asked, download = download.filepath, Download.objects.get()
        assert download.filepath != asked
        assert content_of(download).startswith(b"id,name")

    def test_a_character_that_the_encoding_lacks_names_its_row(self) -> None:
        download = DownloadFactory()
        cache.save_download(download.download_key, [["a"], ["b"], ["ł"]], encoding="latin-1")
        download.refresh_from_db()
        assert download.state == "failed"
        assert "Row 3" in download.errors


@pytest.mark.usefixtures("any_cache")
class TestClearedWhileRunning:
    def test_the_next_progress_call_stops_the_task(self, user: Any) -> None:
        _, key = cache.init_download(user, "orders.csv")
        reached = []

        def rows() -> Iterator[list[int]]:
            yield [1]
            store.clear(user.pk, download_key=uuid.UUID(key))
            cache.set_percentage(key, 50)
            reached.append("after")
            yield [2]

        with pytest.raises(DownloadCancelled):
            cache.save_download(key, rows())
        assert reached == []
        assert Download.objects.count() == 0
        assert stored_names() == []

    def test_a_cancellation_is_noticed_at_the_end_at_the_latest(self, user: Any) -> None:
        _, key = cache.init_download(user, "orders.csv")

        def rows() -> Iterator[list[int]]:
            yield [1]
            store.clear(user.pk, download_key=uuid.UUID(key))
            yield [2]

        with pytest.raises(DownloadCancelled):
            cache.save_download(key, rows())
        assert Download.objects.count() == 0
        assert stored_names() == []


class TestInsideTheCallersTransaction:
    def test_progress_is_seen_at_once_and_touches_no_row(
        self, signed_in: Any, user: Any, any_cache: str
    ) -> None:
        _, key = cache.init_download(user, "orders.csv")
        with transaction.atomic():
            cache.set_percentage(key, 70)
            assert Download.objects.get().percentage == 0
            answer = signed_in.get("/async_downloads/ajax_update/").json()
        # A cache in the database is part of the transaction, so it is not tested here.
        expected = 0 if any_cache in {"dummy", "database"} else 70
        assert [d["percentage"] for d in answer["downloads"]] == [expected]

    def test_an_export_in_a_transaction_is_complete_with_the_commit(self, user: Any) -> None:
        _, key = cache.init_download(user, "orders.csv")
        with transaction.atomic():
            cache.save_download(key, ROWS)
        assert Download.objects.get().state == "complete"

    def test_a_rollback_undoes_the_completion(self, user: Any, shared_cache: str) -> None:
        _, key = cache.init_download(user, "orders.csv")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            cache.save_download(key, ROWS)
            raise ZeroDivisionError
        assert Download.objects.get().state == "pending"
        assert caches["file"].get(key)["complete"] is False
        cache.save_download(key, ROWS)
        assert Download.objects.get().state == "complete"
