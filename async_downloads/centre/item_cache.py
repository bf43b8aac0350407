"""Rendered items of the list, kept until something that they show changes.

From poll to poll, only the items in progress change. Rendering the others again
would be most of the cost of such a poll.
"""

import os
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, Final

from django.conf import settings as project_settings
from django.http import HttpRequest
from django.template.backends.django import Template as BackendTemplate
from django.template.base import Template
from django.template.context import Context, make_context
from django.template.loader import get_template
from django.urls import get_script_prefix, get_urlconf
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString
from django.utils.timezone import get_current_timezone_name
from django.utils.translation import get_language

from async_downloads import settings
from async_downloads.models import Download
from async_downloads.utils.memory import Memory

__all__ = [
    "forget",
    "is_cacheable",
    "remembered",
    "remembered_with",
    "render_frame",
    "render_item",
    "render_items",
]

TEMPLATE: Final = "async_downloads/download.html"
LIST_TEMPLATE: Final = "async_downloads/downloads.html"

#: Begins what stands for a value in markup that is kept. No text of a person has it.
MARK: Final = secrets.token_hex(16)

#: Stands for the percentage of an item.
PERCENTAGE: Final = f"{MARK}-percentage"

#: Finds what stands for the value of a slot.
_MARKS: Final = re.compile(rf"{MARK}-(\w+)-")

#: The folder of the package's templates.
_FOLDER: Final = f"{Path(__file__).parents[1] / 'templates'}{os.sep}"

#: The markup, by all on which it depends; a few kilobytes each.
_items: Final[Memory[tuple[Any, ...], SafeString]] = Memory(2000)


def render_item(download: Download, context: Context) -> SafeString:
    """Render an item of the list by ``async_downloads/download.html``.

    A site's own template may show anything, so only items of the package's template
    are kept, and none while ``DEBUG`` is on.
    """
    engine = context.template.engine if context.template else None
    if engine is None:
        raise RuntimeError("Render an item of the list by the tag download_item in a template.")
    template = engine.get_template(TEMPLATE)
    if not is_cacheable(template.origin.name, TEMPLATE) or context.get("whole_page"):
        with context.push(download=download):
            return template.render(context)
    page = _page(getattr(context, "request", None))
    page += (context.autoescape, context.use_tz, context.use_l10n)
    return _render(download, page, lambda: (template, context))


def render_items(downloads: Iterable[Download], request: HttpRequest) -> SafeString | None:
    """Render the items of the list, with no template around them.

    Returns:
        The items; None if a template is not the package's, or ``DEBUG`` is on.
    """
    around, item = _own_template(LIST_TEMPLATE), _own_template(TEMPLATE)
    if around is None or item is None:
        return None
    engine, template = around.template.engine, item.template
    page = (*_page(request), engine.autoescape, None, None)
    with ExitStack() as stack:

        @cache
        def bound() -> tuple[Template, Context]:
            # Context processors are called only if an item is not kept.
            context: Any = make_context(None, request, autoescape=engine.autoescape)
            stack.enter_context(context.render_context.push_state(around.template))
            stack.enter_context(context.bind_template(around.template))
            return template, context

        return SafeString("".join(_render(download, page, bound) for download in downloads))


def render_frame(
    name: str, slots: Mapping[str, str], context: Mapping[str, Any], request: HttpRequest
) -> SafeString:
    """Render a template, of which most is the same from poll to poll.

    Args:
        name: An internal template of the package.
        slots: The variables that differ. The template may ask whether they are empty.
        context: Its other variables.
        request: The request, for the context processors.
    """
    template = _own_template(name)
    if template is None:
        return SafeString(get_template(name).render({**context, **slots}, request))

    def render(marks: Mapping[str, str | None]) -> SafeString:
        return SafeString(template.render({**context, **marks}, request))

    return remembered_with(slots, (name, *context.items(), *_page(request)), render)


def remembered_with(
    slots: Mapping[str, str | None],
    key: tuple[Any, ...],
    render: Callable[[dict[str, str | None]], SafeString],
) -> SafeString:
    """Return markup that was rendered before or is rendered now, with some values in it.

    Args:
        slots: The values by their names. The markup may depend on whether they are empty.
        key: All else on which the markup depends.
        render: Renders it with what stands for the values.
    """
    empty = [(name, value) for name, value in slots.items() if not value]

    def with_marks() -> SafeString:
        marks = {name: SafeString(f"{MARK}-{name}-") for name in slots}
        markup = render({**marks, **dict(empty)})
        return SafeString(_MARKS.sub(r"%(\1)s", markup.replace("%", "%%")))

    markup = remembered((*key, *empty), with_marks)
    # Nothing stands for an empty one.
    values = {name: conditional_escape(value or "") for name, value in slots.items()}
    return SafeString(markup % values)


def remembered(key: tuple[Any, ...], render: Callable[[], SafeString]) -> SafeString:
    """Return markup that was rendered before, or render it.

    Args:
        key: All on which the markup depends.
        render: Renders it.
    """
    markup = _items.get(key)
    if markup is None:
        markup = render()
        _items[key] = markup
    return markup


def is_cacheable(path: str, name: str) -> bool:
    """Return whether a file is the package's template of this name, and is not reloaded."""
    return not project_settings.DEBUG and path == f"{_FOLDER}{name}"


def forget(**_: Any) -> None:
    """Drop all items, after a setting changed."""
    _items.clear()
    _own_template.cache_clear()


@cache
def _own_template(name: str) -> BackendTemplate | None:
    """Return the package's template of this name; None if the site's is another one."""
    template = get_template(name)
    if not isinstance(template, BackendTemplate):
        return None
    return template if is_cacheable(template.template.origin.name, name) else None


def _render(
    download: Download, page: tuple[Any, ...], bound: Callable[[], tuple[Template, Context]]
) -> SafeString:
    """Render an item, unless it is kept.

    Args:
        download: The download.
        page: All else on which the item depends.
        bound: Returns the template and the context.
    """

    def render() -> SafeString:
        template, context = bound()
        with context.push(download=download):
            return template.render(context)

    shown = _shown(download)
    percentage = download.percentage
    if not (download.unfinished and percentage):
        return remembered((*shown, download.heard_at, percentage, page), render)
    # Nothing else changes from poll to poll.
    download.percentage = PERCENTAGE
    try:
        markup = remembered((*shown, page), render)
    finally:
        download.percentage = percentage
    return SafeString(markup.replace(PERCENTAGE, str(percentage)))


def _shown(download: Download) -> tuple[Any, ...]:
    """Return every value on which the package's template depends, but for the percentage.

    For one that is complete or has failed, those that no write changes without a heartbeat, which
    comes with them.
    """
    until_text = download.menu_until_text
    return (
        download.pk,
        download.name,
        download.filename,
        download.filepath,
        download.state,
        download.errors,
        download.timestamp,
        download.started_at,
        download.finished_at,
        download.fetch_count,
        download.stalled,
        bool(download.task),
        download.rescuable,
        download.ahead_text if download.ahead else "",
        download.served,
        download.time_left if download.expected_at else "",
        until_text,
        # The moment stands behind the text.
        until_text and download.expires_at,
        download.held,
        str(download.team or ""),
        download.read_only,
    )


def _page(request: Any) -> tuple[Any, ...]:
    """Return all that an item depends on beside the download."""
    return (
        settings.CSS_CLASS,
        get_language(),
        get_current_timezone_name(),
        get_script_prefix(),
        get_urlconf(),
        _instance(request),
    )


def _instance(request: Any) -> object:
    """Return the application instance of the URLs on this page, as Django's ``url`` tag does."""
    if hasattr(request, "current_app"):
        return request.current_app
    return getattr(getattr(request, "resolver_match", None), "namespace", None)
