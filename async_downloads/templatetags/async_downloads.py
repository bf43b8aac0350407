"""Template tags for the download centre."""

from collections.abc import Mapping
from typing import Any

from django import template
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest
from django.template.context import Context
from django.utils.safestring import SafeString

from async_downloads import owners, settings, store
from async_downloads.centre import htmx_assets, item_cache, rendering, websocket_address

__all__ = ["register"]

register = template.Library()


@register.simple_tag(takes_context=True)
def download_centre(context: Mapping[str, Any]) -> dict[str, SafeString | str | bool | int] | None:
    """Return what the download centre shows to the person who looks at the page.

    It is rendered with the page, so that a page on which nothing is in progress
    asks the server for nothing more. Needs the context processors
    ``django.template.context_processors.request`` and
    ``django.contrib.auth.context_processors.auth``.

    Returns:
        ``fragment`` (markup), ``in_progress``, ``running`` (how many are),
        ``pushed`` (whether changes come over a websocket), ``socket`` (its URL), ``htmx``,
        ``htmx_ws`` and ``htmx4_ws`` (the URLs of the scripts); None for a visitor who is not
        signed in.
    """
    request: HttpRequest | None = context.get("request")
    user = getattr(request, "user", None) or context.get("user")
    if not getattr(user, "is_authenticated", False) or not isinstance(user, AbstractBaseUser):
        return None
    listing = store.read_listing(owners.resolve(user), limit=rendering.MENU_SIZE)
    return {
        "fragment": rendering.render(listing, request),
        "in_progress": listing.in_progress,
        "running": listing.running,
        "pushed": settings.WS_MODE,
        "socket": websocket_address.address(user) if settings.WS_MODE else "",
        **htmx_assets.urls(),
    }


@register.simple_tag(takes_context=True)
def download_item(context: Context) -> SafeString:
    """Render the item of the list that is called ``download`` in the context.

    The same as to include ``async_downloads/download.html``, only that what has
    not changed is not rendered again.
    """
    return item_cache.render_item(context["download"], context)
