"""What this package raises on purpose."""

__all__ = [
    "DownloadBusy",
    "DownloadCancelled",
    "DownloadError",
    "DownloadUnavailable",
    "TooManyDownloadsError",
]


class DownloadError(Exception):
    """A failure whose message is meant for the person who asked for the file.

    The text of any other exception is kept for staff and the log, because it
    may hold table names, hosts or credentials. Raise this one from a task, or
    hand it to ``cache.set_error``, to say something to the person.
    """


class TooManyDownloadsError(DownloadError):
    """A download that was not begun, because its owner has too many in progress.

    ``init_download`` raises it where ``ASYNC_DOWNLOADS_MAX_ACTIVE`` is set, before
    anything is written. Its message is meant for the person who asked.
    """


class DownloadCancelled(Exception):  # noqa: N818 (an outcome that was asked for, not an error)
    """The run that meets this has nothing left to do and should stop.

    The person cleared the download, staff purged it, or a newer run of the
    same download took over. What the run had written is already removed.
    """


class DownloadBusy(Exception):  # noqa: N818 (a matter of time, not an error)
    """Another run of the same download is alive, so that this one has nothing to do now.

    A queue that has delivered a task twice meets this from the second delivery.
    It is raised rather than swallowed because a queue keeps what has failed: should
    the other run die, the task is delivered again and takes over.
    """


class DownloadUnavailable(Exception):  # noqa: N818 (a matter of time, not an error)
    """The database was away for so long that how a download went could not be recorded.

    It was waited for as long as ``ASYNC_DOWNLOADS_DATABASE_WAIT`` allows. A queue that
    tries again what has raised this loses nothing: the next attempt takes over.
    """
