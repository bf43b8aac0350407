"""Lay the progress in the cache over the rows, which is newer inside a caller's transaction."""

from collections.abc import Mapping

from async_downloads.models import Download
from async_downloads.store import cache_entries

__all__ = ["with_live_progress"]


def with_live_progress(
    rows: list[Download], early: Mapping[str, object] | None = None
) -> list[Download]:
    """Return rows with the percentages and heartbeats of their cache entries, if those are newer.

    It leaves out rows that were cleared and are yet to be deleted.

    Args:
        rows: The rows.
        early: What ``get_version_and_check`` has read of their entries, with their version token.
    """
    unfinished = {row.download_key: row for row in rows if row.unfinished}
    live, cleared = cache_entries.get_entries_and_marks(
        unfinished, [row.download_key for row in rows], early
    )
    for key, entry in live.items():
        row = unfinished[key]
        stamp = cache_entries.stamp_of(entry, now=row.database_time())
        if stamp is not None and stamp > row.heard_at:
            row.percentage = entry["percentage"]
            row.heard_at = stamp
            moved_at = cache_entries.moved_at_of(entry, now=row.database_time())
            row.moved_at = max(row.moved_at, moved_at or row.moved_at)
    return [row for row in rows if row.download_key not in cleared]
