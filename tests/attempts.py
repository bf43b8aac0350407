"""What tests of claims and runs share."""

from datetime import datetime, timedelta

from django.utils import timezone

from async_downloads import store
from async_downloads.models import Download
from async_downloads.store import cache_entries


def claimed(download: Download) -> store.Attempt:
    """Return a run that has just claimed a download."""
    run = store.claim(download.download_key)
    assert run is not None
    return run


def long_ago() -> datetime:
    """Return a time at which anything heard of has stalled since."""
    return timezone.now() - timedelta(hours=1)


def stall_all() -> None:
    """Let it be long ago that anything was heard of any download, by row or by entry."""
    for key in Download.objects.values_list("pk", flat=True):
        cache_entries.delete_entry(str(key))
    Download.objects.update(heard_at=long_ago())
