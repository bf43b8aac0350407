"""Rows first, then the cache, then everybody who wants to know.

``write_through`` holds that order. The other modules say what happens to a
download (``lifecycle``), how its file is built (``run``), what a person sees
(``listing``) and how it goes away (``removal``).
"""

from async_downloads.store.lifecycle import claim, create, set_error, set_percentage
from async_downloads.store.listing import (
    Listing,
    Version,
    get_for_user,
    read_changes,
    read_listing,
)
from async_downloads.store.removal import (
    Cleanup,
    clean_up,
    clear,
    collections_by_key,
    discard,
    purge,
)
from async_downloads.store.run import Run
from async_downloads.store.write_through import after_commit, entry_of

__all__ = [
    "Cleanup",
    "Listing",
    "Run",
    "Version",
    "after_commit",
    "claim",
    "clean_up",
    "clear",
    "collections_by_key",
    "create",
    "discard",
    "entry_of",
    "get_for_user",
    "purge",
    "read_changes",
    "read_listing",
    "set_error",
    "set_percentage",
]
