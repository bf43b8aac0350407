"""Read and change downloads: the row first, then the cache, then the signals.

| Modules | Purpose |
| --- | --- |
| ``creation``, ``claiming``, ``updates`` | create, claim, report on a download |
| ``attempt``, ``output_file`` | one attempt at building the file |
| ``listing``, ``fetches`` | what the owner sees, and the files that are handed out |
| ``admin_operations``, ``bulk_delete`` | changes by staff |
| ``statistics`` | numbers for staff and operators |
| ``overdue``, ``removal``, ``cleanup``, ``orphans`` | fail, clear, expire, delete |
| ``transactions``, ``outages`` | the connection of a write, when it counts, and retries |
| ``write_through``, ``cache_entries`` | make a change visible |
"""

from async_downloads.store.admin_operations import cancel, extend_expiry, mark_failed
from async_downloads.store.attempt import Attempt, current_attempt
from async_downloads.store.bulk_delete import (
    SELECTABLE,
    Selection,
    Survey,
    collections_of,
    remove_selected,
    survey,
)
from async_downloads.store.claiming import claim, join, saving
from async_downloads.store.cleanup import Cleanup, clean_up, clean_up_alone
from async_downloads.store.creation import create
from async_downloads.store.fetches import record_fetch, record_missing_file
from async_downloads.store.listing import (
    Listing,
    PageListing,
    Version,
    as_shown,
    attachment_of,
    get_for_staff,
    get_for_user,
    read_changes,
    read_listing,
    read_page,
    read_page_changes,
)
from async_downloads.store.orphans import remove_orphans
from async_downloads.store.removal import clear, clear_finished, collections_by_key, discard, purge
from async_downloads.store.statistics import (
    STALLED,
    Status,
    Tolerance,
    Total,
    read_status,
    total_by_condition,
)
from async_downloads.store.transactions import after_commit
from async_downloads.store.updates import set_error, set_percentage
from async_downloads.store.write_through import cache_entry_of

__all__ = [
    "SELECTABLE",
    "STALLED",
    "Attempt",
    "Cleanup",
    "Listing",
    "PageListing",
    "Selection",
    "Status",
    "Survey",
    "Tolerance",
    "Total",
    "Version",
    "after_commit",
    "as_shown",
    "attachment_of",
    "cache_entry_of",
    "cancel",
    "claim",
    "clean_up",
    "clean_up_alone",
    "clear",
    "clear_finished",
    "collections_by_key",
    "collections_of",
    "create",
    "current_attempt",
    "discard",
    "extend_expiry",
    "get_for_staff",
    "get_for_user",
    "join",
    "mark_failed",
    "purge",
    "read_changes",
    "read_listing",
    "read_page",
    "read_page_changes",
    "read_status",
    "record_fetch",
    "record_missing_file",
    "remove_orphans",
    "remove_selected",
    "saving",
    "set_error",
    "set_percentage",
    "survey",
    "total_by_condition",
]
