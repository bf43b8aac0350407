"""Helpers for tests of claims and attempts."""

from datetime import datetime, timedelta

from django.utils import timezone

from async_downloads import store
from async_downloads.models import Download
from async_downloads.store import cache_entries


def claimed(download: Download) -> store.Attempt:
    """Claim a download, and return the attempt."""
    attempt = store.claim(download.download_key)
    assert attempt is not None
    return attempt


def long_ago() -> datetime:
    """Return a time whose heartbeats count as stalled."""
    return timezone.now() - timedelta(hours=1)


def stall_all() -> None:
    """Make all downloads stalled: date back their heartbeats, and delete their cache entries."""
    for key in Download.objects.values_list("pk", flat=True):
        cache_entries.delete_entry(str(key))
    Download.objects.update(heard_at=long_ago())
