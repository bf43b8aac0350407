"""Downloads as JSON: plain values, and the URLs of what can be done with them."""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from django.urls import reverse

from async_downloads import store
from async_downloads.api.schemas import DownloadData

__all__ = ["as_data"]

#: Stands for a download key in a URL that is made once for many downloads.
PLACEHOLDER: Final = str(uuid.UUID(int=0))


def as_data(downloads: Iterable[Any], *, user: str) -> list[DownloadData]:
    """Return downloads as JSON has them.

    Args:
        downloads: Rows as the store's listings return them for one reader.
        user: The name of the reader, who owns those that are no team's.
    """
    file, detail = (
        reverse(f"async_downloads:{name}", args=[PLACEHOLDER]) for name in ("download", "detail")
    )
    clear, retry, keep = (
        f"{reverse(f'async_downloads:{name}')}?download_key="
        for name in ("ajax_clear_download", "retry", "keep")
    )
    return [
        _one(download, user, file=file, detail=detail, clear=clear, retry=retry, keep=keep)
        for download in downloads
    ]


def _one(
    download: Any, user: str, *, file: str, detail: str, clear: str, retry: str, keep: str
) -> DownloadData:
    key, complete, can_retry = download.download_key, download.complete, download.can_retry
    can_keep, can_clear = download.can_keep, not (download.read_only or download.held)
    return {
        "download_key": key,
        "user": download.team.owner.name if download.team else user,
        "name": download.name,
        "timestamp": download.timestamp.isoformat(),
        "filepath": download.filepath,
        "url": file.replace(PLACEHOLDER, key) if complete else "",
        "state": download.state,
        "percentage": download.percentage,
        "complete": complete,
        "errors": download.errors,
        "css_class": download.css_class,
        "stamp": download.heard_at.isoformat(),
        "team": str(download.team or ""),
        "short_name": download.short_name,
        "filename": download.filename,
        "file_type": download.file_type,
        "in_progress": download.in_progress,
        "stalled": download.stalled,
        "failed": download.failed,
        "truncated": download.truncated,
        "status_text": download.status_text,
        "error_text": download.error_text,
        "size": download.size if complete else None,
        "rows_written": download.rows_written,
        "rows_expected": download.rows_expected,
        "rows_text": download.rows_text,
        "ahead": download.ahead,
        "ahead_text": download.ahead_text,
        "seconds_left": download.seconds_left,
        "time_left": download.time_left,
        "started_at": _iso(download.started_at),
        "finished_at": _iso(download.finished_at),
        "expires_at": _iso(None if download.unfinished or download.held else download.expires_at),
        "until_text": download.until_text,
        "held": download.held,
        "unseen": store.is_unseen(download),
        "fetch_count": download.fetch_count,
        "can_retry": can_retry,
        "detail_url": detail.replace(PLACEHOLDER, key),
        "can_clear": can_clear,
        "clear_url": clear + key if can_clear else "",
        "retry_url": retry + key if can_retry else "",
        "can_keep": can_keep,
        "keep_url": keep + key if can_keep else "",
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
