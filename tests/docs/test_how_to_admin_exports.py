"""docs/how-to/admin-exports.md."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.core.exceptions import PermissionDenied

from async_downloads.exports import ExportInBackgroundMixin
from async_downloads.exports.offers import offered_columns
from async_downloads.models import Download, ExportPreset
from tests import queues
from tests.docs.helpers import content, posted, table
from tests.factories import OrderFactory, UserFactory
from tests.shop.models import Order
from tests.snippets import Page

PAGE = "docs/how-to/admin-exports.md"

COVERED = {
    "def is_open": "test_a_list_is_exported",
    "def first_letter": "test_further_columns_depend_on_permissions",
    "export_without_asking = True": "test_one_click_exports_the_columns_of_the_list",
    "def has_export_permission": "test_the_right_and_the_columns_are_narrowed",
    "def get_export_state": "test_what_a_middleware_has_set_is_restored",
    "export_list_with_celery = ": "test_celery_runs_the_export",
    "export_task = export_list_with_celery": "test_celery_runs_the_export",
}

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def documented(
    quick_start: Any, page: Page, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Any]:
    """Registers the admin of a block, in the place of that of the tests."""

    def register(containing: str) -> Any:
        # It is put back at the end.
        monkeypatch.delitem(admin.site._registry, Order)
        kind = quick_start("orders.admin", page.placed(containing)).OrderAdmin
        model_admin = admin.site.get_model_admin(Order)
        assert type(model_admin) is kind
        return model_admin

    return register


@pytest.fixture
def request_of(rf: Any) -> Callable[..., Any]:
    """Makes the request of the page before an export, with the columns of the list by default."""

    def make(user: Any, query: str = "", columns: Any = ()) -> Any:
        model_admin: Any = admin.site.get_model_admin(Order)
        if not columns:
            columns = model_admin.get_export_list_display(rf.get("/"))
        data = {"format": "csv", "encoding": "utf-8", "columns": columns}
        request = posted(rf, user, data)
        request.GET = type(request.GET)(query)  # type: ignore[misc]
        return request

    return make


@pytest.fixture
def admin_of_all(db: None) -> Any:
    return UserFactory(is_staff=True, is_superuser=True)


def test_a_list_is_exported(documented: Any, request_of: Any, admin_of_all: Any) -> None:
    model_admin = documented("def is_open")
    for reference, status in (("R1", "open"), ("R2", "shipped"), ("X3", "open")):
        OrderFactory(reference=reference, status=status, customer__name="Ada")
    request = request_of(admin_of_all, "status__exact=open&q=R")
    assert model_admin.export_in_background_view(request).status_code == 302
    queues.run_waiting()
    expected = "Reference,Customer,Customer name,Total,Is open\nR1,Ada,Ada,19.90,True\n"
    assert content(Download.objects.get()) == expected


def test_further_columns_depend_on_permissions(
    documented: Any, request_of: Any, admin_of_all: Any
) -> None:
    model_admin = documented("def first_letter")
    order = OrderFactory(reference="R1", customer__name="Ada")
    columns = ["first_letter", "customer__name", "customer__id", "status"]
    request = request_of(admin_of_all, columns=columns)
    assert model_admin.export_in_background_view(request).status_code == 302
    queues.run_waiting()
    expected = f"First letter,Customer name,Customer ID,Status\nR,Ada,{order.customer.pk},open\n"
    assert content(Download.objects.get()) == expected
    who_may_see = UserFactory(is_staff=True)
    who_may_see.user_permissions.set(Permission.objects.filter(codename="view_order"))
    offered = offered_columns(model_admin, request_of(who_may_see))
    assert list(offered) == ["reference", "customer", "total", "status", "first_letter"]


def test_one_click_exports_the_columns_of_the_list(
    documented: Any, rf: Any, admin_of_all: Any
) -> None:
    model_admin = documented("export_without_asking = True")
    OrderFactory(reference="R1", customer__name="Ada")
    assert model_admin.export_in_background_view(posted(rf, admin_of_all)).status_code == 302
    queues.run_waiting()
    assert content(Download.objects.get()) == "Reference,Customer,Total\nR1,Ada,19.90\n"


def test_the_permissions_of_presets_exist(page: Page) -> None:
    named = set(re.findall(r"`(\w+_exportpreset)`", page.text))
    assert len(named) == 3
    assert named <= {f"{action}_exportpreset" for action in ExportPreset._meta.default_permissions}


def test_the_right_and_the_columns_are_narrowed(
    documented: Any, request_of: Any, admin_of_all: Any
) -> None:
    model_admin = documented("def has_export_permission")
    order = OrderFactory(reference="R1", customer__name="Ada")
    who_may_see = UserFactory(is_staff=True)
    who_may_see.user_permissions.set(Permission.objects.filter(codename="view_order"))
    assert model_admin.has_view_permission(request_of(who_may_see))
    with pytest.raises(PermissionDenied):
        model_admin.export_in_background_view(request_of(who_may_see))
    assert model_admin.export_in_background_view(request_of(admin_of_all)).status_code == 302
    queues.run_waiting()
    _, row = content(Download.objects.get()).splitlines()
    assert row == f"{order.pk},R1,Ada,19.90,open"


def test_what_a_middleware_has_set_is_restored(
    documented: Any, request_of: Any, admin_of_all: Any
) -> None:
    model_admin = documented("def get_export_state")
    OrderFactory(reference="north 1")
    OrderFactory(reference="south 1")
    request = request_of(admin_of_all)
    request.branch = "south"
    assert model_admin.export_in_background_view(request).status_code == 302
    queues.run_waiting()
    assert content(Download.objects.get()) == "Reference,Total\nsouth 1,19.90\n"


def test_celery_runs_the_export(
    quick_start: Any, page: Page, documented: Any, request_of: Any, admin_of_all: Any
) -> None:
    pytest.importorskip("celery")
    tasks = quick_start("orders.tasks", page.placed("export_list_with_celery = "))
    model_admin = documented("export_task = export_list_with_celery")
    OrderFactory(reference="R1", customer__name="Ada")
    task = tasks.export_list_with_celery
    assert task.name == "async_downloads.exports.tasks.export_changelist"
    conf = task.app.conf
    before, conf.task_always_eager = conf.task_always_eager, True
    try:
        model_admin.export_in_background_view(request_of(admin_of_all))
    finally:
        conf.task_always_eager = before
    assert queues.waiting() == []
    assert content(Download.objects.get()) == "Reference,Customer,Total\nR1,Ada,19.90\n"


def test_the_mixin_has_what_the_table_says(page: Page) -> None:
    rows = table(page.text, "| of the mixin").splitlines()
    names = [name for row in rows for name in re.findall(r"`(\w+)", row.split("|")[1])]
    assert len(names) == 11
    assert [name for name in names if not hasattr(ExportInBackgroundMixin, name)] == []


def test_the_order_of_the_base_classes_is_checked(page: Page) -> None:
    with pytest.raises(TypeError) as raised:
        type("Wrong", (admin.ModelAdmin, ExportInBackgroundMixin), {})
    (quoted,) = re.findall(r'`TypeError` at import: "(.*?)"', page.text)
    assert quoted in str(raised.value)
