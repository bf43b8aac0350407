"""The requested range of a file (RFC 9110, section 14)."""

import re
from typing import Final

from django.http import HttpRequest

__all__ = ["UnsatisfiableRangeError", "requested_range", "skips_the_beginning"]

#: One range of bytes. More than one may be answered with the whole file.
ONE_RANGE: Final = re.compile(r"bytes=[ \t]*(\d*)-(\d*)[ \t]*", re.ASCII | re.IGNORECASE)

#: Digits of the largest number to parse; a longer one is beyond the end of any file.
MAX_DIGITS: Final = 18


class UnsatisfiableRangeError(ValueError):
    """The file does not have the requested bytes."""


def requested_range(request: HttpRequest, *, size: int, etag: str) -> range | None:
    """Return the positions of the requested bytes; None for the whole file.

    Raises:
        UnsatisfiableRangeError: The file does not have these bytes.
    """
    match = ONE_RANGE.fullmatch(request.headers.get("Range", ""))
    # A date in If-Range never matches, as no response has Last-Modified.
    if request.method != "GET" or match is None or request.headers.get("If-Range", etag) != etag:
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if not first:
        positions = range(max(size - _number(last), 0), size)
    elif last and _number(last) < _number(first):
        return None
    else:
        positions = range(_number(first), min(_number(last) + 1, size) if last else size)
    if not positions:
        raise UnsatisfiableRangeError(request.headers["Range"])
    return positions


def skips_the_beginning(request: HttpRequest) -> bool:
    """Return whether a request is for one range without the first byte of the file.

    The size is not needed: a range that counts from the end may be the whole file, and
    so may the response to any other header.
    """
    match = ONE_RANGE.fullmatch(request.headers.get("Range", ""))
    return match is not None and _number(match[1] or "0") > 0


def _number(digits: str) -> int:
    return int(digits) if len(digits) <= MAX_DIGITS else 10**MAX_DIGITS
