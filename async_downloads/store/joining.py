"""Save a file in the attempt that is under way: one file at a time, and one in all."""

from collections.abc import Iterator
from contextlib import contextmanager

from async_downloads.models import DownloadState
from async_downloads.store.attempt import Attempt, current_attempt
from async_downloads.store.transactions import downloads

__all__ = ["join", "saving"]


def join(download_key: str, *, any_thread: bool) -> Attempt | None:
    """Return the attempt that the caller is a part of, if there is one.

    Args:
        download_key: Which download.
        any_thread: Whether an attempt of another thread counts. A task may save its file in
            any thread; another delivery of the task must not join.

    Raises:
        RuntimeError: The attempt has finished the download already.
    """
    attempt = current_attempt(download_key)
    if attempt is None:
        return None
    if not attempt.in_this_thread and not (any_thread and attempt.runs_task):
        return None
    own = downloads().filter(pk=attempt.download.pk, claim=attempt.token)
    # A transaction that has finished it may have been rolled back since.
    if attempt.download.complete and own.filter(state=DownloadState.COMPLETE).exists():
        raise _saved_twice(attempt, "complete")
    attempt.resume()
    return attempt


@contextmanager
def saving(attempt: Attempt) -> Iterator[None]:
    """Save a file in an attempt, and refuse to save a second one.

    Raises:
        RuntimeError: Another file of the attempt is being saved, or has been saved since the
            attempt was joined.
    """
    if not attempt.save_lock.acquire(blocking=False):
        raise _saved_twice(attempt, "being saved")
    try:
        if attempt.download.complete:
            raise _saved_twice(attempt, "complete")
        yield
    finally:
        attempt.save_lock.release()


def _saved_twice(attempt: Attempt, state: str) -> RuntimeError:
    return RuntimeError(
        f"Download {attempt.download.pk} is {state}: a task calls save_download() once. For "
        "several files, pass members=."
    )
