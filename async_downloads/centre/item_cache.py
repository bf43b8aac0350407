"""One item of the list as markup, remembered while nothing that it shows has changed.

Of the twenty items of a menu, the one that is in progress changes from poll to
poll. Rendering the others again is most of what such a poll would cost.
"""

import secrets
from pathlib import Path
from typing import Any, Final

from django.conf import settings as project_settings
from django.template.base import Template
from django.template.context import Context
from django.urls import get_script_prefix, get_urlconf
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.timezone import get_current_timezone_name
from django.utils.translation import get_language

from async_downloads.models import Download

__all__ = ["forget", "render_item"]

TEMPLATE: Final = "async_downloads/download.html"

#: Items that are remembered; a few kilobytes each.
MAX_REMEMBERED: Final = 2000

#: What stands in for the token of a form and for the page to come back to, which are
#: another in each answer. Nobody can have a download that is called so.
_TOKEN: Final = f"token-{secrets.token_hex(16)}"
_PAGE: Final = f"page-{secrets.token_hex(16)}"

#: Where our own template lies.
_OUR_PATH: Final = str(Path(__file__).parents[1] / "templates" / TEMPLATE)

_remembered: Final[dict[tuple[Any, ...], str]] = {}


def render_item(download: Download, context: Context) -> SafeString:
    """Render an item of the list by ``async_downloads/download.html``.

    A template of the site's own may show what we do not know of, so that only
    what our own one makes is remembered, and not while templates are worked on.

    Args:
        download: What to show.
        context: Of the list's template.
    """
    engine = context.template.engine if context.template else None
    if engine is None:
        raise RuntimeError("An item of the list is rendered by a template's tag only.")
    template = engine.get_template(TEMPLATE)
    token, page = context.get("csrf_token"), context.get("page") or ""
    if project_settings.DEBUG or not token or not _is_ours(template) or context.get("whole_page"):
        with context.push(download=download):
            return template.render(context)
    key = (
        *(*_shown(download), _instance(context)),
        *(bool(page), context.autoescape, context.use_tz, context.use_l10n),
    )
    markup = _remembered.get(key)
    if markup is None:
        with context.push(download=download, csrf_token=_TOKEN, page=page and _PAGE):
            markup = template.render(context)
        if len(_remembered) >= MAX_REMEMBERED:
            _remembered.clear()
        _remembered[key] = markup
    markup = markup.replace(_TOKEN, conditional_escape(str(token)))
    # All of it went through the template, which has escaped what people chose.
    return mark_safe(markup.replace(_PAGE, conditional_escape(page)))  # noqa: S308


def forget(**_: Any) -> None:
    """Forget everything: a setting was changed."""
    _remembered.clear()


def _shown(download: Download) -> tuple[Any, ...]:
    """Return everything that our own template makes an item of."""
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
    """Return which of several instances of an app the URLs on this page are of, as Django tells."""
    request: Any = getattr(context, "request", None)
    if hasattr(request, "current_app"):
        return request.current_app
    return getattr(getattr(request, "resolver_match", None), "namespace", None)


def _is_ours(template: Template) -> bool:
    return template.origin.name == _OUR_PATH
