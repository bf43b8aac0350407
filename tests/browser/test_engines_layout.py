"""The layout of the download centre in each engine: narrow and wide, zoomed, from right to left."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from django.utils import timezone

from async_downloads import cache
from async_downloads.models import Download
from tests import services
from tests.browser.audit import BROKEN, pixels
from tests.browser.conftest import BUTTON, LOOK, MENU, SHOWS, TOASTS, Visit
from tests.browser.engines import Engine
from tests.factories import DownloadCollectionFactory, DownloadFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_cache")]

#: The folder for screenshots; none are taken without it.
PICTURES: Final = os.environ.get("TEST_SCREENSHOTS")

#: Viewports by name. A page of 1280 pixels that is zoomed has so many CSS pixels.
SIZES: Final = {
    "1280": (1280, 800),
    "200-percent": (640, 512),
    "360": (360, 740),
    "400-percent": (320, 256),
}

#: Colour schemes with directions of text; neither affects the other.
LOOKS: Final = [
    *[("light", "ltr"), ("dark", "rtl")],
    *([("light", "rtl"), ("dark", "ltr")] if PICTURES else []),
]

#: Names and reasons of a Hebrew site, which has English ones too.
IN_HEBREW: Final = {
    "Customers " * 12: "לקוחות " * 18,
    "Orders 2026": "הזמנות 2026",
    "Stock audit": "ספירת מלאי (EU)",
    "Waiting for its turn": "ממתינה לתורה",
    "All orders 2026": "כל ההזמנות 2026",
}

#: Where the menu is, relative to its button: below it, and beyond its end.
BESIDE: Final = """([menu, button]) => {
    const [one, other] = [menu, button].map((each) =>
        document.querySelector(each).getBoundingClientRect());
    const isLtr = getComputedStyle(document.documentElement).direction === "ltr";
    return {
        below: Math.round(one.top - other.bottom),
        beyond: Math.round(isLtr ? one.right - other.right : other.left - one.left),
    };
}"""

#: The contrast of text with the nearest background, as WCAG defines it.
CONTRAST: Final = """(selector) => {
    const parse = (colour) => {
        const [red, green, blue, alpha = 1] = colour.match(/[\\d.]+/g).map(Number);
        return {parts: [red, green, blue], alpha};
    };
    const luminance = ({parts}) => {
        const linear = parts.map((part) => part / 255)
            .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const element = document.querySelector(selector);
    let behind = element;
    const background = () => getComputedStyle(behind).backgroundColor;
    while (parse(background()).alpha < 1) behind = behind.parentElement;
    const [dark, light] = [getComputedStyle(element).color, background()]
        .map((colour) => luminance(parse(colour))).sort((one, other) => one - other);
    return (light + 0.05) / (dark + 0.05);
}"""


#: The text of an element that is not clipped; null for one that is.
WHOLE: Final = """(selector) => {
    const element = document.querySelector(selector);
    return element.scrollHeight <= element.clientHeight + 1 ? element.textContent : null;
}"""


#: How far an element is from both sides of the page, without its scroll bar.
MARGINS: Final = """(selector) => {
    const {left, right} = document.querySelector(selector).getBoundingClientRect();
    return [left, document.documentElement.clientWidth - right];
}"""

#: The box of an element.
BOX: Final = "(selector) => document.querySelector(selector).getBoundingClientRect().toJSON()"


@pytest.fixture
def downloads(user: Any) -> None:
    """Create a download in every state, with realistic names."""
    collection = DownloadCollectionFactory(user=user)
    DownloadFactory(collection=collection, complete=True, name="Customers " * 12)
    DownloadFactory(collection=collection, complete=True, name="Orders 2026")
    DownloadFactory(
        collection=collection,
        failed=True,
        name="Stock audit",
        errors="The warehouse stopped answering after 30 of 60 products. " * 4,
    )
    silent = timezone.now() - timedelta(hours=1)
    DownloadFactory(
        collection=collection, running=True, percentage=70, name="Invoices", heard_at=silent
    )
    DownloadFactory(collection=collection, name="Waiting for its turn")
    DownloadFactory(collection=collection, running=True, name="Parts", rows_written=31_767)
    DownloadFactory(collection=collection, running=True, percentage=40, name="All orders 2026")


def speak_hebrew(settings: Any) -> None:
    """Make the site and most of its downloads Hebrew."""
    settings.LANGUAGE_CODE = "he"
    for name, translated in IN_HEBREW.items():
        Download.objects.filter(name=name).update(name=translated)
    reason = "המחסן הפסיק לענות אחרי 30 מתוך 60 מוצרים. " * 5
    Download.objects.exclude(errors="").update(errors=reason)


def take_picture(engine: Engine, *words: str) -> None:
    """Save a screenshot, if screenshots are wanted."""
    if PICTURES:
        Path(PICTURES).mkdir(parents=True, exist_ok=True)
        engine.screenshot(Path(PICTURES, f"{'-'.join((engine.name, *words))}.png"))


def broken(engine: Engine, selector: str, *words: str) -> dict[str, Any]:
    """Return what is wrong with an element in each size of the viewport, and take pictures."""
    problems = {}
    for name, size in SIZES.items():
        resize(engine, *size)
        take_picture(engine, *words, name)
        problems[name] = engine.evaluate(BROKEN, selector, size[0] == 360)
    resize(engine, *SIZES["1280"])
    return {name: found for name, found in problems.items() if found}


def resize(engine: Engine, width: int, height: int) -> None:
    """Set the size of the viewport, and wait until the page is painted in it."""
    # WebKit's window is not narrower than 334 pixels.
    fits = "(width) => Math.abs(innerWidth - width) < 20"
    engine.resize(width, height)
    try:
        engine.wait_for(fits, width)
    except AssertionError:
        # On a busy machine, it sometimes misses a size. It ignores the same one again, and another
        # one that it has not taken before the next.
        for other in (width + 200, width):
            engine.resize(other, height)
            engine.wait_for(fits, other)
    engine.painted()


def assert_accessible(engine: Engine, selector: str) -> None:
    """Check an element with axe-core, if it is installed."""
    if not services.available("front-end"):
        return
    axe = (services.node_modules() / "axe-core" / "axe.min.js").read_text()
    engine.evaluate(f"() => {{ {axe}; }}")
    violations = engine.evaluate(
        """async (selector) => (await axe.run(selector)).violations
            .flatMap(({id, nodes}) => nodes.map(({html}) => `${id}: ${html}`))""",
        selector,
    )
    assert violations == []


@pytest.mark.parametrize(("scheme", "direction"), LOOKS)
@pytest.mark.usefixtures("downloads")
def test_menu_page_and_toast_are_whole_at_each_size(
    engine: Engine,
    visit: Visit,
    server: str,
    user: Any,
    settings: Any,
    scheme: str,
    direction: str,
) -> None:
    look = (scheme, direction)
    name, ready = "Orders of the north and the south ", "… is ready"
    if direction == "rtl":
        speak_hebrew(settings)
        name, ready = "הזמנות מהצפון ומהדרום ", "…: ההורדה מוכנה"
    engine.prefer(scheme=scheme)
    visit(direction=direction)
    engine.click(BUTTON)
    engine.wait_for(SHOWS, f"{MENU} .download-error")
    assert broken(engine, MENU, "menu", *look) == {}
    beside = engine.evaluate(BESIDE, [MENU, BUTTON])
    assert 0 <= beside["below"] <= 16
    assert -16 <= beside["beyond"] <= 16
    assert_accessible(engine, "#async-downloads")

    # A toast is at the end of the screen, and covers little of it.
    visit(direction=direction)
    key = cache.init_download(user, "orders.csv", name * 8)[1]
    engine.evaluate(LOOK)
    engine.wait_for(SHOWS, "#async-downloads.in-progress")
    cache.save_download(key, [["R1"]])
    engine.evaluate(LOOK)
    toast = f"{TOASTS} .async-downloads-toast"
    engine.wait_for(SHOWS, toast)
    # It stays as long as the pointer is there.
    engine.move(toast)
    assert broken(engine, toast, "toast", *look) == {}
    # However long the name is, what has happened to it is visible.
    for size in ("360", "1280"):
        resize(engine, *SIZES[size])
        left, right = engine.evaluate(MARGINS, toast)
        assert size == "1280" or abs(left - right) <= 1
        text = engine.evaluate(WHOLE, f"{toast} .download-name")
        assert text.startswith(name[:12])
        assert text.endswith(ready)
    box = engine.evaluate(BOX, toast)
    assert box["height"] < 140
    assert (box["left"] > 640) == (direction == "ltr")
    assert box["width"] < 640
    assert_accessible(engine, TOASTS)

    engine.open(f"{server}/async_downloads/list/")
    assert engine.evaluate("() => document.documentElement.dir") == direction
    assert broken(engine, "body", "page", *look) == {}
    assert_accessible(engine, "body")


def test_what_remains_after_clear_finished_has_no_line_above_it(
    engine: Engine, visit: Visit, user: Any
) -> None:
    collection = DownloadCollectionFactory(user=user)
    for name in ("Parts", "Orders"):
        DownloadFactory(collection=collection, running=True, percentage=40, name=name)
    DownloadFactory(collection=collection, complete=True, name="Customers")
    visit()
    engine.click(BUTTON)
    engine.wait_for(SHOWS, f"{MENU} .download-get")
    engine.click(f"{MENU} .async-downloads-clear-finished")
    engine.wait_for(SHOWS, f"{MENU} .async-downloads-header .async-downloads-undo")
    lines = engine.evaluate(
        """(items) => [...document.querySelectorAll(items)]
            .filter((item) => item.checkVisibility())
            .map((item) => getComputedStyle(item).borderTopWidth)""",
        f"{MENU} .download-container",
    )
    assert lines == ["0px", "1px"]


@pytest.mark.parametrize("width", ["360", "1280"])
def test_a_refusal_begins_at_the_start_of_its_toast(
    engine: Engine, visit: Visit, user: Any, settings: Any, width: str
) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ACTIVE = 1
    collection = DownloadCollectionFactory(user=user)
    DownloadFactory(collection=collection, running=True, name="Invoices")
    DownloadFactory(collection=collection, failed=True, recorded=True, name="Stock audit")
    resize(engine, *SIZES[width])
    visit()
    engine.click(BUTTON)
    engine.wait_for(SHOWS, f"{MENU} .download-retry")
    engine.wait_for("() => !recorded.pending")
    engine.click(f"{MENU} .download-retry")
    toast = f"{TOASTS} .async-downloads-toast"
    engine.wait_for(SHOWS, toast, "You have 1 download in progress.")
    starts = engine.evaluate(
        """(parts) => parts.map((part) =>
            document.querySelector(part).getBoundingClientRect().x)""",
        [toast, f"{toast} .download-error"],
    )
    assert starts[1] - starts[0] == pytest.approx(13, abs=0.5)


@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_the_ring_is_around_the_icon(
    engine: Engine, visit: Visit, user: Any, direction: str
) -> None:
    cache.set_percentage(cache.init_download(user, "orders.csv")[1], 40)
    visit(direction=direction)
    engine.wait_for(SHOWS, "#async-downloads.in-progress")
    ring, icon = (
        engine.evaluate(BOX, part) for part in (".async-downloads-ring", ".async-downloads-icon")
    )
    assert (ring["width"], ring["height"]) == (36, 36)
    for start, length in (("x", "width"), ("y", "height")):
        assert abs(ring[start] + ring[length] / 2 - icon[start] - icon[length] / 2) < 1


@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_the_count_covers_the_end_of_the_ring_and_not_its_beginning(
    engine: Engine, visit: Visit, user: Any, direction: str
) -> None:
    cache.set_percentage(cache.init_download(user, "orders.csv")[1], 5)
    visit(direction=direction)
    engine.wait_for(SHOWS, "#async-downloads.in-progress")
    covered = engine.evaluate(
        """() => {
            const [ring, count] = ["ring", "count"].map(
                (part) => document.querySelector(`.async-downloads-${part}`),
            );
            const [around, over] = [ring, count].map((part) => part.getBoundingClientRect());
            const radius = around.width * (16 / 36);
            const start = [ring, ring.firstElementChild]
                .map((part) => parseFloat(getComputedStyle(part).rotate))
                .reduce((sum, degrees) => sum + degrees);
            return [0, 2, 5, 85].map((percentage) => {
                const angle = ((start + 3.6 * percentage) * Math.PI) / 180;
                const x = around.x + around.width / 2 + radius * Math.cos(angle);
                const y = around.y + around.height / 2 + radius * Math.sin(angle);
                return over.left < x && x < over.right && over.top < y && y < over.bottom;
            });
        }"""
    )
    assert covered == [False, False, False, True]


@pytest.mark.parametrize("direction", ["ltr", "rtl"])
@pytest.mark.usefixtures("downloads")
def test_the_menu_is_readable_and_in_place_without_the_newest_css(
    engine: Engine, visit: Visit, settings: Any, direction: str
) -> None:
    if direction == "rtl":
        speak_hebrew(settings)
    engine.prefer(scheme="dark")
    visit(direction=direction, css="old")
    engine.click(BUTTON)
    engine.wait_for(SHOWS, f"{MENU} .download-error")
    assert broken(engine, MENU, "old-css", direction) == {}
    beside = engine.evaluate(BESIDE, [MENU, BUTTON])
    assert 0 <= beside["below"] <= 24
    assert -24 <= beside["beyond"] <= 24
    for part in (".download-name", ".download-timestamp", ".download-error"):
        assert engine.evaluate(CONTRAST, f"{MENU} {part}") >= 4.5


@pytest.mark.usefixtures("downloads")
def test_a_bar_is_visible_in_forced_colours(engine: Engine, visit: Visit, tmp_path: Path) -> None:
    if engine.name == "webkit":
        pytest.skip("WebKit has no forced colours")
    engine.prefer(forced=True)
    visit()
    engine.click(BUTTON)
    bar = f"{MENU} progress[value='40']"
    engine.wait_for(SHOWS, bar)
    engine.painted()
    engine.screenshot(tmp_path / "menu.png")
    take_picture(engine, "menu", "forced-colours")
    box = engine.evaluate(
        "(bar) => document.querySelector(bar).parentElement.getBoundingClientRect().toJSON()", bar
    )
    rows = pixels(tmp_path / "menu.png", round(box["bottom"]))
    row = rows[round(box["top"] + box["height"] / 2)]
    done, left = (row[round(box["x"] + box["width"] * part)] for part in (0.2, 0.8))
    frame = rows[round(box["top"]) - 1][round(box["x"] + box["width"] / 2)]
    assert len({done, left, frame}) == 3
    ring = engine.evaluate(BOX, ".async-downloads-ring")
    # The start of the ring is done, and at its left it is not.
    x, y = round(ring["left"]), round(ring["top"] + ring["height"] / 2)
    assert rows[y][x + 1] != rows[y][x - 2]


@pytest.mark.parametrize("direction", ["ltr", "rtl"])
@pytest.mark.usefixtures("visit")
def test_an_ellipsis_is_visible_where_a_name_runs_the_other_way(
    engine: Engine, server: str, user: Any, settings: Any, tmp_path: Path, direction: str
) -> None:
    settings.LANGUAGE_CODE = "he" if direction == "rtl" else "en"
    name = "Customers " if direction == "rtl" else "ממתממתמת "
    collection = DownloadCollectionFactory(user=user)
    DownloadFactory(collection=collection, complete=True, name=name * 30)
    engine.open(f"{server}/async_downloads/list/")
    engine.wait_for(SHOWS, ".download-name")
    engine.painted()
    engine.screenshot(tmp_path / "page.png")
    box, tile, item = (
        engine.evaluate(BOX, part) for part in (".download-name", ".download-tile", ".download")
    )
    rows = pixels(tmp_path / "page.png", round(box["bottom"]))
    lines = rows[round(box["bottom"] - box["height"] / 2) :]
    # From the tile to the middle of the line
    middle = round(item["x"] + item["width"] / 2)
    columns = range(round(tile["right"]) + 1, middle)
    if direction == "rtl":
        columns = range(round(tile["left"]) - 2, middle, -1)
    paper = lines[0][columns[0]][0]
    inked = [sum(abs(row[x][0] - paper) > 96 for row in lines) for x in columns]
    last = next(index for index, count in enumerate(inked) if count)
    # A letter is higher than the dots.
    assert max(inked[last : last + 3]) <= 4


@pytest.mark.usefixtures("downloads")
def test_nothing_moves_for_people_who_prefer_that(engine: Engine, visit: Visit) -> None:
    moving = "() => document.getAnimations().filter((each) => each.playState === 'running').length"
    engine.prefer(motion=True)
    visit()
    engine.click(BUTTON)
    engine.wait_for(moving)
    engine.prefer(motion=False)
    visit()
    engine.click(BUTTON)
    engine.wait_for(SHOWS, f"{MENU} progress:not([value])")
    engine.painted()
    assert engine.evaluate(moving) == 0
