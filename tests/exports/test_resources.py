"""Exports of Resources of django-import-export."""

import csv
import gzip
import io
import json
import sys
import tracemalloc
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest
from django.contrib import admin
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.http import HttpRequest
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.utils import timezone
from import_export import fields, resources
from import_export.admin import ExportMixin
from openpyxl import load_workbook

from async_downloads import cache
from async_downloads.building.content import save
from async_downloads.exports import ExportInBackgroundMixin, export_resource
from async_downloads.exports.resources import ResourceExport
from async_downloads.files import storage
from async_downloads.models import Download
from tests import queues
from tests.factories import CustomerFactory, DownloadFactory, OrderFactory
from tests.shop.admin import OrderAdmin
from tests.shop.models import Customer, Order, Specimen

pytestmark = pytest.mark.any_database

EXPORT = "/admin/shop/order/export-in-background/"


class OrderResource(resources.ModelResource):
    """The orders of the shop."""

    customer = fields.Field(attribute="customer__name", column_name="Who")

    class Meta:
        model = Order
        fields = ("reference", "customer", "total")
        export_order = ("total", "reference", "customer")

    def dehydrate_reference(self, order: Order) -> str:
        """Print it in capitals."""
        return order.reference.upper()

    def filter_export(self, queryset: Any, **kwargs: Any) -> Any:
        """Leave out secret orders."""
        return queryset.exclude(status="secret").select_related("customer")


HEADER = "total,reference,Who\n"


@pytest.fixture
def key(db: None) -> str:
    return DownloadFactory().download_key


def content(key: str) -> str:
    download = Download.objects.get(pk=key)
    assert download.complete, download.error_detail
    with storage.storage().open(download.filepath) as stored:
        text: str = stored.read().decode()
    return text


def some_orders() -> None:
    ada = CustomerFactory(name="Ada")
    for reference, status in (("r1", "open"), ("r2", "shipped"), ("r3", "secret")):
        OrderFactory(reference=reference, status=status, customer=ada)


# export_resource


@pytest.mark.parametrize("kind", ["class", "instance"])
def test_the_file_is_the_export_of_the_resource(key: str, kind: str) -> None:
    some_orders()
    export_resource(key, OrderResource if kind == "class" else OrderResource())
    assert content(key) == f"{HEADER}19.90,R1,Ada\n19.90,R2,Ada\n"
    assert Download.objects.get(pk=key).rows_written == 2
    table = OrderResource().export().csv
    assert content(key) == table.replace("\r\n", "\n")


def test_the_objects_may_be_chosen(key: str) -> None:
    some_orders()
    export_resource(key, OrderResource, Order.objects.filter(status="shipped"))
    assert content(key) == f"{HEADER}19.90,R2,Ada\n"


def typed_values() -> dict[str, Any]:
    return {
        "integer": 7,
        "amount": Decimal("19.90"),
        "flag": True,
        "day": date(2026, 1, 31),
        "moment": datetime(2026, 1, 31, 23, 30, tzinfo=UTC),
        "clock": time(9, 5),
        "text": "0012",
    }


class SpecimenResource(resources.ModelResource):
    """Values of several types."""

    class Meta:
        model = Specimen
        fields = tuple(typed_values())
        export_order = fields


@pytest.fixture
def specimen(db: None) -> Specimen:
    return Specimen.objects.create(**typed_values())


def test_a_format_with_types_gets_numbers_dates_and_truth_values(
    key: str, specimen: Specimen
) -> None:
    with timezone.override("Europe/Berlin"):
        export_resource(key, SpecimenResource, format="xlsx")
    with storage.storage().open(Download.objects.get().filepath) as stored:
        _, row = load_workbook(stored).active.values
    assert row == (
        *(7, 19.9, True, datetime(2026, 1, 31)),  # noqa: DTZ001 (a sheet has no zones)
        *(datetime(2026, 2, 1, 0, 30), time(9, 5), "0012"),  # noqa: DTZ001
    )
    assert Download.objects.get().filename.endswith(".xlsx")


def test_a_format_with_zones_keeps_that_of_a_time(key: str, specimen: Specimen) -> None:
    with timezone.override("Europe/Berlin"):
        export_resource(key, SpecimenResource, format="jsonl")
    assert json.loads(content(key)) == {
        "integer": 7,
        "amount": "19.90",
        "flag": True,
        "day": "2026-01-31",
        "moment": "2026-02-01T00:30:00+01:00",
        "clock": "09:05:00",
        "text": "0012",
    }


def test_a_format_with_types_gets_no_empty_text_for_nothing(key: str, db: None) -> None:
    Specimen.objects.create()
    export_resource(key, SpecimenResource, format="jsonl")
    assert set(json.loads(content(key)).values()) == {None}


@pytest.mark.parametrize("format_name", ["csv", "tsv", "csv.gz", "zip"])
def test_a_text_format_has_the_texts_of_the_resource(
    key: str, specimen: Specimen, format_name: str
) -> None:
    (row,) = SpecimenResource().export().dict
    export_resource(key, SpecimenResource, format=format_name)
    with storage.storage().open(Download.objects.get().filepath) as stored:
        data = stored.read()
    if format_name == "zip":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            data = archive.read(archive.namelist()[0])
    text = gzip.decompress(data).decode() if format_name == "csv.gz" else data.decode()
    delimiter = "\t" if format_name == "tsv" else ","
    assert next(csv.DictReader(io.StringIO(text), delimiter=delimiter)) == row
    assert row["flag"] == "1"


def test_the_file_name_decides_the_format_as_well(user: Any, specimen: Specimen) -> None:
    _, key = cache.init_download(user, "specimens.jsonl")
    export_resource(key, SpecimenResource)
    assert json.loads(content(key))["flag"] is True


def test_an_unknown_format_is_an_error_before_the_download_is_claimed(key: str) -> None:
    with pytest.raises(ValueError, match="The format 'xls' is unknown"):
        export_resource(key, OrderResource, format="xls")
    assert Download.objects.get().attempts == 0


def test_they_need_not_be_a_queryset(key: str) -> None:
    class Anything(resources.Resource):
        name = fields.Field(attribute="name", column_name="name")

    export_resource(key, Anything, (Customer(name=name) for name in "ab"))
    assert content(key) == "name\na\nb\n"


def test_before_export_is_called(key: str) -> None:
    heard = []

    class Listening(OrderResource):
        def before_export(self, queryset: Any, **kwargs: Any) -> None:
            heard.append(queryset)

    orders = Order.objects.all()
    export_resource(key, Listening, orders)
    assert heard == [orders]


def test_filter_export_may_return_a_list(key: str) -> None:
    class Sorted(OrderResource):
        def filter_export(self, queryset: Any, **kwargs: Any) -> Any:
            return sorted(queryset, key=lambda order: order.reference, reverse=True)

    some_orders()
    export_resource(key, Sorted)
    assert [line[6:8] for line in content(key).splitlines()[1:]] == ["R3", "R2", "R1"]


def test_for_an_unknown_download_the_resource_is_not_called(db: None) -> None:
    class Silent(OrderResource):
        def before_export(self, queryset: Any, **kwargs: Any) -> None:
            pytest.fail("It was asked.")

    export_resource("0b6a1f2e-7c59-4f0a-9b1d-3f6f0a1c2d3e", Silent)


@pytest.mark.parametrize("own", ["after_export", "export"])
def test_changes_to_the_whole_table_are_exported(key: str, own: str) -> None:
    some_orders()

    class WithSum(OrderResource):
        pass

    def after_export(self: Any, queryset: Any, dataset: Any, **kwargs: Any) -> None:
        dataset.append(["39.80", "", ""])

    def export(self: Any, queryset: Any = None, **kwargs: Any) -> Any:
        dataset = super(WithSum, self).export(queryset, **kwargs)
        dataset.append(["39.80", "", ""])
        return dataset

    setattr(WithSum, own, {"after_export": after_export, "export": export}[own])
    export_resource(key, WithSum)
    assert Download.objects.get(pk=key).rows_written == 3
    assert content(key) == f"{HEADER}19.90,R1,Ada\n19.90,R2,Ada\n39.80,,\n"


def test_an_overridden_iter_queryset_is_used(key: str) -> None:
    some_orders()

    class Backwards(OrderResource):
        def iter_queryset(self, queryset: Any) -> Iterator[Any]:
            yield from queryset.order_by("-reference")

    export_resource(key, Backwards)
    assert content(key) == f"{HEADER}19.90,R2,Ada\n19.90,R1,Ada\n"


def test_prefetches_are_read_with_each_chunk_and_no_row_twice(key: str) -> None:
    class CustomerResource(resources.ModelResource):
        orders = fields.Field(column_name="orders")

        class Meta:
            model = Customer
            fields = ("name", "orders")
            chunk_size = 4

        def dehydrate_orders(self, customer: Customer) -> int:
            return len(customer.orders.all())

    for _ in range(10):
        OrderFactory.create_batch(2, customer=CustomerFactory())
    customers = Customer.objects.prefetch_related("orders").order_by("pk")
    with CaptureQueriesContext(connection) as captured:
        export_resource(key, CustomerResource, customers)
    assert content(key).count(",2\n") == 10
    of_customers = [query for query in captured if "shop_customer" in query["sql"]]
    assert len([query for query in of_customers if "OFFSET" in query["sql"]]) == 0
    of_orders = [query for query in captured if "shop_order" in query["sql"]]
    assert len(of_orders) == 3


@pytest.mark.django_db(transaction=True)
def test_progress_is_recorded() -> None:
    key = DownloadFactory().download_key
    seen = []

    class Looking(OrderResource):
        def dehydrate_reference(self, order: Order) -> str:
            seen.append(Download.objects.get(pk=key).percentage)
            return ""

    OrderFactory.create_batch(20)
    export_resource(key, Looking)
    assert seen == sorted(seen)
    assert len(set(seen)) == 10


def test_memory_does_not_grow_with_the_rows_of_a_resource(db: None) -> None:
    def peak(count: int) -> int:
        orders = (Order(reference="r" * 100, total=1, customer=customer) for _ in range(count))
        key = DownloadFactory().download_key
        tracemalloc.start()
        try:
            export_resource(key, Plain, orders)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    class Plain(resources.Resource):
        reference = fields.Field(attribute="reference", column_name="reference")

    customer = CustomerFactory()
    peak(10)
    # The spool is held in memory up to a limit, far above this.
    few, many = peak(100), peak(3000)
    assert many - few < 3 * 3000 * 100


def test_another_object_than_a_resource_is_a_type_error(key: str) -> None:
    for wrong in (Order, "OrderResource", None):
        with pytest.raises(TypeError, match="neither a Resource of django-import-export"):
            export_resource(key, wrong)
    assert Download.objects.get().attempts == 0


def test_a_resource_that_fails_fails_the_download(key: str) -> None:
    class Broken(OrderResource):
        def dehydrate_reference(self, order: Order) -> str:
            raise LookupError("secret")

    some_orders()
    export_resource(key, Broken)
    download = Download.objects.get(pk=key)
    assert download.failed
    assert "secret" not in download.errors
    assert "secret" in download.error_detail


def test_without_the_extra_the_error_names_it(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "import_export"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "import_export", None)
    with pytest.raises(ImproperlyConfigured, match=r"django-async-downloads\[import-export\]"):
        export_resource(key, OrderResource)
    # Changelists do not need it.
    assert OrderAdmin(Order, admin.site).get_export_resource(HttpRequest()) is None
    assert Download.objects.get().attempts == 0


# In the admin


@pytest.mark.django_db(transaction=True)
def test_a_changelist_may_be_exported_by_a_resource(
    client: Client, staff_user: Any, change_admin: Any
) -> None:
    change_admin(export_resource_class=OrderResource, export_without_asking=True)
    some_orders()
    client.force_login(staff_user)
    client.post(f"{EXPORT}?status=shipped")
    queues.run_waiting()
    assert content(Download.objects.get().download_key) == f"{HEADER}19.90,R2,Ada\n"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("own", ["rows", "table"])
def test_the_page_offers_the_columns_of_the_resource(
    client: Client, staff_user: Any, change_admin: Any, own: str
) -> None:
    class Whole(OrderResource):
        def after_export(self, queryset: Any, dataset: Any, **kwargs: Any) -> None:
            """Have the library make the whole table."""

    change_admin(export_resource_class=OrderResource if own == "rows" else Whole)
    some_orders()
    client.force_login(staff_user)
    rows = client.get(EXPORT).context["form"].rows
    assert [(row["key"], row["label"], row["ticked"]) for row in rows] == [
        ("total", "total", True),
        ("reference", "reference", True),
        ("customer", "Who", True),
    ]
    columns = ["customer", "total"]
    data = {"format": "jsonl", "encoding": "utf-8", "order": columns, "columns": columns}
    client.post(f"{EXPORT}?o=1", data)
    queues.run_waiting()
    first = json.loads(content(Download.objects.get().download_key).splitlines()[0])
    assert list(first.items()) == [("Who", "Ada"), ("total", "19.90")]
    assert client.post(EXPORT, {**data, "columns": ["status"]}).context["form"].errors


@pytest.mark.parametrize(
    ("own", "header"),
    [
        ("all columns", ["Who", "total"]),
        ("one more", ["Who", "total", "Rank"]),
        ("one before", ["Who", "total", "Rank"]),
        ("one less", ["Who"]),
    ],
)
def test_a_resource_that_makes_the_table_keeps_the_chosen_columns(
    key: str, own: str, header: list[str]
) -> None:
    some_orders()

    class Whole(OrderResource):
        def export(self, queryset: Any = None, **kwargs: Any) -> Any:
            if own == "all columns":
                return super().export(queryset)
            dataset = super().export(queryset, **kwargs)
            if own == "one less":
                del dataset["total"]
            else:
                place = 0 if own == "one before" else dataset.width
                dataset.insert_col(place, ["1", "2"], header="Rank")
            return dataset

    save(key, ResourceExport(Whole(), None, ["customer", "total"]))
    cells = {"Who": "Ada", "total": "19.90", "Rank": "1"}
    lines = content(key).splitlines()
    assert lines[:2] == [",".join(header), ",".join(cells[name] for name in header)]


class Both(ExportInBackgroundMixin, ExportMixin, admin.ModelAdmin):
    """An admin with both kinds of exports."""

    resource_classes = [OrderResource]

    def get_export_resource_kwargs(self, request: HttpRequest, **kwargs: Any) -> dict[str, Any]:
        """Pass the user to the resource."""
        self.user = request.user
        return {}


class BothTheOtherWay(ExportMixin, ExportInBackgroundMixin, admin.ModelAdmin):
    """The same, mixed in the other order."""

    resource_classes = [OrderResource]


@pytest.mark.parametrize("kind", [Both, BothTheOtherWay])
def test_the_resources_of_an_admin_of_import_export_are_used(
    kind: Any, rf: Any, staff_user: Any
) -> None:
    request = rf.get("/")
    request.user = staff_user
    model_admin = kind(Order, admin.AdminSite())
    assert type(model_admin.get_export_resource(request)) is OrderResource
    assert model_admin.may_export(request)
    if kind is Both:
        assert model_admin.user == staff_user


@pytest.mark.parametrize("kind", [Both, BothTheOtherWay])
def test_the_permission_of_import_export_is_checked(
    kind: Any, rf: Any, settings: Any, user: Any
) -> None:
    settings.IMPORT_EXPORT_EXPORT_PERMISSION_CODE = "hand_out"
    request = rf.get("/")
    user.is_staff = True
    asked = []
    user.has_perm = lambda name, obj=None: asked.append(name) or name == "shop.view_order"
    request.user = user
    assert not kind(Order, admin.AdminSite()).may_export(request)
    assert asked[-1] == "shop.hand_out_order"


@pytest.mark.django_db
@pytest.mark.parametrize("kind", [Both, BothTheOtherWay])
def test_both_buttons_are_on_the_page(
    kind: Any, client: Client, staff_user: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "import_export"]
    monkeypatch.setitem(admin.site._registry, Order, kind(Order, admin.site))
    patterns: Any = [path("admin/", admin.site.urls)]
    settings.ROOT_URLCONF = type("urls", (), {"urlpatterns": patterns})
    client.force_login(staff_user)
    page = client.get("/admin/shop/order/").content.decode()
    assert "Export all matching…" in page
    assert "/admin/shop/order/export/" in page
