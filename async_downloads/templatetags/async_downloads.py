"""Template tags for the download centre."""

import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from django import template
from django.conf import settings as project_settings
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.http import HttpRequest
from django.template.base import Node, NodeList, Parser, Token, Variable
from django.template.context import Context
from django.template.loader_tags import BLOCK_CONTEXT_KEY
from django.urls import get_script_prefix, get_urlconf, reverse
from django.utils.safestring import SafeString
from django.utils.translation import get_language, gettext

from async_downloads import owners, settings, store, teams
from async_downloads.centre import htmx_assets, item_cache, rendering, websocket_address

__all__ = ["register"]

register = template.Library()

TEMPLATE: Final = "async_downloads/download_centre.html"

#: The nonce of the page's scripts.
_NONCE: Final = Variable("csp_nonce")

#: Seconds for which the URLs of the scripts are kept: a storage may sign them for a time.
URL_SECONDS: Final = 60

#: The values of a summary that a button shows: those before the times for which it holds.
_SHOWN: Final = store.Summary._fields.index("recheck_after")

#: What differs from person to person in the markup of a closed menu, which only prints it.
SLOTS: Final = ("state", "attributes", "label", "percentage", "hidden", "count")


@register.simple_tag(takes_context=True)
def download_centre(context: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the context of the download centre for the user of the page.

    It is the summary that a closed menu shows. A page without downloads in progress sends no
    further request until its menu opens. Needs the context processors
    ``django.template.context_processors.request`` and
    ``django.contrib.auth.context_processors.auth``.

    Returns:
        ``state`` (a class), ``count``, ``hidden`` (an attribute of the count), ``label``,
        ``title``, ``percentage``, ``attributes`` (for the script), ``suffix`` (of the ids: empty
        for the first download centre of a page), ``list_url``, ``script``, ``htmx`` and
        ``list_script`` (URLs),
        ``key`` (of all of it) and ``kept`` (its markup); None for a visitor who is not signed in.
    """
    request: HttpRequest | None = context.get("request")
    user = getattr(request, "user", None) or context.get("user")
    if not getattr(user, "is_authenticated", False) or not owners.is_user(user):
        return None
    summary = store.read_summary(teams.owner_of(request, user))
    socket = websocket_address.address(user) if settings.WS_MODE else ""
    urlconf = get_urlconf() or project_settings.ROOT_URLCONF
    page = (urlconf, get_script_prefix(), get_language(), int(time.monotonic() / URL_SECONDS))
    return _shown(summary[:_SHOWN], socket, _suffix(request), *page)


@register.simple_tag(takes_context=True)
def download_item(context: Context) -> SafeString:
    """Render the list's item for ``download`` of the context.

    Equal to including ``async_downloads/download.html``, but items that have not
    changed are not rendered again.
    """
    return item_cache.render_item(context["download"], context)


@register.tag
def remembered(parser: Parser, token: Token) -> Node:
    """Render the content once for each value of ``centre``, unless a template extends this one."""
    nodes = parser.parse(("endremembered",))
    parser.delete_first_token()
    return _Remembered(nodes)


class _Remembered(Node):
    """The content between ``remembered`` and ``endremembered``."""

    def __init__(self, nodelist: NodeList) -> None:
        self.nodelist = nodelist

    def render(self, context: Context) -> SafeString:
        """Return the content, rendered now or before."""
        if project_settings.DEBUG or context.render_context.get(BLOCK_CONTEXT_KEY) is not None:
            # A block of the site may show anything.
            return self.nodelist.render(context)
        centre: dict[str, Any] = context["centre"]
        title_count = bool(context.get("title_count"))
        # A missing variable takes as long to look up as all of the others.
        nonce = _NONCE.resolve(context) if "csp_nonce" in context else None
        if nonce is not None:
            return self._fill(context, centre, title_count, str(nonce))
        kept: _Kept | None = centre["kept"]
        if kept is None or kept.node is not self or kept.title_count != title_count:
            markup = self._fill(context, centre, title_count, None)
            kept = centre["kept"] = _Kept(self, title_count, markup)
        return kept.markup

    def _fill(
        self, context: Context, centre: dict[str, Any], title_count: bool, nonce: str | None
    ) -> SafeString:
        """Return the content, with what differs from person to person put into it."""
        # The state of the downloads and the socket's address do.
        shown, socket, *same = centre["key"]
        key = (self, *same, title_count)
        slots = {"csp_nonce": nonce}
        if item_cache.is_cacheable(self.origin.name if self.origin else "", TEMPLATE):
            slots |= {name: centre[name] for name in SLOTS}
        else:
            key += (shown, socket)

        def render(marks: dict[str, str | None]) -> SafeString:
            with context.push(centre=centre | marks, csp_nonce=marks["csp_nonce"]):
                return self.nodelist.render(context)

        return item_cache.remembered_with(slots, key, render)


class _Kept(NamedTuple):
    """What a page without a nonce shows for one state of the downloads.

    Attributes:
        node: Who has rendered it.
        title_count: Whether the title of the page shows the count.
        markup: What is shown.
    """

    node: _Remembered
    title_count: bool
    markup: SafeString


@lru_cache(maxsize=1000)
def _shown(
    values: tuple[Any, ...], socket: str, suffix: str, *page: str | int | None
) -> dict[str, Any]:
    """Return what the markup shows.

    Args:
        values: The first values of the summary.
        socket: The URL of the websocket; empty if there is none.
        suffix: The end of the ids.
        *page: All else on which URLs and texts depend.
    """
    state = rendering.state_of(store.Summary._make((*values, 0, 0)))
    url, sign_in, same = _same(*page)
    attributes = {
        "url": url,
        "version": state["version"],
        "since": state["since"],
        "poll": state["poll"],
        "sign-in": sign_in,
    }
    if socket:
        attributes["ws-connect"] = socket
    return {
        **same,
        **state,
        "attributes": rendering.data_attributes(attributes),
        "hidden": " hidden" if state["count"] == "0" else "",
        "suffix": suffix,
        "key": (values, socket, suffix, *page),
        "kept": None,
    }


@lru_cache(maxsize=100)
def _same(*_page: str | int | None) -> tuple[str, str, dict[str, str]]:
    """Return the URL of the polls, the text of a link, and the variables that all people share."""
    return (
        reverse("async_downloads:ajax_update"),
        gettext("Sign in"),
        {
            "title": gettext("Downloads"),
            "list_url": reverse("async_downloads:download_list"),
            "script": htmx_assets.url("async_downloads_centre.js"),
            "htmx": htmx_assets.url("htmx-2.min.js"),
            "list_script": htmx_assets.url("async_downloads_list.js"),
        },
    )


@receiver(setting_changed)
def _forget(**_: Any) -> None:
    _shown.cache_clear()
    _same.cache_clear()


def _suffix(request: Any) -> str:
    """Return the end of the ids of a download centre: the second one of a page has its own."""
    number = getattr(request, "_async_downloads_centres", 0) + 1
    if request is not None:
        request._async_downloads_centres = number
    return f"-{number}" if number > 1 else ""
