"""Pages with the download centre in their navigation bar."""

import json
from typing import Any

from django.http import FileResponse, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.html import format_html_join
from django.views.decorators.http import require_POST
from django.views.static import serve

from async_downloads import cache
from async_downloads.shortcuts import wake_menu
from tests import services

#: By user name, how a page configures htmx: its ``version``, whether it is ``compatible`` with 2,
#: attributes of the ``body``, and ``config``. Tests set it, as the server is in their process.
HTMX_CONFIGS: dict[str, dict[str, Any]] = {}

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


def node_module(request: HttpRequest, path: str) -> FileResponse | HttpResponse:
    """Send a file of an npm package."""
    return serve(request, path, document_root=services.node_modules())


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


def favicon(request: HttpRequest) -> HttpResponse:
    """Answer the request that every browser sends, so that its console stays empty."""
    return HttpResponse(status=204)
