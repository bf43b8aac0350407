"""The htmx attributes and settings of a page do not affect the download centre.

The tests read the attributes and settings from htmx's source. One that a new version adds
fails the first tests until it is covered here.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any, Final

import pytest
from django.contrib.staticfiles import finders
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Error, Page, Route, expect

from async_downloads import cache
from async_downloads.models import Download
from tests.browser.conftest import new_context, new_page
from tests.browser.test_download_centre import open_menu
from tests.factories import UserFactory
from tests.shop import views

#: Visits pages, given by their names and configurations: see ``views.HTMX_CONFIGS``.
CheckPages = Callable[[dict[str, dict[str, Any]]], None]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_cache")]

#: Values that break elements which inherit them, in htmx 2, in htmx 4, or in both.
HARMFUL: Final = {
    "hx-action": "/canary/",
    "hx-boost": "true",
    "hx-config": '{"headers": {"X-Canary": "canary"}, "timeout": 1, "method": "PUT"}',
    "hx-confirm": "canary?",
    "hx-delete": "/canary/",
    "hx-disabled-elt": "#async-downloads button",
    "hx-encoding": "multipart/form-data",
    "hx-ext": "canary",
    "hx-get": "/canary/",
    "hx-headers": '{"X-Canary": "canary", "X-CSRFToken": "canary", "HX-Request": "false"}',
    "hx-include": "#canary-form",
    "hx-indicator": "#canary",
    "hx-inherit": "*",
    "hx-method": "put",
    "hx-params": "none",
    "hx-patch": "/canary/",
    "hx-post": "/canary/",
    "hx-prompt": "canary?",
    "hx-push-url": "/canary/",
    "hx-put": "/canary/",
    "hx-replace-url": "/canary/",
    "hx-request": '{"noHeaders": true, "timeout": 1}',
    "hx-select": "#canary",
    "hx-select-oob": "#async-downloads-all,.download-container:delete:#canary",
    "hx-status:200": "swap:none",
    "hx-status:2xx": "target:#canary",
    "hx-swap": "outerHTML swap:60s settle:60s transition:true show:window:bottom",
    "hx-sync": "#canary:drop",
    "hx-target": "#canary",
    "hx-trigger": "canary",
    "hx-validate": "true",
    "hx-vals": '{"canary": "canary", "version": "c.c", "download_key": "canary", "filepath": "c"}',
    "hx-vars": "canary: 'canary', download_key: 'canary', csrfmiddlewaretoken: 'canary'",
}

#: Attributes that have another name or another meaning in htmx 4.
HARMFUL_IN_4: Final = {"hx-disable": "#async-downloads button"}

#: Attributes that elements do not inherit, or that turn htmx off.
HARMLESS: Final = {
    "hx-disable": "in htmx 2 it turns htmx off for everything inside, as the site intends",
    "hx-ignore": "the same in htmx 4",
    "hx-disinherit": "elements inherit less",
    "hx-history": "whether a page goes into the cache of history",
    "hx-history-elt": "the part of a page that goes into history",
    "hx-morph-skip": "the element itself",
    "hx-morph-skip-children": "the element itself",
    "hx-on": "the page may listen to any event",
    "hx-oob": "a tag of answers",
    "hx-partial": "a tag of answers",
    "hx-preserve": "the element itself",
    "hx-revealed": "a mark of htmx's own",
    "hx-swap-oob": "part of an answer",
}

#: Settings that could break the menu, by the version of htmx.
CONFIGS: Final[dict[int, dict[str, Any]]] = {
    2: {
        "addedClass": "canary",
        "allowEval": False,
        "allowNestedOobSwaps": False,
        "allowScriptTags": False,
        "attributesToSettle": [],
        "defaultFocusScroll": True,
        "defaultSettleDelay": 60_000,
        "defaultSwapDelay": 60_000,
        "defaultSwapStyle": "delete",
        "disableInheritance": True,
        "getCacheBusterParam": True,
        "globalViewTransitions": True,
        "historyCacheSize": 0,
        "historyEnabled": False,
        "historyRestoreAsHxRequest": False,
        "ignoreTitle": True,
        "includeIndicatorStyles": False,
        "indicatorClass": "canary",
        "inlineScriptNonce": "canary",
        "inlineStyleNonce": "canary",
        "methodsThatUseUrlParams": ["get", "post"],
        "refreshOnHistoryMiss": True,
        "reportValidityOfForms": True,
        "requestClass": "canary",
        # Beside an element that another answer has just replaced, htmx finds no target but <body>.
        "responseHandling": [{"code": ".*", "swap": True, "target": "body", "select": "#c"}],
        "scrollBehavior": "smooth",
        "scrollIntoViewOnBoost": False,
        "selfRequestsOnly": True,
        "settlingClass": "canary",
        "swappingClass": "canary",
        "timeout": 1,
        "triggerSpecsCache": {},
        "withCredentials": True,
    },
    4: {
        "defaultFocusScroll": True,
        "defaultSettleDelay": 60_000,
        "defaultSwap": "delete",
        "defaultSwapEmpty": True,
        "defaultTimeout": 1,
        "history": "reload",
        "implicitInheritance": True,
        "includeIndicatorCSS": False,
        "indicatorClass": "canary",
        "inlineScriptNonce": "canary",
        "logAll": True,
        "metaCharacter": "-",
        "mode": "cors",
        "morphIgnore": [],
        "morphScanLimit": 0,
        "morphSkip": "*",
        "morphSkipChildren": "*",
        "noSwap": [],
        "prefix": "x-",
        "requestClass": "canary",
        "transitions": True,
    },
}

#: Settings that cannot break the menu.
CONFIGS_HARMLESS: Final = {
    "disableSelector": "like hx-disable: the site turns htmx off there",
    "extensions": "only the site chooses its extensions",
}


def source_of(version: int) -> str:
    path = finders.find(f"django_htmx/htmx-{version}.js")
    assert path
    with open(path) as file:  # noqa: PTH123 (a finder may return any kind of path)
        return file.read()


@pytest.mark.parametrize("version", [2, 4])
def test_each_attribute_of_htmx_is_covered(version: int) -> None:
    known = set(re.findall(r"hx-[a-z]+(?:-[a-z]+)*", source_of(version)))
    assert len(known) > 30
    covered = {name.partition(":")[0] for name in HARMFUL} | HARMFUL_IN_4.keys() | HARMLESS.keys()
    assert known - covered == set()


@pytest.mark.parametrize("version", [2, 4])
def test_each_setting_of_htmx_is_covered(version: int) -> None:
    known = set(re.findall(r"\bconfig\.([a-zA-Z]+)", source_of(version)))
    assert len(known) > 20
    assert known - CONFIGS[version].keys() - CONFIGS_HARMLESS.keys() == set()


class Visit:
    """A page with a configuration of htmx, and the requests of its browser."""

    def __init__(
        self, name: str, page: Page, errors: list[str], address: str, user: Any, **config: Any
    ):
        self.name, self.page, self.errors = name, page, errors
        self.requests: list[str] = []
        page.on("request", self._note)
        page.on("dialog", lambda dialog: dialog.dismiss())
        keys = [cache.init_download(user, "orders.csv", name) for name in ("First", "Second")]
        (collection, self.first), (_, self.second) = keys
        self.downloads = Download.objects.filter(collection__key=collection)
        views.HTMX_CONFIGS[user.get_username()] = config
        self.address = f"{address}/with-htmx-config/"
        page.goto(self.address)
        page.wait_for_function("() => Boolean(window.htmx)")
        page.evaluate(
            """() => {
                window.transitions = 0;
                const start = document.startViewTransition.bind(document);
                document.startViewTransition = (callback) => {
                    window.transitions += 1;
                    return start(callback);
                };
            }"""
        )

    def _note(self, request: Any) -> None:
        if "/async_downloads/" in request.url and "/static/" not in request.url:
            parts = (request.method, request.url, request.post_data, *request.headers.values())
            self.requests.append(" ".join(map(str, parts)))

    def works(self) -> Iterator[None]:
        """Check that the menu polls, shows and clears, and yield instead of waiting for a poll."""
        page = self.page
        open_menu(page)
        menu = page.locator("#downloads-dropdown")
        for percentage in (30, 60):
            cache.set_percentage(self.first, percentage)
            yield
            expect(menu).to_contain_text(f"{percentage}%")
        page.get_by_role("button", name="Cancel First").click()
        yield
        expect(menu.get_by_text("First")).to_have_count(0)
        expect(menu.get_by_text("Second")).to_be_visible()
        cache.save_download(self.second, [["R1"]])
        yield
        expect(menu.get_by_role("link", name="Second", exact=True)).to_be_visible()
        page.get_by_role("button", name="Clear finished").click()
        yield
        expect(menu).to_contain_text("Nothing here yet")
        assert not self.downloads.exists()
        # The menu left the rest of the page alone, and sent nothing about it.
        assert page.url == self.address
        assert page.locator("#canary").inner_text() == "Orders"
        assert page.locator("#canary").get_attribute("class") in (None, "")
        assert page.evaluate("window.transitions") == 0
        assert len(self.requests) >= 4
        assert [request for request in self.requests if "canary" in request] == []
        assert self.errors == []


def check_side_by_side(visits: Iterable[Visit]) -> None:
    """Take the steps of all visits side by side, and raise the errors of all together."""
    failures = []
    steps = {visit: visit.works() for visit in visits}
    assert steps
    while steps:
        for visit, step in list(steps.items()):
            try:
                next(step)
            except StopIteration:
                del steps[visit]
            except (AssertionError, Error) as error:
                error.add_note(f"The page: {visit.name}")
                failures.append(error)
                del steps[visit]
    if failures:
        raise ExceptionGroup("pages that do not work", failures)


@pytest.fixture(scope="module")
def contexts(browser: Browser) -> Iterator[list[BrowserContext]]:
    """Return a context for each page that is open at the same time: starting them takes long."""
    with ExitStack() as stack:
        contexts = [stack.enter_context(new_context(browser)) for _ in range(TOGETHER)]
        for context in contexts:
            context.new_page()
        yield contexts


@pytest.fixture
def check_pages(contexts: list[BrowserContext], live_server: Any) -> Iterator[CheckPages]:
    """Return a function that checks pages of one user each, side by side: most time is waiting."""
    with ExitStack() as stack:

        def visit(context: BrowserContext, name: str, config: dict[str, Any]) -> Visit:
            user, client, errors = UserFactory(), Client(), list[str]()
            client.force_login(user)
            context.clear_cookies()
            page = stack.enter_context(new_page(context, live_server.url, client, errors))
            return Visit(name, page, errors, live_server.url, user, **config)

        def check(pages: dict[str, dict[str, Any]]) -> None:
            free = iter(contexts)
            check_side_by_side([visit(next(free), *page) for page in pages.items()])

        yield check
    views.HTMX_CONFIGS.clear()


#: The number of pages open at the same time.
TOGETHER: Final = 9


#: The number of attributes of each page, by the way in which elements inherit them. Attributes of
#: one page may hide each other's effects; the first two ways show each alone.
PER_PAGE: Final = {"2": 1, "4 inherited": 1, "4 implicit": 4}


def page_with(way: str, attributes: dict[str, str]) -> dict[str, Any]:
    """Return the configuration of a page with attributes."""
    # The page itself must send no request.
    quiet = {"hx-trigger": "canary"} if "/canary/" in attributes.values() else {}
    suffix = ":inherited" if way == "4 inherited" else ""
    config = {"implicitInheritance": True} if way == "4 implicit" else {}
    body = quiet | {name + suffix: value for name, value in attributes.items()}
    return {"version": int(way[0]), "body": body, "config": config}


def harmful(version: int) -> dict[str, str]:
    """Return the harmful attributes of a version of htmx."""
    return HARMFUL | (HARMFUL_IN_4 if version == 4 else {})


def pages_of(way: str) -> list[dict[str, str]]:
    """Return the attributes of each page for a way of inheritance."""
    attributes = list(harmful(int(way[0])).items())
    size = PER_PAGE[way]
    return [dict(attributes[start : start + size]) for start in range(0, len(attributes), size)]


@pytest.mark.parametrize(
    ("way", "start"),
    [(way, start) for way in PER_PAGE for start in range(0, len(pages_of(way)), TOGETHER)],
)
def test_an_attribute_of_the_page_does_not_affect_the_menu(
    check_pages: CheckPages, way: str, start: int
) -> None:
    pages = pages_of(way)[start : start + TOGETHER]
    check_pages({", ".join(attributes): page_with(way, attributes) for attributes in pages})


@pytest.mark.parametrize(
    ("version", "names"),
    [
        (2, ["{}", "data-{}"]),
        # The last one uses the extension of htmx 4 that restores the inheritance of htmx 2.
        (4, ["{}:inherited", "data-{}:inherited", "{}:inherited:append", "{}"]),
    ],
)
def test_all_attributes_together_do_not_affect_the_menu(
    check_pages: CheckPages, version: int, names: list[str]
) -> None:
    check_pages(
        {
            name: {
                "version": version,
                "body": {name.format(key): value for key, value in harmful(version).items()},
                "compatible": version == 4 and name == "{}",
            }
            for name in names
        }
    )


def test_htmx_may_start_before_the_script_of_the_menu(
    page: Page, errors: list[str], live_server: Any, user: Any
) -> None:
    def hold(route: Route) -> None:
        # Wait until htmx has processed the page.
        page.wait_for_function("() => document.querySelector('[data-htmx-powered]')")
        route.continue_()

    page.route("**/async_downloads_centre.js", hold)
    body = {f"{key}:inherited": value for key, value in harmful(4).items()}
    check_side_by_side([Visit("late", page, errors, live_server.url, user, version=4, body=body)])


#: Settings that hide the effects of others.
ALONE: Final = {
    2: (
        *("defaultSwapStyle", "disableInheritance", "globalViewTransitions"),
        *("methodsThatUseUrlParams", "responseHandling", "timeout"),
    ),
    4: ("defaultSwap", "defaultTimeout", "implicitInheritance", "metaCharacter", "prefix"),
}


@pytest.mark.parametrize("version", CONFIGS)
def test_a_setting_of_the_page_does_not_affect_the_menu(
    check_pages: CheckPages, version: int
) -> None:
    configs = {name: {name: CONFIGS[version][name]} for name in ALONE[version]}
    others = {key: config for key, config in CONFIGS[version].items() if key not in configs}
    pages = configs | {"all others together": others}
    check_pages({name: {"version": version, "config": config} for name, config in pages.items()})
