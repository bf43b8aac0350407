"""Exports and reports inside transactions of the site, and views that start them.

As ``ROOT_URLCONF`` it adds views that queue a task before or after the commit.
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

#: The message of the functions that report a failure.
OWNER_MESSAGE: Final = "Choose a shorter period."


# Exports


def plain(download_key: str) -> None:
    """Write a row without a query."""
    cache.save_download(download_key, [HEADER, [1, "end"]])


def reporting(download_key: str) -> None:
    """Write rows until the test sets ``go``; report progress once it sets ``report``."""
    steering.record_start(download_key)
    cache.save_download(download_key, _lines(download_key))


def reading_rows(download_key: str) -> None:
    """Read a row from the database after the test sets ``go``."""

    def lines() -> Iterator[list[Any]]:
        yield HEADER
        steering.record_start(download_key)
        steering.wait_for("go")
        yield [get_user_model().objects.count(), "end"]

    cache.save_download(download_key, lines())


# Exports inside a transaction that has written a row, and therefore holds locks


def within(download_key: str) -> None:
    """Do the same as ``reporting``, inside a transaction."""
    with transaction.atomic():
        _write_a_user(download_key)
        reporting(download_key)


def within_and_linger(download_key: str) -> None:
    """Save the file, and keep the transaction open until the test sets ``go``."""
    with transaction.atomic():
        _write_a_user(download_key)
        cache.save_download(download_key, [HEADER, [1, "end"]])
        steering.record_start(download_key)
        steering.wait_for("go")


def within_and_roll_back(download_key: str) -> None:
    """Save the file, and fail after that."""
    with transaction.atomic():
        _write_a_user(download_key)
        cache.save_download(download_key, [HEADER, [1, "end"]])
        raise LookupError("the transaction fails")


def _write_a_user(download_key: str) -> None:
    get_user_model().objects.create(username=f"made with {download_key}")


def _lines(download_key: str) -> Iterator[list[Any]]:
    yield HEADER
    reported = False
    while not steering.is_set("go"):
        time.sleep(0.02)
        if steering.is_set("report") and not reported:
            reported = True
            steering.append("reported.log", str(time.time()))
            cache.update_percentage(download_key, 10, 2)
        yield [0, "waiting"]
    yield [1, "end"]


# Reports of a failure


def report(download_key: str) -> None:
    """Report a failure outside transactions, once the test sets ``release``."""
    steering.record_start(download_key)
    steering.wait_for("release")
    cache.set_error(download_key, OWNER_MESSAGE)


def report_in_broken(download_key: str) -> None:
    """Report inside a transaction that Django knows to be broken."""
    with contextlib.suppress(DatabaseFault), transaction.atomic():
        with contextlib.suppress(IntegrityError):
            get_user_model().objects.create(username="ada")
        cache.set_error(download_key, OWNER_MESSAGE)


def report_in_aborted(download_key: str) -> None:
    """Report inside a transaction that only the database knows to be broken."""
    with contextlib.suppress(DatabaseFault), transaction.atomic():
        with contextlib.suppress(IntegrityError), connection.cursor() as cursor:
            cursor.execute("INSERT INTO django_session (session_key) VALUES (NULL)")
        cache.set_error(download_key, OWNER_MESSAGE)


def report_and_roll_back(download_key: str) -> None:
    """Report inside a transaction that fails after that."""
    with contextlib.suppress(LookupError), transaction.atomic():
        _write_a_user(download_key)
        cache.set_error(download_key, OWNER_MESSAGE)
        raise LookupError("the transaction fails")


# Views


@login_required
def init(request: HttpRequest) -> JsonResponse:
    """Make a download and queue nothing."""
    _, key = cache.init_download(request.user, "orders.csv")
    return JsonResponse({"download_key": key})


@login_required
def queue_at_once(request: HttpRequest, runner: str) -> JsonResponse:
    """Make a download, queue its task before the commit, and linger.

    Args:
        request: ``linger`` and ``raise`` are as for ``views.start``.
        runner: If ``bare``, the worker calls the task itself; if ``supervised``, the
            package's runner does.
    """
    _, key = cache.init_download(request.user, "orders.csv")
    task = "tests.faults.site.tasks.rows"
    arguments = [task] if runner == "bare" else ["async_downloads.tasks.run_task", task]
    async_task(*arguments, key)
    return _linger(request, key)


@login_required
def queue_on_commit(request: HttpRequest) -> JsonResponse:
    """Make a download, queue its task on commit, and linger."""
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
