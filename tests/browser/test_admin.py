"""The look and the accessibility of the package's pages in the admin."""

import random
import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Page, ViewportSize, expect

from async_downloads import cache, store
from async_downloads.models import Download
from tests import services
from tests.browser.conftest import PICTURES, SHOTS, assert_accessible, take_picture
from tests.factories import DownloadCollectionFactory, DownloadFactory, UserFactory
from tests.staff import COLLECTIONS, LIST, detail

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_cache")]

WIDTHS = (1280, 768)

TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/warehouse/exports.py", line 48, in stock_audit
    levels = warehouse.levels(product.sku, timeout=30)
  File "/srv/shop/warehouse/client.py", line 112, in levels
    raise WarehouseTimeout(f"no answer for {sku} after {timeout} s")
warehouse.client.WarehouseTimeout: no answer for SKU-004711 after 30 s
"""

NAMES = (
    *("All orders 2026-11", "Customers", "Open invoices", "Stock audit", "Returns by region"),
    *("Newsletter recipients, Germany, Austria and Switzerland, with the date of consent",),
    "Umsätze_nach_Kostenstelle_und_Monat_mit_Vorjahresvergleich_endgültige_Fassung.csv",
)


@pytest.fixture
def shop(user: Any) -> None:
    """Create some users, and downloads in every state."""
    user.is_staff = user.is_superuser = True
    user.save()
    people = [
        DownloadCollectionFactory(user__username=name)
        for name in ("marie.curie", "emmy.noether", "lise.meitner@physics.example.org", "hedy")
    ]
    people.append(DownloadCollectionFactory(user=None, label="Nightly reports"))
    other = UserFactory(username="rosalind")
    chance = random.Random(7)
    now = timezone.now()
    for number in range(240):
        state = chance.choices(("complete", "failed", "running", ""), (90, 7, 1, 1))[0]
        rows = chance.randrange(20, 400_000)
        requested = now - timedelta(minutes=4 * number + chance.randrange(4))
        made = {
            "collection": chance.choice(people),
            "name": chance.choice(NAMES),
            "timestamp": requested,
            "heard_at": requested,
            "expires_at": requested + timedelta(days=1),
            **({state: True} if state else {}),
        }
        if state == "complete":
            fetched = chance.randrange(3)
            made |= {"size": rows * 73, "rows_written": rows, "fetch_count": fetched}
            made |= {"stored": False, "fetched_by": other if fetched else None}
        DownloadFactory(**made)
    fresh = {"heard_at": now, "collection": people[0], "timestamp": now - timedelta(seconds=40)}
    DownloadFactory(**fresh, running=True, name="All orders 2026-11", percentage=62)
    DownloadFactory(
        **fresh, running=True, name="Customers", rows_written=41_300, rows_expected=120_000
    )
    DownloadFactory(**fresh, name="Open invoices")
    DownloadFactory(
        **{**fresh, "heard_at": now - timedelta(hours=1)},
        running=True,
        name="Returns by region",
        percentage=15,
    )
    DownloadFactory(
        **fresh,
        failed=True,
        name="Stock audit",
        attempts=3,
        errors="Something went wrong while creating the file. Please request it again.",
        error_detail=TRACEBACK,
    )


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest, page: Page) -> str:
    page.emulate_media(color_scheme=request.param)
    return str(request.param)


def check_look(page: Page, name: str, selector: str) -> None:
    """Take screenshots, and check the accessibility of the package's part of the page."""
    for width in WIDTHS:
        page.set_viewport_size(ViewportSize(width=width, height=900))
        take_picture(page, SHOTS / f"admin-{name}-{width}.png")
    page.set_viewport_size(ViewportSize(width=1280, height=900))
    if services.available("front-end"):
        assert_accessible(page, selector)


@pytest.mark.pictures
@pytest.mark.usefixtures("shop")
def test_each_page_is_readable_in_both_schemes(page: Page, live_server: Any, scheme: str) -> None:
    page.goto(live_server.url + LIST)
    expect(page.locator("#async-downloads-counts")).to_contain_text("Complete")
    check_look(page, f"list-{scheme}", "#changelist-form")
    if scheme == "light":
        page.set_viewport_size(ViewportSize(width=1280, height=760))
        take_picture(page, PICTURES / "admin.png")
    page.goto(live_server.url + detail(Download.objects.get(error_detail=TRACEBACK)))
    check_look(page, f"detail-{scheme}", "#content-main")
    page.goto(live_server.url + COLLECTIONS)
    check_look(page, f"collections-{scheme}", "#changelist-form")
    for action in ("cancel", "extend_expiry"):
        page.goto(live_server.url + LIST)
        page.locator("#action-toggle").check()
        page.locator(".actions select").select_option(action)
        page.locator(".actions button[type=submit]").click()
        check_look(page, f"{action}-{scheme}", ".async-downloads-confirm")


@pytest.mark.usefixtures("shop")
def test_a_confirmation_page_leads_back_to_the_list_with_its_filters(
    page: Page, live_server: Any
) -> None:
    page.goto(f"{live_server.url}{LIST}?state__exact=failed")
    page.locator("#action-toggle").check()
    page.locator(".actions select").select_option("hold")
    page.locator(".actions button[type=submit]").click()
    expect(page.locator(".async-downloads-confirm")).to_be_visible()
    crumbs = page.locator(".breadcrumbs")
    expect(crumbs).to_have_text(re.compile(r"Home\s+› Downloads\s+› Downloads\s+› Hold downloads"))
    crumbs.get_by_role("link").last.click()
    expect(page).to_have_url(f"{live_server.url}{LIST}?state__exact=failed")


def test_progress_is_shown_without_a_reload(page: Page, live_server: Any, user: Any) -> None:
    user.is_staff = user.is_superuser = True
    user.save()
    _, key = cache.init_download(user, "orders.csv")
    page.goto(live_server.url + LIST)
    row = page.locator("#result_list tbody tr")
    expect(row).to_contain_text("Waiting")
    cache.set_percentage(key, 42)
    expect(row).to_contain_text("42%")
    cache.save_download(key, [["R1"], ["R2"]])
    expect(row).to_contain_text("Complete")
    expect(row).to_contain_text("2 rows")
    expect(row).to_contain_text("6 bytes")
    # The polling has ended.
    expect(page.locator("#async-downloads-live[hx-get]")).to_have_count(0)


def test_the_polling_stops_when_the_session_ends(page: Page, live_server: Any, user: Any) -> None:
    user.is_staff = user.is_superuser = True
    user.save()
    DownloadFactory(running=True)
    page.goto(live_server.url + LIST)
    expect(page.locator("#async-downloads-counts")).to_be_visible()
    page.context.clear_cookies()
    expect(page.locator("#async-downloads-live")).to_have_count(0)
    expect(page.locator("#id_username")).to_have_count(0)
    expect(page.locator("#result_list tbody tr")).to_have_count(1)


def test_the_ledger_is_read_filtered_and_searched(
    page: Page, live_server: Any, scheme: str, user: Any, other_user: Any, settings: Any
) -> None:
    settings.ASYNC_DOWNLOADS_AUDIT = True
    user.is_staff = user.is_superuser = True
    user.save()
    for owner, name in ((user, NAMES[-1]), (other_user, "Customers")):
        download = DownloadFactory(collection__user=owner, complete=True, name=name, filename=name)
        store.write_fetch_record(download, owner, "192.0.2.0/24")
    page.goto(live_server.url + "/admin/")
    page.get_by_role("link", name="Fetch records", exact=True).click()
    rows = page.locator("#result_list tbody tr")
    expect(rows).to_have_count(2)
    check_look(page, f"ledger-{scheme}", "#changelist-form")
    page.get_by_label("Part of the user’s name").fill("grace")
    page.get_by_role("button", name="Filter").click()
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("Customers")
    page.get_by_role("link", name="All users").click()
    expect(rows).to_have_count(2)
    page.locator("#searchbar").fill("endgültige")
    page.get_by_role("button", name="Search").click()
    expect(rows).to_have_count(1)
    rows.get_by_role("link").click()
    expect(page.locator("#content-main")).to_contain_text("192.0.2.0/24")
    expect(page.locator("#content-main input[type=submit]")).to_have_count(0)
