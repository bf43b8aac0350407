"""The websocket of a signed-in person."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.auth import AuthMiddlewareStack
from channels.layers import InMemoryChannelLayer, get_channel_layer
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import AnonymousUser
from django.db import connections
from django.middleware.csrf import _does_token_match
from django.test import Client
from django.urls import re_path
from django.utils import timezone

from async_downloads import cache, push, store, ws_consumers
from async_downloads.models import Download
from async_downloads.routing import websocket_urlpatterns
from async_downloads.ws_consumers import COALESCE_SECONDS, DownloadsConsumer
from tests.factories import DownloadCollectionFactory, DownloadFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True)

#: Long enough for a look that is due, and for nothing more to come.
SOON = COALESCE_SECONDS * 3

#: As the documentation of 0.6.0 has it.
OLD_ROUTE = [re_path(r"ws/downloads/(?P<username>[\w.]+)/$", DownloadsConsumer.as_asgi())]


@pytest.fixture(autouse=True)
def pushed(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_WS_MODE = True
    # A layer of its own for each test: a queue belongs to one event loop.
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


@pytest.fixture(autouse=True)
async def no_connection_left_behind(pushed: None) -> AsyncIterator[None]:
    """Close the connection of the thread in which channels runs what reads the database."""
    yield
    await sync_to_async(connections.close_all)()


def communicator(
    user: Any, path: str = "/ws/downloads/", *, routes: Any = None, **kwargs: Any
) -> WebsocketCommunicator:
    router = URLRouter(websocket_urlpatterns if routes is None else routes)

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await router({**scope, "user": user}, receive, send)

    return WebsocketCommunicator(application, path, **kwargs)


@asynccontextmanager
async def connected(user: Any, **kwargs: Any) -> AsyncIterator[WebsocketCommunicator]:
    """Connect, take the snapshot, and disconnect at the end."""
    page = communicator(user, **kwargs)
    assert (await page.connect())[0]
    assert 'id="downloads-dropdown"' in await page.receive_from()
    yield page
    await page.disconnect()


async def is_refused(page: WebsocketCommunicator) -> bool:
    accepted, _ = await page.connect()
    nothing = await page.receive_nothing()
    await page.wait()
    return not accepted and nothing


def percentages(markup: str) -> list[int]:
    return [int(value) for value in re.findall(r'max="100" value="(\d+)"', markup)]


async def in_thread(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call what uses the database, as a view in a thread of the server does.

    In the thread of the loop each task would open a connection that nobody closes.
    """
    return await sync_to_async(function)(*args, **kwargs)


async def running(user: Any, **kwargs: Any) -> Download:
    """Make a download that a worker is at."""

    def make() -> Download:
        collection = DownloadCollectionFactory(user=user)
        return DownloadFactory(collection=collection, running=True, **kwargs)

    return await in_thread(make)


# Who gets in


@pytest.mark.parametrize("path", ["/ws/downloads/", "/ws/downloads/ada/"])
async def test_an_anonymous_visitor_is_refused(path: str) -> None:
    assert await is_refused(communicator(AnonymousUser(), path))


async def test_a_site_without_authentication_refuses_everybody() -> None:
    page = WebsocketCommunicator(URLRouter(websocket_urlpatterns), "/ws/downloads/")
    assert await is_refused(page)


@pytest.mark.parametrize("name", ["grace", "ADA", "ada ", "adaa", "1", "None"])
async def test_a_name_that_is_not_their_own_is_refused(
    user: Any, other_user: Any, name: str
) -> None:
    assert await is_refused(communicator(user, f"/ws/downloads/{name}/"))


async def test_a_foreign_name_is_refused_on_the_old_route_too(user: Any, other_user: Any) -> None:
    assert await is_refused(communicator(user, "/ws/downloads/grace/", routes=OLD_ROUTE))


@pytest.mark.parametrize("path", ["/ws/downloads/", "/ws/downloads/ada/"])
async def test_without_a_name_or_under_their_own_a_user_gets_in(user: Any, path: str) -> None:
    async with connected(user, path=path):
        pass


async def test_the_old_route_lets_a_user_in(user: Any) -> None:
    async with connected(user, path="/ws/downloads/ada/", routes=OLD_ROUTE):
        pass


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("bob@example.com", "bob@example.com"),
        ("a+b-c", "a+b-c"),
        ("with spaces", "with%20spaces"),
        ("Łucja", "%C5%81ucja"),
        ("x" * 150, "x" * 150),
    ],
)
async def test_a_user_of_any_name_gets_in(name: str, path: str) -> None:
    user = await in_thread(UserFactory, username=name)
    async with connected(user, path=f"/ws/downloads/{path}/"):
        pass


async def test_the_session_tells_who_it_is(signed_in: Client, user: Any) -> None:
    await running(user, percentage=30)
    page = session_communicator(signed_in)
    assert (await page.connect())[0]
    assert percentages(await page.receive_from()) == [30]
    await page.disconnect()


def session_communicator(client: Client) -> WebsocketCommunicator:
    cookie = f"sessionid={client.cookies['sessionid'].value}"
    application = AuthMiddlewareStack(URLRouter(websocket_urlpatterns))
    return WebsocketCommunicator(
        application, "/ws/downloads/", headers=[(b"cookie", cookie.encode())]
    )


async def test_a_socket_is_closed_once_its_session_has_ended(signed_in: Client, user: Any) -> None:
    download = await running(user, percentage=30)
    page = session_communicator(signed_in)
    assert (await page.connect())[0]
    await page.receive_from()
    await in_thread(signed_in.logout)
    await in_thread(cache.set_percentage, download.download_key, 40)
    # At the latest when there is something to tell: it must not be told any more.
    assert (await page.receive_output())["type"] == "websocket.close"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look without a hint, too, every moment."""
    monkeypatch.setattr(ws_consumers, "IDLE_SECONDS", 0.1)
    monkeypatch.setattr(ws_consumers, "BUSY_SECONDS", 0.1)


async def until_closed(page: WebsocketCommunicator) -> int:
    """Take what is sent until the socket is closed, and return the code."""
    while (output := await page.receive_output(timeout=5))["type"] != "websocket.close":
        pass
    return int(output["code"])


@pytest.mark.parametrize("end", ["signs out", "is deactivated", "is deleted"])
async def test_an_idle_socket_is_closed_soon_after_its_person(
    signed_in: Client, user: Any, impatient: None, end: str
) -> None:
    page = session_communicator(signed_in)
    assert (await page.connect())[0]
    if end == "signs out":
        await in_thread(signed_in.logout)
    elif end == "is deactivated":
        await in_thread(type(user).objects.filter(pk=user.pk).update, is_active=False)
    else:
        await in_thread(user.delete)
    assert await until_closed(page) == ws_consumers.SIGNED_OUT
    await page.disconnect()


async def test_a_page_of_another_site_is_refused(user: Any, settings: Any) -> None:
    # A browser sends the cookies along for a socket that any page opens; only Origin tells.
    settings.ALLOWED_HOSTS = ["shop.example.org"]
    headers = [(b"host", b"shop.example.org"), (b"origin", b"https://evil.example.com")]
    assert await is_refused(communicator(user, headers=headers))


async def test_a_page_of_this_site_is_let_in(user: Any, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["shop.example.org"]
    headers = [(b"host", b"shop.example.org"), (b"origin", b"https://shop.example.org")]
    async with connected(user, headers=headers):
        pass


# What they are sent


async def test_on_connect_the_list_is_sent_as_an_out_of_band_swap(user: Any) -> None:
    download = await running(user, percentage=30, name="Orders")
    page = communicator(user)
    await page.connect()
    markup = await page.receive_from()
    assert markup.startswith('<div id="downloads-dropdown" hx-swap-oob="innerHTML">')
    assert f'id="download-{download.pk}"' in markup
    assert "Orders" in markup
    assert percentages(markup) == [30]
    await page.disconnect()


async def test_a_user_without_downloads_is_sent_an_empty_list(user: Any) -> None:
    page = communicator(user)
    await page.connect()
    assert "No downloads" in await page.receive_from()
    await page.disconnect()


async def test_a_change_of_the_row_brings_a_new_list(user: Any) -> None:
    download = await running(user, percentage=30)
    async with connected(user) as page:
        await in_thread(cache.set_percentage, download.download_key, 40)
        assert percentages(await page.receive_from()) == [40]
        await in_thread(cache.set_error, download.download_key, "It broke.")
        assert "It broke." in await page.receive_from()
        await in_thread(store.clear, user.pk, download_key=download.pk)
        assert "No downloads" in await page.receive_from()


async def test_a_new_download_appears(user: Any) -> None:
    async with connected(user) as page:
        await in_thread(cache.init_download, user, "new.csv")
        assert "new.csv" in await page.receive_from()


async def test_a_hint_without_a_change_brings_nothing(user: Any) -> None:
    await running(user, percentage=30)
    async with connected(user) as page:
        await get_channel_layer().group_send(push.group_name(user.pk), {"type": push.HINT})
        assert await page.receive_nothing(timeout=SOON)


async def test_many_hints_are_answered_together_and_the_last_word_counts(user: Any) -> None:
    download = await running(user)
    received = []
    async with connected(user) as page:
        for percentage in range(1, 41):
            await in_thread(cache.set_percentage, download.download_key, percentage)
        while not await page.receive_nothing(timeout=SOON):
            received += percentages(await page.receive_from())
    assert received[-1] == 40
    # As many as there are waits in the time that the changes took, not one for each.
    assert len(received) < 20


async def test_hints_that_overflow_the_channel_do_not_lose_the_end(user: Any) -> None:
    download = await running(user)
    async with connected(user) as page:
        layer = get_channel_layer()
        for _ in range(150):
            await layer.group_send(push.group_name(user.pk), {"type": push.HINT})
        await in_thread(cache.set_error, download.download_key, "The end.")
        last = ""
        while not await page.receive_nothing(timeout=SOON):
            last = await page.receive_from()
        assert "The end." in last


class LingeringConsumer(DownloadsConsumer):
    """A consumer whose look takes its time after the list was read and sent."""

    async def send_changes(self) -> None:
        await super().send_changes()
        await asyncio.sleep(SOON)


async def test_a_hint_during_a_look_asks_for_another(user: Any) -> None:
    download = await running(user)
    routes = [re_path("^ws/downloads/$", LingeringConsumer.as_asgi())]
    async with connected(user, routes=routes) as page:
        for percentage in (40, 50):
            await in_thread(cache.set_percentage, download.download_key, percentage)
            assert percentages(await page.receive_from(timeout=SOON * 4)) == [percentage]


class ChangingLayer(InMemoryChannelLayer):
    """A layer under which a download changes as soon as a group is joined."""

    async def group_add(self, group: str, channel: str) -> None:
        await super().group_add(group, channel)
        await Download.objects.aupdate(percentage=77)


async def test_the_group_is_joined_before_the_first_look(user: Any, settings: Any) -> None:
    backend = f"{__name__}.{ChangingLayer.__name__}"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend}}
    await running(user, percentage=30)
    page = communicator(user)
    await page.connect()
    # What changes from here on brings a hint; what changed until here must be seen now.
    assert percentages(await page.receive_from()) == [77]
    await page.disconnect()


async def test_a_layer_that_was_emptied_is_joined_again(user: Any, impatient: None) -> None:
    async with connected(user) as page:
        await get_channel_layer().flush()
        await in_thread(cache.init_download, user, "new.csv")
        assert "new.csv" in await page.receive_from(timeout=5)
        assert list(get_channel_layer().groups) == [push.group_name(user.pk)]


async def test_a_worker_that_died_is_shown_although_nobody_tells(
    user: Any, impatient: None
) -> None:
    download = await running(user, percentage=30)
    async with connected(user) as page:
        long_ago = timezone.now() - timedelta(hours=1)
        await Download.objects.filter(pk=download.pk).aupdate(heard_at=long_ago)
        assert "stopped responding" in await page.receive_from(timeout=5)


class FailingLayer(InMemoryChannelLayer):
    """A layer that answers every second question with an error, as an idle Redis may."""

    asked = 0

    async def receive(self, channel: str) -> Any:
        self.asked += 1
        if self.asked % 2:
            raise TimeoutError("Nothing came.")
        return await super().receive(channel)


class ClosedLayer(InMemoryChannelLayer):
    """A layer that cannot be reached."""

    async def group_add(self, group: str, channel: str) -> None:
        raise ConnectionError("refused")


def use_layer(settings: Any, layer: type) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"{__name__}.{layer.__name__}"}}


async def test_a_layer_that_fails_to_answer_does_not_end_the_socket(
    user: Any, settings: Any
) -> None:
    use_layer(settings, FailingLayer)
    async with connected(user) as page:
        for name in ("one.csv", "two.csv"):
            await in_thread(cache.init_download, user, name)
            assert name in await page.receive_from(timeout=5)


async def test_without_the_layer_a_page_is_refused_and_the_log_says_why(
    user: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    use_layer(settings, ClosedLayer)
    assert await is_refused(communicator(user))
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_a_list_that_cannot_be_rendered_has_the_page_poll(
    user: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.ASYNC_DOWNLOADS_DOWNLOAD_TEMPLATE = "no/such/template.html"
    page = communicator(user)
    await page.connect()
    assert await until_closed(page) == ws_consumers.FAILED
    assert "no/such/template.html" in caplog.text
    await page.disconnect()


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?language=de", []),
        ("", [(b"cookie", b"django_language=de")]),
        ("?language=" + "x" * 600, [(b"accept-language", b"de")]),
        ("?language=de", [(b"cookie", b"django_language=fr")]),
    ],
    ids=["page", "cookie", "browser", "page before cookie"],
)
async def test_it_is_sent_in_the_language_of_the_page(
    user: Any, query: str, headers: list[Any]
) -> None:
    await running(user)
    page = communicator(user, f"/ws/downloads/{query}", headers=headers)
    await page.connect()
    # Django's own words, for a time of day.
    assert str(timezone.now().year) in (markup := await page.receive_from())
    assert re.search(r">\d+\. |>\d\d\.\d\d\.", markup)
    await page.disconnect()


async def test_its_forms_carry_the_token_of_the_page_and_lead_back_to_no_socket(
    user: Any,
) -> None:
    await running(user)
    secret = "a" * 32
    page = communicator(user, headers=[(b"cookie", f"csrftoken={secret}".encode())])
    await page.connect()
    markup = await page.receive_from()
    (token, *_) = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', markup)
    assert _does_token_match(token, secret)
    assert "/ws/" not in markup
    await page.disconnect()


async def test_each_page_of_a_user_is_told(user: Any) -> None:
    download = await running(user, percentage=30)
    async with connected(user) as first, connected(user) as second:
        await in_thread(cache.set_percentage, download.download_key, 40)
        assert percentages(await first.receive_from()) == [40]
        assert percentages(await second.receive_from()) == [40]


async def test_what_is_somebody_elses_never_appears(user: Any, other_user: Any) -> None:
    foreign = await running(other_user, name="Foreign secret", percentage=50)
    label = await in_thread(DownloadFactory, collection__user=None, collection__label="ada")
    page = communicator(user)
    await page.connect()
    assert "No downloads" in await page.receive_from()
    await in_thread(cache.set_percentage, foreign.download_key, 60)
    await in_thread(cache.set_error, label.download_key, "Foreign secret")
    await get_channel_layer().group_send(push.group_name(user.pk), {"type": push.HINT})
    assert await page.receive_nothing(timeout=SOON)
    await page.disconnect()


async def test_what_has_expired_does_not_appear(user: Any) -> None:
    await running(user, expired=True)
    page = communicator(user)
    await page.connect()
    assert "No downloads" in await page.receive_from()
    await page.disconnect()


# What they send


@pytest.mark.parametrize(
    "message",
    [
        '{"filepath": "%s"}',
        '{"type": "clear", "download_key": "%s"}',
        '{"type": "downloads.hint"}',
        "not JSON",
        b"\x00\xff",
        "x" * 50,
    ],
    ids=ascii,
)
async def test_a_message_from_the_page_is_ignored(user: Any, message: str | bytes) -> None:
    download = await running(user)
    async with connected(user) as page:
        if isinstance(message, bytes):
            await page.send_to(bytes_data=message)
        else:
            await page.send_to(text_data=message.replace("%s", download.filepath))
        assert await page.receive_nothing(timeout=SOON)
        # It lives on.
        await in_thread(cache.init_download, user, "new.csv")
        assert "new.csv" in await page.receive_from()
    assert await Download.objects.filter(pk=download.pk).aexists()


async def test_a_page_that_goes_leaves_the_group(user: Any) -> None:
    layer = get_channel_layer()
    async with connected(user):
        assert list(layer.groups) == [push.group_name(user.pk)]
    assert layer.groups == {}


async def test_a_page_that_goes_while_a_look_is_due_does_no_harm(
    user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    download = await running(user)
    async with connected(user):
        await in_thread(cache.set_percentage, download.download_key, 40)
        await asyncio.sleep(COALESCE_SECONDS / 5)
    await asyncio.sleep(SOON)
    assert caplog.records == []
