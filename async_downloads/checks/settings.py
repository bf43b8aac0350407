"""Checks of the values and the names of this package's settings."""

from collections.abc import Iterator
from difflib import get_close_matches
from itertools import chain
from typing import Any, Final

from django.conf import settings as project_settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.utils.functional import Promise

from async_downloads import settings
from async_downloads.checks.cache import names_a_cache
from async_downloads.executors import django_q_schedule
from async_downloads.models.lifetime import MAX_SECONDS
from async_downloads.utils.site_functions import site_function

__all__ = ["check_lifetimes", "check_names", "check_settings", "check_site_functions"]

#: Settings that are numbers above 0, and whether they may be None as well.
NUMBERS: Final = {
    "TIMEOUT": True,
    "MAX_LIFETIME": True,
    "STALLED_AFTER": False,
    "MAX_ATTEMPTS": False,
    "IN_MEMORY_MAX_SIZE_BYTES": False,
    "MAX_ACTIVE": True,
    "MAX_BYTES": True,
    "MAX_ROWS": True,
    "DATABASE_WAIT": False,
    "STUCK_AFTER": True,
    "JSON_LIMIT": False,
    "NOTIFY_AFTER": True,
}

#: Those of them that are integers.
INTEGERS: Final = {"MAX_ATTEMPTS", "MAX_ACTIVE", "MAX_BYTES", "MAX_ROWS", "JSON_LIMIT"}

#: Those of them that may be 0 as well.
FROM_ZERO: Final = {"DATABASE_WAIT"}

#: Those of them that are seconds, and their maximum, which keeps dates representable.
SECONDS: Final = {
    *("TIMEOUT", "MAX_LIFETIME", "STALLED_AFTER", "DATABASE_WAIT", "STUCK_AFTER"),
    "NOTIFY_AFTER",
}

#: Settings that are texts, and those that are on or off, without a check of their own.
TEXTS: Final = ("CSS_CLASS", "WS_CHANNEL_NAME")
SWITCHES: Final = ("ESCAPE_FORMULAS", "WS_MODE")

#: Settings that name a function of the site, with the check and what the site has to know.
SITE_FUNCTIONS: Final = {
    "MAY_FETCH": (
        "async_downloads.E006",
        "takes a user and a download, such as "
        '"shop.rights.may_fetch". Until it is, every file is refused.',
    ),
    "MAY_START": (
        "async_downloads.E013",
        "takes a user and a download, such as "
        '"shop.rights.may_start". Until it is, every further attempt is refused.',
    ),
    "AUDIT_ADDRESS": (
        "async_downloads.E020",
        'takes a request and returns a text, such as "async_downloads.audit.remote_network". '
        "Until it is, every file is refused.",
    ),
    "MEMBERS": (
        "async_downloads.E024",
        "takes a user and returns an iterable of teams, such as "
        '"shop.rights.teams_of". Until it is, there are no teams.',
    ),
}


def check_settings(**_: Any) -> Iterator[CheckMessage]:
    """E001 to E004, E010, E014 and E025: values that cannot work."""
    for name, hint, check_id in chain(_wrong_settings(), _wrong_types()):
        yield Error(
            f"ASYNC_DOWNLOADS_{name} is {getattr(settings, name)!r}.", hint=hint, id=check_id
        )
    for problem, check_id in (
        (django_q_schedule.cleanup_problem(), "async_downloads.E010"),
        (django_q_schedule.rescue_problem(), "async_downloads.E014"),
    ):
        if problem is not None:
            yield Error(*problem, id=check_id)


def _wrong_settings() -> Iterator[tuple[str, str, str]]:
    if not _makes_distinct_keys(settings.COLLECTION_KEY_FORMAT):
        hint = 'It must be text with a "{}" for the owner, such as "async_downloads/{}".'
        yield "COLLECTION_KEY_FORMAT", hint, "async_downloads.E001"
    if not names_a_cache(settings.CACHE_NAME):
        hint = f"It must be one of the aliases in CACHES: {', '.join(project_settings.CACHES)}."
        yield "CACHE_NAME", hint, "async_downloads.E002"
    for name, may_be_none in NUMBERS.items():
        value = getattr(settings, name)
        integer = name in INTEGERS
        minimum = "0 or above" if name in FROM_ZERO else "above 0"
        if not (may_be_none and value is None) and not _is_enough(name, value, integer=integer):
            hint = f"It must be a{'n integer' if integer else ' number'} {minimum}."
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


def _wrong_types() -> Iterator[tuple[str, str, str]]:
    for name in TEXTS:
        value = getattr(settings, name)
        may_be_none = not settings.DEFAULTS[name]
        if not isinstance(value, (str, Promise)) and not (may_be_none and value is None):
            yield name, "It must be text.", "async_downloads.E025"
    for name in SWITCHES:
        if not isinstance(getattr(settings, name), bool):
            yield name, "It must be True or False.", "async_downloads.E025"


def _makes_distinct_keys(key_format: object) -> bool:
    try:
        return isinstance(key_format, str) and key_format.format("a") != key_format.format("b")
    except (AttributeError, LookupError, TypeError, ValueError):
        return False


def _is_enough(name: str, value: object, *, integer: bool) -> bool:
    if isinstance(value, bool) or (integer and not isinstance(value, int)):
        return False
    return isinstance(value, (int, float)) and (value > 0 or (value == 0 and name in FROM_ZERO))


def check_lifetimes(**_: Any) -> Iterator[CheckMessage]:
    """W016: a ``MAX_LIFETIME`` that lets no owner keep a download for longer."""
    timeout: Any = settings.TIMEOUT
    limit: Any = settings.MAX_LIFETIME
    numbers = all(_is_enough("", value, integer=False) for value in (timeout, limit))
    if numbers and limit <= timeout:
        yield CheckWarning(
            f"ASYNC_DOWNLOADS_MAX_LIFETIME is {limit!r}, and ASYNC_DOWNLOADS_TIMEOUT is "
            f"{timeout!r}, so a download with this time-out cannot be kept for longer.",
            hint="Set MAX_LIFETIME above TIMEOUT. Both are seconds after the end of a download.",
            id="async_downloads.W016",
        )


def check_names(**_: Any) -> Iterator[CheckMessage]:
    """W009: an unknown setting, such as a misspelt one."""
    for name in settings.unknown_names():
        yield CheckWarning(
            f"The setting {name} does not exist, so its value has no effect.",
            hint=_nearest(name),
            id="async_downloads.W009",
        )


def _nearest(name: str) -> str:
    known = settings.known_names()
    near = get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]}?" if near else f"The settings are: {', '.join(known)}."


def check_site_functions(**_: Any) -> Iterator[CheckMessage]:
    """E006, E013, E020 and E024: a function of the site that cannot be imported or called."""
    for name, (check_id, function) in SITE_FUNCTIONS.items():
        path = getattr(settings, name)
        if not path:
            continue
        try:
            site_function(name)
        except Exception as error:  # noqa: BLE001 (an import runs the site's own code)
            yield Error(
                f"ASYNC_DOWNLOADS_{name} is {path!r}: {error}",
                hint=f"It must be the dotted path of a function that {function}",
                id=check_id,
            )
