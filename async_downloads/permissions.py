"""What a site decides beyond ownership."""

from collections.abc import Callable
from typing import Any

from django.utils.module_loading import import_string

from async_downloads import settings
from async_downloads.models import Download
from async_downloads.utils.log import get_logger

__all__ = ["may_fetch", "may_fetch_of_others", "site_function"]

logger = get_logger(__name__)


def may_fetch(user: Any, download: Download) -> bool:
    """Return whether the owner of a download may fetch its file at this moment.

    ``ASYNC_DOWNLOADS_MAY_FETCH`` decides, where the site names a function: a
    tenant may have been left, or a right revoked, since the file was made. It is
    asked last, about complete downloads of the user's own or, of staff with the
    permission, anybody's, and can only refuse. Where it cannot answer, the answer is no.

    Args:
        user: Who asks.
        download: The row.
    """
    if not settings.MAY_FETCH:
        return True
    try:
        return bool(site_function()(user, download))
    except Exception:
        logger.exception("Nobody could tell who may fetch download %s; refused", download.pk)
        return False


def may_fetch_of_others(user: Any) -> bool:
    """Return whether a user may fetch files that are not theirs: staff with the permission.

    A site's user model need not have staff, nor permissions.
    """
    if not getattr(user, "is_staff", False) or not hasattr(user, "has_perm"):
        return False
    return bool(user.has_perm(f"{Download._meta.app_label}.fetch_download"))


def site_function() -> Callable[[Any, Download], object]:
    """Return the function that ``ASYNC_DOWNLOADS_MAY_FETCH`` names.

    Raises:
        ImportError: There is nothing by this path.
        TypeError: What is there cannot be called.
    """
    function = import_string(settings.MAY_FETCH)
    if not callable(function):
        raise TypeError(f"{settings.MAY_FETCH} cannot be called.")
    result: Callable[[Any, Download], object] = function
    return result
