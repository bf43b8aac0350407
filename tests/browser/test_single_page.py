"""The page of the demo that uses the downloads by JSON alone, against the demo itself."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, Locator, Page, Response, expect

from tests import services
from tests.browser.conftest import SHOTS, assert_accessible, new_context, take_picture
from tests.demo.running import Demo, running_demo

#: A download whose worker has stopped responding, and whose call is not recorded.
STALLED: Final = """
import django; django.setup()
from datetime import timedelta
from django.contrib.auth import get_user_model
from django.utils import timezone
from async_downloads import cache
from async_downloads.models import Download
from async_downloads.store import cache_entries
_, key = cache.init_download(get_user_model().objects.get(username="ada"), "old.csv", "Old report")
Download.objects.filter(pk=key).update(
    state="running", percentage=40, heard_at=timezone.now() - timedelta(hours=1)
)
cache_entries.delete_entry(key)
"""

#: Staff hold all files, or end that.
HOLD: Final = """
import django; django.setup()
from async_downloads.models import Download
Download.objects.update(held={held})
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running_demo(tmp_path_factory.mktemp("shop")) as demo:
        yield demo


@pytest.fixture
def responses() -> list[Response]:
    """Return the responses to the page so far."""
    return []


@pytest.fixture
def page(browser: Browser, shop: Demo, responses: list[Response]) -> Iterator[Page]:
    """Return the page, signed in; a script or a style that the policy refuses fails the test."""
    errors: list[str] = []
    with new_context(browser) as context:
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console",
            lambda message: (
                "Content Security Policy" in message.text and errors.append(message.text)
            ),
        )
        page.on("response", lambda response: responses.append(response))
        sign_in(page, shop, "ada")
        yield page
    assert errors == []


def sign_in(page: Page, shop: Demo, username: str) -> None:
    page.goto(f"{shop.address}sign-in/?next=/spa/")
    page.get_by_role("button", name=f"Sign in as {username}").click()
    expect(page.get_by_role("heading", name="Exports by JSON")).to_be_visible()


def item(page: Page, name: str) -> Locator:
    return page.locator("li", has_text=name)


def start(page: Page, title: str) -> None:
    page.get_by_role("button", name=title, exact=True).click()


def statuses(responses: list[Response], part: str) -> list[int]:
    return [response.status for response in responses if part in response.url]


def test_the_whole_job(page: Page, shop: Demo, responses: list[Response]) -> None:
    policy = page.evaluate("fetch(location).then((r) => r.headers.get('content-security-policy'))")
    assert policy.startswith("default-src 'self';")
    expect(page.get_by_text("None so far.")).to_be_visible()

    # A file, from the button to the disk.
    start(page, "A file of any kind")
    name = item(page, "Price list").get_by_role("link")
    expect(name).to_have_attribute("href", re.compile(r"/download/"))
    with page.expect_download() as fetched:
        name.click()
    assert Path(fetched.value.path()).read_text().startswith("<!doctype html>")
    assert 202 in statuses(responses, "/spa/exports/price-list/")

    # Progress, with unchanged polls between two steps of it, and a cancellation.
    start(page, "You change your mind")
    archive = item(page, "Invoice archive")
    expect(archive).to_contain_text(re.compile(r"[1-9]\d* %"))
    expect(archive.get_by_role("progressbar")).to_be_visible()
    expect(page.get_by_text("of which unchanged")).to_contain_text(re.compile("unchanged: [3-9]"))
    counted = statuses(responses, "/ajax_update/")
    assert counted.count(304) >= 3
    assert set(counted) == {200, 304}
    take_picture(page, SHOTS / "single-page.png")
    archive.get_by_role("button", name="Cancel: Invoice archive").click()
    expect(archive).to_have_count(0)
    assert 204 in statuses(responses, "/ajax_clear_download/")

    # A failure, and its cure.
    start(page, "It fails, until you try again")
    audit = item(page, "Stock audit")
    expect(audit).to_contain_text("The warehouse stopped answering")
    expect(audit.get_by_role("link")).to_have_count(0)
    audit.get_by_role("button", name="Try again: Stock audit").press("Enter")
    expect(audit.get_by_role("link")).to_be_visible()
    expect(audit).not_to_contain_text("The warehouse")
    assert 202 in statuses(responses, "/retry/")

    # A worker that has died.
    shop.execute(STALLED)
    page.reload()
    stalled = item(page, "Old report")
    expect(stalled).to_contain_text("Stalled:")
    expect(stalled).to_have_attribute("data-state", "stalled")
    stalled.get_by_role("button", name="Cancel: Old report").click()
    expect(stalled).to_have_count(0)

    if services.available("front-end"):
        assert_accessible(page, "main")
    page.get_by_role("button", name="Clear finished").click()
    expect(page.get_by_text("None so far.")).to_be_visible()
    assert max(statuses(responses, "/async_downloads/")) < 400


def test_a_team_shares_a_file_and_only_its_leader_removes_it(
    page: Page, shop: Demo, browser: Browser
) -> None:
    start(page, "One file for a team")
    expect(item(page, "Open orders").get_by_role("link")).to_be_visible()
    with new_context(browser) as context:
        colleague = context.new_page()
        sign_in(colleague, shop, "joan")
        shared = item(colleague, "Open orders")
        expect(shared).to_contain_text("Team: Sales")
        with colleague.expect_download() as fetched:
            shared.get_by_role("link").click()
        assert Path(fetched.value.path()).read_text().startswith("Reference,")
        for name in ("Clear: Open orders", "Clear finished"):
            expect(colleague.get_by_role("button", name=name)).to_have_count(0)
        take_picture(colleague, SHOTS / "single-page-team.png")
    with new_context(browser) as context:
        other = context.new_page()
        sign_in(other, shop, "grace")
        expect(other.get_by_role("button", name="A file of any kind")).to_be_visible()
        expect(other.get_by_role("button", name="One file for a team")).to_have_count(0)
        expect(other.get_by_text("None so far.")).to_be_visible()
    # "Clear finished" would leave it.
    expect(page.get_by_role("button", name="Clear finished")).to_have_count(0)
    page.get_by_role("button", name="Clear: Open orders").click()
    expect(item(page, "Open orders")).to_have_count(0)


def test_a_file_is_kept_for_longer_until_the_limit(page: Page) -> None:
    start(page, "It stays as long as you say")
    kept = item(page, "Product list")
    keep = kept.get_by_role("button", name="Keep for longer")
    shown = []
    for presses in range(3):
        if presses:
            keep.click()
            expect(kept).not_to_contain_text(shown[-1])
        expect(kept).to_contain_text("until ")
        shown.append(re.findall("until .*", kept.inner_text())[0])
    expect(keep).to_have_count(0)
    page.get_by_role("button", name="Clear: Product list").click()
    expect(kept).to_have_count(0)


def test_a_finished_list_is_not_polled(page: Page, responses: list[Response]) -> None:
    expect(page.get_by_text("None so far.")).to_be_visible()
    page.clock.install()
    page.clock.run_for(120_000)
    assert statuses(responses, "/ajax_update/") == [200]


def test_the_focus_stays_on_what_is_updated_and_leaves_what_is_gone(page: Page) -> None:
    start(page, "You change your mind")
    cancel = page.get_by_role("button", name="Cancel: Invoice archive")
    cancel.focus()
    expect(item(page, "Invoice archive")).to_contain_text(re.compile(r"[1-9]\d* %"))
    expect(cancel).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=re.compile("Downloads"))).to_be_focused()


def test_a_file_that_staff_hold_has_no_button_to_clear_it(page: Page, shop: Demo) -> None:
    start(page, "A file of any kind")
    price_list = item(page, "Price list")
    expect(price_list.get_by_role("link")).to_be_visible()
    clear = price_list.get_by_role("button", name="Clear: Price list")
    for held in (True, False):
        shop.execute(HOLD.format(held=held))
        page.reload()
        expect(price_list.get_by_role("link")).to_be_visible()
        expect(clear).to_have_count(0 if held else 1)
    clear.click()
    expect(price_list).to_have_count(0)


def test_a_refusal_is_shown(page: Page) -> None:
    """The shop allows five at a time."""
    for title in ("You change your mind", "It takes a while"):
        start(page, title)
    page.route(
        "**/spa/exports/stock-audit/",
        lambda route: route.fulfill(status=409, json={"detail": "You have 5 in progress."}),
    )
    start(page, "It fails, until you try again")
    expect(page.get_by_role("alert")).to_have_text("You have 5 in progress.")
    for name in ("Invoice archive", "Sales report"):
        page.get_by_role("button", name=f"Cancel: {name}").click()
        expect(item(page, name)).to_have_count(0)


def test_a_lost_connection_and_an_ended_session_are_shown(page: Page) -> None:
    start(page, "You change your mind")
    expect(item(page, "Invoice archive")).to_be_visible()
    page.route("**/ajax_update/**", lambda route: route.abort())
    lost = page.get_by_text("The connection is lost.")
    expect(lost).to_be_visible()
    page.unroute("**/ajax_update/**")
    expect(lost).to_be_hidden()
    page.get_by_role("button", name="Cancel: Invoice archive").click()
    expect(item(page, "Invoice archive")).to_have_count(0)
    page.context.clear_cookies()
    start(page, "A file of any kind")
    expect(page.get_by_role("link", name="Sign in")).to_be_visible()
