"""Checks of the values and the names of this package's settings."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any, Final

from django.conf import settings as project_settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning

from async_downloads import permissions, settings
from async_downloads.executors import django_q_schedule

__all__ = ["check_may_fetch", "check_names", "check_settings"]

#: Settings that are numbers above 0, and whether they may be None as well.
NUMBERS: Final = {
    "TIMEOUT": True,
    "STALLED_AFTER": False,
    "MAX_ATTEMPTS": False,
    "IN_MEMORY_MAX_SIZE_BYTES": False,
    "MAX_ACTIVE": True,
    "MAX_BYTES": True,
    "MAX_ROWS": True,
    "DATABASE_WAIT": False,
}

#: Those of them that are integers.
INTEGERS: Final = {"MAX_ACTIVE", "MAX_BYTES", "MAX_ROWS"}

#: Those of them that may be 0 as well.
FROM_ZERO: Final = {"DATABASE_WAIT"}

#: Those of them that are seconds, and their maximum, which keeps dates representable.
SECONDS: Final = {"TIMEOUT", "STALLED_AFTER", "DATABASE_WAIT"}
MAX_SECONDS: Final = 100 * 365 * 24 * 60 * 60


def check_settings(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """E001 to E004 and E010: values that cannot work."""
    messages: list[CheckMessage] = [
        Error(f"ASYNC_DOWNLOADS_{name} is {getattr(settings, name)!r}.", hint=hint, id=check_id)
        for name, hint, check_id in _wrong_settings()
    ]
    wrong = django_q_schedule.problem()
    if wrong is not None:
        messages.append(Error(wrong[0], hint=wrong[1], id="async_downloads.E010"))
    return messages


def _wrong_settings() -> Iterator[tuple[str, str, str]]:
    if not _makes_distinct_keys(settings.COLLECTION_KEY_FORMAT):
        hint = 'It must be text with a "{}" for the owner, such as "async_downloads/{}".'
        yield "COLLECTION_KEY_FORMAT", hint, "async_downloads.E001"
    if settings.CACHE_NAME and settings.CACHE_NAME not in project_settings.CACHES:
        hint = f"It must be one of the aliases in CACHES: {', '.join(project_settings.CACHES)}."
        yield "CACHE_NAME", hint, "async_downloads.E002"
    for name, may_be_none in NUMBERS.items():
        value = getattr(settings, name)
        integer = name in INTEGERS
        minimum = "0 or above" if name in FROM_ZERO else "above 0"
        if not (may_be_none and value is None) and not _is_enough(name, value, integer=integer):
            hint = f"It must be a{'n integer' if integer else ' number'}{minimum}."
            yield name, hint, "async_downloads.E003"
        elif name in SECONDS and value is not None and value > MAX_SECONDS:
            hint = f"It must be at most {MAX_SECONDS} seconds, a hundred years."
            if may_be_none:
                hint += " None means no limit."
            yield name, hint, "async_downloads.E003"
    prefix = settings.PATH_PREFIX
    if not isinstance(prefix, str) or prefix.startswith("/") or ".." in prefix.split("/"):
        hint = 'It must be a folder inside the storage, such as "downloads".'
        yield "PATH_PREFIX", hint, "async_downloads.E004"


def _makes_distinct_keys(key_format: object) -> bool:
    try:
        return isinstance(key_format, str) and key_format.format("a") != key_format.format("b")
    except (AttributeError, LookupError, TypeError, ValueError):
        return False


def _is_enough(name: str, value: object, *, integer: bool) -> bool:
    if isinstance(value, bool) or (integer and not isinstance(value, int)):
        return False
    return isinstance(value, (int, float)) and (value > 0 or (value == 0 and name in FROM_ZERO))


def check_names(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """W009: an unknown setting, such as a misspelt one."""
    return [
        CheckWarning(
            f"The setting {name} does not exist, so its value has no effect.",
            hint=_nearest(name),
            id="async_downloads.W009",
        )
        for name in settings.unknown_names()
    ]


def _nearest(name: str) -> str:
    known = settings.known_names()
    near = get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]}?" if near else f"The settings are: {', '.join(known)}."


def check_may_fetch(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """E006: a ``MAY_FETCH`` that cannot be imported or called."""
    if not settings.MAY_FETCH:
        return []
    try:
        permissions.site_function()
    except Exception as error:  # noqa: BLE001 (an import runs the site's own code)
        return [
            Error(
                f"ASYNC_DOWNLOADS_MAY_FETCH is {settings.MAY_FETCH!r}: {error}",
                hint="It must be the dotted path of a function that takes a user and a download, "
                'such as "shop.rights.may_fetch". Until it is, every file is refused.',
                id="async_downloads.E006",
            )
        ]
    return []
