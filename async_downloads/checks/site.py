"""Checks of what the pages of a site need: URLs, middleware, templates."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings as project_settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.template.loader import get_template
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string

from async_downloads import settings

__all__ = ["check_site"]


def check_site(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """W001, W002, W010, E011: URLs, processors, middleware or templates that the pages need."""
    found = (_without_urls(), _without_processors(), _without_user(), _without_template())
    return [message for message in found if message is not None]


def _without_urls() -> CheckMessage | None:
    if _urls_included():
        return None
    return CheckWarning(
        "The URLs of async_downloads are not included.",
        hint='Add path("async_downloads/", include("async_downloads.urls")) '
        "to the URLconf named by ROOT_URLCONF.",
        id="async_downloads.W001",
    )


def _urls_included() -> bool:
    if not getattr(project_settings, "ROOT_URLCONF", None):
        return False
    try:
        reverse("async_downloads:ajax_update")
    except NoReverseMatch:
        return False
    return True


def _without_processors() -> CheckMessage | None:
    needed = {
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
    }
    engines: list[dict[str, Any]] = project_settings.TEMPLATES
    found = {
        processor
        for engine in engines
        for processor in engine.get("OPTIONS", {}).get("context_processors", ())
    }
    if needed & found:
        return None
    return CheckWarning(
        "No template engine tells the download centre who looks at the page.",
        hint=f"Add {sorted(needed)[1]} to the context_processors in TEMPLATES.",
        id="async_downloads.W002",
    )


def _without_user() -> CheckMessage | None:
    if any(map(_sets_user, project_settings.MIDDLEWARE)):
        return None
    return CheckWarning(
        "No middleware tells the views of async_downloads who is signed in.",
        hint="Add django.contrib.sessions.middleware.SessionMiddleware and "
        "django.contrib.auth.middleware.AuthenticationMiddleware to MIDDLEWARE; or, if a "
        "middleware of yours sets request.user, silence this.",
        id="async_downloads.W010",
    )


def _sets_user(path: str) -> bool:
    """Return whether a middleware is Django's own, or made of it."""
    try:
        found = import_string(path)
    except ImportError:
        # Django says so itself with the first request.
        return False
    return isinstance(found, type) and issubclass(found, AuthenticationMiddleware)


def _without_template() -> CheckMessage | None:
    if not project_settings.TEMPLATES:
        # A worker may have settings of its own, and renders nothing.
        return None
    name = settings.DOWNLOAD_TEMPLATE
    try:
        get_template(name)
    except Exception as error:  # noqa: BLE001 (a loader may be the site's own)
        return Error(
            f"ASYNC_DOWNLOADS_DOWNLOAD_TEMPLATE is {name!r}, which cannot be rendered: "
            f"{type(error).__name__}: {error}",
            hint="It must name a template that one of the engines in TEMPLATES finds; ours are "
            "found by one with APP_DIRS.",
            id="async_downloads.E011",
        )
    return None
