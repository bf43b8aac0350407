"""Helpers for tests of claims and attempts."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.db import connections
from django.utils import timezone

from async_downloads import store
from async_downloads.files import storage
from async_downloads.models import Download
from async_downloads.store import cache_entries
from tests.factories import DownloadFactory

T = TypeVar("T")


def claimed(download: Download) -> store.Attempt:
    """Return an attempt that has just claimed a download."""
    attempt = store.claim(download.download_key)
    assert attempt is not None
    return attempt


def long_ago() -> datetime:
    """Return the time of a heartbeat that is long enough ago to have stalled."""
    return timezone.now() - timedelta(hours=1)


def stalled(**columns: Any) -> Download:
    """Return a download whose attempt has stalled, with its call."""
    state = {"running": True, "recorded": True, "heard_at": long_ago()}
    download: Download = DownloadFactory(**state | columns)
    return download


def stall_all() -> None:
    """Let every unfinished download stall: no heartbeat in rows or cache entries."""
    for key in Download.objects.values_list("pk", flat=True):
        cache_entries.delete_entry(str(key))
    Download.objects.update(heard_at=long_ago())


def closing_connections(work: Callable[[], T]) -> T:
    """Return the result of work in a thread, and close the connections of the thread."""
    try:
        return work()
    finally:
        connections.close_all()


def elsewhere(work: Callable[[], T]) -> T:
    """Return the result of work in another thread."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(closing_connections, work).result()


def now() -> Download:
    """Return the only download as it is now."""
    return Download.objects.get()


def content() -> bytes:
    """Return the file of the only download, which must be complete."""
    assert now().complete, now().error_detail
    with storage.storage().open(now().filepath) as file:
        return bytes(file.read())
