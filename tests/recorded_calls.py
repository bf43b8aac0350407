"""Downloads whose call is recorded, and the tasks that they call."""

import json
from typing import Any, Final

from async_downloads import cache
from async_downloads.exceptions import DownloadError
from async_downloads.models import Download
from async_downloads.shortcuts import download_task
from tests.factories import DownloadFactory

#: The reason of ``fail_once``.
REASON: Final = "The warehouse does not answer."

#: The keys of the downloads for which ``fail_once`` has failed.
failed: set[str] = set()


@download_task
def export(download_key: str, *args: Any, **kwargs: Any) -> None:
    """Export a row."""
    cache.save_download(download_key, [["row"]])


@download_task
def fail_once(download_key: str, *args: Any, **kwargs: Any) -> None:
    """Fail the first attempt."""
    if download_key not in failed:
        failed.add(download_key)
        raise DownloadError(REASON)
    cache.save_download(download_key, [["row"]])


@download_task
def fail(download_key: str, *args: Any, **kwargs: Any) -> None:
    """Fail with an exception that is not for the owner."""
    raise LookupError("no such table")


def recorded(task: str = "export", *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Return the columns of a download that a task of this module builds, with its arguments."""
    path = task if "." in task else f"{__name__}.{task}"
    return {"task": path, "arguments": json.dumps([args, kwargs]), "times_queued": 1}


def download(user: Any, *, task: str = "export", args: Any = (), **columns: Any) -> Download:
    """Return a download of a user with a recorded call."""
    values = {"collection__user": user, **recorded(task, *args), **columns}
    made: Download = DownloadFactory(**values)
    return made
