"""One file for many people: in a view, or as copies."""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from types import ModuleType
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.core.files.storage import storages
from django.http import Http404, HttpRequest
from django.test import Client
from django.urls import resolve, set_urlconf
from django_q.models import OrmQ

from async_downloads import cache, signals
from async_downloads.models import Download
from tests import queues
from tests.attempts import long_ago
from tests.docs.helpers import content
from tests.docs.people import person_who_may_view_orders
from tests.factories import OrderFactory, UserFactory
from tests.snippets import PAGES

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]

PAGE = "docs/how-to/one-file-for-many.md"

MANY = PAGES[PAGE]

COVERED = {
    "def export_statement": "test_each_person_gets_a_file_of_their_own",
    "def build_shared_report": "test_people_who_may_view_orders_get_the_newest_report",
    "def shared_report": "test_people_who_may_view_orders_get_the_newest_report",
    "urlpatterns +=": "test_the_url_leads_to_the_view",
    "def copy_for_all": "test_each_person_gets_a_copy_in_a_download_of_their_own",
    "def queue_copies": "test_each_person_gets_a_copy_in_a_download_of_their_own",
}

EXPECTED = "Reference,Customer,Total\nR1,Ada,19.90\n"


def test_each_person_gets_a_file_of_their_own(quick_start: Any) -> None:
    OrderFactory(reference="R1", customer__name="Ada Lovelace")
    OrderFactory(reference="R2", customer__name="Grace Hopper")
    UserFactory(first_name="Ada", last_name="Lovelace", is_active=False)
    for first_name, last_name in (("Grace", "Hopper"), ("Ada", "Lovelace")):
        UserFactory(first_name=first_name, last_name=last_name)
    statements = quick_start("orders.statements", MANY.placed("def export_statement"))
    # By which django-q2 finds a function.
    vars(sys.modules["orders"])["statements"] = statements
    outcome = statements.start_statements()
    assert len(outcome.started) == 2
    queues.run_waiting()
    files = {
        download.collection.user.last_name: content(download) for download in Download.objects.all()
    }
    assert files == {
        "Hopper": "Reference,Total\nR2,19.90\n",
        "Lovelace": "Reference,Total\nR1,19.90\n",
    }
    assert set(re.findall(r"`(\w+)`", MANY.text)) >= {field.name for field in fields(outcome)}


@pytest.fixture
def shared(quick_start: Callable[[str, str], ModuleType]) -> Any:
    OrderFactory(status="open", reference="R1", customer__name="Ada")
    return quick_start("orders.shared", MANY.placed("def build_shared_report"))


@pytest.fixture
def views(shared: Any, quick_start: Callable[[str, str], ModuleType]) -> Any:
    return quick_start("orders.views", MANY.placed("def shared_report"))


def request_of(rf: Any, user: Any) -> HttpRequest:
    request: HttpRequest = rf.get("/shared-report/")
    request.user = user
    return request


def test_people_who_may_view_orders_get_the_newest_report(rf: Any, views: Any, shared: Any) -> None:
    request = request_of(rf, person_who_may_view_orders())
    with pytest.raises(Http404):
        views.shared_report(request)
    shared.build_shared_report()
    queues.run_waiting()
    response = views.shared_report(request)
    assert b"".join(response).decode() == EXPECTED
    assert response.headers["Content-Disposition"] == 'attachment; filename="open-orders.csv"'
    assert "no-store" in response.headers["Cache-Control"]
    response.close()
    # One that is being built does not replace it, and one that is complete does.
    OrderFactory(status="open", reference="R2", customer__name="Ada")
    shared.build_shared_report()
    response = views.shared_report(request)
    assert b"R2" not in b"".join(response)
    response.close()
    queues.run_waiting()
    response = views.shared_report(request)
    assert b"R2" in b"".join(response)
    response.close()


def test_other_people_do_not_get_it(rf: Any, views: Any, shared: Any, client: Client) -> None:
    shared.build_shared_report()
    queues.run_waiting()
    user = UserFactory()
    with pytest.raises(PermissionDenied):
        views.shared_report(request_of(rf, user))
    # Nor by the URL of the package, which knows no owner but the label.
    client.force_login(person_who_may_view_orders())
    assert client.get(Download.objects.get().url).status_code == 404


def test_an_expired_report_is_not_served(rf: Any, views: Any, shared: Any) -> None:
    shared.build_shared_report()
    queues.run_waiting()
    Download.objects.update(expires_at=long_ago())
    with pytest.raises(Http404):
        views.shared_report(request_of(rf, person_who_may_view_orders()))


def test_the_url_leads_to_the_view(
    views: Any, quick_start: Callable[[str, str], ModuleType]
) -> None:
    urls = quick_start("mysite.urls", MANY.placed("urlpatterns +="))
    try:
        set_urlconf("mysite.urls")
        assert resolve("/shared-report/", urlconf=urls).func is views.shared_report
    finally:
        set_urlconf(None)


@pytest.fixture
def copying(shared: Any, quick_start: Callable[[str, str], ModuleType]) -> Iterator[Any]:
    """The site once it hands out copies."""
    copies = quick_start("orders.copies", MANY.placed("def copy_for_all"))
    # By which django-q2 finds a function.
    vars(sys.modules["orders"])["copies"] = copies
    apps = quick_start("orders.apps", MANY.placed("def queue_copies"))
    apps.__file__ = __file__
    apps.OrdersConfig("orders", apps).ready()
    yield copies
    signals.download_completed.disconnect(apps.queue_copies)


def test_each_person_gets_a_copy_in_a_download_of_their_own(shared: Any, copying: Any) -> None:
    people = [person_who_may_view_orders() for _ in range(3)]
    UserFactory()
    shared.build_shared_report()
    queues.run_waiting()
    queues.run_waiting()
    assert OrmQ.objects.count() == 0
    copies = Download.objects.exclude(collection__label=shared.LABEL)
    assert {copy.collection.user for copy in copies} == set(people)
    assert {(content(copy), copy.filename, copy.name) for copy in copies} == {
        (EXPECTED, "open-orders.csv", "Open orders")
    }
    # The export was built once, and the files lie side by side.
    assert len({copy.filepath for copy in Download.objects.all()}) == 4
    copying.copy_for_all(Download.objects.get(collection__label=shared.LABEL).download_key)
    assert copies.count() == len(people)


def test_a_file_is_deleted_with_its_row_also_if_another_row_names_it(user: Any) -> None:
    """Why the page says that two rows must not have the same file."""
    _, key = cache.init_download(user, "orders.csv")
    cache.save_download(key, [["a"]])
    _, other = cache.init_download(user, "orders.csv")
    cache.save_download(other, [["b"]])
    path = Download.objects.get(pk=key).filepath
    Download.objects.filter(pk=other).update(filepath=path)
    Download.objects.get(pk=key).delete()
    assert not storages["default"].exists(path)


def test_staff_with_the_permission_fetch_the_file_of_a_label(
    shared: Any, client: Client, staff_user: Any
) -> None:
    shared.build_shared_report()
    queues.run_waiting()
    client.force_login(staff_user)
    assert b"".join(client.get(Download.objects.get().url)).decode() == EXPECTED
