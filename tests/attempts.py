"""Helpers for tests of claims and attempts."""

from datetime import datetime, timedelta

from django.utils import timezone

from async_downloads import store
from async_downloads.files import storage
from async_downloads.models import Download
from async_downloads.store import cache_entries


def claimed(download: Download) -> store.Attempt:
    """Return an attempt that has just claimed a download."""
    attempt = store.claim(download.download_key)
    assert attempt is not None
    return attempt


def long_ago() -> datetime:
    """Return the time of a heartbeat that is long enough ago to have stalled."""
    return timezone.now() - timedelta(hours=1)


def stall_all() -> None:
    """Let every unfinished download stall: no heartbeat in rows or cache entries."""
    for key in Download.objects.values_list("pk", flat=True):
        cache_entries.delete_entry(str(key))
    Download.objects.update(heard_at=long_ago())


def now() -> Download:
    """Return the only download as it is now."""
    return Download.objects.get()


def content() -> bytes:
    """Return the file of the only download, which must be complete."""
    assert now().complete, now().error_detail
    with storage.storage().open(now().filepath) as file:
        return bytes(file.read())
