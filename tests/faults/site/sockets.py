"""The site with more pages for the tests of the websocket, under a strict CSP."""

from typing import Any

from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path

from tests.faults.site.urls import urlpatterns as common


def home(request: HttpRequest, template: str = "home") -> HttpResponse:
    """Show a page with the download centre, also to visitors."""
    response = render(request, f"faults/{template}.html")
    response["Content-Security-Policy"] = "default-src 'self'"
    return response


def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session."""
    logout(request)
    return HttpResponse("signed out")


def favicon(request: HttpRequest) -> HttpResponse:
    """Answer the request that each browser makes, so that its console stays empty."""
    return HttpResponse(status=204)


urlpatterns: list[Any] = [
    path("", home),
    path("as-0-6/", home, {"template": "as_0_6"}),
    path("as-0-6-readme/", home, {"template": "as_0_6_readme"}),
    path("with-htmx-4/", home, {"template": "with_htmx_4"}),
    path("boosted/", home, {"template": "boosted"}),
    path("sign-out/", sign_out),
    path("favicon.ico", favicon),
    *common,
]
