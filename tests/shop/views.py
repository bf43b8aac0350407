"""Pages with the download centre in their navigation bar."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

#: Nothing from elsewhere, nothing inline: what a careful site allows.
STRICT_CSP = "default-src 'self'"


def home(request: HttpRequest) -> HttpResponse:
    """Show the page of a new site: stylesheet and download centre, nothing else."""
    return page(request, "home.html")


def with_htmx(request: HttpRequest) -> HttpResponse:
    """Show the page of a site that loads htmx itself, after the download centre."""
    return render(request, "with_htmx.html")


def as_0_6(request: HttpRequest) -> HttpResponse:
    """Show the page of a site that includes what django-async-downloads 0.6 documented."""
    return page(request, "as_0_6.html")


def page(request: HttpRequest, template: str) -> HttpResponse:
    """Render a page under a strict content security policy."""
    response = render(request, template)
    response["Content-Security-Policy"] = STRICT_CSP
    return response


def favicon(request: HttpRequest) -> HttpResponse:
    """Answer what every browser asks for, so that its console has nothing to complain of."""
    return HttpResponse(status=204)
