"""The URLs of both versions, and a page of the site with the download centre or without."""

import os
import socket
from functools import lru_cache
from urllib.parse import urlsplit

from django.contrib.auth.decorators import login_required
from django.core.cache import cache
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.urls import include, path


@login_required
def page(request: HttpRequest, *, centre: bool) -> HttpResponse:
    """Show a small page that reads the session and the user, as most pages do."""
    context = {"centre": centre, "visits": request.session.get("visits", 0)}
    return render(request, "page.html", context)


@login_required
def page_with_key(request: HttpRequest) -> HttpResponse:
    """Show the page without the centre, and read one key of the cache as a site does."""
    cache.get("bench")
    return page(request, centre=False)


@login_required
def page_with_bytes(request: HttpRequest) -> HttpResponse:
    """Show the page without the centre, and ask Redis for one key with no library between."""
    server = redis_socket()
    server.sendall(b"GET bench\r\n")
    server.recv(1024)
    return page(request, centre=False)


@lru_cache
def redis_socket() -> socket.socket:
    """Return a connection to Redis."""
    url = urlsplit(os.environ["BENCH_REDIS_URL"])
    return socket.create_connection((url.hostname, url.port or 6379))


@login_required
def page_with_query(request: HttpRequest) -> HttpResponse:
    """Show the page without the centre, and make one query that reads no table."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchall()
    return page(request, centre=False)


@login_required
def least_of_a_list(request: HttpRequest) -> HttpResponse:
    """Do what a list that has changed cannot do without, and show nothing of it.

    Those are the version token, the rows, the progress that is in the cache alone, and a form.
    """
    cache.get("bench")
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM async_downloads_download LIMIT 1")
        cursor.fetchall()
    cache.get("bench")
    return HttpResponse(get_token(request))


urlpatterns = [
    path("bare/", page, {"centre": False}),
    path("page/", page, {"centre": True}),
    path("key/", page_with_key),
    path("query/", page_with_query),
    path("bytes/", page_with_bytes),
    path("least_list/", least_of_a_list),
    path("async_downloads/", include("async_downloads.urls")),
]
