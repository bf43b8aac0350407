"""Rendered items of the list, kept until something that they show changes.

From poll to poll, only the items in progress change. Rendering the others again
would be most of the cost of such a poll.
"""

import secrets
from pathlib import Path
from typing import Any, Final

from django.conf import settings as project_settings
from django.template.context import Context
from django.urls import get_script_prefix, get_urlconf
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.timezone import get_current_timezone_name
from django.utils.translation import get_language

from async_downloads.models import Download

__all__ = ["forget", "render_item"]

TEMPLATE: Final = "async_downloads/download.html"

#: Items to keep; a few kilobytes each.
MAX_ITEMS: Final = 2000

#: Placeholders for the CSRF token and the page to return to, which differ in each
#: response. They are random, so that no download can have such a name.
_TOKEN: Final = f"token-{secrets.token_hex(16)}"
_PAGE: Final = f"page-{secrets.token_hex(16)}"

#: The path of the package's template.
_PACKAGE_PATH: Final = str(Path(__file__).parents[1] / "templates" / TEMPLATE)

_items: Final[dict[tuple[Any, ...], str]] = {}


def render_item(download: Download, context: Context) -> SafeString:
    """Render an item of the list by ``async_downloads/download.html``.

    A site's own template may show anything, so only items of the package's template
    are kept, and none while ``DEBUG`` is on.

    Args:
        download: The download.
        context: The context of the list's template.
    """
    engine = context.template.engine if context.template else None
    if engine is None:
        raise RuntimeError("Render an item of the list by the tag download_item in a template.")
    template = engine.get_template(TEMPLATE)
    token, page = context.get("csrf_token"), context.get("page") or ""
    if (
        project_settings.DEBUG
        or not token
        or template.origin.name != _PACKAGE_PATH
        or context.get("whole_page")
    ):
        with context.push(download=download):
            return template.render(context)
    key = (
        *(*_shown(download), _instance(context)),
        *(bool(page), context.autoescape, context.use_tz, context.use_l10n),
    )
    markup = _items.get(key)
    if markup is None:
        with context.push(download=download, csrf_token=_TOKEN, page=page and _PAGE):
            markup = template.render(context)
        if len(_items) >= MAX_ITEMS:
            _items.clear()
        _items[key] = markup
    markup = markup.replace(_TOKEN, conditional_escape(str(token)))
    # The template has escaped every text of a person.
    return mark_safe(markup.replace(_PAGE, conditional_escape(page)))  # noqa: S308


def forget(**_: Any) -> None:
    """Drop all items, after a setting changed."""
    _items.clear()


def _shown(download: Download) -> tuple[Any, ...]:
    """Return every value on which the package's template depends."""
    return (
        download.pk,
        download.name,
        download.filepath,
        download.timestamp,
        download.state,
        download.stalled,
        download.started_at is None,
        download.percentage,
        download.size,
        download.rows_written,
        download.rows_expected,
        download.errors,
        download.css_class,
        get_language(),
        get_current_timezone_name(),
        get_script_prefix(),
        get_urlconf(),
    )


def _instance(context: Context) -> object:
    """Return the application instance of the URLs on this page, as Django's ``url`` tag does."""
    request: Any = getattr(context, "request", None)
    if hasattr(request, "current_app"):
        return request.current_app
    return getattr(getattr(request, "resolver_match", None), "namespace", None)
