"""The part of a file that a request asks for (RFC 9110, section 14)."""

import re
from typing import Final

from django.http import HttpRequest

__all__ = ["UnsatisfiableRangeError", "leaves_out_the_beginning", "wanted"]

#: One range of bytes. More than one may be answered with the whole file.
ONE_RANGE: Final = re.compile(r"bytes=[ \t]*(\d*)-(\d*)[ \t]*", re.ASCII | re.IGNORECASE)

#: Digits of the largest number that is read; a longer one lies behind the end of any file.
MAX_DIGITS: Final = 18


class UnsatisfiableRangeError(ValueError):
    """The request asks for bytes that the file does not have."""


def wanted(request: HttpRequest, *, size: int, etag: str) -> range | None:
    """Return the positions of the bytes that are asked for; None for the whole file.

    Args:
        request: The request.
        size: The bytes of the whole file.
        etag: Its strong entity tag.

    Raises:
        UnsatisfiableRangeError: There are no such bytes.
    """
    asked = ONE_RANGE.fullmatch(request.headers.get("Range", ""))
    # A date in If-Range is never right, because no Last-Modified is told.
    if request.method != "GET" or asked is None or request.headers.get("If-Range", etag) != etag:
        return None
    first, last = asked.groups()
    if not first and not last:
        return None
    if not first:
        found = range(max(size - _number(last), 0), size)
    elif last and _number(last) < _number(first):
        return None
    else:
        found = range(_number(first), min(_number(last) + 1, size) if last else size)
    if not found:
        raise UnsatisfiableRangeError(request.headers["Range"])
    return found


def leaves_out_the_beginning(request: HttpRequest) -> bool:
    """Return whether a request asks for one range, of which the first byte of the file is no part.

    For where the size is not known: what is counted from the end may be all of it. A
    header that asks for something else may be answered with the whole file.
    """
    asked = ONE_RANGE.fullmatch(request.headers.get("Range", ""))
    return asked is not None and _number(asked[1] or "0") > 0


def _number(digits: str) -> int:
    return int(digits) if len(digits) <= MAX_DIGITS else 10**MAX_DIGITS
