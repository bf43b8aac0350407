"""The limits on the size of a file. Without a limit, rows pass unchanged."""

import itertools
from collections.abc import Iterable, Iterator
from tempfile import SpooledTemporaryFile
from typing import Any, TypeVar

from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from async_downloads import settings
from async_downloads.exceptions import DownloadError

__all__ = ["Spool", "rows_within_limit"]

Row = TypeVar("Row")


class Spool(SpooledTemporaryFile[bytes]):
    """A partial file that takes no more than ``ASYNC_DOWNLOADS_MAX_BYTES``."""

    def __init__(self, *, max_size: int):
        """Open the file.

        Args:
            max_size: Bytes that are held in memory before the file goes to disk.
        """
        super().__init__(max_size=max_size)
        self._limit: int | None = settings.MAX_BYTES

    def write(self, data: Any) -> int:
        """Append bytes.

        Raises:
            DownloadError: The file would become larger than the limit.
        """
        if self._limit is not None and self.tell() + len(data) > self._limit:
            raise DownloadError(
                _("The file would exceed the limit of %(size)s. Please request less data.")
                % {"size": filesizeformat(self._limit)}
            )
        return super().write(data)


def rows_within_limit(rows: Iterable[Row], *, header: bool = False) -> Iterable[Row]:
    """Return rows that raise an error after ``ASYNC_DOWNLOADS_MAX_ROWS``.

    Args:
        rows: The rows of one file.
        header: Whether the file has a header, which counts as a row here.

    Raises:
        DownloadError: There are too many rows; raised by the iteration.
    """
    limit: int | None = settings.MAX_ROWS
    if limit is None:
        return rows
    iterator = iter(rows)
    # Both are written in C, so that a row costs no Python frame.
    return itertools.chain(
        itertools.islice(iterator, limit - header), _refuse_more(iterator, limit)
    )


def _refuse_more(iterator: Iterator[Row], limit: int) -> Iterator[Row]:
    for _row in iterator:
        raise DownloadError(
            ngettext(
                "The file would exceed the limit of %(count)s row. Please request fewer rows.",
                "The file would exceed the limit of %(count)s rows. Please request fewer rows.",
                limit,
            )
            % {"count": limit}
        )
    yield from ()
