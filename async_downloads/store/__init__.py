"""Read and change downloads: the row first, then the cache, then the signals.

| Modules | Purpose |
| --- | --- |
| ``creation``, ``bulk_creation``, ``collections``, ``active_limit`` | create downloads |
| ``claiming``, ``updates`` | claim a download, report on it |
| ``attempt``, ``output_file``, ``estimate`` | one attempt at building the file |
| ``heartbeats`` | a thread for attempts whose own threads are silent |
| ``listing``, ``summary``, ``live_progress``, ``queue_position`` | what the owner sees |
| ``fetches``, ``ledger``, ``keeping`` | files handed out, recorded, and kept for longer |
| ``mails`` | mails about the end of a download |
| ``team_downloads`` | what members of a team see, and what they may do |
| ``raw_rows`` | the rows of polls, by statements of SQL |
| ``admin_operations``, ``bulk_delete`` | changes by staff |
| ``statistics`` | numbers for staff and operators |
| ``rescue`` | another attempt after a failure or a stall |
| ``overdue``, ``removal``, ``cleanup``, ``orphans`` | fail, clear, expire, delete |
| ``transactions``, ``outages`` | the connection of a write, when it counts, and retries |
| ``jobs`` | one process at a time |
| ``write_through``, ``cache_entries``, ``redis_clients`` | make a change visible |
"""

from async_downloads.store.admin_operations import (
    cancel,
    end_hold,
    extend_expiry,
    hold,
    mark_failed,
    run_again,
)
from async_downloads.store.attempt import Attempt, current_attempt
from async_downloads.store.bulk_creation import Creation, create_all
from async_downloads.store.bulk_delete import (
    SELECTABLE,
    Selection,
    Survey,
    collections_of,
    remove_selected,
    survey,
)
from async_downloads.store.cache_entries import get_versions, joint_version
from async_downloads.store.claiming import claim, join, saving
from async_downloads.store.cleanup import Cleanup, clean_up, clean_up_alone, count_held
from async_downloads.store.creation import (
    RequestedFile,
    create,
    join_or_create,
    requested_names,
)
from async_downloads.store.fetches import record_fetch, record_missing_file
from async_downloads.store.keeping import keep
from async_downloads.store.ledger import (
    age_out_ledger,
    was_handed_out_lately,
    write_fetch_record,
)
from async_downloads.store.listing import (
    Listing,
    PageListing,
    Version,
    as_shown,
    attachment_of,
    get_for_staff,
    get_for_user,
    is_unseen,
    read_changes,
    read_listing,
    read_one_change,
    read_page_changes,
)
from async_downloads.store.mails import claim_mail, read_due_mails, settle_mail
from async_downloads.store.orphans import remove_orphans
from async_downloads.store.removal import (
    HeldError,
    clear,
    clear_finished,
    clear_of_teams,
    collections_by_key,
    discard,
    purge,
)
from async_downloads.store.rescue import Rescue, rescue_alone, retry
from async_downloads.store.statistics import (
    STALLED,
    Backlog,
    Status,
    Tolerance,
    Total,
    read_backlog,
    read_status,
    total_by_condition,
)
from async_downloads.store.summary import (
    Summary,
    mark_seen,
    read_newly_finished,
    read_summary,
    renew_summary,
)
from async_downloads.store.team_downloads import collection_keys, get_of_teams
from async_downloads.store.transactions import after_commit
from async_downloads.store.updates import record_call, set_error, set_errors, set_percentage

__all__ = [
    "SELECTABLE",
    "STALLED",
    "Attempt",
    "Backlog",
    "Cleanup",
    "Creation",
    "HeldError",
    "Listing",
    "PageListing",
    "RequestedFile",
    "Rescue",
    "Selection",
    "Status",
    "Summary",
    "Survey",
    "Tolerance",
    "Total",
    "Version",
    "after_commit",
    "age_out_ledger",
    "as_shown",
    "attachment_of",
    "cancel",
    "claim",
    "claim_mail",
    "clean_up",
    "clean_up_alone",
    "clear",
    "clear_finished",
    "clear_of_teams",
    "collection_keys",
    "collections_by_key",
    "collections_of",
    "count_held",
    "create",
    "create_all",
    "current_attempt",
    "discard",
    "end_hold",
    "extend_expiry",
    "get_for_staff",
    "get_for_user",
    "get_of_teams",
    "get_versions",
    "hold",
    "is_unseen",
    "join",
    "join_or_create",
    "joint_version",
    "keep",
    "mark_failed",
    "mark_seen",
    "purge",
    "read_backlog",
    "read_changes",
    "read_due_mails",
    "read_listing",
    "read_newly_finished",
    "read_one_change",
    "read_page_changes",
    "read_status",
    "read_summary",
    "record_call",
    "record_fetch",
    "record_missing_file",
    "remove_orphans",
    "remove_selected",
    "renew_summary",
    "requested_names",
    "rescue_alone",
    "retry",
    "run_again",
    "saving",
    "set_error",
    "set_errors",
    "set_percentage",
    "settle_mail",
    "survey",
    "total_by_condition",
    "was_handed_out_lately",
    "write_fetch_record",
]
