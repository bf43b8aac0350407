"""A page that uses the downloads by JSON alone, and the start of its exports."""

from typing import Final

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from async_downloads.exceptions import TooManyDownloadsError
from demo.shop.views import exports_for, find_export, start

__all__ = ["exports", "page", "start_by_json"]

#: Nothing inline, and nothing of another host.
POLICY: Final = "default-src 'self'; base-uri 'none'; frame-ancestors 'none'"


@require_safe
@login_required
def page(request: HttpRequest) -> HttpResponse:
    """Show the page, which fills itself."""
    response = render(request, "shop/spa.html")
    response.headers["Content-Security-Policy"] = POLICY
    return response


@require_safe
@login_required
def exports(request: HttpRequest) -> HttpResponse:
    """List the exports, and the URLs that start them."""
    listed = [
        {"title": export.title, "url": reverse("spa_start", args=[slug])}
        for slug, export in exports_for(request.user).items()
    ]
    return JsonResponse(listed, safe=False)


@require_POST
def start_by_json(request: HttpRequest, slug: str) -> HttpResponse:
    """Start an export, and answer with the URL at which its state can be read."""
    if not request.user.is_authenticated:
        return JsonResponse({"detail": "You are signed out."}, status=401)
    export = find_export(slug, request.user)
    try:
        key, _ = start(export, next(iter(export.choices.values())), request.user)
    except TooManyDownloadsError as error:
        return JsonResponse({"detail": str(error)}, status=409)
    url = reverse("async_downloads:detail", args=[key])
    return JsonResponse({"download_key": key}, status=202, headers={"Location": url})
