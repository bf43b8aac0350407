"""The body of a task, and the record of its end."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import IntegrityError, connection, transaction
from django.utils import translation
from django.utils.translation import gettext
from django_q.exceptions import TimeoutException

from async_downloads import cache, store
from async_downloads.exceptions import DownloadBusy, DownloadCancelled, DownloadError
from async_downloads.executors.runner import supervise
from async_downloads.models import Download
from async_downloads.store import claiming
from tests import pace
from tests.attempts import closing_connections, elsewhere, now, stall_all
from tests.factories import DownloadFactory
from tests.test_cache import stored_names

pytestmark = [
    pytest.mark.any_database,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("hasty"),
]


@pytest.fixture
def key() -> str:
    return DownloadFactory().download_key


def run(key: str, body: Callable[[], object], *, makes_file: bool = True) -> None:
    supervise(key, body, makes_file=makes_file)


def raising(error: BaseException) -> Callable[[], object]:
    def body() -> object:
        raise error

    return body


class TestTheClaim:
    def test_the_claim_comes_before_the_body(self, key: str) -> None:
        seen: list[tuple[str, int]] = []
        run(key, lambda: seen.append((now().state, now().attempts)))
        assert seen == [("running", 1)]

    def test_a_save_in_the_body_is_the_same_attempt(self, key: str) -> None:
        run(key, lambda: cache.save_download(key, [["row"]]))
        assert (now().state, now().attempts) == ("complete", 1)

    def test_a_nested_task_is_the_same_attempt(self, key: str) -> None:
        run(key, lambda: run(key, lambda: cache.save_download(key, [["row"]])), makes_file=False)
        assert (now().state, now().attempts) == ("complete", 1)

    @pytest.mark.parametrize(
        "state", [{"complete": True}, {"failed": True, "attempts": 3}], ids=["complete", "tried"]
    )
    def test_without_a_claim_the_body_does_not_run(self, state: dict[str, Any]) -> None:
        run(DownloadFactory(**state).download_key, lambda: pytest.fail("It ran."))

    def test_a_cleared_download_is_not_built(self, key: str) -> None:
        Download.objects.all().delete()
        run(key, lambda: pytest.fail("It ran."))

    def test_another_thread_waits_for_its_turn(self, key: str, settings: Any) -> None:
        settings.ASYNC_DOWNLOADS_STALLED_AFTER = pace.whole(2)
        second = threading.Thread(
            target=closing_connections, args=[lambda: run(key, lambda: pytest.fail("It ran."))]
        )

        def body() -> None:
            second.start()
            cache.save_download(key, [["row"]])

        run(key, body)
        second.join(timeout=pace.LONGEST_WAIT)
        assert not second.is_alive()
        assert (now().state, now().attempts) == ("complete", 1)

    def test_rows_that_a_helper_thread_saves_are_the_same_attempt(self, key: str) -> None:
        def body() -> None:
            elsewhere(lambda: cache.save_download(key, [["row"]]))

        run(key, body)
        assert (now().state, now().attempts) == ("complete", 1)


class TestItsEnd:
    @pytest.mark.parametrize(
        "error", [LookupError("secret"), KeyboardInterrupt(), TimeoutException("7 s")], ids=type
    )
    def test_an_exception_is_recorded_and_raised_again(
        self, key: str, error: BaseException
    ) -> None:
        with pytest.raises(type(error)) as raised:
            run(key, raising(error))
        assert raised.value is error
        assert now().failed
        assert type(error).__name__ in now().error_detail
        assert "secret" not in now().errors

    def test_the_text_of_an_error_is_in_the_language_of_the_worker_and_then_of_the_reader(
        self, key: str
    ) -> None:
        Download.objects.update(language="fr")
        text = "It was not started in time. Please request it again."
        run(key, lambda: raising(DownloadError(gettext(text)))())
        assert now().errors == text
        with translation.override("de"):
            assert now().error_text == gettext(text) != text

    def test_a_download_error_is_not_raised_again(self, key: str) -> None:
        run(key, raising(DownloadError("Choose a shorter period.")))
        assert (now().state, now().errors) == ("failed", "Choose a shorter period.")

    def test_a_reported_error_stays_when_the_task_fails(self, key: str) -> None:
        def body() -> None:
            cache.set_error(key, "No orders in May")
            raise LookupError("secret")

        with pytest.raises(LookupError):
            run(key, body)
        assert now().errors == "No orders in May"
        assert "LookupError" in now().error_detail

    def test_an_exit_fails_the_task_and_not_the_worker(self, key: str) -> None:
        with pytest.raises(RuntimeError, match=r"sys.exit\(3\)"):
            run(key, raising(SystemExit(3)))
        assert now().failed

    def test_a_cancelled_download_is_not_an_error(
        self, key: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)

        def body() -> None:
            Download.objects.all().delete()
            cache.set_percentage(key, 50)
            pytest.fail("It went on.")

        run(key, body)
        assert {record.levelname for record in caplog.records} == {"INFO"}

    def test_a_body_that_only_reports_progress_is_cancelled(self, key: str) -> None:
        seen: list[int] = []

        def body() -> None:
            for index in range(1000):
                if index == 10:
                    Download.objects.all().delete()
                cache.update_percentage(key, 1_000_000, index)
                seen.append(index)

        run(key, body)
        assert len(seen) <= 11

    def test_an_end_without_a_file_is_a_failure(self, key: str) -> None:
        run(key, lambda: None)
        assert (now().state, now().errors) == (
            "failed",
            "The task ended without a file. Please request it again.",
        )

    def test_a_failure_of_save_download_stays(self, key: str) -> None:
        run(key, lambda: cache.save_download(key, (1 / 0 for _ in [1])))  # type: ignore[arg-type, misc]
        assert now().failed
        assert "ZeroDivisionError" in now().error_detail

    def test_a_second_save_in_the_body_may_finish_it(self, key: str) -> None:
        def body() -> None:
            cache.save_download(key, (1 / 0 for _ in [1]))  # type: ignore[arg-type, misc]
            assert now().failed
            cache.save_download(key, [["row"]])

        run(key, body)
        assert (now().state, now().errors, now().attempts) == ("complete", "", 1)

    def test_a_task_that_queues_another_leaves_the_download_waiting(self, key: str) -> None:
        run(key, lambda: None, makes_file=False)
        assert (now().state, now().attempts) == ("pending", 0)
        run(key, lambda: cache.save_download(key, [["row"]]))
        assert (now().state, now().attempts) == ("complete", 1)

    def test_a_superseded_attempt_waits_for_the_other(self, key: str) -> None:
        """The queue must not take the end of a superseded attempt for the end of the download."""
        calls: list[int] = []

        def body() -> None:
            calls.append(1)
            if len(calls) == 1:
                stall_all()
                assert store.claim(key) is not None
                stall_all()
            cache.save_download(key, [["row"], ["row"]])

        run(key, body)
        assert len(calls) == 2
        assert (now().state, now().attempts) == ("complete", 3)

    def test_while_the_other_attempt_is_alive_the_queue_gets_an_error(
        self, key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def body() -> None:
            stall_all()
            other = store.claim(key)
            assert other is not None
            monkeypatch.setattr(claiming.time, "sleep", lambda seconds: other.heartbeat())
            cache.set_percentage(key, 50)

        with pytest.raises(DownloadBusy):
            run(key, body)
        assert (now().state, now().attempts) == ("running", 2)

    def test_a_superseded_attempt_records_nothing(self, key: str) -> None:
        def body() -> None:
            stall_all()
            assert store.claim(key) is not None
            raise LookupError("late")

        with pytest.raises(LookupError):
            run(key, body)
        assert (now().state, now().errors) == ("running", "")


class TestTransactionsInside:
    def test_a_rollback_after_saving_leaves_no_file_and_a_failure(self, key: str) -> None:
        def body() -> None:
            with transaction.atomic():
                cache.save_download(key, [["row"]])
                raise LookupError("after saving")

        with pytest.raises(LookupError):
            run(key, body)
        assert now().failed
        assert stored_names() == []

    def test_a_report_that_was_rolled_back_is_recorded_again(self, key: str) -> None:
        def body() -> None:
            with transaction.atomic():
                cache.set_error(key, "No orders in May")
                transaction.set_rollback(True)

        run(key, body)
        assert (now().state, now().errors) == ("failed", "No orders in May")

    def test_a_report_in_a_broken_transaction_is_recorded(self, key: str) -> None:
        def body() -> None:
            with transaction.atomic():
                try:
                    with connection.cursor() as cursor:
                        cursor.execute("SELECT no_such_column")
                except Exception as error:
                    cache.set_error(key, "No orders in May")
                    raise IntegrityError from error

        with pytest.raises(IntegrityError):
            run(key, body)
        assert (now().state, now().errors) == ("failed", "No orders in May")

    def test_a_cancelled_attempt_in_a_transaction_stops(self, key: str, shared_cache: str) -> None:
        def body() -> None:
            with transaction.atomic():
                Download.objects.all().delete()
                cache.set_percentage(key, 50)
                pytest.fail("It went on.")

        run(key, body)


def test_a_body_that_raises_download_cancelled_has_failed(key: str) -> None:
    run(key, raising(DownloadCancelled("elsewhere")), makes_file=False)
    assert (now().state, now().errors) == (
        "failed",
        "The task ended without a file. Please request it again.",
    )


def content() -> bytes:
    with default_storage.open(now().filepath) as file:
        return bytes(file.read())


class TestSavingTwice:
    """A task makes one file: a second one is refused, not dropped."""

    @pytest.mark.parametrize("makes_file", [True, False])
    @pytest.mark.parametrize("from_a_thread", [False, True])
    def test_the_second_file_is_refused_with_the_reason(
        self, key: str, makes_file: bool, from_a_thread: bool
    ) -> None:
        rows = iter([["second"]])

        def save() -> None:
            cache.save_download(key, rows)

        def body() -> None:
            cache.save_download(key, [["first"]])
            if from_a_thread:
                with ThreadPoolExecutor() as thread:
                    thread.submit(closing_connections, save).result()
            else:
                save()

        with pytest.raises(RuntimeError, match=rf"{key} is complete: .* members="):
            supervise(key, body, makes_file=makes_file)
        download = now()
        assert (download.state, download.attempts, download.errors) == ("complete", 1, "")
        assert content() == b"first\n"
        # No row of it was read.
        assert next(rows) == ["second"]

    def test_a_second_delivery_after_the_end_does_nothing(self, key: str) -> None:
        for cell in ("first", "second"):
            supervise(key, partial(cache.save_download, key, [[cell]]), makes_file=True)
            cache.save_download(key, [[cell]])
        assert content() == b"first\n"

    def test_a_file_may_be_saved_again_after_a_rollback(self, key: str) -> None:
        def body() -> None:
            with suppress(LookupError), transaction.atomic():
                cache.save_download(key, [["first"]])
                raise LookupError
            cache.save_download(key, [["second"]])

        supervise(key, body, makes_file=True)
        assert content() == b"second\n"

    def test_a_file_may_be_saved_again_after_a_failure(self, key: str) -> None:
        def body() -> None:
            cache.save_download(key, (1 / 0 for _ in range(1)))  # type: ignore[arg-type, misc]
            cache.save_download(key, [["second"]])

        supervise(key, body, makes_file=True)
        assert content() == b"second\n"
