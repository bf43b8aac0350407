"""Exports and reports inside transactions of the site's own, and views that start them.

As ``ROOT_URLCONF`` it adds to the site's URLs views that queue a task by
themselves, before or after the commit.
"""

import contextlib
import time
from collections.abc import Iterator
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.contrib.auth.decorators import login_required
from django.db import Error as DatabaseFault
from django.db import IntegrityError, connection, transaction
from django.http import HttpRequest, JsonResponse
from django.urls import include, path
from django_q.tasks import async_task

from async_downloads import cache
from async_downloads.shortcuts import enqueue_download
from tests.faults.site import steering

HEADER = ["id", "name"]

#: What the owner is told by the functions that report a failure.
TOLD: Final = "Choose a shorter period."


# Exports


def plain(download_key: str) -> None:
    """Write a row, and ask the database for nothing."""
    cache.save_download(download_key, [HEADER, [1, "end"]])


def reporting(download_key: str) -> None:
    """Write rows until the test says go; report progress when it says ``report``."""
    steering.started(download_key)
    cache.save_download(download_key, _lines(download_key))


def asking(download_key: str) -> None:
    """Ask the database for a row, after the test says go."""

    def lines() -> Iterator[list[Any]]:
        yield HEADER
        steering.started(download_key)
        steering.wait_for("go")
        yield [get_user_model().objects.count(), "end"]

    cache.save_download(download_key, lines())


# Exports inside a transaction that has written something of its own, and so holds locks


def within(download_key: str) -> None:
    """Do what ``reporting`` does."""
    with transaction.atomic():
        _write_something(download_key)
        reporting(download_key)


def within_and_linger(download_key: str) -> None:
    """Build the whole file at once, and keep the transaction open until the test says go."""
    with transaction.atomic():
        _write_something(download_key)
        cache.save_download(download_key, [HEADER, [1, "end"]])
        steering.started(download_key)
        steering.wait_for("go")


def within_and_roll_back(download_key: str) -> None:
    """Build the whole file at once, and fail after that."""
    with transaction.atomic():
        _write_something(download_key)
        cache.save_download(download_key, [HEADER, [1, "end"]])
        raise LookupError("it was all for nothing")


def _write_something(download_key: str) -> None:
    get_user_model().objects.create(username=f"made with {download_key}")


def _lines(download_key: str) -> Iterator[list[Any]]:
    yield HEADER
    reported = False
    while not steering.told("go"):
        time.sleep(0.02)
        if steering.told("report") and not reported:
            reported = True
            steering.tell("reported.log", str(time.time()))
            cache.update_percentage(download_key, 10, 2)
        yield [0, "waiting"]
    yield [1, "end"]


# Reports of a failure


def tell(download_key: str) -> None:
    """Report, without any transaction, once the test says ``release``."""
    steering.started(download_key)
    steering.wait_for("release")
    cache.set_error(download_key, TOLD)


def tell_in_broken(download_key: str) -> None:
    """Report inside a transaction that Django knows to be broken."""
    with contextlib.suppress(DatabaseFault), transaction.atomic():
        with contextlib.suppress(IntegrityError):
            get_user_model().objects.create(username="ada")
        cache.set_error(download_key, TOLD)


def tell_in_aborted(download_key: str) -> None:
    """Report inside a transaction that only the database knows to be broken."""
    with contextlib.suppress(DatabaseFault), transaction.atomic():
        with contextlib.suppress(IntegrityError), connection.cursor() as cursor:
            cursor.execute("INSERT INTO django_session (session_key) VALUES (NULL)")
        cache.set_error(download_key, TOLD)


def tell_and_roll_back(download_key: str) -> None:
    """Report inside a transaction that fails after that."""
    with contextlib.suppress(LookupError), transaction.atomic():
        _write_something(download_key)
        cache.set_error(download_key, TOLD)
        raise LookupError("it was all for nothing")


# Views


@login_required
def init(request: HttpRequest) -> JsonResponse:
    """Make a record and queue nothing."""
    _, key = cache.init_download(request.user, "orders.csv")
    return JsonResponse({"download_key": key})


@login_required
def queue_at_once(request: HttpRequest, runner: str) -> JsonResponse:
    """Make a record, queue its task before the commit, and linger.

    Args:
        request: ``linger`` and ``raise`` are as for ``views.start``.
        runner: ``bare`` has the worker call the task itself, ``supervised`` the
            package's runner.
    """
    _, key = cache.init_download(request.user, "orders.csv")
    task = "tests.faults.site.tasks.rows"
    arguments = [task] if runner == "bare" else ["async_downloads.tasks.run_task", task]
    async_task(*arguments, key)
    return _linger(request, key)


@login_required
def queue_on_commit(request: HttpRequest) -> JsonResponse:
    """Make a record, have its task queued on commit, and linger."""
    _, key = cache.init_download(request.user, "orders.csv")
    enqueue_download("tests.faults.site.tasks.rows", key)
    return _linger(request, key)


def _linger(request: HttpRequest, key: str) -> JsonResponse:
    time.sleep(float(request.POST["linger"]))
    if "raise" in request.POST:
        raise RuntimeError(request.POST["raise"])
    return JsonResponse({"download_key": key})


urlpatterns = [
    path("init/", init),
    path("queue-at-once/<str:runner>/", queue_at_once),
    path("queue-on-commit/", queue_on_commit),
    path("", include("tests.faults.site.urls")),
]
