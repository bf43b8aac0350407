"""Unfinished downloads without a heartbeat for ``TIMEOUT``: they fail, with a reason.

What is unfinished does not expire. It fails first, by the clean-up or by a read of it,
and is then kept for ``TIMEOUT`` like any other failure. Its claim stays on the row, so that a
run which comes back after all, or a worker that starts this late, still finishes it.
"""

import uuid
from collections.abc import Iterable
from typing import Final

from django.db import connections, transaction
from django.db.models import Q
from django.utils.translation import gettext_noop

from async_downloads import settings
from async_downloads.models import Download, DownloadState
from async_downloads.store.transactions import DatabaseFault, database, downloads, impatient
from async_downloads.store.write_through import write_through_all
from async_downloads.utils.log import get_logger

__all__ = ["SILENT", "fail_overdue", "settled", "skips_locked"]

logger = get_logger(__name__)

#: What the owner reads of a run that fell silent.
SILENT: Final = gettext_noop("The worker stopped responding. Please request it again.")

#: What the owner reads, by what has not happened in time.
REASONS: Final = (
    (
        Q(state=DownloadState.PENDING, started_at__isnull=True),
        gettext_noop("No worker has started it in time. Please request it again."),
    ),
    (
        Q(state=DownloadState.PENDING, started_at__isnull=False),
        gettext_noop("The task ended without making a file."),
    ),
    (Q(state=DownloadState.RUNNING), SILENT),
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
        locked = downloads().overdue().select_for_update(skip_locked=skips_locked())
        held = list(locked.filter(pk__in=download_keys).values_list("pk", flat=True))
        rows = downloads().overdue().filter(pk__in=held)
        failed = sum(
            rows.filter(condition).fail(reason, detail=f"{reason} {detail}")
            for condition, reason in REASONS
        )
        if failed:
            write_through_all(held, "failed")
    return failed


def settled(rows: list[Download]) -> list[Download]:
    """Fail those of some rows that are overdue, and return all of them as they are then.

    A database that is busy leaves them as they are: they are shown as stalled.

    Args:
        rows: As they are shown, with the live entries laid over them.
    """
    overdue = {row.pk: row for row in rows if row.overdue}
    if not overdue:
        return rows
    try:
        with impatient():
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
