"""Fail unfinished downloads without a heartbeat for ``TIMEOUT``.

An unfinished download does not expire. It fails first, by the clean-up or when it is
read, and is then kept for ``TIMEOUT`` like any other failure. Its claim stays on the row,
so that an attempt which comes back, or a worker that starts this late, still finishes it.
"""

import uuid
from collections.abc import Iterable
from typing import Final

from django.db import connections, transaction
from django.db.models import Q
from django.utils.translation import gettext_noop

from async_downloads import settings
from async_downloads.models import Download, DownloadState
from async_downloads.store.transactions import (
    DatabaseFault,
    database,
    downloads,
    short_lock_timeout,
)
from async_downloads.store.write_through import write_through_all
from async_downloads.utils.log import get_logger

__all__ = ["GIVEN_UP", "STOPPED_RESPONDING", "fail_overdue", "skips_locked", "with_overdue_failed"]

logger = get_logger(__name__)

#: The owner reads this of an attempt without heartbeats.
STOPPED_RESPONDING: Final = gettext_noop("It stopped responding. Please request it again.")

#: The owner reads this after the last attempt.
GIVEN_UP: Final = gettext_noop(
    "Given up: it stopped responding each time. Please contact an administrator."
)

#: The reasons that the owner reads, by the step that is overdue.
REASONS: Final = (
    (
        Q(state=DownloadState.PENDING, started_at__isnull=True),
        gettext_noop("It was not started in time. Please request it again."),
    ),
    (
        Q(state=DownloadState.PENDING, started_at__isnull=False),
        gettext_noop("The task ended without a file. Please request it again."),
    ),
    (Q(state=DownloadState.RUNNING), STOPPED_RESPONDING),
)

#: The columns that a failure changes and that a page may show.
CHANGED: Final = ("state", "errors", "finished_at", "heard_at", "expires_at")


def fail_overdue(download_keys: Iterable[uuid.UUID]) -> int:
    """Fail those of some downloads that are overdue and not locked.

    Args:
        download_keys: Primary keys, as many as fit into one query.

    Returns:
        The number of downloads that this call failed.
    """
    detail = f"There was no heartbeat for ASYNC_DOWNLOADS_TIMEOUT ({settings.TIMEOUT} seconds)."
    with transaction.atomic(using=database()):
        rows = downloads().overdue().select_for_update(skip_locked=skips_locked())
        locked = dict(rows.filter(pk__in=download_keys).values_list("pk", "state"))
        overdue = downloads().overdue().filter(pk__in=list(locked))
        failed = sum(
            overdue.filter(condition).fail(reason, detail=f"{reason} {detail}")
            for condition, reason in REASONS
        )
        if failed:
            running = [pk for pk, state in locked.items() if state == DownloadState.RUNNING]
            write_through_all(list(locked), "failed", stalled=running)
    return failed


def with_overdue_failed(rows: list[Download]) -> list[Download]:
    """Fail those of some rows that are overdue, and return all rows with their new state.

    If the database is busy, they stay as they are, and are shown as stalled.

    Args:
        rows: Rows with their live percentages.
    """
    overdue = {row.pk: row for row in rows if row.overdue}
    if not overdue:
        return rows
    try:
        with short_lock_timeout():
            fail_overdue(overdue)
            for values in downloads().filter(pk__in=overdue).values("pk", *CHANGED):
                for name in CHANGED:
                    setattr(overdue[values["pk"]], name, values[name])
    except DatabaseFault:
        logger.warning("Overdue downloads could not be failed", exc_info=True)
    return rows


def skips_locked() -> bool:
    """Return whether a query can pass over rows that another transaction has locked."""
    return connections[database()].features.has_select_for_update_skip_locked
