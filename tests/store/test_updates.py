"""Progress and errors that are reported with a download key alone."""

import uuid
from typing import Any

import pytest

from async_downloads import cache
from async_downloads.models import Download

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("hasty")]


def test_no_report_brings_back_a_deleted_row(user: Any) -> None:
    _, key = cache.init_download(user, "orders.csv")
    Download.objects.filter(pk=uuid.UUID(key)).delete()
    cache.set_percentage(key, 50)
    cache.set_error(key, "late")
    cache.save_download(key, [["late"]])
    assert Download.objects.count() == 0
