"""The page before an export of the admin: from a filtered list to a workbook, in a real browser."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session
from openpyxl import load_workbook
from playwright.sync_api import Browser, Locator, Page, Route, ViewportSize, expect

from async_downloads.models import Download, ExportPreset
from tests import queues, services
from tests.browser.conftest import (
    PICTURES,
    SHOTS,
    OpenPage,
    assert_accessible,
    new_context,
    new_page,
    take_picture,
)
from tests.docs.helpers import content
from tests.factories import CustomerFactory, OrderFactory, UserFactory
from tests.shop.admin import OrderAdmin
from tests.shop.models import Order
from tests.shop.views import STRICT_CSP
from tests.staff import client_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_cache")]

LIST = "/admin/shop/order/"
PAGE = f"{LIST}export-in-background/"
FORM = "#async-downloads-export"

ORDERS = 4000


@pytest.fixture(autouse=True)
def further_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OrderAdmin, "export_fields", ["*", "customer__name"])


@pytest.fixture
def orders() -> None:
    customers = [CustomerFactory(name=name) for name in ("Ada", "Blaise")]
    Order.objects.bulk_create(
        Order(
            reference=f"R{number:05}",
            customer=customers[number % 2],
            total=f"{number}.50",
            status=("open", "shipped")[number % 4 == 0],
        )
        for number in range(ORDERS)
    )


def staff(*permissions: str) -> Any:
    person = UserFactory(is_staff=True)
    codes = ["view_order", *permissions]
    person.user_permissions.set(Permission.objects.filter(codename__in=codes))
    return person


def items(page: Page) -> Locator:
    return page.locator(f"{FORM} li:has([name=order])")


def labels(page: Page) -> list[str]:
    return [text.strip() for text in items(page).locator("label").all_text_contents()]


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def tick(page: Page, *names: str) -> None:
    for name in names:
        page.get_by_role("checkbox", name=name, exact=True).check()


@pytest.mark.usefixtures("orders")
def test_from_a_filtered_list_to_a_workbook_and_its_preset_on_another_day(
    open_page: OpenPage, live_server: Any, tmp_path: Any
) -> None:
    person = staff("view_customer", "add_exportpreset")
    page, errors = open_page(person)
    page.goto(live_server.url + LIST)
    page.get_by_role("link", name="shipped").click()
    page.get_by_role("link", name="Export all matching…").click()
    rows = page.locator(".async-downloads-rows")
    expect(rows).to_have_text("1,000 orders: all that match the filters of the list")
    expect(page.get_by_text("Status: shipped")).to_be_visible()
    crumb = page.locator(".breadcrumbs").get_by_role("link", name="Orders")
    assert (crumb.get_attribute("href") or "").endswith(f"{LIST}?status=shipped")
    page.get_by_label("Format").select_option(label="Excel workbook (.xlsx)")
    button(page, "Tick none").click()
    tick(page, "Reference", "Total", "Status", "Customer name", "Still open")
    for _ in range(6):
        button(page, "Move Customer name up").press("Enter")
    expect(page.get_by_role("status")).to_have_text("Customer name: place 1 of 7")
    page.get_by_label("Keep as a preset").fill("For the bookkeepers")
    page.get_by_role("button", name="Export", exact=True).click()
    expect(page.get_by_text("The export has been requested.")).to_be_visible()
    queues.run_waiting()
    page.get_by_role("link", name="Your downloads").click()
    with page.expect_download() as fetched:
        page.locator("a.download-name").click()
    path = tmp_path / fetched.value.suggested_filename
    fetched.value.save_as(path)
    assert path.suffix == ".xlsx"
    with closing(load_workbook(path, read_only=True)) as book:
        header, *values = book.active.values
    assert header == ("Customer name", "Reference", "Total", "Still open", "Status")
    assert len(values) == ORDERS // 4
    assert values[1] == ("Ada", "R00004", 4.5, False, "shipped")
    assert errors == []
    # Another day: the session has ended, and a colleague may not save presets.
    Session.objects.all().delete()
    again, _ = open_page(person)
    again.goto(live_server.url + PAGE)
    assert labels(again)[:2] == ["Customer name", "Reference"]
    expect(again.get_by_label("Format")).to_have_value("xlsx")
    other, errors = open_page(staff("view_customer"))
    other.goto(live_server.url + PAGE)
    assert labels(other)[0] == "Reference"
    expect(other.get_by_label("Keep as a preset")).to_have_count(0)
    other.get_by_label("Preset").select_option("For the bookkeepers")
    button(other, "Use").click()
    expect(other.get_by_label("Format")).to_have_value("xlsx")
    assert labels(other)[:5] == list(header)
    expect(other.locator(f"{FORM} [name=columns]:checked")).to_have_count(5)
    assert errors == []


def test_a_column_of_a_model_that_staff_may_not_see_cannot_be_forced(
    open_page: OpenPage, live_server: Any
) -> None:
    OrderFactory()
    page, _ = open_page(staff())
    page.goto(live_server.url + PAGE)
    expect(items(page)).to_have_count(6)
    assert "Customer name" not in labels(page)
    page.evaluate("document.querySelector('[name=columns]').value = 'customer__name'")
    button(page, "Export").click()
    expect(page.locator(".errorlist")).to_contain_text("customer__name is not one of the available")
    assert not Download.objects.exists()


@pytest.fixture
def plain_page(browser: Browser, live_server: Any) -> Iterator[Page]:
    """Return a page without JavaScript, of staff who may see everything."""
    with new_context(browser, java_script_enabled=False) as context:
        client = client_of(UserFactory(is_staff=True, is_superuser=True))
        yield new_page(context, live_server.url, client, [])


def test_without_a_script_each_button_works_too(plain_page: Page, live_server: Any) -> None:
    page = plain_page
    for reference in ("R1", "R2"):
        OrderFactory(reference=reference)
    page.goto(live_server.url + LIST)
    page.locator("[name=_selected_action]").first.check()
    page.locator("[name=action]").select_option("export_in_background")
    button(page, "Run" if page.get_by_text("Run", exact=True).count() else "Go").click()
    expect(page.locator(".async-downloads-rows")).to_contain_text("1 order: those that are ticked")
    button(page, "Tick none").click()
    expect(page.locator(f"{FORM} [name=columns]:checked")).to_have_count(0)
    tick(page, "Reference", "Status")
    button(page, "Move Reference down").click()
    assert labels(page)[:2] == ["Customer", "Reference"]
    expect(button(page, "Move Reference down")).to_be_focused()
    button(page, "Export").click()
    queues.run_waiting()
    download = Download.objects.get()
    assert download.rows_written == 1
    assert content(download) == "Reference,Status\nR1,open\n"


def test_the_enter_key_exports(open_page: OpenPage, live_server: Any) -> None:
    page, errors = open_page(staff())
    page.goto(live_server.url + PAGE)
    page.get_by_role("checkbox", name="Total").press("Enter")
    expect(page.get_by_text("The export has been requested.")).to_be_visible()
    assert errors == []


def test_a_column_is_dragged_to_its_place(open_page: OpenPage, live_server: Any) -> None:
    page, errors = open_page(staff())
    page.goto(live_server.url + PAGE)
    assert labels(page)[:3] == ["Reference", "Customer", "Total"]
    items(page).nth(2).drag_to(items(page).nth(0), target_position={"x": 200, "y": 2})
    assert labels(page)[:3] == ["Total", "Reference", "Customer"]
    expect(page.get_by_role("status")).to_have_text("Total: place 1 of 6")
    assert errors == []


def with_strict_policy(route: Route) -> None:
    response = route.fetch()
    headers = {**response.headers, "content-security-policy": STRICT_CSP}
    route.fulfill(response=response, headers=headers)


@pytest.mark.pictures
@pytest.mark.parametrize("language", ["en", "he"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible_under_a_strict_policy(
    open_page: OpenPage, live_server: Any, settings: Any, scheme: Any, language: str
) -> None:
    settings.LANGUAGE_CODE = language
    OrderFactory.create_batch(12, status="shipped")
    ExportPreset.objects.create(
        changelist="admin:shop.order",
        name="For the bookkeepers",
        choices={"columns": ["reference", "total"], "format": "xlsx"},
    )
    page, errors = open_page(UserFactory(is_staff=True, is_superuser=True))
    page.emulate_media(color_scheme=scheme)
    page.route("**/export-in-background/**", with_strict_policy)
    page.goto(f"{live_server.url}{PAGE}?status=shipped&q=R")
    button(page, page.locator("[name=_none]").inner_text()).click()
    expect(page.locator(f"{FORM} [name=columns]:checked")).to_have_count(0)
    page.locator("[name=_all]").click()
    for width in (1280, 400):
        page.set_viewport_size(ViewportSize(width=width, height=1100))
        take_picture(page, SHOTS / f"export-{language}-{scheme}-{width}.png")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    if (language, scheme) == ("en", "light"):
        page.set_viewport_size(ViewportSize(width=1280, height=1070))
        take_picture(page, PICTURES / "export.png")
    assert errors == []
    # axe sets styles, which the policy blocks.
    if services.available("front-end"):
        assert_accessible(page, FORM)
