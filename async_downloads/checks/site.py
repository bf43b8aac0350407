"""Checks of the URLs, middleware and templates that the pages need."""

from collections.abc import Iterator
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


def check_site(**_: Any) -> Iterator[CheckMessage]:
    """W001, W002, W010, E011: missing URLs, context processors, middleware or templates."""
    yield from _without_urls()
    yield from _without_processors()
    yield from _without_user()
    yield from _without_template()


def _without_urls() -> Iterator[CheckMessage]:
    if not _urls_included():
        yield CheckWarning(
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


def _without_processors() -> Iterator[CheckMessage]:
    needed = {
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
    }
    engines: list[dict[str, Any]] = project_settings.TEMPLATES
    configured = {
        processor
        for engine in engines
        for processor in engine.get("OPTIONS", {}).get("context_processors", ())
    }
    if not needed & configured:
        yield CheckWarning(
            "No template engine has the context processor with the user of the page.",
            hint=f"Add {sorted(needed)[1]} to the context_processors in TEMPLATES.",
            id="async_downloads.W002",
        )


def _without_user() -> Iterator[CheckMessage]:
    if not any(map(_sets_user, project_settings.MIDDLEWARE)):
        yield CheckWarning(
            "No middleware sets request.user, which the views of async_downloads need.",
            hint="Add django.contrib.sessions.middleware.SessionMiddleware and "
            "django.contrib.auth.middleware.AuthenticationMiddleware to MIDDLEWARE; or, if "
            "another middleware sets request.user, silence this check.",
            id="async_downloads.W010",
        )


def _sets_user(path: str) -> bool:
    """Return whether a middleware is Django's or a subclass of it."""
    try:
        middleware = import_string(path)
    except ImportError:
        # Django reports it with the first request.
        return False
    return isinstance(middleware, type) and issubclass(middleware, AuthenticationMiddleware)


def _without_template() -> Iterator[CheckMessage]:
    if not project_settings.TEMPLATES:
        # The settings of a worker may have no templates.
        return
    name = settings.DOWNLOAD_TEMPLATE
    try:
        get_template(name)
    except Exception as error:  # noqa: BLE001 (a loader may be the site's own)
        yield Error(
            f"ASYNC_DOWNLOADS_DOWNLOAD_TEMPLATE is {name!r}, which cannot be rendered: "
            f"{type(error).__name__}: {error}",
            hint="It must name a template that an engine in TEMPLATES finds. One with APP_DIRS "
            "finds those of the package.",
            id="async_downloads.E011",
        )
