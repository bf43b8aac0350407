"""The views of the site itself."""

import time
from typing import Any

from django.contrib.auth import get_user_model, login
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import render

from async_downloads.shortcuts import init_generic_csv_download, start_download


def sign_in(request: HttpRequest, username: str) -> HttpResponse:
    """Sign a user in without a password."""
    users: Any = get_user_model().objects
    login(request, users.get_or_create(username=username)[0])
    get_token(request)
    return HttpResponse(username)


@login_required
def start(request: HttpRequest, task: str) -> JsonResponse:
    """Start a task by its name, and linger for ``linger`` seconds.

    If ``raise`` is posted, the request fails after that. Other values are passed to
    the task as text.
    """
    keywords = request.POST.dict()
    keywords.pop("csrfmiddlewaretoken", None)
    linger, broken = float(keywords.pop("linger", 0)), keywords.pop("raise", "")
    _, key = init_generic_csv_download(
        f"tests.faults.site.tasks.{task}", request.user, "Orders", **keywords
    )
    time.sleep(linger)
    if broken:
        raise RuntimeError(broken)
    return JsonResponse({"download_key": key})


@login_required
def start_path(request: HttpRequest, path: str) -> JsonResponse:
    """Start a task by its dotted path."""
    _, key = start_download(path, request.user, "orders.csv")
    return JsonResponse({"download_key": key})


@login_required
def home(request: HttpRequest) -> HttpResponse:
    """Show a page with the download centre."""
    return render(request, "faults/home.html")
