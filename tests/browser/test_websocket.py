"""The menu by websocket: Daphne, a channel layer on a Redis of its own, a real browser."""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, WebSocket, expect

from async_downloads.intervals import SOCKET_MINIMUM
from tests import pace
from tests.faults.conftest import needs
from tests.faults.harness import RedisServer, Server, Site

#: In milliseconds, the unit of Playwright.
LONGEST_WAIT = int(pace.LONGEST_WAIT * 1000)

WORKER = """
import time
from async_downloads import cache
key = {key!r}
{body}
print("done", flush=True)
"""

#: Counts the messages and lists that a page has shown.
WATCH = """() => {
    window.changes = 0;
    document.body.addEventListener("async-downloads:changed", () => { window.changes += 1; });
}"""


@dataclass
class Seen:
    """The requests of a page, its sockets with their messages, and the errors of its console.

    Attributes:
        polls: The requests of the summary or of the list.
        sockets: The websockets.
        messages: Their messages.
        errors: The errors.
    """

    polls: list[str] = field(default_factory=list)
    sockets: list[WebSocket] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Record what a page does from now on."""
        page.on("request", self._note_request)
        page.on("websocket", self._note_socket)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on(
            "console",
            lambda message: message.type == "error" and self.errors.append(message.text),
        )

    def _note_request(self, request: Any) -> None:
        if "/ajax_update/" in request.url:
            self.polls.append(request.url)

    def _note_socket(self, socket: WebSocket) -> None:
        self.sockets.append(socket)
        socket.on("framereceived", lambda frame: self.messages.append(str(frame)))


@dataclass
class Pushing:
    """A site with pushes, on a Redis of its own."""

    site: Site
    redis: RedisServer
    server: Server

    def begin(self, user: str = "ada") -> str:
        """Create a running download, and return its key."""
        code = f"""
        from django.contrib.auth import get_user_model
        from async_downloads import cache
        user, _ = get_user_model().objects.get_or_create(username={user!r})
        key = cache.init_download(user, "orders.csv", "Orders")[1]
        cache.set_percentage(key, 1)
        print(key)
        """
        return self.site.run(code)

    @contextmanager
    def worker(self, key: str, body: str) -> Iterator[Any]:
        """Run a worker's process, and check that it succeeds."""
        with self.site.start(WORKER.format(key=key, body=body)) as child:
            yield child
            assert child.wait() == 0, child.log


@contextmanager
def pushing(kind: str = "daphne", **settings: Any) -> Iterator[Pushing]:
    """Run a site with pushes.

    Args:
        kind: Its server.
        **settings: More settings of Django.
    """
    needs("redis-server", "proc")
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        site = stack.enter_context(
            Site(
                cache=redis.url,
                ROOT_URLCONF="tests.faults.site.sockets",
                SESSION_ENGINE="django.contrib.sessions.backends.db",
                ASYNC_DOWNLOADS_WS_MODE=True,
                CHANNEL_LAYERS={
                    "default": {
                        "BACKEND": "channels_redis.core.RedisChannelLayer",
                        "CONFIG": {"hosts": [redis.url]},
                    }
                },
                **settings,
            )
        )
        yield Pushing(site, redis, stack.enter_context(site.server(kind=kind)))


@pytest.fixture(scope="module")
def shared() -> Iterator[Pushing]:
    """Run one site for the tests that break nothing."""
    with pushing() as site:
        yield site


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    """Return the name of a user of this test alone."""
    return re.sub(r"\W", "_", request.node.name)[:100]


@pytest.fixture
def seen() -> Seen:
    """Return what the page of the test does."""
    return Seen()


def visit(context: BrowserContext, address: str, user: str, seen: Seen, path: str = "/") -> Page:
    """Sign in, open a page with a closed menu, and wait for the first message of its socket."""
    page = context.new_page()
    page.goto(f"{address}/sign-in/{user}/")
    seen.watch(page)
    page.goto(address + path)
    page.evaluate(WATCH)
    until(page, lambda: seen.messages, "a first message")
    # The page may have polled until the socket was open.
    seen.polls.clear()
    return page


def open_menu(page: Page) -> None:
    """Open the menu, and wait for its list."""
    page.get_by_role("button", name="Downloads").click()
    expect(page.locator(".async-downloads-fragment")).to_be_visible()
    page.wait_for_load_state("networkidle")


def assert_no_polls(seen: Seen) -> None:
    """Check that an open menu has requested its list only because of messages, once for each.

    ``polls`` and ``messages`` must have been cleared when the menu was open.
    """
    assert not [url for url in seen.polls if "summary" in url]
    assert len(seen.polls) <= len(seen.messages)


def until(page: Page, condition: Any, why: str) -> None:
    """Wait for a condition while the page goes on."""
    for _ in range(LONGEST_WAIT // 50):
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"There never was {why}.")


def link(page: Page) -> Any:
    """Return the link to the file of a complete download."""
    return page.get_by_role("link", name="Orders", exact=True)


def fetch_and_clear(page: Page) -> None:
    """Fetch the file by the link of the list, and clear the download by its form."""
    with page.expect_download() as download:
        link(page).click()
    assert download.value.path().read_bytes() == b"reference\nR1\n"
    page.get_by_role("button", name="Remove Orders").click()
    expect(page.get_by_text("Nothing here yet")).to_be_visible()


#: Waits after each step until the test has seen it on the page.
STEP_BY_STEP = """
from tests.faults.site import steering
for part in (30, 60, 90):
    cache.set_percentage(key, part)
    while not (steering.folder() / f"{key}-{part}").exists():
        time.sleep(0.02)
"""

SAVE = 'cache.save_download(key, [["reference"], ["R1"]])'


PAGES = ["/", "/as-0-6/", "/with-htmx-4/"]


@pytest.mark.parametrize("path", PAGES)
def test_with_a_socket_a_closed_menu_follows_an_export_without_a_request(
    shared: Pushing, context: BrowserContext, user: str, seen: Seen, path: str
) -> None:
    key = shared.begin(user)
    page = visit(context, shared.server.address, user, seen, path)
    ring = page.locator(".async-downloads-ring circle")
    with shared.worker(key, f"{STEP_BY_STEP}{SAVE}"):
        for percentage in (30, 60, 90):
            expect(ring).to_have_attribute("stroke-dasharray", f"{percentage} 100")
            shared.site.go(f"{key}-{percentage}")
        expect(page.get_by_role("button", name="Downloads: 1 new")).to_be_visible()
        expect(page.get_by_text("Orders is ready")).to_be_visible()
    assert seen.polls == []
    assert len(seen.sockets) == 1
    assert seen.errors == []


@pytest.mark.parametrize("path", PAGES)
def test_with_a_socket_an_open_menu_follows_an_export_without_a_poll(
    shared: Pushing, context: BrowserContext, user: str, seen: Seen, path: str
) -> None:
    key = shared.begin(user)
    page = visit(context, shared.server.address, user, seen, path)
    open_menu(page)
    seen.polls.clear()
    seen.messages.clear()
    with shared.worker(key, f"{STEP_BY_STEP}{SAVE}"):
        for percentage in (30, 60, 90):
            expect(page.locator(".download-timestamp")).to_contain_text(f"{percentage}%")
            shared.site.go(f"{key}-{percentage}")
        expect(link(page)).to_be_visible()
    assert_no_polls(seen)
    fetch_and_clear(page)
    assert len(seen.sockets) == 1
    # The strict content security policy of the page was never violated.
    assert seen.errors == []


def test_a_boosted_page_keeps_the_socket(
    shared: Pushing, context: BrowserContext, user: str, seen: Seen
) -> None:
    key = shared.begin(user)
    page = visit(context, shared.server.address, user, seen, "/boosted/")
    page.evaluate("window.isSamePage = true")
    page.get_by_role("link", name="Once more").click()
    page.wait_for_url("**/?again")
    with shared.worker(key, SAVE):
        expect(page.get_by_role("button", name="Downloads: 1 new")).to_be_visible()
    assert seen.polls == []
    open_menu(page)
    expect(link(page)).to_be_visible()
    assert [socket.is_closed() for socket in seen.sockets] == [False]
    assert page.evaluate("window.isSamePage")


def test_the_form_of_the_list_works_without_the_script(
    shared: Pushing, context: BrowserContext, user: str, seen: Seen
) -> None:
    key = shared.begin(user)
    page = visit(context, shared.server.address, user, seen)
    open_menu(page)
    with shared.worker(key, SAVE):
        expect(link(page)).to_be_visible()
    page.evaluate(
        """() => {
            for (const name of ["click", "submit"])
                window.addEventListener(name, (event) => event.stopPropagation(), true);
        }"""
    )
    page.get_by_role("button", name="Remove Orders").click()
    until(page, lambda: not shared.site.row(key), "a cleared download")
    page.wait_for_url(f"{shared.server.address}/")


def test_150_rapid_changes_are_few_messages_and_the_last_one_is_shown(
    shared: Pushing, context: BrowserContext, user: str, seen: Seen
) -> None:
    key = shared.begin(user)
    page = visit(context, shared.server.address, user, seen)
    open_menu(page)
    seen.polls.clear()
    seen.messages.clear()
    page.evaluate("window.changes = 0")
    body = f"for part in range(150): cache.set_percentage(key, part % 100)\n{SAVE}"
    began = time.monotonic()
    with shared.worker(key, body):
        expect(link(page)).to_be_visible()
    # At most one message for each wait between messages, however many changes there were.
    assert len(seen.messages) <= (time.monotonic() - began) / SOCKET_MINIMUM + 3
    # Each message and each list was shown once, as there is one handler.
    changes = page.evaluate("window.changes")
    assert 2 <= changes <= len(seen.messages) + len(seen.polls)
    assert_no_polls(seen)


def test_a_download_that_completes_before_the_socket_opens_is_shown(
    shared: Pushing, context: BrowserContext, user: str, seen: Seen
) -> None:
    key = shared.begin(user)
    page = context.new_page()
    page.goto(f"{shared.server.address}/sign-in/{user}/")
    seen.watch(page)

    def finish(route: Any) -> None:
        with shared.worker(key, SAVE):
            pass
        route.continue_()

    # The script that connects is delayed until the worker has finished.
    page.route("**/async_downloads_centre.js", finish)
    page.goto(shared.server.address)
    expect(page.get_by_text("Orders is ready")).to_be_visible()
    open_menu(page)
    expect(link(page)).to_be_visible()


def test_an_open_page_survives_an_emptied_channel_layer(
    shared: Pushing, context: BrowserContext, user: str, seen: Seen
) -> None:
    key = shared.begin(user)
    page = visit(context, shared.server.address, user, seen)
    shared.redis.flush()
    with shared.worker(key, SAVE):
        expect(page.get_by_text("Orders is ready")).to_be_visible()
    assert len(seen.sockets) == 1
    assert seen.polls == []


@pytest.mark.parametrize("path", ["/", "/with-htmx-4/"])
def test_a_logout_closes_the_open_socket_and_the_page_says_so(
    shared: Pushing, context: BrowserContext, user: str, seen: Seen, path: str
) -> None:
    shared.begin(user)
    page = visit(context, shared.server.address, user, seen, path)
    open_menu(page)
    elsewhere = context.new_page()
    elsewhere.goto(f"{shared.server.address}/sign-out/")
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    until(page, lambda: seen.sockets[0].is_closed(), "a closed socket")
    page.wait_for_load_state("networkidle")
    seen.polls.clear()
    page.wait_for_timeout(1500)
    # The page does not try again.
    assert seen.polls == []
    assert len(seen.sockets) == 1


def test_the_socket_sends_the_language_of_the_page(
    shared: Pushing, context: BrowserContext, user: str, seen: Seen
) -> None:
    visit(context, shared.server.address, user, seen)
    url = urlsplit(seen.sockets[0].url)
    assert url.path == "/ws/downloads/"
    assert parse_qs(url.query)["language"] == ["en"]


@pytest.fixture
def fragile() -> Iterator[Pushing]:
    """Run a site for a test that breaks it."""
    with pushing() as site:
        yield site


def test_an_open_page_survives_a_restart_of_redis(
    fragile: Pushing, context: BrowserContext, user: str, seen: Seen
) -> None:
    key = fragile.begin(user)
    page = visit(context, fragile.server.address, user, seen)
    open_menu(page)
    fragile.redis.restart()
    with fragile.worker(key, SAVE):
        expect(link(page)).to_be_visible()
    # The page has exactly one socket again: each message and each list is shown once.
    until(page, lambda: not seen.sockets[-1].is_closed(), "an open socket")
    page.wait_for_load_state("networkidle")
    seen.polls.clear()
    seen.messages.clear()
    page.evaluate("window.changes = 0")
    another = fragile.begin(user)
    expect(page.locator(f"#download-{another}")).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert 1 <= page.evaluate("window.changes") <= len(seen.messages) + len(seen.polls)
    assert sum(not socket.is_closed() for socket in seen.sockets) == 1


def test_an_open_page_survives_a_restart_of_the_server(
    fragile: Pushing, context: BrowserContext, user: str, seen: Seen
) -> None:
    key = fragile.begin(user)
    page = visit(context, fragile.server.address, user, seen)
    open_menu(page)
    port = int(fragile.server.address.rpartition(":")[2])
    fragile.server.kill()
    expect(page.get_by_text("The connection is lost")).to_be_visible()
    sockets, messages = len(seen.sockets), len(seen.messages)
    with fragile.site.server(asgi=True, port=port):
        expect(page.get_by_text("The connection is lost")).to_be_hidden()
        until(page, lambda: len(seen.sockets) > sockets, "a new socket")
        until(page, lambda: len(seen.messages) > messages, "a message of it")
        page.wait_for_load_state("networkidle")
        seen.polls.clear()
        seen.messages.clear()
        with fragile.worker(key, SAVE):
            expect(link(page)).to_be_visible()
        assert_no_polls(seen)


def test_a_page_whose_socket_cannot_connect_polls(
    shared: Pushing, context: BrowserContext, user: str, seen: Seen
) -> None:
    key = shared.begin(user)
    page = context.new_page()
    page.goto(f"{shared.server.address}/sign-in/{user}/")
    seen.watch(page)
    # As behind a proxy without websockets.
    page.route_web_socket(re.compile("/ws/downloads/"), lambda socket: socket.close(code=1006))
    page.goto(shared.server.address)
    with shared.worker(key, SAVE):
        expect(page.get_by_text("Orders is ready")).to_be_visible()
    assert seen.polls
    # And then the polling stops.
    page.wait_for_load_state("networkidle")
    seen.polls.clear()
    page.wait_for_timeout(2500)
    assert seen.polls == []
