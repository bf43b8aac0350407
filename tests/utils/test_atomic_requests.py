"""The views are outside of the transactions of ``ATOMIC_REQUESTS``, whichever database has them."""

from typing import Any

import pytest
from django.db import connections
from django.http import HttpResponse
from django.test import Client

from async_downloads import permissions
from async_downloads.models import Download
from async_downloads.urls import urlpatterns
from async_downloads.utils.atomic_requests import outside_transactions
from tests.factories import DownloadFactory


@pytest.mark.parametrize("pattern", urlpatterns, ids=lambda pattern: str(pattern.name))
def test_no_view_is_in_a_transaction_of_any_database(pattern: Any) -> None:
    assert pattern.callback._non_atomic_requests == set(connections)


def test_the_decorator_returns_the_view_itself() -> None:
    def view(request: Any) -> HttpResponse:
        return HttpResponse()

    assert outside_transactions(view) is view


@pytest.mark.django_db(transaction=True, databases=["default", "elsewhere"])
def test_a_fetch_is_in_no_transaction_of_a_second_database(
    monkeypatch: pytest.MonkeyPatch, signed_in: Client, user: Any
) -> None:
    for alias in connections:
        monkeypatch.setitem(connections[alias].settings_dict, "ATOMIC_REQUESTS", True)
    begun = []

    def may_fetch(user: Any, download: Download) -> bool:
        begun.extend(alias for alias in connections if connections[alias].in_atomic_block)
        return True

    monkeypatch.setattr(permissions, "may_fetch", may_fetch)
    download = DownloadFactory(collection__user=user, complete=True)
    assert b"".join(signed_in.get(download.url))
    assert begun == []
