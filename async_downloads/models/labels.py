"""Say in words what the file of a download is: its name, its type, how many rows it has."""

from datetime import datetime, timedelta
from typing import Any, Final

from django.utils import numberformat
from django.utils.formats import get_format
from django.utils.translation import ngettext

from async_downloads.files.names import split_name

__all__ = ["file_type", "grouped", "rows_text", "short_name"]

#: Characters of a file type that fit into an item's tile.
MAX_TYPE_LENGTH: Final = 5


def grouped(number: int) -> str:
    """Return a number with the thousands separators of the reader's language."""
    # For some languages, such as Hebrew, Django knows the separator and not the size of a group.
    return numberformat.format(
        number,
        get_format("DECIMAL_SEPARATOR"),
        grouping=get_format("NUMBER_GROUPING") or 3,
        thousand_sep=get_format("THOUSAND_SEPARATOR"),
        force_grouping=True,
    )


def short_name(name: str, requested_at: datetime) -> str:
    """Return a name without the date of the request at its end, as a list shows that anyway.

    Args:
        name: The name, such as "Open orders 2026-01-31".
        requested_at: When the download was requested.
    """
    # The name has the date of the writer's time zone.
    for days in (0, 1, -1):
        shorter = name.removesuffix(f" {(requested_at + timedelta(days)).date()}").strip()
        if shorter and shorter != name.strip():
            return shorter
    return name


def file_type(filename: str) -> str:
    """Return the type of a file in short, such as "CSV"; empty if its name has none.

    Args:
        filename: The name of the file; ``orders.csv.gz`` is CSV.
    """
    extension = split_name(filename)[1].lstrip(".").partition(".")[0]
    return extension.upper() if 0 < len(extension) <= MAX_TYPE_LENGTH else ""


def rows_text(download: Any) -> str:
    """Return in words how many rows a download has; empty if something else says it better.

    Args:
        download: The row, whose class imports this module.
    """
    rows = download.rows_written
    if rows is None or download.failed or download.truncated:
        return ""
    if download.complete:
        text = ngettext("%(count)s row", "%(count)s rows", rows)
    elif download.percentage:
        return ""
    else:
        text = ngettext("%(count)s row so far", "%(count)s rows so far", rows)
    return text % {"count": grouped(rows)}
