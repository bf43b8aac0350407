"""Fifty clicks on "Try again" at once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.urls import reverse

from async_downloads.models import Download, DownloadState
from tests import queues
from tests.pace import LONGEST_WAIT
from tests.recorded_calls import download

pytestmark = pytest.mark.django_db(transaction=True)

CLICKS = 50


@pytest.mark.parametrize("limit", [None, 1], ids=["no-limit", "limit"])
@pytest.mark.parametrize("state", ["failed", "complete"])
def test_many_clicks_at_once_are_one_new_attempt(
    user: Any, settings: Any, shared_cache: str, state: str, limit: int | None
) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ACTIVE = limit
    row = download(user, **{state: True})
    client = Client()
    client.force_login(user)
    together = threading.Barrier(CLICKS)

    def click(_: int) -> int:
        try:
            own = Client()
            own.cookies = client.cookies
            together.wait(timeout=LONGEST_WAIT)
            data = {"download_key": str(row.pk)}
            return own.post(reverse("async_downloads:retry"), data).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(CLICKS) as threads:
        statuses = list(threads.map(click, range(CLICKS)))
    assert statuses == [200] * CLICKS
    (task,) = queues.waiting()
    pending = Download.objects.get(state=DownloadState.PENDING)
    assert task["args"][1] == pending.download_key
    assert Download.objects.count() == (1 if state == "failed" else 2)
    queues.run_waiting()
    pending.refresh_from_db()
    assert (pending.complete, pending.attempts) == (True, 1)
