"""Permissions beyond ownership, which the site decides."""

from typing import Any

from async_downloads import settings
from async_downloads.models import Download
from async_downloads.utils.log import get_logger
from async_downloads.utils.site_functions import site_function
from async_downloads.utils.time_limits import raise_time_limit

__all__ = ["may_fetch", "may_fetch_of_others", "may_start"]

logger = get_logger(__name__)


def may_fetch(user: Any, download: Download) -> bool:
    """Return whether a user may fetch the file of a download at this moment.

    If ``ASYNC_DOWNLOADS_MAY_FETCH`` names a function, it decides: the user may have
    left a tenant, or lost a right, since the file was made. It is called last, for
    complete downloads that the user owns or, with the permission of staff, any; it can
    only refuse. If it raises, the file is refused.
    """
    return _site_permits("MAY_FETCH", user, download)


def may_start(user: Any, download: Download, *, passing: tuple[type[Exception], ...] = ()) -> bool:
    """Return whether a user may let a download be built again at this moment.

    If ``ASYNC_DOWNLOADS_MAY_START`` names a function, it decides, as for ``may_fetch``. It is
    called last, for downloads that the user owns or, with the permission of staff, any.

    Args:
        user: The user.
        download: The row.
        passing: Exceptions of the function that are not a refusal.

    Raises:
        Exception: One of ``passing``.
    """
    return _site_permits("MAY_START", user, download, passing)


def may_fetch_of_others(user: Any) -> bool:
    """Return whether a user may fetch the files of others: staff with the permission.

    A site's user model need not have staff, nor permissions.
    """
    if not getattr(user, "is_staff", False) or not hasattr(user, "has_perm"):
        return False
    return bool(user.has_perm(f"{Download._meta.app_label}.fetch_download"))


def _site_permits(
    setting: str, user: Any, download: Download, passing: tuple[type[Exception], ...] = ()
) -> bool:
    """Return whether the site's function permits it; True if there is none."""
    if not getattr(settings, setting):
        return True
    try:
        return bool(site_function(setting)(user, download))
    except passing:
        raise
    except Exception as error:
        raise_time_limit(error)
        logger.exception("Download %s is refused: ASYNC_DOWNLOADS_%s raised", download.pk, setting)
        return False
