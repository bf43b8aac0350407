"""The page before an export: what it offers, what it keeps, and what it starts."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from html import unescape
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.contrib.sessions.models import Session
from django.core.exceptions import BadRequest
from django.core.paginator import Paginator
from django.db import OperationalError, connection, models
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext, isolate_apps
from django.utils import timezone, translation

from async_downloads.exports import ExportInBackgroundMixin
from async_downloads.exports import offers as offers_module
from async_downloads.exports.offers import expanded, offered_columns
from async_downloads.exports.page import posted_keys
from async_downloads.formats import Format, registry
from async_downloads.models import Download, ExportPreset, LastExport
from tests import jobs
from tests.factories import CustomerFactory, OrderFactory, UserFactory
from tests.shop.models import Customer, Order
from tests.staff import client_of, messages_of, staff_with, text

pytestmark = [
    pytest.mark.any_database,
    pytest.mark.django_db,
    pytest.mark.usefixtures("queue"),
]

LIST = "/admin/shop/order/"
PAGE = "/admin/shop/order/export-in-background/"
LISTED = ["reference", "customer", "total", "is_open"]
FURTHER = ["status", "customer__name", lambda order: order.reference.lower()]

#: What the page posts if a person presses "Export" and changes nothing.
UNCHANGED: dict[str, Any] = {
    "format": "csv",
    "encoding": "utf-8",
    "order": LISTED,
    "columns": LISTED,
}


@pytest.fixture
def client(client: Client, staff_user: Any) -> Client:
    client.force_login(staff_user)
    return client


def queued() -> dict[str, Any]:
    """Return the selection that the only queued task received."""
    ((arguments, _),) = jobs.Backend.enqueued
    selection: dict[str, Any] = arguments[1]
    assert json.loads(json.dumps(selection)) == selection
    return selection


def form_of(response: Any) -> Any:
    assert response.status_code == 200
    return response.context["form"]


def labels(response: Any) -> list[str]:
    return [row["label"] for row in form_of(response).rows]


def keys(response: Any, *, ticked: bool = False) -> list[str]:
    return [row["key"] for row in form_of(response).rows if row["ticked"] or not ticked]


# What it says


def test_the_button_leads_to_the_page_with_the_filters_and_the_order(client: Client) -> None:
    page = text(client, LIST, status__exact="open", q="R", o="-1")
    (link,) = (part for part in page.split('"') if part.startswith(PAGE))
    assert f'<a href="{link}">Export all matching…</a>' in page
    response = client.get(unescape(link))
    assert response.context["filters"] == ["Search: R", "Status: open"]
    assert response.context["list_url"] == LIST + unescape(link).removeprefix(PAGE)


@pytest.mark.parametrize(
    ("query", "rows", "filters"),
    [
        ("", "3 orders: the whole list", []),
        ("status=open", "2 orders: all that match", ["Status: open"]),
        ("status__in=open,shipped", "3 orders: all that match", ["Status in: open,shipped"]),
        ("q=R1", "1 order: all that match", ["Search: R1"]),
        ("customer__exact=0", "0 orders: all that match", ["Customer: 0"]),
    ],
)
def test_the_page_says_which_rows_are_exported(
    client: Client, query: str, rows: str, filters: list[str]
) -> None:
    for reference, status in (("R1", "open"), ("R2", "open"), ("R3", "shipped")):
        OrderFactory(reference=reference, status=status)
    response = client.get(f"{PAGE}?{query}")
    page = response.content.decode()
    count, _, words = rows.partition(": ")
    assert f"<strong>{count}</strong>: {words}" in page
    assert response.context["filters"] == filters


def test_the_page_names_a_related_object_that_is_a_filter(
    client: Client, change_admin: Any
) -> None:
    change_admin(list_filter=["customer"])
    order = OrderFactory(customer__name="Ada & Co")
    OrderFactory()
    page = text(client, PAGE, customer__id__exact=order.customer.pk)
    assert "<strong>1 order</strong>" in page
    assert "<li>Customer: Ada &amp; Co</li>" in page


def test_a_list_with_facets_counts_rows_once(client: Client, change_admin: Any) -> None:
    change_admin(show_facets=admin.ShowFacets.ALWAYS)
    with CaptureQueriesContext(connection) as captured:
        client.get(f"{PAGE}?status=open")
    assert len([query for query in captured if "COUNT(" in query["sql"]]) == 1


@pytest.mark.django_db(transaction=True)
def test_the_action_leads_to_the_page_for_the_ticked_rows(client: Client) -> None:
    first, _, third = OrderFactory.create_batch(3)
    data = {"action": "export_in_background", "_selected_action": [first.pk, third.pk]}
    response = client.post(f"{LIST}?o=-1", data)
    assert keys(response, ticked=True) == LISTED
    assert "<strong>2 orders</strong>: those that are ticked" in response.content.decode()
    assert not Download.objects.exists()
    ticked = response.context["keys"]
    assert sorted(json.loads(ticked)) == sorted([str(first.pk), str(third.pk)])
    assert response.context["url"] == f"{PAGE}?o=-1"
    client.post(f"{PAGE}?o=-1", {**UNCHANGED, "keys": ticked})
    assert queued()["keys"] == json.loads(ticked)


def test_ticked_rows_stay_ticked_if_the_page_is_shown_again(client: Client) -> None:
    orders = OrderFactory.create_batch(2)
    ticked = json.dumps([str(orders[0].pk)])
    response = client.post(PAGE, {**UNCHANGED, "keys": ticked, "_none": "1"})
    assert response.context["keys"] == ticked
    assert "<strong>1 order</strong>" in response.content.decode()


def test_all_pages_are_the_whole_list(client: Client) -> None:
    order, _ = OrderFactory.create_batch(2)
    data = {"action": "export_in_background", "_selected_action": [order.pk], "select_across": "1"}
    response = client.post(LIST, data)
    assert response.context["keys"] is None
    assert "<strong>2 orders</strong>: the whole list" in response.content.decode()


def test_unknown_filters_lead_back_to_the_list(client: Client) -> None:
    response = client.get(f"{PAGE}?no_such=1")
    assert (response.status_code, response.url) == (302, LIST)
    ((level, said),) = messages_of(response)
    assert (level, said.partition(",")[0]) == ("error", "These filters do not exist")


def test_a_date_that_no_calendar_has_leads_back_to_the_list(
    client: Client, change_admin: Any
) -> None:
    change_admin(date_hierarchy="customer__since")
    for query in (f"customer__since__year={'9' * 30}", "customer__since__year=9999"):
        response = client.get(f"{PAGE}?{query}")
        assert (response.status_code, response.url) == (302, LIST)


@pytest.mark.parametrize("query", ["reference__regex=(", "reference__range=R"])
def test_filters_that_the_database_refuses_lead_back_to_the_list(
    client: Client, query: str
) -> None:
    """Django accepts them, and its list fails."""
    OrderFactory()
    response = client.get(f"{PAGE}?{query}")
    assert (response.status_code, response.url) == (302, LIST)


def test_a_database_that_is_away_is_not_taken_for_a_wrong_filter(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count(self: Any) -> int:
        raise OperationalError("connection refused")

    monkeypatch.setattr(Paginator, "count", property(count))
    with pytest.raises(OperationalError, match="connection refused"):
        client.get(PAGE)


@pytest.mark.parametrize(
    "wrong",
    [
        *("", "R1", "null", "1", '{"a": 1}', "[1]", "[" * 100_000),
        *('["R1"]', '[""]', '["1.5"]', '["\\u0000"]', '["\\ud800"]', '["9223372036854775808"]'),
        json.dumps(["1"] * 1001),
    ],
    ids=lambda wrong: wrong[:8],
)
def test_other_keys_than_those_of_the_page_start_nothing(client: Client, wrong: str) -> None:
    for button in ({}, {"_none": "1"}):
        response = client.post(PAGE, {**UNCHANGED, "keys": wrong, **button})
        assert response.status_code == 400
    assert not Download.objects.exists()


@isolate_apps("tests.shop")
def test_the_keys_of_a_model_that_inherits_are_those_of_its_parent(rf: RequestFactory) -> None:
    class Gift(Order):
        class Meta:
            app_label = "shop"

    def keys_of(text: str) -> list[str] | None:
        return posted_keys(rf.post(PAGE, {"keys": text}), Gift)

    assert keys_of('["1"]') == ["1"]
    with pytest.raises(BadRequest, match="primary keys"):
        keys_of('["R1"]')


def test_a_text_key_is_one_that_a_database_can_hold(rf: RequestFactory) -> None:
    for keys, holds in (('["a"]', True), ('["\\u0000"]', False), (f'["{"a" * 41}"]', False)):
        request = rf.post(PAGE, {"keys": keys})
        with nullcontext() if holds else pytest.raises(BadRequest):
            assert posted_keys(request, Session) == ["a"]


# What it offers


def test_the_columns_of_the_list_are_ticked_and_further_ones_are_not(
    client: Client, change_admin: Any
) -> None:
    change_admin(export_fields=FURTHER)
    response = client.get(PAGE)
    assert keys(response) == [*LISTED, "status", "customer__name", "<lambda>"]
    assert keys(response, ticked=True) == LISTED
    assert labels(response)[4:6] == ["Status", "Customer name"]


def test_a_star_stands_for_the_fields_of_a_model(client: Client, change_admin: Any) -> None:
    change_admin(export_fields=["*", "customer__*"])
    assert keys(client.get(PAGE)) == [*LISTED, "id", "status", "customer__id", "customer__name"]


def test_a_further_column_has_the_verbose_names_as_its_heading(rf: Any, staff_user: Any) -> None:
    class GroupAdmin(ExportInBackgroundMixin, admin.ModelAdmin):
        list_display = ["name"]
        export_fields = ["user__username"]

    request = rf.get("/")
    request.user = staff_user
    with translation.override("de"):
        offers = offered_columns(GroupAdmin(Group, admin.site), request)
    assert [offer.label for offer in offers.values()] == ["Name", "Benutzer Benutzername"]


def test_the_hash_of_a_password_is_not_one_of_all_fields(rf: Any, staff_user: Any) -> None:
    class GroupAdmin(ExportInBackgroundMixin, admin.ModelAdmin):
        export_fields = ["user__*"]

    request = rf.get("/")
    request.user = staff_user
    offers = offered_columns(GroupAdmin(Group, admin.site), request)
    assert {"user__username", "user__email"} <= offers.keys()
    assert not [key for key in offers if "password" in key]


def test_so_it_is_with_a_user_model_that_is_not_made_of_djangos(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with isolate_apps("tests.shop"):

        class Person(models.Model):  # noqa: DJ008 (no text of it is shown)
            email = models.EmailField()
            password = models.CharField(max_length=128)

            class Meta:
                app_label = "shop"

    person_admin = admin.ModelAdmin(Person, admin.site)
    assert list(expanded(person_admin, ["*"])) == ["id", "email", "password"]
    monkeypatch.setattr(offers_module, "get_user_model", lambda: Person)
    assert list(expanded(person_admin, ["*"])) == ["id", "email"]


@pytest.mark.parametrize("permission", ["view_customer", "change_customer"])
@pytest.mark.parametrize("registered", [True, False])
def test_a_column_of_a_model_that_a_person_may_not_view_is_not_offered(
    change_admin: Any, monkeypatch: pytest.MonkeyPatch, permission: str, registered: bool
) -> None:
    if not registered:
        monkeypatch.delitem(admin.site._registry, Customer)
    change_admin(list_display=["reference"], export_fields=["customer", "customer__*", "total"])
    assert keys(staff_with("view_order").get(PAGE)) == ["reference", "total"]
    seen = keys(staff_with("view_order", permission).get(PAGE))
    assert seen == ["reference", "customer", "customer__id", "customer__name", "total"]


def test_the_admin_of_the_related_model_decides_who_may_view_it(
    client: Client, change_admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_admin(export_fields=["customer__name"])
    of_customers = admin.site.get_model_admin(Customer)
    assert "customer__name" in keys(client.get(PAGE))
    monkeypatch.setattr(of_customers, "has_view_permission", lambda request, obj=None: False)
    assert keys(client.get(PAGE)) == LISTED


def test_what_the_list_shows_may_be_exported(change_admin: Any) -> None:
    change_admin(list_display=["reference", "customer__name"], export_fields=["customer__id"])
    assert keys(staff_with("view_order").get(PAGE)) == ["reference", "customer__name"]


def test_the_site_may_offer_columns_by_the_request(client: Client, change_admin: Any) -> None:
    def fields(self: Any, request: HttpRequest) -> list[str]:
        return ["status"] if request.user.is_superuser else []

    change_admin(get_export_fields=fields)
    assert "status" in keys(client.get(PAGE))
    assert "status" not in keys(staff_with("view_order").get(PAGE))


def test_each_installed_format_is_offered_once(client: Client) -> None:
    choices = dict(form_of(client.get(PAGE)).fields["format"].choices)
    assert {"csv", "tsv", "jsonl", "xlsx", "zip"} <= choices.keys()
    # The encoding "for Excel" means it.
    assert "csv-excel" not in choices
    assert choices["xlsx"] == "Excel workbook (.xlsx)"


def test_a_format_whose_package_is_missing_is_not_offered(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, needed in (("here", "json"), ("gone", "no_such_module")):
        monkeypatch.setitem(
            registry._formats, name, Format(name, (f".{name}",), "a/b", jobs.export, needed)
        )
    choices = dict(form_of(client.get(PAGE)).fields["format"].choices)
    assert choices["here"] == "here (.here)"
    assert "gone" not in choices
    assert client.post(PAGE, {**UNCHANGED, "format": "gone"}).status_code == 200
    assert not Download.objects.exists()


def test_the_time_zone_is_a_choice_if_that_of_the_page_is_not_utc(client: Client) -> None:
    assert "time_zone" not in client.get(PAGE).content.decode()
    with timezone.override("Europe/Berlin"):
        page = client.get(PAGE).content.decode()
    assert '<option value="site" selected>Europe/Berlin, as on this page</option>' in page


# What it starts


@pytest.mark.django_db(transaction=True)
def test_the_choices_are_queued_and_name_no_rows(client: Client, staff_user: Any) -> None:
    OrderFactory(reference="R1")
    data = {**UNCHANGED, "format": "xlsx", "columns": ["total", "reference"], "time_zone": "utc"}
    with timezone.override("Europe/Berlin"), translation.override("en"):
        response = client.post(f"{PAGE}?q=R&o=-1", data)
    assert (response.status_code, response.url) == (302, f"{LIST}?q=R&o=-1")
    expected = {
        "columns": ["total", "reference"],
        "format": "xlsx",
        "encoding": "utf-8",
        "time_zone": "utc",
    }
    selection = queued()
    assert selection["choices"] == expected
    assert (selection["keys"], selection["query"]) == (None, "q=R&o=-1")
    assert selection["time_zone"] == "UTC"
    download = Download.objects.get()
    assert download.filename.startswith("Orders_20")
    assert download.filename.endswith(".xlsx")
    assert LastExport.objects.get().choices == expected
    assert LastExport.objects.get().user == staff_user


@pytest.mark.parametrize(
    "wrong",
    [
        {"columns": []},
        {"columns": ["reference", "no_such"]},
        {"format": "no_such"},
        {"format": ""},
        {"encoding": "rot13"},
        {"time_zone": "Mars/Olympus"},
    ],
)
def test_choices_that_are_not_offered_start_nothing(client: Client, wrong: dict[str, Any]) -> None:
    with timezone.override("Europe/Berlin"):
        response = client.post(PAGE, {**UNCHANGED, "time_zone": "site", **wrong})
        assert list(form_of(response).errors) == list(wrong)
    assert 'class="errorlist"' in response.content.decode()
    assert not Download.objects.exists()
    assert not LastExport.objects.exists()


def test_a_column_that_is_not_offered_cannot_be_forced(change_admin: Any) -> None:
    change_admin(list_display=["reference"], export_fields=["customer__name"])
    data = {**UNCHANGED, "order": ["customer__name"], "columns": ["reference", "customer__name"]}
    response = staff_with("view_order").post(PAGE, data)
    assert "customer__name is not one of the available choices" in str(form_of(response).errors)
    assert keys(response) == ["reference"]
    assert not Download.objects.exists()
    # With the permission, the same request is an export.
    assert staff_with("view_order", "view_customer").post(PAGE, data).status_code == 302
    assert Download.objects.count() == 1


def test_who_may_not_export_gets_no_page(change_admin: Any) -> None:
    for client in (staff_with("add_order"), staff_with("view_customer")):
        for response in (client.get(PAGE), client.post(PAGE, UNCHANGED)):
            assert response.status_code == 403
    change_admin(has_export_permission=lambda self, request: False)
    assert staff_with("view_order").get(PAGE).status_code == 403
    assert not Download.objects.exists()


# Order, all and none, without a script


@pytest.mark.parametrize(
    ("button", "column", "order"),
    [
        ("_up", "total", ["reference", "total", "customer", "is_open"]),
        ("_down", "total", ["reference", "customer", "is_open", "total"]),
        ("_up", "reference", LISTED),
        ("_down", "is_open", LISTED),
        ("_down", "no_such", LISTED),
    ],
)
def test_a_button_moves_a_column(client: Client, button: str, column: str, order: Any) -> None:
    data = {**UNCHANGED, "columns": ["total"], "format": "xlsx", button: column}
    response = client.post(PAGE, data)
    assert keys(response) == order
    assert keys(response, ticked=True) == ["total"]
    assert form_of(response)["format"].value() == "xlsx"
    assert not Download.objects.exists()


def test_the_focus_stays_on_the_button_that_moved_a_column(client: Client) -> None:
    page = client.post(PAGE, {**UNCHANGED, "_up": "total"}).content.decode()
    assert page.count(" autofocus>") == 1
    assert 'aria-label="Move Total up" autofocus>' in page


def test_all_or_no_columns_are_ticked(client: Client, change_admin: Any) -> None:
    change_admin(export_fields=["status"])
    order = ["status", *LISTED]
    response = client.post(PAGE, {**UNCHANGED, "order": order, "_all": "1"})
    assert keys(response, ticked=True) == order
    assert keys(client.post(PAGE, {**UNCHANGED, "_none": "1"}), ticked=True) == []


def test_a_page_with_an_error_keeps_order_and_ticks(client: Client) -> None:
    order = list(reversed(LISTED))
    data = {**UNCHANGED, "order": order, "columns": ["total"], "format": "no_such"}
    response = client.post(PAGE, data)
    assert (keys(response), keys(response, ticked=True)) == (order, ["total"])


# What is kept


def test_the_last_choices_of_a_person_are_those_that_the_page_begins_with(client: Client) -> None:
    chosen = {**UNCHANGED, "columns": ["total", "reference"], "format": "xlsx"}
    client.post(PAGE, {**UNCHANGED, "columns": ["customer"]})
    client.post(PAGE, chosen)
    response = client.get(PAGE)
    assert keys(response, ticked=True) == ["total", "reference"]
    assert keys(response) == ["total", "reference", "customer", "is_open"]
    assert form_of(response)["format"].value() == "xlsx"
    assert LastExport.objects.count() == 1
    assert keys(staff_with("view_order").get(PAGE), ticked=True) == LISTED


def test_kept_columns_that_are_no_longer_offered_are_left_out(change_admin: Any) -> None:
    change_admin(export_fields=["customer__name"])
    person = UserFactory(is_staff=True)
    codes = ["view_order", "view_customer"]
    person.user_permissions.set(Permission.objects.filter(codename__in=codes))
    chosen = {**UNCHANGED, "columns": ["customer__name", "total"]}
    client_of(person).post(PAGE, chosen)
    assert keys(client_of(person).get(PAGE), ticked=True) == chosen["columns"]
    person.user_permissions.set(Permission.objects.filter(codename="view_order"))
    response = client_of(person).get(PAGE)
    assert keys(response, ticked=True) == ["total"]
    assert "are not available to you, and are left out" in response.content.decode()


PRESET = {"columns": ["total", "reference"], "format": "xlsx", "encoding": "excel"}


def preset(name: str = "Bookkeeping", **values: Any) -> ExportPreset:
    values = {"changelist": "admin:shop.order", "choices": PRESET, **values}
    return ExportPreset.objects.create(name=name, **values)


def test_a_preset_is_saved_and_used_by_others() -> None:
    sharing = staff_with("view_order", "add_exportpreset")
    order = ["total", "reference", "customer", "is_open"]
    data = {**PRESET, "order": order, "preset_name": " Bookkeeping ", "_save": "1"}
    response = sharing.post(PAGE, data)
    assert ("success", "The preset “Bookkeeping” has been saved.") in messages_of(response)
    assert keys(response, ticked=True) == PRESET["columns"]
    assert form_of(response)["preset_name"].value() is None
    saved = ExportPreset.objects.get()
    assert not Download.objects.exists()
    other = staff_with("view_order")
    page = other.get(PAGE)
    assert keys(page, ticked=True) == LISTED
    assert f'<option value="{saved.pk}">Bookkeeping</option>' in page.content.decode()
    used = other.post(PAGE, {**UNCHANGED, "preset": saved.pk, "_use": "1"})
    assert keys(used, ticked=True) == PRESET["columns"]
    assert (form_of(used)["format"].value(), form_of(used)["encoding"].value()) == ("xlsx", "excel")
    assert f'<option value="{saved.pk}" selected>Bookkeeping</option>' in used.content.decode()


def test_a_preset_may_be_saved_with_the_export() -> None:
    sharing = staff_with("view_order", "add_exportpreset")
    assert sharing.post(PAGE, {**UNCHANGED, "preset_name": "A"}).status_code == 302
    assert ExportPreset.objects.get().choices["columns"] == LISTED
    assert Download.objects.count() == 1


def test_only_staff_with_the_permission_save_presets() -> None:
    staff = staff_with("view_order", "view_exportpreset")
    assert "preset_name" not in staff.get(PAGE).content.decode()
    forced = staff.post(PAGE, {**UNCHANGED, "preset_name": "A", "_save": "1"})
    assert forced.status_code == 403
    assert not ExportPreset.objects.exists()


def test_a_preset_is_replaced_only_with_the_permission_to_change_it() -> None:
    preset("A")
    data = {**UNCHANGED, "preset_name": "A", "_save": "1"}
    refused = staff_with("view_order", "add_exportpreset").post(PAGE, data)
    assert list(form_of(refused).errors) == ["preset_name"]
    assert ExportPreset.objects.get().choices == PRESET
    staff_with("view_order", "add_exportpreset", "change_exportpreset").post(PAGE, data)
    assert ExportPreset.objects.get().choices["columns"] == LISTED


@pytest.mark.skipif(connection.vendor == "postgresql", reason="PostgreSQL does not ignore case")
@pytest.mark.django_db(transaction=True)
def test_a_name_that_the_database_takes_for_another_one_is_taken() -> None:
    """MySQL and MariaDB ignore case by default, and so does SQLite here."""
    field = ExportPreset._meta.get_field("name")
    ignoring_case = models.CharField(max_length=100, db_collation="NOCASE")
    ignoring_case.set_attributes_from_name("name")
    ignoring_case.model = ExportPreset
    with altered(field, ignoring_case):
        made = preset("Bookkeeping", choices={**PRESET, "columns": ["total"]})
        data = {**UNCHANGED, "preset_name": "BOOKKEEPING", "_save": "1"}
        refused = staff_with("view_order", "add_exportpreset").post(PAGE, data)
        assert list(form_of(refused).errors) == ["preset_name"]
        made.refresh_from_db()
        assert made.choices["columns"] == ["total"]


@contextmanager
def altered(field: Any, other: Any) -> Iterator[None]:
    """Give a field of presets other options for a while, on SQLite alone."""
    if connection.vendor != "sqlite":
        yield
        return
    with connection.schema_editor() as editor:
        editor.alter_field(ExportPreset, field, other)
    try:
        yield
    finally:
        with connection.schema_editor() as editor:
            editor.alter_field(ExportPreset, other, field)


def test_a_preset_needs_a_name(client: Client) -> None:
    response = client.post(PAGE, {**UNCHANGED, "preset_name": " ", "_save": "1"})
    assert form_of(response).errors == {"preset_name": ["A preset needs a name."]}
    assert not ExportPreset.objects.exists()


def test_presets_are_those_of_the_list(client: Client) -> None:
    other = preset(changelist="backstage:shop.order")
    assert "Bookkeeping" not in client.get(PAGE).content.decode()
    used = client.post(PAGE, {**UNCHANGED, "preset": other.pk, "_use": "1"})
    assert keys(used, ticked=True) == LISTED


def test_a_preset_of_columns_that_a_person_may_not_see_shows_the_others(change_admin: Any) -> None:
    change_admin(export_fields=["customer__name"])
    made = preset(choices={**PRESET, "columns": ["customer__name", "total"]})
    used = staff_with("view_order").post(PAGE, {**UNCHANGED, "preset": made.pk, "_use": "1"})
    assert keys(used, ticked=True) == ["total"]
    assert "are not available to you" in used.content.decode()


# Costs


@pytest.mark.parametrize("rows", [2, 60])
@pytest.mark.django_db(transaction=True)
def test_the_page_counts_the_rows_once_and_reads_none(
    client: Client, change_admin: Any, rows: int
) -> None:
    change_admin(export_fields=["*", "customer__*"])
    OrderFactory.create_batch(rows, customer=CustomerFactory())
    for number in range(rows):
        preset(str(number))
    with CaptureQueriesContext(connection) as captured:
        client.get(f"{PAGE}?q=R")
    tables = ["django_session", "auth_user", "last", "exportpreset", "shop_order"]
    assert len(captured) == len(tables)
    (of_orders,) = [query["sql"] for query in captured if "shop_order" in query["sql"]]
    assert "COUNT(" in of_orders


@pytest.mark.django_db(transaction=True)
def test_a_start_neither_counts_nor_reads_rows(client: Client) -> None:
    OrderFactory.create_batch(3)
    with CaptureQueriesContext(connection) as captured:
        client.post(PAGE, UNCHANGED)
    assert Download.objects.exists()
    assert not [query for query in captured if "shop_order" in query["sql"]]
