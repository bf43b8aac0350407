"""Permissions beyond ownership, which the site decides."""

from collections.abc import Callable
from typing import Any

from django.utils.module_loading import import_string

from async_downloads import settings
from async_downloads.models import Download
from async_downloads.utils.log import get_logger

__all__ = ["may_fetch", "may_fetch_of_others", "site_function"]

logger = get_logger(__name__)


def may_fetch(user: Any, download: Download) -> bool:
    """Return whether a user may fetch the file of a download at this moment.

    If ``ASYNC_DOWNLOADS_MAY_FETCH`` names a function, it decides: the user may have
    left a tenant, or lost a right, since the file was made. It is called last, for
    complete downloads that the user owns or, with the permission of staff, any; it can
    only refuse. If it raises, the file is refused.
    """
    if not settings.MAY_FETCH:
        return True
    try:
        return bool(site_function()(user, download))
    except Exception:
        logger.exception("Download %s is refused: ASYNC_DOWNLOADS_MAY_FETCH raised", download.pk)
        return False


def may_fetch_of_others(user: Any) -> bool:
    """Return whether a user may fetch the files of others: staff with the permission.

    A site's user model need not have staff, nor permissions.
    """
    if not getattr(user, "is_staff", False) or not hasattr(user, "has_perm"):
        return False
    return bool(user.has_perm(f"{Download._meta.app_label}.fetch_download"))


def site_function() -> Callable[[Any, Download], object]:
    """Return the function that ``ASYNC_DOWNLOADS_MAY_FETCH`` names.

    Raises:
        ImportError: The path cannot be imported.
        TypeError: The object at this path is not callable.
    """
    function = import_string(settings.MAY_FETCH)
    if not callable(function):
        raise TypeError(f"{settings.MAY_FETCH} is not callable.")
    result: Callable[[Any, Download], object] = function
    return result
