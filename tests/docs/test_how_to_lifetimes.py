"""docs/how-to/lifetimes.md."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client, RequestFactory
from django.urls import reverse

from async_downloads import store
from async_downloads.models import Download
from tests import queues
from tests.clocks import move_clock
from tests.docs.helpers import executed, posted, problems
from tests.factories import DownloadFactory
from tests.snippets import Page

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]

PAGE = "docs/how-to/lifetimes.md"

COVERED = {
    "def start_report": "test_each_report_is_kept_for_its_time",
    "MAX_LIFETIME = ": "test_the_setting_satisfies_the_checks_and_shows_the_button",
    "def hold_all_of": "test_code_holds_and_releases",
}


@pytest.fixture
def views(quick_start: Any, page: Page) -> Any:
    """The views of a reader who has added the block to those of the tutorial."""
    before = next(block.body for block in page.continues if block.file == "orders/views.py")
    return quick_start("orders.views", f"{before}\n\n{page.placed('def start_report')}")


def test_each_report_is_kept_for_its_time(
    rf: RequestFactory, user: Any, views: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("salaries", "orders", "annual", "other"):
        assert views.start_report(posted(rf, user), kind).status_code == 302
    queues.run_waiting()
    for passed, left in {
        timedelta(hours=2): {"orders.csv", "annual.csv", "other.csv"},
        timedelta(days=2): {"orders.csv", "annual.csv"},
        timedelta(days=8): {"annual.csv"},
    }.items():
        with monkeypatch.context() as context:
            move_clock(context, passed)
            store.clean_up()
            assert {row.filename for row in Download.objects.all()} == left


def test_the_setting_satisfies_the_checks_and_shows_the_button(
    as_documented: Any, settings: Any, signed_in: Client, user: Any
) -> None:
    documented = as_documented("MAX_LIFETIME")
    names = {"ASYNC_DOWNLOADS_MAX_LIFETIME"}
    assert problems(settings, documented, names, ignored={"W005", "W007"}) == []
    DownloadFactory(collection__user=user, complete=True)
    page = signed_in.get(reverse("async_downloads:download_list")).content.decode()
    assert "Keep for longer" in page


def test_code_holds_and_releases(user: Any, page: Page) -> None:
    names = executed(page.placed("def hold_all_of"))
    row = DownloadFactory(collection__user=user, complete=True, expired=True)
    DownloadFactory(complete=True)
    assert names["hold_all_of"](user) == 1
    assert store.clean_up().downloads == 0
    assert names["release_all_of"](user) == 1
    assert store.clean_up().downloads == 1
    assert not Download.objects.filter(pk=row.pk).exists()
