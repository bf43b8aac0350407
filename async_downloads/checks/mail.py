"""Checks of what mails need, if ``ASYNC_DOWNLOADS_NOTIFY_AFTER`` is set."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import django
from django.apps import apps
from django.conf import settings as project_settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import FieldDoesNotExist
from django.template.loader import get_template

from async_downloads import mail, settings
from async_downloads.store.mails import PAUSE_SECONDS

__all__ = ["check_mails"]


def check_mails(**_: Any) -> Iterator[CheckMessage]:
    """E016 to E018, W017 and W018: no address of the site, no templates, time-out or field."""
    if settings.SITE_URL and not _is_origin(settings.SITE_URL):
        yield Error(
            f"ASYNC_DOWNLOADS_SITE_URL is {settings.SITE_URL!r}.",
            hint="It must be the address of the site with its scheme, without a query, such as "
            '"https://shop.example.org".',
            id="async_downloads.E017",
        )
    if settings.NOTIFY_AFTER is not None:
        yield from _without_origin()
        yield from _without_templates()
        yield from _without_timeout()
        yield from _without_field()


def _is_origin(url: object) -> bool:
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        return bool(
            parts
            and parts.scheme in {"http", "https"}
            and parts.hostname
            and not (parts.query or parts.fragment or parts.username)
        )
    except ValueError:
        return False


def _without_origin() -> Iterator[CheckMessage]:
    has_sites = apps.is_installed("django.contrib.sites")
    if settings.SITE_URL or (has_sites and getattr(project_settings, "SITE_ID", None)):
        return
    yield Error(
        "ASYNC_DOWNLOADS_NOTIFY_AFTER is set, but the address of the site is not known, so no "
        "mail is sent.",
        hint='Set ASYNC_DOWNLOADS_SITE_URL, such as "https://shop.example.org", or SITE_ID if the '
        "site uses django.contrib.sites.",
        id="async_downloads.E016",
    )


def _without_templates() -> Iterator[CheckMessage]:
    if not project_settings.TEMPLATES:
        # The settings of a worker may have no templates; then its mails fail, and the log says so.
        return
    for name in mail.TEMPLATES:
        try:
            get_template(name)
        except Exception as error:  # noqa: BLE001 (a loader may be the site's own)
            yield Error(
                f"The template {name} cannot be rendered: {type(error).__name__}: {error}",
                hint="An engine in TEMPLATES must find it. One with APP_DIRS finds that of the "
                "package.",
                id="async_downloads.E018",
            )


def _without_timeout() -> Iterator[CheckMessage]:
    backend, timeout = _mail_server()
    if backend.endswith("smtp.EmailBackend") and not (timeout and timeout < PAUSE_SECONDS):
        yield CheckWarning(
            f"The time-out of the mail server is {timeout!r}, so a server that does not answer "
            "blocks a worker for long.",
            hint=f"Set EMAIL_TIMEOUT, or from Django 6.1 on the option timeout in MAILERS, to less "
            f"than {PAUSE_SECONDS} seconds, such as 10.",
            id="async_downloads.W017",
        )


def _mail_server() -> tuple[str, float | None]:
    """Return the backend that sends mails, and its time-out."""
    mailers = getattr(project_settings, "MAILERS", None)
    if mailers and django.VERSION >= (6, 1):
        mailer = mailers.get("default", {})
        return mailer.get("BACKEND", ""), mailer.get("OPTIONS", {}).get("timeout")
    return project_settings.EMAIL_BACKEND, project_settings.EMAIL_TIMEOUT


def _without_field() -> Iterator[CheckMessage]:
    user_model = get_user_model()
    name = getattr(user_model, "get_email_field_name", lambda: "email")()
    try:
        user_model._meta.get_field(name)
    except FieldDoesNotExist:
        if not hasattr(user_model, name):
            yield CheckWarning(
                f"{user_model._meta.label} has no field {name!r}, so no mail is sent.",
                hint="Name the field with the address in EMAIL_FIELD of the user model, or leave "
                "out ASYNC_DOWNLOADS_NOTIFY_AFTER.",
                id="async_downloads.W018",
            )
