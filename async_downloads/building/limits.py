"""How large a file may grow. Without a limit, nothing here is in the way of a row."""

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
    """A file in the making that takes no more than ``ASYNC_DOWNLOADS_MAX_BYTES``."""

    def __init__(self, *, max_size: int):
        """Open it.

        Args:
            max_size: Bytes that are held in memory before it goes to disk.
        """
        super().__init__(max_size=max_size)
        self._most: int | None = settings.MAX_BYTES

    def write(self, data: Any) -> int:
        """Append bytes.

        Raises:
            DownloadError: With them the file is larger than the limit.
        """
        if self._most is not None and self.tell() + len(data) > self._most:
            raise DownloadError(
                _("The file would exceed the limit of %(size)s. Please request less data.")
                % {"size": filesizeformat(self._most)}
            )
        return super().write(data)


def rows_within_limit(rows: Iterable[Row], *, header: bool = False) -> Iterable[Row]:
    """Return the rows, of which the one after ``ASYNC_DOWNLOADS_MAX_ROWS`` is an error.

    Args:
        rows: Those of one file.
        header: Whether it has one more.

    Raises:
        DownloadError: There is one more; raised by the iteration.
    """
    most: int | None = settings.MAX_ROWS
    if most is None:
        return rows
    iterator = iter(rows)
    # Both are written in C, so that a row costs no Python frame.
    return itertools.chain(itertools.islice(iterator, most - header), _no_more(iterator, most))


def _no_more(iterator: Iterator[Row], most: int) -> Iterator[Row]:
    for _row in iterator:
        raise DownloadError(
            ngettext(
                "The file would exceed the limit of %(count)s row. Please request fewer rows.",
                "The file would exceed the limit of %(count)s rows. Please request fewer rows.",
                most,
            )
            % {"count": most}
        )
    yield from ()
