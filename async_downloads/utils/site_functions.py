"""Import the functions of a site that settings name."""

import inspect
from collections.abc import Callable
from typing import Any

from django.utils.module_loading import import_string

from async_downloads import settings
from async_downloads.utils import coroutines

__all__ = ["site_function"]


def site_function(setting: str) -> Callable[..., Any]:
    """Return the function that a setting names. It may be a coroutine function.

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

    def call(*args: Any) -> Any:
        result = function(*args)
        # A coroutine is true, whatever it would return.
        return coroutines.run(lambda: result) if inspect.isawaitable(result) else result

    return call
