"""The worker's part of an export from the admin."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.db import connection
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import get_script_prefix, reverse, set_script_prefix
from django.utils import timezone, translation
from django.utils.translation import gettext_lazy

from async_downloads import cache
from async_downloads.exports import ExportInBackgroundMixin
from async_downloads.exports.changelist_request import Selection
from async_downloads.exports.tasks import export_changelist
from async_downloads.files import storage
from async_downloads.models import Download
from tests import jobs, queues
from tests.factories import CustomerFactory, DownloadFactory, OrderFactory, UserFactory
from tests.shop.models import Order

pytestmark = pytest.mark.any_database

EXPORT = "/admin/shop/order/export-in-background/"
HEADER = "Reference,Customer,Total,Still open\n"


def staff_user_with(*permissions: str) -> Any:
    staff = UserFactory(is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return staff


def selection(user: Any, query: str = "", keys: list[str] | None = None, **more: Any) -> Selection:
    """Return the selection that a page of the orders would send to the worker."""
    request = RequestFactory().get(f"/admin/shop/order/?{query}")
    request.user = user
    model_admin = admin.site.get_model_admin(Order)
    return replace(Selection.of(request, model_admin, keys, {}), **more)


def export(chosen: Selection, user: Any) -> Download:
    _, key = cache.init_download(user, "orders.csv")
    export_changelist(key, chosen.as_values())
    return Download.objects.get(pk=key)


def content(download: Download) -> str:
    assert download.complete, download.error_detail
    with storage.storage().open(download.filepath) as stored:
        text: str = stored.read().decode()
    return text


def exported(user: Any, query: str = "", keys: list[str] | None = None, **more: Any) -> str:
    return content(export(selection(user, query, keys, **more), user))


def references(text: str) -> list[str]:
    return [line.partition(",")[0] for line in text.splitlines()[1:]]


# From the button to the file


@pytest.mark.django_db(transaction=True)
def test_from_the_button_to_the_file_by_django_q(client: Client, staff_user: Any) -> None:
    client.force_login(staff_user)
    customer = CustomerFactory(name="Ada, Countess")
    OrderFactory(reference="R2", customer=customer, total="1234.50", status="shipped")
    OrderFactory(reference="R1", customer=customer)
    OrderFactory(reference="X3")
    client.post(f"{EXPORT}?q=R&o=-1")
    queues.run_waiting()
    download = Download.objects.get()
    expected = 'R2,"Ada, Countess",1234.50,False\nR1,"Ada, Countess",19.90,True\n'
    assert content(download) == HEADER + expected
    assert download.attempts == 1
    response = client.get(download.url)
    assert b"".join(response.streaming_content).decode() == HEADER + expected
    assert ".csv" in response["Content-Disposition"]


@pytest.mark.django_db(transaction=True)
def test_from_the_action_to_the_file_by_celery(
    client: Client, staff_user: Any, change_admin: Any
) -> None:
    task = jobs.celery_app.task(export_changelist, name="tests.export_changelist")
    change_admin(export_task=task)
    jobs.celery_app.conf.task_always_eager = True
    try:
        client.force_login(staff_user)
        ticked, _ = OrderFactory.create_batch(2)
        data = {"action": "export_in_background", "_selected_action": [ticked.pk]}
        client.post("/admin/shop/order/", data)
    finally:
        jobs.celery_app.conf.task_always_eager = False
    assert references(content(Download.objects.get())) == [ticked.reference]


@pytest.mark.django_db(transaction=True)
def test_the_site_may_use_its_own_task(client: Client, staff_user: Any, change_admin: Any) -> None:
    change_admin(export_task=jobs.remember)
    client.force_login(staff_user)
    client.post(EXPORT)
    (task,) = queues.waiting()
    assert task["args"][:2] == ("tests.jobs.remember", Download.objects.get().download_key)


# Which rows, and in which order


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["R1", "R2", "X3", "X4"]),
        ("o=-1", ["X4", "X3", "R2", "R1"]),
        ("o=3.-1", ["X4", "X3", "R2", "R1"]),
        ("q=R", ["R1", "R2"]),
        ("status=open", ["R1", "X3"]),
        ("status__exact=open&q=X", ["X3"]),
        ("status__in=open,shipped&o=-1", ["X4", "X3", "R2", "R1"]),
        ("customer__exact=999", []),
        ("p=7", ["R1", "R2", "X3", "X4"]),
    ],
)
def test_the_file_has_the_rows_of_all_pages_in_the_order_of_the_list(
    query: str, expected: list[str], client: Client, staff_user: Any
) -> None:
    for index, reference in enumerate(["X4", "X3", "R2", "R1"]):
        OrderFactory(reference=reference, status=["shipped", "open"][index % 2])
    assert references(exported(staff_user, query)) == expected
    client.force_login(staff_user)
    if "p=" not in query:
        shown = client.get(f"/admin/shop/order/?{query}").context["cl"].result_list
        assert [order.reference for order in shown] == expected


@pytest.mark.django_db
def test_filters_and_methods_of_the_site_are_used(staff_user: Any, change_admin: Any) -> None:
    class Cheap(admin.SimpleListFilter):
        title = "cheap"
        parameter_name = "cheap"

        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
            return [("yes", "Yes")]

        def queryset(self, request: HttpRequest, queryset: Any) -> Any:
            return queryset.filter(total__lt=5) if self.value() == "yes" else queryset

    def mine(self: Any, request: HttpRequest) -> Any:
        return Order.objects.exclude(customer__name=request.user.get_username())

    change_admin(list_filter=[Cheap], get_queryset=mine)
    OrderFactory(reference="cheap", total=1)
    OrderFactory(reference="dear", total=100)
    OrderFactory(reference="own", total=1, customer__name="root")
    assert references(exported(staff_user, "cheap=yes")) == ["cheap"]
    assert references(exported(staff_user)) == ["cheap", "dear"]


@pytest.mark.django_db
def test_ticked_rows_are_exported_even_if_they_no_longer_match(staff_user: Any) -> None:
    first, second, _ = OrderFactory.create_batch(3, status="open")
    keys = [str(first.pk), str(second.pk)]
    Order.objects.update(status="shipped")
    ticked = exported(staff_user, "status=open&q=R&o=-1", keys)
    assert references(ticked) == [second.reference, first.reference]


@pytest.mark.django_db
def test_ticked_rows_that_the_user_may_not_see_are_left_out(
    staff_user: Any, change_admin: Any
) -> None:
    seen, unseen = OrderFactory.create_batch(2)
    change_admin(get_queryset=lambda self, request: Order.objects.exclude(pk=unseen.pk))
    assert references(exported(staff_user, "", [str(seen.pk), str(unseen.pk)])) == [seen.reference]


@pytest.mark.django_db
def test_the_columns_may_differ_from_those_of_the_page(staff_user: Any, change_admin: Any) -> None:
    OrderFactory(reference="R1", customer__name="Ada")
    columns = ["reference", "status", "customer__name"]
    change_admin(get_export_list_display=lambda self, request: columns)
    assert exported(staff_user) == "Reference,Status,Customer name\nR1,open,Ada\n"


@pytest.mark.django_db
def test_relations_to_several_objects_are_written_as_names(
    staff_user: Any, change_admin: Any
) -> None:
    customer = CustomerFactory()
    for reference in ("R1", "R2"):
        OrderFactory(reference=reference, customer=customer)
    OrderFactory(reference="R3")
    columns = ["reference", "customer__orders"]
    change_admin(get_export_list_display=lambda self, request: columns)
    expected = 'Reference,Customer orders\nR1,"R1, R2"\nR2,"R1, R2"\nR3,R3\n'
    assert exported(staff_user) == expected


@pytest.mark.django_db
def test_the_columns_are_those_that_the_user_sees(change_admin: Any) -> None:
    def columns(self: Any, request: HttpRequest) -> list[str]:
        return ["reference", "total"] if request.user.is_superuser else ["reference"]

    change_admin(get_list_display=columns)
    OrderFactory(reference="R1")
    assert exported(staff_user_with("view_order")) == "Reference\nR1\n"


# As on the page


@pytest.mark.django_db
def test_texts_and_times_are_the_same_as_on_the_page(staff_user: Any, change_admin: Any) -> None:
    moment = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)

    @admin.display(description=gettext_lazy("Time:"))
    def at(order: Order) -> datetime:
        return moment

    change_admin(list_display=["reference", at])
    OrderFactory(reference="R1")
    with translation.override("de"), timezone.override("Asia/Tokyo"):
        chosen = selection(staff_user)
    assert content(export(chosen, staff_user)) == "Reference,Zeit:\nR1,2026-02-01 08:30:00+09:00\n"
    # An offset is not a time zone, so the time zone of the site is used.
    chosen = replace(chosen, time_zone="UTC+09:00", language=None)
    assert content(export(chosen, staff_user)) == "Reference,Time:\nR1,2026-01-31 23:30:00+00:00\n"


@pytest.mark.django_db
@pytest.mark.parametrize("secure", [True, False])
def test_methods_get_a_request_like_that_of_the_page(
    staff_user: Any, change_admin: Any, secure: bool
) -> None:
    seen = {}

    def get_queryset(self: Any, request: HttpRequest) -> Any:
        seen.update(
            url=request.build_absolute_uri(),
            view=request.resolver_match and request.resolver_match.view_name,
            preserved=self.get_preserved_filters(request),
            method=request.method,
        )
        self.message_user(request, "not shown")
        return Order.objects.all()

    change_admin(get_queryset=get_queryset)
    exported(staff_user, "q=R", secure=secure, host="shop.example:8443")
    assert seen["url"] == f"http{'s' * secure}://shop.example:8443/admin/shop/order/?q=R"
    assert seen["view"] == "admin:shop_order_changelist"
    assert seen["preserved"] == "_changelist_filters=q%3DR"
    assert seen["method"] == "GET"


@pytest.mark.django_db
def test_urls_lead_to_the_address_of_the_page(staff_user: Any, change_admin: Any) -> None:
    def link(order: Order) -> str:
        return reverse("admin:index")

    seen = []

    def get_queryset(self: Any, request: HttpRequest) -> Any:
        seen.append((request.path, request.path_info, request.resolver_match is not None))
        return Order.objects.all()

    change_admin(list_display=[link], get_queryset=get_queryset)
    OrderFactory()
    set_script_prefix("/shop/")
    try:
        chosen = selection(staff_user)
    finally:
        set_script_prefix("/")
    assert content(export(chosen, staff_user)) == "Link\n/shop/admin/\n"
    assert set(seen) == {("/shop/admin/shop/order/", "/admin/shop/order/", True)}
    assert get_script_prefix() == "/"


@pytest.mark.django_db
def test_a_path_unknown_to_the_worker_does_not_fail_the_export(staff_user: Any) -> None:
    OrderFactory(reference="R1")
    assert references(exported(staff_user, path="/elsewhere/")) == ["R1"]


@pytest.mark.django_db
def test_the_state_of_the_site_is_restored(staff_user: Any, change_admin: Any) -> None:
    def restore(self: Any, request: Any, state: dict[str, Any]) -> None:
        request.tenant = state["tenant"]

    def get_queryset(self: Any, request: Any) -> Any:
        return Order.objects.filter(customer__name=request.tenant)

    change_admin(restore_export_state=restore, get_queryset=get_queryset)
    OrderFactory(reference="theirs")
    OrderFactory(reference="ours", customer__name="us")
    assert references(exported(staff_user, state={"tenant": "us"})) == ["ours"]


# Changes between the request and the attempt


@pytest.mark.django_db
@pytest.mark.parametrize("gone", ["permission", "staff", "active", "the site's", "user"])
def test_permissions_are_checked_again_by_the_worker(gone: str, change_admin: Any) -> None:
    staff = staff_user_with("view_order")
    OrderFactory(reference="secret")
    chosen = selection(staff)
    assert references(content(export(chosen, staff))) == ["secret"]
    if gone == "permission":
        staff.user_permissions.clear()
    elif gone == "the site's":
        change_admin(has_export_permission=lambda self, request: False)
    elif gone == "user":
        chosen = replace(chosen, user="999999")
    else:
        setattr(staff, f"is_{gone}", False)
        staff.save()
    download = export(chosen, staff)
    assert download.failed
    assert download.errors == "You may no longer export this list."
    assert not storage.storage().exists(download.filepath)


@pytest.mark.django_db
def test_filters_that_no_longer_exist_fail_the_export(staff_user: Any) -> None:
    for query in ("no_such=1", "customer__name__startswith=A"):
        download = export(selection(staff_user, query), staff_user)
        assert download.errors == "The filters of the list have changed. Please export it again."


@pytest.mark.django_db
def test_a_list_unknown_to_the_worker_is_an_error_for_staff(staff_user: Any) -> None:
    for other in ({"site": "nowhere"}, {"model": "customer"}):
        _, key = cache.init_download(staff_user, "orders.csv")
        with pytest.raises(LookupError, match=r"settings and the URLconf of the web server"):
            export_changelist(key, replace(selection(staff_user), **other).as_values())
        assert Download.objects.get(pk=key).errors.startswith("Something went wrong")


@pytest.mark.django_db
def test_an_admin_site_of_the_same_name_is_not_mistaken_for_the_right_one(staff_user: Any) -> None:
    namesake = admin.AdminSite(name="admin")
    namesake.register(Order, admin.ModelAdmin)
    OrderFactory(reference="R1")
    assert references(exported(staff_user)) == ["R1"]
    backstage = admin.AdminSite(name="backstage")
    kind = type("Backstage", (ExportInBackgroundMixin, admin.ModelAdmin), {})
    backstage.register(Order, kind)
    assert exported(staff_user, site="backstage") == "Order\nR1\n"


# Queries


def queries_for(user: Any) -> int:
    chosen = selection(user, "status=open&q=R")
    _, key = cache.init_download(user, "orders.csv")
    with CaptureQueriesContext(connection) as captured:
        export_changelist(key, chosen.as_values())
    assert Download.objects.get(pk=key).complete
    return len(
        [query for query in captured if '"shop_' in query["sql"] or "`shop_" in query["sql"]]
    )


@pytest.mark.django_db
@pytest.mark.parametrize("columns", [["reference", "customer"], ["reference", "customer__name"]])
def test_the_number_of_queries_does_not_grow_with_the_rows(
    staff_user: Any, change_admin: Any, columns: list[str]
) -> None:
    change_admin(list_display=columns)
    OrderFactory.create_batch(5, status="open")
    few = queries_for(staff_user)
    OrderFactory.create_batch(150, status="open")
    # One to count, one to read, and one in each chunk for relations that the list does not join.
    assert (few, queries_for(staff_user)) == ((2, 2) if columns[1] == "customer" else (3, 3))


@pytest.mark.django_db
def test_prefetches_of_the_site_are_kept(staff_user: Any, change_admin: Any) -> None:
    def siblings(order: Order) -> int:
        return len(order.customer.orders.all())

    def get_queryset(self: Any, request: HttpRequest) -> Any:
        return Order.objects.prefetch_related("customer__orders")

    change_admin(list_display=["reference", siblings], get_queryset=get_queryset)
    OrderFactory.create_batch(5, status="open")
    few = queries_for(staff_user)
    OrderFactory.create_batch(50, status="open")
    assert queries_for(staff_user) == few


@pytest.mark.django_db
def test_the_admin_of_other_threads_is_unchanged(staff_user: Any, change_admin: Any) -> None:
    model_admin = admin.site.get_model_admin(Order)
    before = dict(vars(model_admin))
    exported(staff_user)
    assert vars(model_admin) == before


@pytest.mark.django_db
def test_a_complete_download_is_not_built_again(staff_user: Any) -> None:
    download = DownloadFactory(collection__user=staff_user, complete=True)
    export_changelist(download.download_key, selection(staff_user).as_values())
    assert Download.objects.get().attempts == 1


@pytest.mark.django_db(transaction=True)
def test_a_worker_without_urls_builds_the_same_file(staff_user: Any, settings: Any) -> None:
    OrderFactory(reference="R1")
    chosen = selection(staff_user)
    settings.ROOT_URLCONF = "tests.store.test_write_through"
    download = export(chosen, staff_user)
    assert references(content(download)) == ["R1"]
    assert download.url == ""
