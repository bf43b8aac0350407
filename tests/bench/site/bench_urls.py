"""The URLs of both versions, and a page of the site with the download centre or without."""

from django.contrib.auth.decorators import login_required
from django.core.cache import cache
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import include, path


@login_required
def page(request: HttpRequest, *, centre: bool) -> HttpResponse:
    """Show a small page that reads the session and the user, as most pages do."""
    context = {"centre": centre, "visits": request.session.get("visits", 0)}
    return render(request, "page.html", context)


@login_required
def page_with_key(request: HttpRequest) -> HttpResponse:
    """Show the page without the centre, and read one key of the cache, which nothing undercuts."""
    cache.get("bench")
    return page(request, centre=False)


@login_required
def page_with_query(request: HttpRequest) -> HttpResponse:
    """Show the page without the centre, and make one query that reads no table."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchall()
    return page(request, centre=False)


urlpatterns = [
    path("bare/", page, {"centre": False}),
    path("page/", page, {"centre": True}),
    path("key/", page_with_key),
    path("query/", page_with_query),
    path("async_downloads/", include("async_downloads.urls")),
]
