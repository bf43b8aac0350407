"""The exceptions of this package."""

__all__ = [
    "DownloadBusy",
    "DownloadCancelled",
    "DownloadError",
    "DownloadUnavailable",
    "TooManyDownloadsError",
]


class DownloadError(Exception):
    """A failure whose message is meant for the owner of the download.

    The owner does not see the text of any other exception, only staff and the log,
    because it may hold table names, hosts or credentials. Raise this one from a task,
    or pass it to ``cache.set_error``, to show the owner a message.
    """


class TooManyDownloadsError(DownloadError):
    """A refused download, because its owner has too many in progress.

    ``init_download`` raises it if ``ASYNC_DOWNLOADS_MAX_ACTIVE`` is reached, before it
    writes anything. The message is meant for the owner.
    """


class DownloadCancelled(Exception):  # noqa: N818 (a requested outcome, not an error)
    """The end of an attempt that has nothing left to do.

    The owner cleared the download, staff purged it, or a newer attempt took it
    over. The partial file of this attempt is already removed.
    """


class DownloadBusy(Exception):  # noqa: N818 (a matter of time, not an error)
    """Another attempt at the same download is alive, so that this one stops.

    The second delivery of a task raises it, and does not return, because a queue keeps
    a task that fails: if the other attempt dies, the queue delivers the task again, and
    it takes over.
    """


class DownloadUnavailable(Exception):  # noqa: N818 (a matter of time, not an error)
    """The database was away for too long to record the outcome of a download.

    The attempt waited for ``ASYNC_DOWNLOADS_DATABASE_WAIT`` seconds. A queue that
    retries such a task loses nothing: the next attempt takes over.
    """
