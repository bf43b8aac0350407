"""The state of an owner's downloads in a few numbers, for the button of a closed menu.

Every page of a site shows them. With a shared cache they cost one read, as the process that changes
a download keeps them for all pages that poll. The query is written in SQL, as building it takes
Django twenty times as long as the database takes to answer.
"""

import hashlib
import uuid
from datetime import datetime
from functools import lru_cache
from math import inf
from typing import Any, Final, NamedTuple, Self, TypeGuard

from django.conf import settings as project_settings
from django.db import connections, transaction
from django.db.models import F, Q
from django.utils import timezone

from async_downloads import intervals
from async_downloads.models import Download, DownloadCollection
from async_downloads.owners import Owner
from async_downloads.store import cache_entries, raw_rows, team_downloads
from async_downloads.store.collections import get_or_create_collection
from async_downloads.store.listing import Listing, Rows, Version, as_shown, visible_downloads
from async_downloads.store.live_progress import with_live_progress
from async_downloads.store.queue_position import with_queue_positions
from async_downloads.store.raw_rows import IS_ACTIVE, IS_IN_PROGRESS, UNFINISHED_STATES
from async_downloads.store.team_downloads import with_teams
from async_downloads.store.transactions import (
    DatabaseFault,
    database,
    in_transaction,
    short_lock_timeout,
)
from async_downloads.utils.log import get_logger
from async_downloads.utils.memory import Memory
from async_downloads.utils.moments import parse_moment

__all__ = ["Summary", "mark_seen", "read_newly_finished", "read_summary", "renew_summary"]

logger = get_logger(__name__)

#: Unfinished downloads that are read, the newest; the others only count.
MAX_ROWS: Final = 20

#: How often in a row a writer keeps the summary. Then a reader has to: it may have gone.
MAX_RENEWED: Final = 20

#: What stands for the token in a version if there are no tokens.
UNSHARED: Final = "0"

#: How many there are, how many are unfinished, how many of those have not stalled and how many have
#: finished unseen; when the last one finished, and when the first one expires.
_COUNTS: Final = " ".join(
    f"""
    SELECT COUNT(*) AS total,
           COUNT(CASE WHEN d.state IN ({UNFINISHED_STATES}) THEN 1 END) AS unfinished,
           COUNT(CASE WHEN {IS_IN_PROGRESS} THEN 1 END) AS alive,
           COUNT(CASE WHEN d.state NOT IN ({UNFINISHED_STATES})
                       AND (c.seen_at IS NULL OR d.heard_at > c.seen_at) THEN 1 END) AS unseen,
           MAX(CASE WHEN d.state NOT IN ({UNFINISHED_STATES}) THEN d.heard_at END) AS newest,
           MIN(CASE WHEN d.state NOT IN ({UNFINISHED_STATES}) AND NOT d.held
                    THEN d.expires_at END) AS first_expiry
      FROM {Download._meta.db_table} d
      {{scope}} AND {IS_ACTIVE}
    """.split()  # noqa: S608 (no input)
)

#: The same, if there are no rows beside them: then it counts only if all have finished, so that it
#: need not ask of each whether it has.
_COUNTS_ALONE: Final = " ".join(
    f"""
    SELECT COUNT(*), COUNT(CASE WHEN d.state IN ({UNFINISHED_STATES}) THEN 1 END), 0,
           COUNT(CASE WHEN c.seen_at IS NULL OR d.heard_at > c.seen_at THEN 1 END),
           MAX(d.heard_at), MIN(CASE WHEN NOT d.held THEN d.expires_at END)
      FROM {Download._meta.db_table} d
      {{scope}} AND {IS_ACTIVE}
    """.split()  # noqa: S608 (no input)
)

#: The counts, beside each of the newest unfinished ones with the time and all columns that a list
#: shows. A union would be as fast, but MariaDB makes decimals of numbers beside NULL.
_COUNTS_AND_ROWS: Final = " ".join(
    f"""
    SELECT * FROM ({_COUNTS}) counts LEFT JOIN (
        SELECT {{now}} AS read_at, {{columns}}
          FROM {Download._meta.db_table} d
         WHERE d.collection_id IN ({{keys}}) AND d.state IN ({UNFINISHED_STATES})
         ORDER BY d.timestamp DESC, d.id DESC LIMIT {MAX_ROWS}
    ) newest ON 1 = 1
    ORDER BY newest.timestamp DESC, newest.id DESC
    """.split()  # noqa: S608 (no input)
)

#: The number of the columns of ``_COUNTS``.
_COUNTED: Final = 6

#: How many collections a process remembers.
MAX_COLLECTIONS: Final = 1000

#: The collections in which this process has found something unfinished lately: their rows are read
#: with the counts. For the others, SQLite takes three times as long for both as for the counts.
_with_unfinished: Final[Memory[uuid.UUID, None]] = Memory(MAX_COLLECTIONS)


class _Counts(NamedTuple):
    """How many downloads an owner has, and when the last one finished and the first one expires."""

    total: int
    unfinished: int
    alive: int
    unseen: int
    newest: datetime | None
    first_expiry: datetime | None


class Summary(NamedTuple):
    """The state of an owner's downloads, in plain values.

    Attributes:
        version: As ``Version`` prints it. Its digest changes with everything that a page shows
            of them, finished ones that change their looks aside.
        running: How many are in progress.
        stalled: Whether one has stalled.
        unseen: How many have finished or failed since the owner last looked.
        percentage: The mean progress of those in progress.
        polling_tier: The index of the polling interval.
        newest: When the last one finished or failed, on the clock of the database and as ISO 8601;
            empty if none has.
        recheck_after: Seconds for which it holds, if nothing is written meanwhile.
        changes_after: Seconds after which it changes though nothing is written; infinite if
            it does not.
    """

    version: str
    running: int
    stalled: bool
    unseen: int
    percentage: int
    polling_tier: int
    newest: str
    recheck_after: float
    changes_after: float

    @classmethod
    def of(cls, listing: Listing) -> Self:
        """Return the state of the downloads in a list that their owner sees."""
        changes_after = listing.changes_after
        return cls(
            version="",
            running=listing.running,
            stalled=listing.stalled,
            unseen=0,
            percentage=listing.percentage,
            polling_tier=listing.polling_tier,
            newest=listing.newest_text,
            recheck_after=listing.recheck_after,
            changes_after=inf if changes_after is None else changes_after,
        )

    @property
    def digest(self) -> str:
        """The part of the version that differs if the page shows something else."""
        return self.version.partition(".")[2]

    @property
    def in_progress(self) -> bool:
        """Whether one is in progress."""
        return self.running > 0


#: The types of what is kept: the token, how often in a row a writer has kept it, the summary.
_CACHED_TYPES: Final = (str, int, *Summary.__annotations__.values())


def read_summary(owner: Owner) -> Summary:
    """Return the state of the owner's downloads.

    It costs one read of the cache. If processes share no cache, and after a change that
    ``renew_summary`` has left to the next reader, it costs a query.
    """
    if not cache_entries.is_shared():
        return _read(owner, UNSHARED)
    # The token is taken before the rows, so that it can be too old but never too new.
    key = owner.collection_key
    known, kept = team_downloads.get_version_and_summary(owner)
    if known is not None and _is_cached_summary(kept) and kept[0] == known:
        return Summary(*kept[2:])
    token = known or cache_entries.new_version()
    summary = _read(owner, token)
    if known is None:
        cache_entries.add_version(key, token)
    holds = summary
    if in_transaction():
        # It may be of a snapshot from before the token, or of rows that are rolled back.
        limit = float(intervals.RECHECK)
        holds = summary._replace(
            recheck_after=min(summary.recheck_after, limit),
            changes_after=min(summary.changes_after, limit),
        )
    cache_entries.set_summary(key, (token, 0, *holds), holds.recheck_after)
    return summary


def renew_summary(owner: Owner) -> None:
    """Keep the state of the owner's downloads after a change, for all pages that poll.

    It costs nothing if processes share no cache. If no page has read the state lately, it costs
    one read of the cache. It does nothing inside a caller's transaction, which sees rows that
    others do not see yet, and nothing if a reader would do more than to read.

    Args:
        owner: The owner, without teams: the summary of one who has some is of another token, so it
            is left to the next reader.
    """
    if in_transaction():
        return
    key = owner.collection_key
    # As above, the token comes first. It is that of the change, or of a later one.
    known, kept = cache_entries.get_version_and_summary(key)
    if known is None or not _is_cached_summary(kept) or kept[0] == known or kept[1] >= MAX_RENEWED:
        return
    try:
        counts, rows = _read_rows(owner)
        others = _others_in_progress(counts, rows)
        shown = with_live_progress(rows)
    except DatabaseFault:
        logger.debug("The summary of %s was not renewed", key, exc_info=True)
        return
    if any(row.waiting or row.stalled for row in shown):
        return
    summary = _summarize(counts, others, len(rows), shown, known)
    cache_entries.set_summary(key, (known, kept[1] + 1, *summary), summary.recheck_after)


def read_newly_finished(
    owner: Owner, since: str | None, newest: str, *, limit: int
) -> list[Download]:
    """Return the newest downloads that have finished or failed and that the owner has not seen.

    Args:
        owner: The owner.
        since: The ``newest`` of the summary that a page shows; None if it does not say.
        newest: The same of the present summary.
        limit: How many to return.
    """
    if since is None or since == newest:
        return []
    unseen = Q(seen_at=None) | Q(seen_at__lt=F("heard_at"))
    rows = visible_downloads(owner).finished().filter(unseen)
    if since:
        moment = parse_moment(since)
        if moment is None:
            return []
        rows = rows.filter(heard_at__gt=moment)
    return with_teams(owner, list(rows.order_by("-heard_at")[:limit]))


def mark_seen(owner: Owner, listing: Listing) -> None:
    """Record that the owner sees a list. The pages of all their devices learn that.

    It costs nothing if there is nothing new in it. If the database is busy, the next list does it.
    """
    if listing.newest is None or not listing.unseen:
        return
    collection = DownloadCollection.objects.using(database()).filter(pk=owner.collection_id)
    try:
        with short_lock_timeout():
            changed = collection.mark_seen(listing.newest)
            if not changed and owner.teams:
                # A member may have no downloads of their own.
                with transaction.atomic(using=database()):
                    get_or_create_collection(owner)
                    changed = collection.mark_seen(listing.newest)
    except DatabaseFault:
        logger.warning("That a list was seen was not recorded", exc_info=True)
        return
    if changed:
        cache_entries.renew_version(owner.collection_key)


def _is_cached_summary(value: object) -> TypeGuard[tuple[Any, ...]]:
    """Return whether a value from the cache is a summary, behind its token and its turn."""
    return isinstance(value, tuple) and tuple(map(type, value)) == _CACHED_TYPES


def _read(owner: Owner, token: str) -> Summary:
    counts, rows = _read_rows(owner)
    others = _others_in_progress(counts, rows)
    shown = with_queue_positions(as_shown(with_teams(owner, rows))) if rows else rows
    return _summarize(counts, others, len(rows), shown, token)


def _others_in_progress(counts: _Counts, rows: list[Download]) -> int:
    """Return how many are in progress beside the rows that were read, as the database has them."""
    if counts.unfinished <= len(rows):
        return 0
    return max(0, counts.alive - sum(row.in_progress for row in rows))


def _summarize(
    counts: _Counts, others: int, read: int, shown: list[Download], token: str
) -> Summary:
    """Return the summary of rows that are shown.

    Args:
        counts: The counts.
        others: How many are in progress beside the rows that were read.
        read: How many rows were read. Those that their owner has cleared are not shown.
        shown: The others.
        token: The version token from before the rows were read.
    """
    total = counts.total - (read - len(shown))
    changes_after, holds = inf, float(intervals.SUMMARY)
    if shown or others:
        rows = Rows(shown, total, others)
        digest, *values = _shown_of(counts, rows)
        if shown:
            holds = float(rows.recheck_after)
            changes_after = inf if rows.changes_after is None else rows.changes_after
    else:
        digest, *values = _shown_of_finished(counts, total)
    if counts.first_expiry is not None:
        expires_after = (counts.first_expiry - timezone.now()).total_seconds()
        changes_after = min(changes_after, expires_after)
    version = str(Version(token, digest))
    return Summary._make((version, *values, min(holds, changes_after), changes_after))


def _shown_of(counts: _Counts, rows: Rows) -> tuple[Any, ...]:
    """Return a digest, and the values of a summary between its version and its times."""
    stamp = counts.newest.isoformat() if counts.newest else ""
    digest = hashlib.blake2b(f"{rows.digest()} {counts.unseen} {stamp}".encode(), digest_size=8)
    return (
        digest.hexdigest(),
        rows.running,
        any(row.stalled for row in rows.shown),
        counts.unseen,
        rows.percentage,
        rows.polling_tier,
        stamp,
    )


@lru_cache(maxsize=MAX_COLLECTIONS)
def _shown_of_finished(counts: _Counts, total: int) -> tuple[Any, ...]:
    """Return the same if nothing is in progress, which most pages show again and again."""
    return _shown_of(counts, Rows([], total))


def _read_rows(owner: Owner) -> tuple[_Counts, list[Download]]:
    """Return the counts, and the newest unfinished downloads."""
    key = owner.collection_id
    if key not in _with_unfinished:
        counts, _ = _execute(owner, _COUNTS_ALONE)
        if not counts.unfinished:
            return counts, []
        _with_unfinished[key] = None
    counts, downloads = _execute(owner, _COUNTS_AND_ROWS)
    if not counts.unfinished:
        _with_unfinished.pop(key, None)
    return counts, downloads


def _execute(owner: Owner, statement: str) -> tuple[_Counts, list[Download]]:
    """Return the counts, and the rows if the statement reads them, too.

    Args:
        owner: The owner.
        statement: One of the two above.
    """
    alias = database()
    connection = connections[alias]
    rows = raw_rows.execute(owner, statement, connection)
    counts = _counts_of(tuple(rows[0][:_COUNTED]), alias, project_settings.USE_TZ)
    if not counts.unfinished or statement is _COUNTS_ALONE:
        return counts, []
    values = [row[_COUNTED:] for row in rows]
    return counts, raw_rows.as_downloads(values, raw_rows.columns_of(alias), connection)


@lru_cache(maxsize=MAX_COLLECTIONS)
def _counts_of(values: tuple[Any, ...], alias: str, _use_tz: bool) -> _Counts:
    """Return the counts from the values that the database returns."""
    connection = connections[alias]
    moments = (raw_rows.moment_of(moment, connection) for moment in values[-2:])
    return _Counts._make((*values[:-2], *moments))
