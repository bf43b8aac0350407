"""The package's pages in the admin in each engine: narrow, dark, from right to left."""

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as project_settings
from django.test import Client

from async_downloads.models import Download
from tests.browser.audit import pixels
from tests.browser.conftest import SHOWS
from tests.browser.engines import Engine
from tests.browser.test_engines_layout import BOX, SIZES, resize
from tests.factories import DownloadFactory
from tests.staff import LIST, detail

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_cache")]

EXPORT = "/admin/shop/order/export-in-background/"

#: How wide the content of an element is, and its place.
WIDTHS = """(selector) => {
    const { scrollWidth, clientWidth } = document.querySelector(selector);
    return [scrollWidth, clientWidth];
}"""

#: The left edges of a bar and of the number beside it.
BAR = """() => {
    const bar = document.querySelector(".async-downloads-progress");
    const range = new Range();
    range.selectNodeContents(bar.nextSibling);
    return [bar, range].map((each) => each.getBoundingClientRect().left);
}"""

#: The left edges of the first and the last character of an element's text.
ENDS = """(selector) => {
    const element = document.querySelector(selector);
    const text = document.createTreeWalker(element, NodeFilter.SHOW_TEXT).nextNode();
    return [0, text.data.trimEnd().length - 1].map((index) => {
        const range = new Range();
        range.setStart(text, index);
        range.setEnd(text, index + 1);
        return range.getBoundingClientRect().left;
    });
}"""


@pytest.fixture(autouse=True)
def staff(engine: Engine, server: str, user: Any, signed_in: Client) -> None:
    """Sign in as staff."""
    user.is_staff = user.is_superuser = True
    user.save()
    engine.sign_in(server, signed_in.cookies[project_settings.SESSION_COOKIE_NAME].value)


@pytest.fixture
def hebrew(settings: Any) -> None:
    """Let the pages be in Hebrew, from right to left."""
    settings.LANGUAGE_CODE = "he"


@pytest.mark.usefixtures("hebrew")
def test_only_errors_keep_the_direction_of_their_own_text(engine: Engine, server: str) -> None:
    DownloadFactory(failed=True, errors="It broke.", error_detail="Traceback (last):")
    engine.open(server + LIST)
    first, last = engine.evaluate(ENDS, "#result_list .async-downloads-below")
    assert first < last
    Download.objects.update(state="running", percentage=40, errors="")
    engine.open(server + LIST)
    bar, number = engine.evaluate(BAR)
    assert number < bar
    Download.objects.update(state="failed", errors="It broke.")
    engine.open(server + detail(Download.objects.get()))
    first, last = engine.evaluate(ENDS, ".async-downloads-detail")
    assert first < last


@pytest.mark.usefixtures("hebrew")
def test_a_long_name_of_an_owner_is_shortened_at_its_end(engine: Engine, server: str) -> None:
    DownloadFactory(collection__user__username="lise.meitner@physics.example.org", complete=True)
    engine.open(server + LIST)
    owner = engine.evaluate(
        """() => {
            const owner = document.querySelector(".field-owner span");
            const {direction, textOverflow} = getComputedStyle(owner);
            return [direction, textOverflow, owner.scrollWidth > owner.clientWidth];
        }"""
    )
    assert owner == ["ltr", "ellipsis", True]


@pytest.mark.usefixtures("hebrew")
def test_the_list_is_as_wide_as_its_place(engine: Engine, server: str) -> None:
    DownloadFactory(complete=True, fetch_count=2)
    engine.open(server + LIST)
    content, place = engine.evaluate(WIDTHS, ".results")
    assert content <= place


def test_on_a_phone_the_name_of_the_owner_is_whole(engine: Engine, server: str) -> None:
    name = "lise.meitner@physics.example.org"
    DownloadFactory(collection__user__username=name, complete=True)
    resize(engine, *SIZES["360"])
    engine.open(server + LIST)
    content, place = engine.evaluate(WIDTHS, ".field-owner span")
    assert content <= place


def test_on_a_phone_the_buttons_of_a_confirmation_are_as_wide_as_each_other(
    engine: Engine, server: str
) -> None:
    DownloadFactory(running=True)
    resize(engine, *SIZES["360"])
    engine.open(server + LIST)
    engine.evaluate(
        """() => {
            document.querySelector("input.action-select").click();
            document.querySelector(".actions select").value = "cancel";
        }"""
    )
    engine.click(".actions button[type=submit]")
    engine.wait_for(SHOWS, ".async-downloads-confirm")
    sure, back = (engine.evaluate(BOX, f".submit-row {each}") for each in ("input", "a"))
    assert (sure["left"], sure["right"]) == pytest.approx((back["left"], back["right"]), abs=1)


@pytest.mark.usefixtures("hebrew")
@pytest.mark.parametrize("width", ["360", "1280"])
def test_the_columns_of_an_export_stand_where_the_buttons_above_them_do(
    engine: Engine, server: str, width: str
) -> None:
    resize(engine, *SIZES[width])
    engine.open(server + EXPORT)
    parts = ("[name=_all]", ".async-downloads-columns ol")
    button, columns = (engine.evaluate(BOX, part) for part in parts)
    assert columns["right"] == pytest.approx(button["right"], abs=1)


def test_the_track_of_a_bar_is_dark_on_a_dark_page(
    engine: Engine, server: str, tmp_path: Path
) -> None:
    DownloadFactory(running=True, percentage=40)
    engine.prefer(scheme="dark")
    engine.open(server + LIST)
    engine.wait_for(SHOWS, ".async-downloads-progress")
    engine.painted()
    engine.screenshot(tmp_path / "list.png")
    box = engine.evaluate(BOX, ".async-downloads-progress")
    rows = pixels(tmp_path / "list.png", round(box["bottom"]))
    row = rows[round(box["top"] + box["height"] / 2)]
    done, left = (row[round(box["x"] + box["width"] * part)] for part in (0.2, 0.8))
    assert max(left) < 100 < max(done)
