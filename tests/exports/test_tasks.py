"""The worker's part of an export from the admin."""

import json
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
from django_q.models import OrmQ
from openpyxl import load_workbook

from async_downloads import cache
from async_downloads.exports import ExportInBackgroundMixin
from async_downloads.exports.changelist_request import Selection
from async_downloads.exports.choices import Choices
from async_downloads.exports.tasks import export_changelist
from async_downloads.files import storage
from async_downloads.formats import Format, Options, registry
from async_downloads.models import Download
from tests import jobs, queues
from tests.factories import CustomerFactory, DownloadFactory, OrderFactory, UserFactory
from tests.shop.models import Order

pytestmark = [pytest.mark.any_database, pytest.mark.usefixtures("one_click")]

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


# Built again


def retry(client: Client, download: Download) -> Download:
    answer = client.post(reverse("async_downloads:retry"), {"download_key": str(download.pk)})
    assert answer.status_code == 200
    queues.run_waiting()
    return Download.objects.latest("timestamp")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("ticked", [True, False], ids=["action", "button"])
def test_the_call_of_an_export_is_recorded_and_makes_the_same_file(
    client: Client, ticked: bool
) -> None:
    person = staff_user_with("view_order")
    client.force_login(person)
    orders = OrderFactory.create_batch(3, status="open")
    OrderFactory(status="shipped")
    if ticked:
        keys = [order.pk for order in orders[:2]]
        data = {"action": "export_in_background", "_selected_action": keys}
        client.post("/admin/shop/order/?status=open", data)
    else:
        client.post(f"{EXPORT}?status=open&o=-1")
    download = Download.objects.get()
    assert download.call is not None
    assert download.call.task == "async_downloads.exports.tasks.export_changelist"
    (values,) = download.call.args
    assert Selection(**values).find_user() == person
    queues.run_waiting()
    download.refresh_from_db()
    again = retry(client, download)
    assert again != download
    assert content(again) == content(download)


@pytest.mark.django_db(transaction=True)
def test_the_worker_asks_the_permissions_of_the_person_again_at_a_retry(client: Client) -> None:
    person = staff_user_with("view_order")
    client.force_login(person)
    OrderFactory(reference="R1")
    client.post(EXPORT)
    Download.objects.update(state="failed", errors="It stopped responding.")
    OrmQ.objects.all().delete()
    person.user_permissions.clear()
    download = retry(client, Download.objects.get())
    assert (download.failed, download.errors) == (True, "You may no longer export this list.")
    person.user_permissions.set(Permission.objects.filter(codename="view_order"))
    assert references(content(retry(client, download))) == ["R1"]


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


# The choices of a person

CHOICES = {"columns": ["total", "reference"], "format": "csv", "encoding": "utf-8"}


def chosen(user: Any, query: str = "", **choices: Any) -> Download:
    """Export with choices; the file gets the extension of its format in the end."""
    values = Choices(**{**CHOICES, **choices})
    return export(selection(user, query).with_choices(values), user)


@pytest.mark.django_db
def test_the_file_has_the_chosen_columns_in_the_chosen_order(
    staff_user: Any, change_admin: Any
) -> None:
    change_admin(export_fields=["customer__*", "status"])
    OrderFactory(reference="R1", customer__name="Ada")
    download = chosen(staff_user, columns=["customer__name", "total", "status", "reference"])
    assert content(download) == "Customer name,Total,Status,Reference\nAda,19.90,open,R1\n"


@pytest.mark.django_db
def test_the_chosen_format_has_real_types(staff_user: Any) -> None:
    OrderFactory(reference="0012", total="1234.50", status="open")
    download = chosen(staff_user, format="xlsx", columns=["reference", "total", "is_open"])
    assert download.complete
    assert download.filename == "orders.xlsx"
    with storage.storage().open(download.filepath) as stored:
        rows = list(load_workbook(stored).active.values)
    assert rows == [("Reference", "Total", "Still open"), ("0012", 1234.5, True)]


@pytest.mark.django_db
@pytest.mark.parametrize("name", [each.name for each in registry.installed()])
def test_each_installed_format_takes_a_list_with_gaps(
    staff_user: Any, change_admin: Any, name: str
) -> None:
    def moment(order: Order) -> datetime | None:
        late = order.reference == "R2"
        return datetime(2026, 1, 31, 23, 30, tzinfo=UTC) if late else None

    change_admin(export_fields=[moment, "status"])
    for reference in ("R1", "R2"):
        OrderFactory(reference=reference)
    columns = ["moment", "total", "customer", "is_open", "status"]
    download = chosen(staff_user, format=name, columns=columns)
    assert download.complete, download.error_detail
    assert download.rows_written == 2
    assert download.filename == f"orders{registry.named(name).extensions[0]}"


@pytest.mark.django_db
def test_nothing_has_no_text_in_a_format_with_types(staff_user: Any, change_admin: Any) -> None:
    def nothing(order: Order) -> None:
        return None

    change_admin(export_fields=[nothing])
    OrderFactory(status="")
    download = chosen(staff_user, format="jsonl", columns=["nothing", "customer"])
    assert json.loads(content(download))["Nothing"] is None
    assert content(chosen(staff_user, columns=["nothing", "total"])) == "Nothing,Total\n,19.90\n"


@pytest.mark.django_db
def test_a_format_with_types_gets_the_fields_of_the_columns(
    staff_user: Any, change_admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(rows: Any, stream: Any, options: Options) -> int:
        stream.write(repr([column.field for column in options.columns]).encode())
        return len(list(rows))

    monkeypatch.setitem(registry._formats, "kinds", Format("kinds", (".kinds",), "a/b", write))
    download = chosen(staff_user, format="kinds", columns=["total", "customer"])
    total = Order._meta.get_field("total")
    assert content(download) == repr([total, None])


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("format_name", "encoding", "data"),
    [
        ("csv", "utf-8", "Reference\nä\n".encode()),
        ("csv", "excel", "\ufeffReference\r\nä\r\n".encode()),
        ("tsv", "utf-8", "Reference\nä\n".encode()),
        ("tsv", "excel", "\ufeffReference\nä\n".encode()),
        ("jsonl", "excel", '{"Reference":"ä"}\n'.encode()),
    ],
)
def test_text_for_excel_has_a_byte_order_mark(
    staff_user: Any, format_name: str, encoding: str, data: bytes
) -> None:
    OrderFactory(reference="ä")
    download = chosen(staff_user, columns=["reference"], format=format_name, encoding=encoding)
    with storage.storage().open(download.filepath) as stored:
        assert stored.read() == data


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("zone", "cell"), [("site", "2026-02-01 00:30:00+01:00"), ("utc", "2026-01-31 23:30:00+00:00")]
)
def test_times_are_in_the_chosen_time_zone(
    staff_user: Any, change_admin: Any, zone: str, cell: str
) -> None:
    def moment(order: Order) -> datetime:
        return datetime(2026, 1, 31, 23, 30, tzinfo=UTC)

    change_admin(export_fields=[moment])
    OrderFactory()
    with timezone.override("Europe/Berlin"):
        download = chosen(staff_user, columns=["moment"], time_zone=zone)
    assert content(download) == f"Moment\n{cell}\n"


@pytest.mark.django_db
def test_the_worker_refuses_a_column_that_the_person_may_not_see(change_admin: Any) -> None:
    change_admin(list_display=["reference"], export_fields=["customer__name"])
    person = staff_user_with("view_order", "view_customer")
    OrderFactory(customer__name="secret")
    columns = ["reference", "customer__name"]
    assert "secret" in content(chosen(person, columns=columns))
    person.user_permissions.set(Permission.objects.filter(codename="view_order"))
    download = chosen(person, columns=columns)
    assert download.failed
    assert download.errors == (
        "One of the columns is no longer available to you. Choose them again."
    )
    assert not storage.storage().exists(download.filepath)
    assert chosen(person, columns=["reference"]).complete


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["customer__name", "customer__orders__reference", "status"])
def test_the_worker_takes_no_path_that_the_site_does_not_offer(staff_user: Any, name: str) -> None:
    download = chosen(staff_user, columns=["reference", name])
    assert download.errors.startswith("One of the columns is no longer available")


@pytest.mark.django_db
def test_a_selection_of_an_earlier_version_has_no_choices(staff_user: Any) -> None:
    values = selection(staff_user).as_values()
    del values["choices"]
    OrderFactory(reference="R1")
    _, key = cache.init_download(staff_user, "orders.csv")
    export_changelist(key, values)
    assert references(content(Download.objects.get(pk=key))) == ["R1"]


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
