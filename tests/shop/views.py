"""Pages with the download centre in their navigation bar."""

import json
import mimetypes
import re
from pathlib import Path
from typing import Any

from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.urls import reverse
from django.utils import translation
from django.utils._os import safe_join
from django.utils.html import format_html_join
from django.views.decorators.http import require_POST

from async_downloads import cache
from async_downloads.shortcuts import wake_menu
from tests import services

#: By user name, how a page configures htmx: its ``version``, whether it is ``compatible`` with 2,
#: attributes of ``html`` and ``body``, and ``config``. Tests set it, as the server is in their
#: process.
HTMX_CONFIGS: dict[str, dict[str, Any]] = {}

STYLESHEET = "css/async_downloads.css"

#: CSS that no browser knew when all of them learned the popover.
NEWEST = re.compile(r"light-dark(?=\()|anchor-(?=name|scope)|position-(?=anchor|area|try)")

#: The policy of a careful site: nothing from other hosts, nothing inline.
STRICT_CSP = "default-src 'self'"


def home(request: HttpRequest) -> HttpResponse:
    """Show the page of a new site: stylesheet and download centre, nothing else."""
    return page(request, "home.html")


def with_htmx(request: HttpRequest, version: int = 2) -> HttpResponse:
    """Show the page of a site that loads htmx itself, after the download centre."""
    return render(request, "with_htmx.html", {"version": version})


def in_bootstrap(request: HttpRequest, version: int, theme: str) -> HttpResponse:
    """Show the page of a site with the navbar of Bootstrap 4, or of 5 with its themes."""
    return render(request, "in_bootstrap.html", {"version": version, "theme": theme})


def boosted(request: HttpRequest, *, strange: bool) -> HttpResponse:
    """Show the page of a site with boosted links, and with more attributes of htmx if strange."""
    return page(request, "boosted.html", {"strange": strange})


def with_htmx_config(request: HttpRequest) -> HttpResponse:
    """Show the page of a site that configures htmx as ``HTMX_CONFIGS`` says."""
    configured = HTMX_CONFIGS[request.user.get_username()]
    attributes = format_html_join("", ' {}="{}"', configured.get("body", {}).items())
    config = json.dumps(configured.get("config", {}))
    context = {**configured, "attributes": attributes, "config": config}
    return render(request, "with_htmx_config.html", context)


@require_POST
def start(request: HttpRequest) -> HttpResponse:
    """Create a download, for a button with htmx or for a plain form."""
    cache.init_download(request.user, "orders.csv", "Orders")
    if request.headers.get("HX-Request"):
        return wake_menu(HttpResponse("It is being made."))
    return redirect("home")


def node_module(request: HttpRequest, path: str) -> HttpResponse:
    """Send a file of an npm package."""
    return file_response(Path(safe_join(services.node_modules(), path)))


def file_response(path: Path) -> HttpResponse:
    """Send a whole file: Django's ``FileResponse`` warns under ASGI."""
    content_type = mimetypes.guess_type(path)[0]
    return HttpResponse(path.read_bytes(), content_type=content_type)


def as_0_6(request: HttpRequest) -> HttpResponse:
    """Show the page of a site that includes what django-async-downloads 0.6 documented."""
    return page(request, "as_0_6.html")


def as_0_6_own(request: HttpRequest) -> HttpResponse:
    """Show the page of such a site with its own download centre, without the app's script."""
    return page(request, "as_0_6_own.html")


def page(
    request: HttpRequest, template: str, context: dict[str, object] | None = None
) -> HttpResponse:
    """Render a page under a strict content security policy."""
    response = render(request, template, context)
    response["Content-Security-Policy"] = STRICT_CSP
    return response


def in_an_engine(
    request: HttpRequest, version: int = 2, direction: str = "ltr", css: str = "new"
) -> HttpResponse:
    """Show the page on which the engines of browsers are compared.

    Args:
        request: The request.
        version: The version of htmx.
        direction: ``ltr`` or ``rtl``.
        css: ``old`` for a browser without the newest CSS.
    """
    stylesheet = reverse("old_css") if css == "old" else static(STYLESHEET)
    context = {"version": version, "direction": direction, "stylesheet": stylesheet}
    return page(request, "in_an_engine.html", context)


def in_a_framework(request: HttpRequest, framework: str) -> HttpResponse:
    """Show a page that goes on to the next one without a navigation, or that is kept.

    Args:
        request: The request, which may name a ``language``.
        framework: ``htmx``, ``turbo``, ``unpoly``, ``kept`` by a service worker, ``cached`` by
            the browser, or ``none``.
    """
    with translation.override(request.GET.get("language", "en")):
        response = render(request, "in_a_framework.html", {"framework": framework})
    if framework == "cached":
        response["Cache-Control"] = "private, max-age=600"
    return response


def two_centres(request: HttpRequest) -> HttpResponse:
    """Show a page with two download centres."""
    return page(request, "two_centres.html")


def worker(request: HttpRequest) -> HttpResponse:
    """Send the service worker, whose scope is the folder of its URL."""
    path = finders.find("shop/worker.js")
    assert path
    return file_response(Path(path))


def old_css(request: HttpRequest) -> HttpResponse:
    """Send the stylesheet to a browser that does not know the newest CSS."""
    path = finders.find(STYLESHEET)
    assert path
    return HttpResponse(NEWEST.sub("unknown-", Path(path).read_text()), content_type="text/css")


def favicon(request: HttpRequest) -> HttpResponse:
    """Answer the request that every browser sends, so that its console stays empty."""
    return HttpResponse(status=204)
