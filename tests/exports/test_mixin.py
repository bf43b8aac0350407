"""A ModelAdmin with exports: its list, and the start of an export by one click."""

import json
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.contrib import admin
from django.db import connection
from django.http import HttpRequest
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.utils import timezone, translation

from async_downloads.exports import ExportInBackgroundMixin
from async_downloads.models import Download
from tests import jobs
from tests.factories import OrderFactory
from tests.shop.models import Order
from tests.staff import messages_of, staff_with

pytestmark = [pytest.mark.any_database, pytest.mark.usefixtures("one_click", "queue")]

LIST = "/admin/shop/order/"
EXPORT = "/admin/shop/order/export-in-background/"
BUTTON = "Export all matching as CSV"


@pytest.fixture
def client(client: Client, staff_user: Any) -> Client:
    client.force_login(staff_user)
    return client


def queued_selection() -> dict[str, Any]:
    """Return the selection that the only queued task received."""
    ((arguments, _),) = jobs.Backend.enqueued
    key, selection = arguments
    assert Download.objects.get().download_key == key
    assert json.loads(json.dumps(selection)) == selection
    queued: dict[str, Any] = selection
    return queued


def tick(client: Client, *orders: Order, query: str = "", **data: Any) -> Any:
    ticked = {"_selected_action": [order.pk for order in orders]}
    return client.post(LIST + query, {"action": "export_in_background", **ticked, **data})


# The page


def test_the_list_has_a_button_and_an_action(client: Client) -> None:
    OrderFactory()
    page = client.get(LIST).content.decode()
    assert BUTTON in page
    assert "Add order" in page
    assert "css/async_downloads_export.css" in page
    assert '<option value="export_in_background">Export selected orders in the' in page


def test_the_button_posts_the_filters_the_search_and_the_order(client: Client) -> None:
    OrderFactory.create_batch(3, status="open")
    page = client.get(LIST, {"status__exact": "open", "q": "R", "o": "-3.1", "p": "1"})
    (action,) = (part for part in page.content.decode().split('"') if part.startswith(EXPORT))
    query = dict(parse_qsl(urlsplit(unescape(action)).query))
    assert query == {"status__exact": "open", "q": "R", "o": "-3.1"}


def test_the_template_of_the_site_is_kept(client: Client, change_admin: Any) -> None:
    change_admin(change_list_template="shop_orders.html")
    page = client.get(LIST).content.decode()
    assert "Orders of the shop" in page
    assert BUTTON in page


def test_a_popup_has_no_button(client: Client) -> None:
    assert BUTTON not in client.get(LIST, {"_popup": "1"}).content.decode()


def test_other_pages_are_unchanged(client: Client) -> None:
    # A redirect, and the confirmation page of a deletion.
    assert client.get(LIST, {"no_such": "1"}).status_code == 302
    order = OrderFactory()
    question = client.post(LIST, {"action": "delete_selected", "_selected_action": [order.pk]})
    assert BUTTON not in question.content.decode()
    assert "Are you sure" in question.content.decode()


def test_staff_who_may_not_export_see_no_button_and_no_action(
    client: Client, change_admin: Any
) -> None:
    change_admin(has_export_permission=lambda self, request: False)
    OrderFactory()
    page = client.get(LIST).content.decode()
    assert BUTTON not in page
    assert "export_in_background" not in page


@pytest.mark.parametrize("actions", [None, [], ["export_in_background"], ["mine"]])
def test_the_actions_of_the_site_are_kept(actions: Any) -> None:
    attributes = {"actions": actions, "mine": lambda self, request, queryset: None}
    kind: Any = type("SomeAdmin", (ExportInBackgroundMixin, admin.ModelAdmin), attributes)
    made = kind(Order, admin.AdminSite())
    assert made.check() == []
    if actions is None:
        assert made.actions is None
    else:
        assert made.actions == [*(name for name in actions if name == "mine"), made.actions[-1]]
        assert made.actions[-1] == "export_in_background"
    assert kind.actions == actions


def test_the_wrong_order_of_base_classes_is_an_error() -> None:
    with pytest.raises(TypeError, match="must come before the ModelAdmin"):
        type("SomeAdmin", (admin.ModelAdmin, ExportInBackgroundMixin), {})


# Starting


@pytest.mark.django_db(transaction=True)
def test_the_button_starts_an_export_of_all_matching_rows(client: Client, staff_user: Any) -> None:
    OrderFactory(reference="R1")
    response = client.post(f"{EXPORT}?status__exact=open&o=-1&q=R&p=3&_facets=True&e=1&all=")
    assert (response.status_code, response.url) == (
        302,
        f"{LIST}?status__exact=open&o=-1&q=R&p=3&_facets=True&e=1&all=",
    )
    selection = queued_selection()
    assert dict(parse_qsl(selection["query"])) == {"status__exact": "open", "o": "-1", "q": "R"}
    assert selection["keys"] is None
    assert selection["user"] == str(staff_user.pk)
    download = Download.objects.get()
    assert download.collection.user == staff_user
    assert download.name.startswith("Orders 20")
    assert download.filename.startswith("Orders_20")


@pytest.mark.django_db(transaction=True)
def test_the_message_links_to_the_downloads(client: Client) -> None:
    response = client.post(EXPORT, follow=True)
    page = response.content.decode()
    link = '<a href="/async_downloads/list/">Your downloads</a>'
    assert f'<li class="success">The export has been requested. {link}</li>' in page


@pytest.mark.django_db(transaction=True)
def test_the_action_starts_an_export_of_the_ticked_rows(client: Client) -> None:
    first, _, third = OrderFactory.create_batch(3)
    response = tick(client, first, third, query="?o=-1")
    assert (response.status_code, response.url) == (302, f"{LIST}?o=-1")
    assert sorted(queued_selection()["keys"]) == sorted([str(first.pk), str(third.pk)])
    assert queued_selection()["query"] == "o=-1"


@pytest.mark.django_db(transaction=True)
def test_the_action_on_all_pages_is_the_same_as_the_button(client: Client) -> None:
    order, _ = OrderFactory.create_batch(2)
    tick(client, order, query="?q=R", select_across="1")
    assert (queued_selection()["keys"], queued_selection()["query"]) == (None, "q=R")


@pytest.mark.django_db(transaction=True)
def test_the_task_receives_language_and_time_zone_of_the_page(client: Client) -> None:
    with translation.override("de"), timezone.override("Europe/Berlin"):
        client.post(EXPORT, secure=True)
    assert (queued_selection()["language"], queued_selection()["time_zone"]) == (
        "de",
        "Europe/Berlin",
    )
    assert (queued_selection()["host"], queued_selection()["secure"]) == ("testserver", True)


@pytest.mark.django_db(transaction=True)
def test_above_the_limit_a_message_says_so(client: Client, settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ACTIVE = 1
    assert [level for level, _ in messages_of(client.post(EXPORT))] == ["success"]
    *_, (level, text) = messages_of(client.post(EXPORT))
    assert level == "error"
    assert text.startswith("You have 1 download in progress.")
    assert Download.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_unknown_filters_start_nothing(client: Client) -> None:
    ((level, text),) = messages_of(client.post(f"{EXPORT}?no_such=1"))
    assert (level, text) == (
        "error",
        "These filters do not exist, so nothing was exported. Choose them again.",
    )
    assert client.post(f"{EXPORT}?customer__name__startswith=A").status_code == 400
    assert not Download.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "wrong",
    [
        {"list_display": ["no_such_column"]},
        {"export_resource_class": "no resource"},
        {"restore_export_state": lambda self, request, state: {}["tenant"]},
        {"export_task": "no.such.task"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_misconfigured_export_fails_before_anything_is_written(
    client: Client, change_admin: Any, wrong: dict[str, Any]
) -> None:
    change_admin(**wrong)
    with pytest.raises((AttributeError, TypeError, LookupError, ImportError)):
        client.post(EXPORT)
    assert not Download.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_without_the_urls_of_the_downloads_the_message_has_no_link(
    client: Client, settings: Any
) -> None:
    settings.ROOT_URLCONF = type("urls", (), {"urlpatterns": [path("admin/", admin.site.urls)]})
    assert messages_of(client.post(EXPORT)) == [("success", "The export has been requested.")]


@pytest.mark.django_db(transaction=True)
def test_the_state_of_the_site_is_sent_to_the_worker(client: Client, change_admin: Any) -> None:
    def state(self: Any, request: HttpRequest) -> dict[str, Any]:
        return {"tenant": request.GET["q"]}

    change_admin(get_export_state=state)
    client.post(f"{EXPORT}?q=R")
    assert queued_selection()["state"] == {"tenant": "R"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("count", [2, 60])
def test_starting_an_export_costs_the_same_for_any_number_of_rows(
    client: Client, count: int
) -> None:
    OrderFactory.create_batch(count)
    with CaptureQueriesContext(connection) as captured:
        client.post(f"{EXPORT}?q=R")
    # No row is read, and rows are not counted.
    assert not [query for query in captured if "shop_order" in query["sql"]]


# Permissions


@pytest.mark.django_db
@pytest.mark.parametrize("permission", ["view_order", "change_order"])
def test_staff_who_may_see_the_list_may_export_it(permission: str) -> None:
    client = staff_with(permission)
    assert BUTTON in client.get(LIST).content.decode()
    assert client.post(EXPORT).status_code == 302
    assert Download.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("permission", ["add_order", "view_customer", "view_download"])
def test_staff_who_may_not_see_the_list_may_not_export_it(permission: str) -> None:
    client = staff_with(permission)
    assert client.post(EXPORT).status_code == 403
    assert not Download.objects.exists()


@pytest.mark.django_db
def test_the_site_may_restrict_exports(change_admin: Any) -> None:
    change_admin(
        has_export_permission=lambda self, request: request.user.has_perm("shop.add_order")
    )
    order = OrderFactory()
    for client, started in (
        (staff_with("view_order"), 0),
        (staff_with("add_order"), 0),
        (staff_with("view_order", "add_order"), 1),
    ):
        Download.objects.all().delete()
        assert client.post(EXPORT).status_code == (302 if started else 403)
        assert Download.objects.count() == started
        tick(client, order)
        assert Download.objects.count() == 2 * started
