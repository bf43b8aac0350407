"""Saving a file in a run that is there already: one file at a time, and one in all."""

from collections.abc import Iterator
from contextlib import contextmanager

from async_downloads.models import DownloadState
from async_downloads.store.attempt import Attempt, current_attempt
from async_downloads.store.transactions import downloads

__all__ = ["join", "saving"]


def join(download_key: str, *, any_thread: bool) -> Attempt | None:
    """Return the run of a download that the caller is a part of, if there is one.

    Args:
        download_key: Which download.
        any_thread: Whether the run of another thread will do: for what a task
            does, but not for another delivery of the task.

    Raises:
        RuntimeError: The run has finished the download already.
    """
    run = current_attempt(download_key)
    if run is None or not (run.in_this_thread or (any_thread and run.runs_task)):
        return None
    own = downloads().filter(pk=run.download.pk, claim=run.token)
    # What was written inside a transaction may have been rolled back with it.
    if run.download.complete and own.filter(state=DownloadState.COMPLETE).exists():
        raise _saved_twice(run, "complete")
    run.resume()
    return run


@contextmanager
def saving(run: Attempt) -> Iterator[None]:
    """Save a file in a run, with which no other one is saved at the same time.

    Raises:
        RuntimeError: A file is being saved in this run; or was, while it was joined.
    """
    if not run.save_lock.acquire(blocking=False):
        raise _saved_twice(run, "being saved")
    try:
        if run.download.complete:
            raise _saved_twice(run, "complete")
        yield
    finally:
        run.save_lock.release()


def _saved_twice(run: Attempt, how: str) -> RuntimeError:
    return RuntimeError(
        f"Download {run.download.pk} is {how}: a task calls save_download() once. For several "
        "files, pass members=."
    )
