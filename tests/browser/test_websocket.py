"""The menu by websocket: Daphne, a channel layer on a Redis of its own, a real browser."""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

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

#: Counts the swaps of pushed fragments.
WATCH = """() => {
    window.swaps = 0;
    document.addEventListener("htmx:oobAfterSwap", () => { window.swaps += 1; });
}"""


@dataclass
class Seen:
    """The polls of a page, its sockets with their messages, and the errors of its console."""

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
    """Sign in, open a page and its menu, and wait for the first push."""
    page = context.new_page()
    page.goto(f"{address}/sign-in/{user}/")
    seen.watch(page)
    page.goto(address + path)
    page.evaluate(WATCH)
    page.get_by_role("button", name="Downloads").click()
    until(page, lambda: seen.messages, "a first message")
    return page


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


#: Waits after each step until the test has seen it on the page.
STEP_BY_STEP = """
from tests.faults.site import steering
for part in (30, 60, 90):
    cache.set_percentage(key, part)
    while not (steering.folder() / f"{key}-{part}").exists():
        time.sleep(0.02)
"""

SAVE = 'cache.save_download(key, [["reference"], ["R1"]])'


@pytest.mark.parametrize("path", ["/", "/as-0-6/", "/with-htmx-4/"])
def test_with_a_socket_a_page_follows_an_export_without_a_poll(
    shared: Pushing, context: BrowserContext, user: str, seen: Seen, path: str
) -> None:
    key = shared.begin(user)
    page = visit(context, shared.server.address, user, seen, path)
    with shared.worker(key, f"{STEP_BY_STEP}{SAVE}"):
        for percentage in (30, 60, 90):
            expect(page.locator(".download-timestamp")).to_contain_text(f"{percentage} %")
            shared.site.go(f"{key}-{percentage}")
        expect(link(page)).to_be_visible()
    with page.expect_download() as download:
        link(page).click()
    assert download.value.path().read_bytes() == b"reference\nR1\n"
    # The forms in a push work.
    page.get_by_role("button", name="Clear Orders").click()
    expect(page.get_by_text("No downloads")).to_be_visible()
    assert seen.polls == []
    assert len(seen.sockets) == 1
    # The strict content security policy of the page was never violated.
    assert seen.errors == []


def test_a_boosted_page_opens_its_own_socket(
    shared: Pushing, context: BrowserContext, user: str, seen: Seen
) -> None:
    key = shared.begin(user)
    page = visit(context, shared.server.address, user, seen, "/boosted/")
    # The open menu covers the link.
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Once more").click()
    page.wait_for_url("**/?again")
    until(page, lambda: len(seen.sockets) == 2, "another socket")
    with shared.worker(key, SAVE):
        page.get_by_role("button", name=re.compile("Downloads")).click()
        expect(link(page)).to_be_visible()
    until(page, lambda: seen.sockets[0].is_closed(), "an end of the first socket")
    assert seen.polls == []


def test_the_forms_in_a_push_work_without_htmx(
    shared: Pushing, context: BrowserContext, user: str, seen: Seen
) -> None:
    key = shared.begin(user)
    page = visit(context, shared.server.address, user, seen)
    with shared.worker(key, SAVE):
        expect(link(page)).to_be_visible()
    page.evaluate("document.querySelector('form[hx-post*=clear_download]').submit()")
    until(page, lambda: not shared.site.row(key), "a cleared download")


def test_150_rapid_changes_are_few_messages_and_the_last_one_is_shown(
    shared: Pushing, context: BrowserContext, user: str, seen: Seen
) -> None:
    key = shared.begin(user)
    page = visit(context, shared.server.address, user, seen)
    body = f"for part in range(150): cache.set_percentage(key, part % 100)\n{SAVE}"
    began = time.monotonic()
    with shared.worker(key, body):
        expect(link(page)).to_be_visible()
    # At most one message for each wait between messages, however many changes there were.
    assert len(seen.messages) <= (time.monotonic() - began) / SOCKET_MINIMUM + 3
    # Each message was swapped in once, as there is one handler.
    assert 0 <= len(seen.messages) - page.evaluate("window.swaps") <= 1
    assert seen.polls == []


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
    page.route("**/hx-ws-2.min.js", finish)
    page.goto(shared.server.address, wait_until="commit")
    page.get_by_role("button", name=re.compile("Downloads")).click()
    expect(link(page)).to_be_visible()


def test_an_open_page_survives_an_emptied_channel_layer(
    shared: Pushing, context: BrowserContext, user: str, seen: Seen
) -> None:
    key = shared.begin(user)
    page = visit(context, shared.server.address, user, seen)
    shared.redis.flush()
    with shared.worker(key, SAVE):
        expect(link(page)).to_be_visible()
    assert len(seen.sockets) == 1
    assert seen.polls == []


@pytest.mark.parametrize("path", ["/", "/with-htmx-4/"])
def test_a_logout_closes_the_open_socket_and_the_page_says_so(
    shared: Pushing, context: BrowserContext, user: str, seen: Seen, path: str
) -> None:
    shared.begin(user)
    page = visit(context, shared.server.address, user, seen, path)
    elsewhere = context.new_page()
    elsewhere.goto(f"{shared.server.address}/sign-out/")
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    until(page, lambda: seen.sockets[0].is_closed(), "a closed socket")
    seen.polls.clear()
    page.wait_for_timeout(1500)
    # The page does not try again.
    assert seen.polls == []
    assert len(seen.sockets) == 1


def test_the_socket_sends_the_language_of_the_page(
    shared: Pushing, context: BrowserContext, user: str, seen: Seen
) -> None:
    visit(context, shared.server.address, user, seen)
    assert seen.sockets[0].url.endswith("/ws/downloads/?language=en")


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
    fragile.redis.restart()
    with fragile.worker(key, SAVE):
        expect(link(page)).to_be_visible()
    # The page has exactly one socket again: each message is swapped in once.
    before = len(seen.messages)
    until(page, lambda: not seen.sockets[-1].is_closed(), "an open socket")
    swaps = page.evaluate("window.swaps")
    another = fragile.begin(user)
    expect(page.locator(f"#download-{another}")).to_be_visible()
    page.wait_for_timeout(1000)
    assert page.evaluate("window.swaps") - swaps <= len(seen.messages) - before
    assert sum(not socket.is_closed() for socket in seen.sockets) == 1


def test_an_open_page_survives_a_restart_of_the_server(
    fragile: Pushing, context: BrowserContext, user: str, seen: Seen
) -> None:
    key = fragile.begin(user)
    page = visit(context, fragile.server.address, user, seen)
    port = int(fragile.server.address.rpartition(":")[2])
    fragile.server.kill()
    expect(page.get_by_text("The connection is lost")).to_be_visible()
    sockets = len(seen.sockets)
    with fragile.site.server(asgi=True, port=port):
        expect(page.get_by_text("The connection is lost")).to_be_hidden()
        until(
            page,
            lambda: len(seen.sockets) > sockets and not seen.sockets[-1].is_closed(),
            "a new socket",
        )
        page.wait_for_timeout(1500)
        seen.polls.clear()
        with fragile.worker(key, SAVE):
            expect(link(page)).to_be_visible()
        assert seen.polls == []


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
    page.get_by_role("button", name="Downloads").click()
    with shared.worker(key, SAVE):
        expect(link(page)).to_be_visible()
    assert seen.polls
    # And then the polling stops.
    page.wait_for_timeout(500)
    seen.polls.clear()
    page.wait_for_timeout(2500)
    assert seen.polls == []
