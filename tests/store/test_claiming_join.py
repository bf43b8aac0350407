"""A task saves one file, whichever of its parts and threads calls ``save_download``."""

import threading
from collections.abc import Callable, Iterator

import pytest
from django.core.files.storage import default_storage
from django.db import connections

from async_downloads import cache, store
from async_downloads.exceptions import DownloadCancelled
from async_downloads.executors.runner import supervise
from async_downloads.models import Download
from tests.attempts import stall_all
from tests.factories import DownloadFactory
from tests.pace import LONGEST_WAIT
from tests.test_cache import stored_names

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("hasty")]

TWICE = r"is being saved: a task calls save_download\(\) once\. .* members="


@pytest.fixture
def key() -> str:
    return DownloadFactory().download_key


def in_a_thread(work: Callable[[], object], raised: list[BaseException]) -> threading.Thread:
    """Work in a thread, and record what that raises."""

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize("supervised", [True, False])
def test_a_file_inside_another_is_refused(key: str, supervised: bool) -> None:
    """If the rows save a file themselves, neither file is the wanted one."""

    def rows() -> Iterator[list[str]]:
        yield ["outer"]
        cache.save_download(key, [["inner"]])
        pytest.fail("It went on.")

    def body() -> None:
        cache.save_download(key, rows())

    if supervised:
        supervise(key, body, makes_file=True)
    else:
        body()
    download = Download.objects.get()
    assert download.failed
    assert "a task calls save_download() once" in download.error_detail
    assert stored_names() == []


@pytest.mark.parametrize("first_in_a_thread", [True, False])
def test_a_file_beside_another_is_refused_at_once(key: str, first_in_a_thread: bool) -> None:
    raised: list[BaseException] = []

    def save_beside() -> None:
        thread = in_a_thread(lambda: cache.save_download(key, [["second"]]), raised)
        thread.join(timeout=LONGEST_WAIT)

    def rows() -> Iterator[list[str]]:
        yield ["first"]
        save_beside()
        yield ["first"]

    def body() -> None:
        if first_in_a_thread:
            in_a_thread(lambda: cache.save_download(key, rows()), raised).join(timeout=LONGEST_WAIT)
        else:
            cache.save_download(key, rows())

    supervise(key, body, makes_file=True)
    (error,) = raised
    with pytest.raises(RuntimeError, match=TWICE):
        raise error
    download = Download.objects.get()
    assert (download.state, download.attempts) == ("complete", 1)
    with default_storage.open(download.filepath) as file:
        assert file.read() == b"first\nfirst\n"


def test_a_file_finished_after_the_attempt_was_joined_is_not_written_again(
    key: str,
) -> None:
    attempt = store.claim(key)
    assert attempt is not None
    attempt.runs_task = True
    with attempt:
        joined = store.join(key, any_thread=True)
        assert joined is attempt
        cache.save_download(key, [["first"]])
        with pytest.raises(RuntimeError, match="is complete"), store.saving(joined):
            pytest.fail("It is saved again.")


@pytest.mark.parametrize("cleared", [True, False])
def test_a_failure_that_is_on_no_row_is_raised_as_cancelled(key: str, cleared: bool) -> None:
    """A queue must not take it for an end: the attempt that took over may die."""

    class Source:
        def read(self, size: int = -1) -> bytes:
            if not size:
                return b""
            if cleared:
                Download.objects.all().delete()
            else:
                Download.objects.update(claim="00000000-0000-0000-0000-000000000001")
            raise LookupError("too late to matter")

    with pytest.raises(DownloadCancelled) as caught:
        cache.save_download(key, file=Source())  # type: ignore[arg-type]
    assert isinstance(caught.value.__cause__, LookupError)
    assert not Download.objects.exclude(state="running").exists()


def test_a_task_that_failed_after_it_was_taken_over_waits_for_the_other(key: str) -> None:
    calls: list[int] = []

    class Source:
        def read(self, size: int = -1) -> bytes:
            if not size:
                return b""
            stall_all()
            assert store.claim(key) is not None
            stall_all()
            raise LookupError("late")

    def body() -> None:
        calls.append(1)
        if len(calls) == 1:
            cache.save_download(key, file=Source())  # type: ignore[arg-type]
        else:
            cache.save_download(key, [["row"]])

    supervise(key, body, makes_file=True)
    assert len(calls) == 2
    assert Download.objects.get().complete
