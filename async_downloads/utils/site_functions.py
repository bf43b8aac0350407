"""Import the functions of a site that settings name."""

from collections.abc import Callable
from typing import Any

from django.utils.module_loading import import_string

from async_downloads import settings

__all__ = ["site_function"]


def site_function(setting: str) -> Callable[..., Any]:
    """Return the function that a setting names.

    Args:
        setting: ``MAY_FETCH``, ``MAY_START``, ``MEMBERS`` or ``AUDIT_ADDRESS``.

    Raises:
        ImportError: The path cannot be imported.
        TypeError: The object at this path is not callable.
    """
    path = getattr(settings, setting)
    function = import_string(path)
    if not callable(function):
        raise TypeError(f"{path} is not callable.")
    result: Callable[..., Any] = function
    return result
