"""A person exports, watches, fetches and clears: the demo, a real cluster, a real browser.

The test also takes the pictures of the download centre for the README and the documentation.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests import pace
from tests.browser.conftest import PICTURES, take_picture

ROOT = Path(__file__).parents[2]

#: In milliseconds, the unit of Playwright.
LONGEST_WAIT = pace.LONGEST_WAIT * 1000


#: The size of a picture: of a desk's window, and of a phone's.
DESK: Final = ViewportSize(width=1120, height=640)
PHONE: Final = ViewportSize(width=390, height=700)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[str]:
    """Start the demo, and return its address."""
    environment = {
        **os.environ,
        "DEMO_REPORT_SECONDS": str(pace.stretched(20)),
        "DEMO_VAR": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    with subprocess.Popen(
        [sys.executable, "-m", "demo", "--port", "8765"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        output = ""
        for line in demo.stdout:
            output += line
            if match := re.search(r"open at (http://\S+)", line):
                yield match[1]
                break
        else:
            pytest.fail(f"The demo did not start: {output}")
        demo.send_signal(signal.SIGINT)
        demo.stdout.read()
        assert demo.wait(timeout=pace.LONGEST_WAIT) == 0


@pytest.fixture
def visitor(browser: Browser, shop: str) -> Iterator[Page]:
    """Return a page of a browser that shows the sign-in form."""
    context = browser.new_context(viewport=DESK, device_scale_factor=2)
    page = context.new_page()
    page.goto(shop)
    yield page
    context.close()


def take_pictures(page: Page) -> None:
    """Take the pictures of the open menu: light, dark, and on a phone."""
    PICTURES.mkdir(exist_ok=True)
    page.evaluate("window.scrollTo(0, 0)")
    take_picture(page, PICTURES / "download-centre.png")
    page.emulate_media(color_scheme="dark")
    take_picture(page, PICTURES / "download-centre-dark.png")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(PHONE)
    take_picture(page, PICTURES / "phone.png")
    page.set_viewport_size(DESK)


@pytest.mark.pictures
def test_a_person_exports_orders_watches_fetches_and_clears(visitor: Page, shop: str) -> None:
    page = visitor
    navigations: list[str] = []
    page.get_by_label("User name").fill("ada")
    page.get_by_label("Password").fill("ada-paper-kite")
    page.get_by_role("button", name="Sign in", exact=True).click()
    menu = page.locator("#downloads-dropdown")

    page.get_by_role("button", name="Audit the stock").click()
    page.get_by_role("button", name="Export orders").click()
    page.on("framenavigated", lambda frame: navigations.append(frame.url))
    page.get_by_role("button", name=re.compile("^Downloads")).click()
    expect(menu).to_be_visible()
    orders = menu.locator(".download-container", has_text="All orders")
    report = menu.locator(".download-container", has_text="Sales report")
    audit = menu.locator(".download-container", has_text="Stock audit")

    # Watches: the page is not reloaded, and the menu stays open.
    expect(audit).to_contain_text("The warehouse stopped answering", timeout=LONGEST_WAIT)
    expect(orders.get_by_role("link", name="Download")).to_be_visible(timeout=LONGEST_WAIT)
    assert navigations == []
    # The report takes a known time. It starts last, so that the picture shows it in progress.
    page.get_by_role("button", name="Make the report").click()
    page.get_by_role("button", name=re.compile("^Downloads")).click()
    expect(menu).to_be_visible()
    navigations.clear()
    expect(report).to_contain_text(re.compile(r"[2-8]\d%"), timeout=LONGEST_WAIT)
    # Its card shows it, too.
    expect(page.locator("#state-sales-report").get_by_role("progressbar")).to_be_visible()
    take_pictures(page)
    expect(page.locator("#async-downloads")).to_have_class(re.compile("in-progress"))
    expect(report.get_by_role("link", name="Download")).to_be_visible(timeout=LONGEST_WAIT)
    expect(page.locator("#async-downloads")).not_to_have_class(re.compile("in-progress"))
    expect(menu).to_be_visible()
    assert navigations == []

    expect(page.locator("#state-sales-report").get_by_role("link")).to_be_visible()

    # Fetches: a line for each order, and the header.
    with page.expect_download() as download:
        orders.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename.startswith("All_orders_")
    assert download.value.path().read_bytes().count(b"\n") == 200_001

    # Clears: the list is empty afterwards.
    for item in (orders, report, audit):
        item.locator(".download-clear").click()
        expect(item).to_have_count(0)
    expect(menu).to_contain_text("Nothing here yet")

    # Is refused a sixth export: the card says so for longer than from poll to poll.
    page.get_by_role("button", name=re.compile("^Downloads")).click()
    invoices = page.locator(".card", has_text="Far too slow")
    for number, choice in enumerate(("csv", "xlsx", "tsv", "jsonl"), 1):
        invoices.get_by_role("combobox").select_option(choice)
        invoices.get_by_role("button").click()
        expect(page.locator(".async-downloads-count")).to_have_text(str(number))
    page.get_by_role("button", name="Export for programs").click()
    expect(page.locator(".async-downloads-count")).to_have_text("5")
    page.get_by_role("button", name="Make price list").click()
    refusal = page.locator("#state-price-list").get_by_role("alert")
    expect(refusal).to_be_visible()
    for _ in range(2):
        with page.expect_response(re.compile("refused=price-list")):
            pass
    expect(refusal).to_be_visible()
    page.get_by_role("button", name=re.compile("^Downloads")).click()
    for _ in range(5):
        menu.get_by_role("button", name=re.compile("^Cancel")).first.click()
