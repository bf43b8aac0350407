"""The cells of an export have what a person sees in the changelist, as typed values."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import connection, models
from django.db.models import Prefetch
from django.test import Client
from django.test.utils import CaptureQueriesContext, isolate_apps
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from async_downloads.exports.changelist_columns import Columns, text_of
from async_downloads.models import Download
from tests.factories import (
    CustomerFactory,
    DownloadCollectionFactory,
    DownloadFactory,
    OrderFactory,
    UserFactory,
)
from tests.shop.models import Order

pytestmark = pytest.mark.any_database

SITE = admin.AdminSite()


def columns(model: Any, *names: Any, **attributes: Any) -> Columns:
    """Return the columns of a ModelAdmin with these attributes."""
    kind = type("SomeAdmin", (admin.ModelAdmin,), attributes)
    return Columns(kind(model, SITE), names)


def order_cell(name: Any, order: Order | None = None, **attributes: Any) -> Any:
    (cell,) = columns(Order, name, **attributes).row(order or Order(reference="R1"))
    return cell


def returning(value: Any, **display: Any) -> Any:
    """Return a column that has this value in each row."""

    @admin.display(**display)
    def column(instance: Any) -> Any:
        return value

    return column


# Headings


def test_the_headings_are_the_same_as_on_the_page(client: Client, staff_user: Any) -> None:
    client.force_login(staff_user)
    OrderFactory()
    page = client.get("/admin/shop/order/").content.decode()
    model_admin = admin.site.get_model_admin(Order)
    header = Columns(model_admin, model_admin.list_display).header
    assert header == ["Reference", "Customer", "Total", "Still open"]
    for heading in header:
        assert f">{heading}</a>" in page or f"<span>{heading}</span>" in page


@pytest.mark.parametrize(
    ("name", "heading"),
    [
        ("reference", "Reference"),
        ("__str__", "Order"),
        ("customer__name", "Customer name"),
        ("customer_id", "Customer id"),
        (returning(1, description="a (b)"), "A (b)"),
        (returning(1, description=gettext_lazy("date")), "Date"),
        (returning(1), "Column"),
        (lambda order: 1, "--"),
    ],
)
def test_a_heading_is_formed_as_on_the_page(name: Any, heading: str) -> None:
    assert columns(Order, name).header == [heading]


def test_the_checkbox_is_not_a_column() -> None:
    assert columns(Order, "action_checkbox", "reference").header == ["Reference"]


# Columns of the model


def test_a_column_of_the_model_keeps_its_type(user: Any) -> None:
    user.last_login = None
    row = columns(type(user), "id", "username", "is_staff", "last_login").row(user)
    assert row == [user.pk, "ada", False, None]
    assert order_cell("total", Order(total=Decimal("1234.50"))) == Decimal("1234.50")


def test_a_time_is_in_the_time_zone_of_the_page() -> None:
    moment = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)
    download = Download(timestamp=moment)
    with timezone.override("Europe/Berlin"):
        (cell,) = columns(Download, "timestamp").row(download)
    assert str(cell) == "2026-02-01 00:30:00+01:00"


def test_a_choice_is_written_as_its_label() -> None:
    assert columns(Download, "state").row(Download(state="running")) == ["In progress"]
    # The page shows a dash; the file keeps the value.
    assert columns(Download, "state").row(Download(state="unheard of")) == ["unheard of"]


@pytest.mark.django_db
def test_a_related_object_is_written_as_text() -> None:
    order = OrderFactory(customer__name="Ada & Co")
    assert columns(Order, "customer").row(order) == ["Ada & Co"]
    collection = DownloadCollectionFactory(user=None, label="team")
    assert columns(type(collection), "user").row(collection) == [None]


@isolate_apps("tests.shop")
def test_other_kinds_of_columns() -> None:
    class Oddity(models.Model):  # noqa: DJ008 (not shown as text)
        data = models.JSONField(default=dict)
        file = models.FileField()
        sizes = models.JSONField(choices=[([1], "one")])
        length = models.DurationField()

        class Meta:
            app_label = "shop"
            managed = False

    oddity = Oddity(data={"ä": 1}, file="a/b.csv", sizes=[1], length=timedelta(hours=30))
    cells = columns(Oddity, "data", "file", "sizes", "length").row(oddity)
    assert cells == ['{"ä": 1}', "a/b.csv", "one", timedelta(hours=30)]
    assert columns(Oddity, "data", "file").row(Oddity(data=None)) == ["", ""]


def test_a_column_has_its_field_where_the_cells_are_the_values_of_the_field() -> None:
    names = ["total", "reference", "customer", "customer__name", "is_open"]
    described = columns(Order, *names, is_open=returning(True)).described
    total, reference = (Order._meta.get_field(name) for name in names[:2])
    assert [column.field for column in described] == [total, reference, None, None, None]
    assert [column.name for column in described] == names
    (labelled,) = columns(Download, "state").described
    assert labelled.field is None
    (with_a_text,) = columns(Order, "total", empty_value_display="n/a").described
    assert with_a_text.field is None


# Everything else


def of_the_admin(self: Any, order: Any) -> str:
    return f"admin of {order.reference}"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("__str__", "R1"),
        ("of_the_admin", "admin of R1"),
        ("customer__name", "Ada"),
        ("pk", 7),
        ("customer_id", 3),
        (lambda order: order.reference.lower(), "r1"),
        ("get_deferred_fields", set()),
    ],
)
def test_each_kind_of_column_has_its_value(name: Any, expected: Any) -> None:
    order = OrderFactory(pk=7, reference="R1", customer=CustomerFactory(pk=3, name="Ada"))
    assert order_cell(name, order, of_the_admin=of_the_admin) == expected


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (True, True),
        (0, 0),
        (1234.5, 1234.5),
        (Decimal("1.50"), Decimal("1.50")),
        (date(2026, 1, 31), date(2026, 1, 31)),
        (time(9, 5), time(9, 5)),
        (datetime(2026, 1, 31, 9, 5), datetime(2026, 1, 31, 9, 5)),  # noqa: DTZ001 (a naive one)
        (["a", 1], "a, 1"),
        ([], ""),
        (None, None),
        ("  ", ""),
        ("<b>not markup</b>", "<b>not markup</b>"),
        (gettext_lazy("date"), "date"),
        (mark_safe("<b>5</b> &lt; 6"), "5 < 6"),
    ],
)
def test_the_value_of_a_callable_keeps_its_type_and_loses_its_markup(value: Any, cell: Any) -> None:
    made = order_cell(returning(value))
    assert (made, type(made)) == (cell, type(cell))


@pytest.mark.parametrize(("value", "cell"), [(True, True), (1, True), (False, False), (None, None)])
def test_a_value_shown_as_an_icon_becomes_a_bool(value: Any, cell: Any) -> None:
    assert order_cell(returning(value, boolean=True)) is cell


def test_a_property_of_a_model_may_be_shown_as_an_icon() -> None:
    @admin.display(boolean=True)
    def has_many(self: Any) -> int:
        return 3

    class Pack(Order):
        many = property(has_many)

        class Meta:
            proxy = True
            app_label = "shop"

    assert columns(Pack, "many").row(Pack()) == [True]


@pytest.mark.parametrize("missing", [models.ObjectDoesNotExist, Order.DoesNotExist])
def test_a_missing_object_or_attribute_is_an_empty_cell(missing: type[Exception]) -> None:
    def column(order: Order) -> str:
        raise missing

    assert order_cell(column) is None


def test_other_errors_of_a_column_are_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        order_cell(lambda order: 1 / 0)


def test_djangos_dash_is_an_empty_cell_and_another_empty_value_is_written() -> None:
    nothing: Callable[..., Any] = returning(None)
    assert order_cell(nothing) is None
    assert order_cell(nothing, empty_value_display="n/a") == "n/a"
    assert order_cell(returning(None, empty_value="unknown")) == "unknown"
    assert order_cell(returning("", empty_value="-")) == "-"


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("a<br>b", "a b"),
        ("<ul><li>one</li><li>two</li></ul>", "one two"),
        ('<img src="yes.svg" alt="yes"> <img src="dot.gif">', "yes"),
        ('<a href="/x/">Order&nbsp;R1</a>', "Order R1"),
        ("plain", "plain"),
    ],
)
def test_markup_becomes_the_text_that_a_person_reads(markup: str, text: str) -> None:
    assert text_of(mark_safe(markup)) == text  # noqa: S308 (text of this test)


def test_escaped_text_is_unescaped() -> None:
    assert text_of(format_html("<i>{}</i>", "<script>")) == "<script>"


# Several objects


@pytest.fixture
def people(db: None) -> list[Any]:
    """Return two users with groups whose names are in another order than their keys."""
    groups = [Group.objects.create(name=name) for name in ("zebra", "ant, or so", "<b>")]
    people = UserFactory.create_batch(2)
    people[0].groups.set(reversed(groups))
    return people


def test_a_many_to_many_relation_is_written_as_names(people: list[Any]) -> None:
    made = columns(get_user_model(), "username", "groups", "groups__name", "groups__id")
    ids = ", ".join(str(group.pk) for group in Group.objects.order_by("pk"))
    names = "zebra, ant, or so, <b>"
    assert made.row(people[0]) == [people[0].username, names, names, ids]
    assert made.row(people[1]) == [people[1].username, "", "", ""]
    assert made.header == ["Username", "Groups", "Groups name", "Groups id"]


@pytest.mark.parametrize("name", ["user", "user_set", "user__username", "user__email"])
def test_a_reverse_relation_is_written_as_names(people: list[Any], name: str) -> None:
    attribute = name.partition("__")[2] or "username"
    group, other = Group.objects.order_by("pk").first(), Group.objects.create(name="empty")
    made = columns(Group, name)
    assert made.row(group) == [getattr(people[0], attribute)]
    assert made.row(other) == [""]
    assert len(made.header) == 1


@pytest.mark.django_db
def test_a_reverse_relation_may_end_a_path() -> None:
    first, second = OrderFactory.create_batch(2, customer=CustomerFactory())
    both = f"{first}, {second}"
    assert order_cell("customer__orders", first) == both
    assert order_cell("customer__orders__reference", first) == both
    assert order_cell("customer__orders__total", first) == "19.90, 19.90"
    assert columns(type(first.customer), "orders").row(first.customer) == [both]
    assert columns(type(first.customer), "orders", empty_value_display="none").row(
        CustomerFactory()
    ) == ["none"]


def test_names_are_in_the_order_of_the_related_model_or_of_its_keys(people: list[Any]) -> None:
    permissions = list(Permission.objects.all()[:3])
    people[0].user_permissions.set(reversed(permissions))
    made = columns(get_user_model(), "user_permissions")
    assert made.row(people[0]) == [", ".join(map(str, permissions))]


@pytest.mark.parametrize(
    "several",
    [
        lambda user: user.groups,
        lambda user: user.groups.order_by("pk"),
        lambda user: user.groups.order_by("pk").values_list("name", flat=True),
        lambda user: (group.name for group in user.groups.order_by("pk")),
        lambda user: list(user.groups.order_by("pk")),
        lambda user: user.groups.raw("SELECT * FROM auth_group ORDER BY id"),
    ],
)
def test_several_objects_from_a_callable_are_written_as_names(
    people: list[Any], several: Any
) -> None:
    assert columns(get_user_model(), several).row(people[0]) == ["zebra, ant, or so, <b>"]


@pytest.mark.parametrize(
    "value", [{"a": 1}, {1}, frozenset("a"), b"\0", bytearray(b"\0"), memoryview(b"\0")]
)
def test_values_with_a_rule_in_each_format_are_left_unchanged(value: Any) -> None:
    assert order_cell(returning(value)) is value


# Related objects are fetched for many rows at once


def queries_for(names: list[Any], queryset: Any, **attributes: Any) -> int:
    made = columns(queryset.model, *names, **attributes)
    with CaptureQueriesContext(connection) as captured:
        for row in made.with_relations(queryset).iterator(chunk_size=100):
            made.row(row)
    return len(captured)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("names", "queries"),
    [
        (["name"], 1),
        (["collection__user__username"], 3),
        (["collection", "collection__user", "collection__user__email"], 3),
        (["collection_id"], 1),
        (["collection__user__groups"], 4),
        (["collection__user__groups__name", "collection__user__groups"], 4),
    ],
)
def test_related_objects_are_fetched_once_for_many_rows(names: list[str], queries: int) -> None:
    DownloadFactory.create_batch(5)
    assert queries_for(names, Download.objects.all()) == queries


@pytest.mark.django_db
def test_an_object_fetched_by_a_join_is_not_fetched_again() -> None:
    OrderFactory.create_batch(3)
    joined = Order.objects.select_related("customer")
    assert queries_for(["customer", "customer__name"], joined) == 1
    # The join fetches the collection, but not its user, which may be None.
    downloads = Download.objects.select_related("collection")
    DownloadFactory.create_batch(3)
    assert queries_for(["collection__user__email"], downloads) == 2


@pytest.mark.django_db
def test_the_reverse_of_a_one_to_one_relation_is_fetched_as_a_relation() -> None:
    DownloadCollectionFactory.create_batch(3)
    users = get_user_model().objects.all()
    assert queries_for(["username", "download_collection__key"], users) == 2


@pytest.mark.parametrize("name", ["groups", "groups__name"])
def test_several_objects_are_fetched_once_for_many_rows(people: list[Any], name: str) -> None:
    users = get_user_model().objects.all()
    assert queries_for(["username", name], users) == 2
    assert queries_for([name], users.prefetch_related("groups")) == 2
    ordered = Prefetch("groups", Group.objects.order_by("name"))
    assert queries_for([name], users.prefetch_related(ordered)) == 2
    made = columns(get_user_model(), name)
    (row, _) = (made.row(each) for each in users.order_by("pk").prefetch_related(ordered))
    assert row == ["<b>, ant, or so, zebra"]


def test_reverse_relations_are_fetched_once_for_many_rows(people: list[Any]) -> None:
    assert queries_for(["name", "user_set", "user__email"], Group.objects.all()) == 2


@pytest.mark.django_db
def test_a_field_with_the_name_of_an_admin_attribute_is_a_column() -> None:
    OrderFactory.create_batch(3)
    assert queries_for(["customer"], Order.objects.all(), customer=None) == 2


@pytest.mark.django_db
def test_the_key_of_a_deleted_row_is_an_empty_cell() -> None:
    assert order_cell("customer", Order(customer_id=999)) is None
    assert order_cell("customer__name", Order(customer_id=999)) is None


@pytest.mark.django_db
def test_a_method_with_the_name_of_a_relation_fetches_nothing() -> None:
    OrderFactory.create_batch(3)
    named = {"customer__name": lambda self, order: "mine"}
    assert queries_for(["customer__name"], Order.objects.all(), **named) == 1


@isolate_apps("tests.shop")
def test_generic_relations_are_fetched_once_for_many_rows(transactional_db: None) -> None:
    class Note(models.Model):  # noqa: DJ008 (not shown as text)
        content_type = models.ForeignKey(ContentType, on_delete=models.CASCADE)
        object_id = models.PositiveIntegerField()
        about = GenericForeignKey()

        class Meta:
            app_label = "shop"

    with connection.schema_editor() as editor:
        editor.create_model(Note)
    try:
        people = UserFactory.create_batch(3)
        for about in [*people, *CustomerFactory.create_batch(3)]:
            Note.objects.create(about=about)
        # The notes, the types, and the objects of each type.
        assert queries_for(["about"], Note.objects.all()) <= 5
        assert columns(Note, "about").row(Note.objects.first()) == [people[0].username]
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(Note)
