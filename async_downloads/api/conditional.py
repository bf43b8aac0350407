"""The parameters of a list, and the entity tags of what they select.

A tag has the version of the listing, which is compared with the version token in the cache;
and a digest of all that the same rows are shown by.
"""

import hashlib
import re
from typing import Any, Final, NamedTuple, Self

from django.http import HttpRequest, QueryDict
from django.utils.http import parse_etags
from django.utils.translation import get_language

from async_downloads import settings
from async_downloads.store import Version

__all__ = ["MAX_PAGE", "Parameters", "shown_version", "tag"]

#: The greatest number of a page: a database compares no number of any length.
MAX_PAGE: Final = 1_000_000

INTEGER: Final = re.compile(r"[0-9]{1,7}")

#: The texts of ``html`` and ``seen``.
SWITCH: Final = {"0": False, "1": True}


class Parameters(NamedTuple):
    """What of a list is requested, and how.

    Attributes:
        page: The number of the page, from 1.
        limit: The downloads of a page.
        html: Whether with markup.
        seen: Whether the person sees it, so that what is new is no longer new.
    """

    page: int
    limit: int
    html: bool
    seen: bool

    @classmethod
    def parse(cls, query: QueryDict) -> Self:
        """Return the parameters of a query.

        Raises:
            ValueError: One of them is invalid; the text names it, and what is accepted.
        """
        maximum = settings.JSON_LIMIT
        return cls(
            page=_integer(query, "page", 1, MAX_PAGE),
            limit=_integer(query, "limit", maximum, maximum),
            html=_switch(query, "html", "1"),
            seen=_switch(query, "seen", "0"),
        )

    @property
    def offset(self) -> int:
        """How many downloads are on the pages before this one."""
        return (self.page - 1) * self.limit


def tag(request: HttpRequest, version: Version, *selection: Any) -> str:
    """Return the entity tag of a response.

    It is weak: the time that is left, and the last heartbeat, change without it.

    Args:
        request: The request.
        version: The version of the listing.
        *selection: What of the downloads is in the response.
    """
    return f'W/"{version}.{_variant(request, selection)}"'


def shown_version(request: HttpRequest, *selection: Any) -> Version | None:
    """Return the version that a client has of the same response; None if it has none.

    Args:
        request: The request, perhaps with ``If-None-Match``.
        *selection: As for ``tag``.
    """
    variant = _variant(request, selection)
    for etag in parse_etags(request.headers.get("If-None-Match", "")):
        version, _, end = etag.removeprefix("W/").strip('"').rpartition(".")
        if end == variant:
            return Version.parse(version)
    return None


def _variant(request: HttpRequest, selection: tuple[Any, ...]) -> str:
    """Return a digest of what a response depends on besides the rows."""
    parts = (request.path, str(request.user.pk), get_language(), *map(str, selection))
    return hashlib.blake2b(repr(parts).encode(), digest_size=6).hexdigest()


def _switch(query: QueryDict, name: str, default: str) -> bool:
    value = SWITCH.get(query.get(name, default))
    if value is None:
        raise ValueError(f"{name} must be 0 or 1.")
    return value


def _integer(query: QueryDict, name: str, default: int, maximum: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    value = int(text) if INTEGER.fullmatch(text) else 0
    if not 1 <= value <= maximum:
        raise ValueError(f"{name} must be an integer from 1 to {maximum}.")
    return value
