"""The websocket consumer: who may connect, and what it sends."""

import asyncio
import re
import threading
import time
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.layers import InMemoryChannelLayer, get_channel_layer
from channels.routing import URLRouter
from django.contrib.auth.models import AnonymousUser
from django.test import Client
from django.urls import re_path

from async_downloads import cache, store
from async_downloads.centre import push
from async_downloads.centre.websocket_address import ANY_NAME
from async_downloads.intervals import SOCKET_MINIMUM
from async_downloads.models import Download
from async_downloads.routing import websocket_urlpatterns
from async_downloads.ws_consumers import DownloadsConsumer
from tests import queues
from tests.attempts import long_ago
from tests.factories import DownloadFactory, UserFactory
from tests.sockets import (
    NOTHING,
    Socket,
    communicator,
    connected,
    counts,
    in_thread,
    is_refused,
    percentages,
    running,
    session_communicator,
    until,
)

# Fixtures are only used in modules that import them.
from tests.sockets import no_connection_left_behind as no_connection_left_behind
from tests.sockets import pushed as pushed

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]

#: Long enough for a message that is due.
SOON = SOCKET_MINIMUM * 3

#: The route that the documentation of 0.6.0 shows.
LEGACY_ROUTE = [re_path(r"ws/downloads/(?P<username>[\w.]+)/$", DownloadsConsumer.as_asgi())]


async def test_a_socket_of_the_owner_rescues_what_has_stalled(user: Any) -> None:
    await running(user, recorded=True, heard_at=long_ago())
    async with connected(user):
        ((state, key),) = await in_thread(list, Download.objects.values_list("state", "pk"))
        (queued,) = await in_thread(queues.waiting)
    assert state == "pending"
    assert str(key) in queued["args"]


# Who may connect


@pytest.mark.parametrize("path", ["/ws/downloads/", "/ws/downloads/ada/"])
async def test_an_anonymous_visitor_is_refused(path: str) -> None:
    assert await is_refused(communicator(AnonymousUser(), path))


async def test_a_site_without_authentication_refuses_every_visitor() -> None:
    page = Socket(URLRouter(websocket_urlpatterns), "/ws/downloads/")
    assert await is_refused(page)


@pytest.mark.parametrize("name", ["grace", "ADA", "ada ", "adaa", "1", "None"])
async def test_the_name_of_another_user_is_refused(user: Any, other_user: Any, name: str) -> None:
    assert await is_refused(communicator(user, f"/ws/downloads/{name}/"))


async def test_the_name_of_another_user_is_refused_on_the_route_of_0_6(
    user: Any, other_user: Any
) -> None:
    assert await is_refused(communicator(user, "/ws/downloads/grace/", routes=LEGACY_ROUTE))


@pytest.mark.parametrize("path", ["/ws/downloads/", "/ws/downloads/ada/"])
async def test_a_user_may_connect_without_a_name_or_with_their_own(user: Any, path: str) -> None:
    async with connected(user, path=path):
        pass


async def test_a_user_may_connect_to_the_route_of_0_6(user: Any) -> None:
    async with connected(user, path="/ws/downloads/ada/", routes=LEGACY_ROUTE):
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
async def test_a_user_with_any_name_may_connect(name: str, path: str) -> None:
    user = await in_thread(UserFactory, username=name)
    async with connected(user, path=f"/ws/downloads/{path}/"):
        pass


@pytest.mark.parametrize("name", ["bob@example.com", "a+b-c", "with spaces", "ada", "_"])
@pytest.mark.parametrize("routes", [None, LEGACY_ROUTE], ids=["current", "legacy"])
async def test_users_whom_the_route_of_0_6_cannot_match_may_connect_by_the_common_name(
    name: str, routes: Any
) -> None:
    user = await in_thread(UserFactory, username=name)
    async with connected(user, path=f"/ws/downloads/{ANY_NAME}/", routes=routes):
        pass


async def test_an_anonymous_visitor_is_refused_under_the_common_name() -> None:
    assert await is_refused(communicator(AnonymousUser(), f"/ws/downloads/{ANY_NAME}/"))


async def test_the_session_identifies_the_user(signed_in: Client, user: Any) -> None:
    await running(user, percentage=30)
    page = session_communicator(signed_in)
    assert (await page.connect())[0]
    assert percentages(await page.receive_from()) == [30]
    await page.disconnect()


async def test_a_socket_is_closed_once_its_session_has_ended(signed_in: Client, user: Any) -> None:
    download = await running(user, percentage=30)
    page = session_communicator(signed_in)
    assert (await page.connect())[0]
    await page.receive_from()
    await in_thread(signed_in.logout)
    await in_thread(cache.set_percentage, download.download_key, 40)
    # At the latest with the next change, which must not be sent.
    assert (await page.receive_output())["type"] == "websocket.close"


async def test_a_page_of_another_site_is_refused(user: Any, settings: Any) -> None:
    # A browser sends cookies with a socket of any page; only the Origin header differs.
    settings.ALLOWED_HOSTS = ["shop.example.org"]
    headers = [(b"host", b"shop.example.org"), (b"origin", b"https://evil.example.com")]
    assert await is_refused(communicator(user, headers=headers))


async def test_a_page_of_this_site_may_connect(user: Any, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["shop.example.org"]
    headers = [(b"host", b"shop.example.org"), (b"origin", b"https://shop.example.org")]
    async with connected(user, headers=headers):
        pass


async def test_a_socket_opens_and_closes_while_the_thread_of_synchronous_code_is_busy(
    user: Any,
) -> None:
    gate = threading.Event()
    busy = asyncio.create_task(sync_to_async(gate.wait)())
    async with connected(user):
        pass
    gate.set()
    await busy


# What the consumer sends


async def test_the_summary_is_sent_on_connection(user: Any) -> None:
    await running(user, percentage=30, name="Orders")
    page = communicator(user)
    await page.connect()
    markup = await page.receive_from()
    assert markup.startswith('<div class="async-downloads-summary" hidden')
    assert counts(markup) == ("in-progress", 1)
    assert percentages(markup) == [30]
    # The list, with its names, is requested by a menu that is open.
    assert "Orders" not in markup
    await page.disconnect()


@pytest.mark.parametrize("since", ["", "?since=", "?since=nonsense"])
async def test_a_page_gets_toasts_for_what_has_finished_since_it_was_rendered(
    user: Any, since: str
) -> None:
    await in_thread(DownloadFactory, collection__user=user, complete=True, name="Orders")
    page = communicator(user, path=f"/ws/downloads/{since}")
    await page.connect()
    markup = await page.receive_from()
    assert counts(markup) == ("has-new", 1)
    assert ("Orders" in markup) is (since == "?since=")
    await page.disconnect()


async def test_a_download_that_finishes_sends_its_toast_once(user: Any) -> None:
    download = await running(user, name="Orders")
    async with connected(user) as page:
        await in_thread(cache.set_error, download.download_key, "It broke.")
        markup = await page.receive_from()
        assert "<bdi>Orders</bdi> has failed" in markup
        assert "It broke." in markup
        await in_thread(cache.init_download, user, "new.csv")
        assert "Orders" not in await page.receive_from()


@pytest.mark.parametrize("where", ["setting", "server", "page"])
async def test_urls_in_messages_are_below_the_path_of_the_site(
    user: Any, settings: Any, where: str
) -> None:
    await in_thread(DownloadFactory, collection__user=user, complete=True, name="Done")
    settings.FORCE_SCRIPT_NAME = "/shop" if where == "setting" else None
    router = URLRouter(websocket_urlpatterns)
    server = {"root_path": "/shop"} if where == "server" else {}
    path = f"{server.get('root_path', '')}/ws/downloads/"
    path += "?since=" + ("&prefix=%2Fshop%2F" if where == "page" else "")

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await router({**scope, "user": user, **server}, receive, send)

    page = Socket(application, path)
    assert (await page.connect())[0]
    urls = re.findall(r' (?:href|action|hx-\w+|data-url)="(/[^"]+)"', await page.receive_from())
    await page.disconnect()
    assert len(urls) >= 1
    assert [url for url in urls if not url.startswith("/shop/async_downloads/")] == []


async def test_a_user_without_downloads_is_sent_an_empty_summary(user: Any) -> None:
    page = communicator(user)
    await page.connect()
    assert counts(await page.receive_from()) == NOTHING
    await page.disconnect()


async def test_a_change_of_a_row_sends_a_new_summary(user: Any) -> None:
    download = await running(user, percentage=30)
    async with connected(user) as page:
        await in_thread(cache.set_percentage, download.download_key, 40)
        assert percentages(await page.receive_from()) == [40]
        await in_thread(cache.set_error, download.download_key, "It broke.")
        assert counts(await page.receive_from()) == ("has-new", 1)
        await in_thread(store.clear, user.pk, download_key=download.pk)
        assert counts(await page.receive_from()) == NOTHING


async def test_a_new_download_appears(user: Any) -> None:
    async with connected(user) as page:
        await in_thread(cache.init_download, user, "new.csv")
        assert counts(await page.receive_from()) == ("in-progress", 1)


async def test_a_hint_without_a_change_sends_nothing(user: Any) -> None:
    await running(user, percentage=30)
    async with connected(user) as page:
        await get_channel_layer().group_send(push.group_name(user.pk), {"type": push.HINT})
        assert await page.receive_nothing(timeout=SOON)


async def test_many_hints_are_answered_together_with_the_last_state(user: Any) -> None:
    download = await running(user)
    received = [0]
    async with connected(user) as page:
        began = time.monotonic()
        for percentage in range(1, 41):
            await in_thread(cache.set_percentage, download.download_key, percentage)
        while received[-1] != 40:
            received += percentages(await page.receive_from())
        waits = (time.monotonic() - began) / SOCKET_MINIMUM
    # At most one for each wait between messages, not one for each change.
    assert len(received) <= waits + 3


async def test_the_last_state_is_sent_even_if_hints_overflow_the_channel(user: Any) -> None:
    download = await running(user)
    async with connected(user) as page:
        layer = get_channel_layer()
        for _ in range(150):
            await layer.group_send(push.group_name(user.pk), {"type": push.HINT})
        await in_thread(cache.set_error, download.download_key, "The end.")
        while "The end." not in await page.receive_from():
            pass


class LingeringConsumer(DownloadsConsumer):
    """A consumer that is slow to send the summary."""

    async def send_markup(self, markup: str) -> None:
        await super().send_markup(markup)
        await asyncio.sleep(SOON)


async def test_a_hint_while_the_list_is_sent_causes_another_look(user: Any) -> None:
    download = await running(user)
    routes = [re_path("^ws/downloads/$", LingeringConsumer.as_asgi())]
    async with connected(user, routes=routes) as page:
        for percentage in (40, 50):
            await in_thread(cache.set_percentage, download.download_key, percentage)
            assert percentages(await page.receive_from()) == [percentage]


class ChangingLayer(InMemoryChannelLayer):
    """A channel layer that changes a download as soon as a group is joined."""

    async def group_add(self, group: str, channel: str) -> None:
        await super().group_add(group, channel)
        await Download.objects.aupdate(percentage=77)


async def test_a_change_before_the_group_is_joined_is_sent(user: Any, settings: Any) -> None:
    backend = f"{__name__}.{ChangingLayer.__name__}"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend}}
    await running(user, percentage=30)
    page = communicator(user)
    await page.connect()
    # Later changes cause hints, but this one has come before.
    while percentages(await page.receive_from()) != [77]:
        pass
    await page.disconnect()


async def test_each_page_of_a_user_gets_changes(user: Any) -> None:
    download = await running(user, percentage=30)
    async with connected(user) as first, connected(user) as second:
        await in_thread(cache.set_percentage, download.download_key, 40)
        assert percentages(await first.receive_from()) == [40]
        assert percentages(await second.receive_from()) == [40]


async def test_downloads_of_other_users_are_never_sent(user: Any, other_user: Any) -> None:
    foreign = await running(other_user, name="Foreign secret", percentage=50)
    label = await in_thread(DownloadFactory, collection__user=None, collection__label="ada")
    page = communicator(user)
    await page.connect()
    assert counts(await page.receive_from()) == NOTHING
    await in_thread(cache.set_percentage, foreign.download_key, 60)
    await in_thread(cache.set_error, label.download_key, "Foreign secret")
    await get_channel_layer().group_send(push.group_name(user.pk), {"type": push.HINT})
    assert await page.receive_nothing(timeout=SOON)
    await page.disconnect()


async def test_expired_downloads_are_not_sent(user: Any) -> None:
    await in_thread(DownloadFactory, collection__user=user, complete=True, expired=True)
    page = communicator(user)
    await page.connect()
    assert counts(await page.receive_from()) == NOTHING
    await page.disconnect()


# Messages from the page


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
        # The socket stays open.
        await in_thread(cache.init_download, user, "new.csv")
        assert counts(await page.receive_from()) == ("in-progress", 2)
    assert await Download.objects.filter(pk=download.pk).aexists()


async def test_a_closed_page_leaves_the_group(user: Any) -> None:
    layer = get_channel_layer()
    async with connected(user):
        await until(lambda: list(layer.groups) == [push.group_name(user.pk)])
    await until(lambda: layer.groups == {})


async def test_a_page_that_closes_before_a_due_message_is_not_an_error(
    user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    download = await running(user)
    async with connected(user):
        await in_thread(cache.set_percentage, download.download_key, 40)
        await asyncio.sleep(SOCKET_MINIMUM / 5)
    await asyncio.sleep(SOON)
    assert caplog.records == []
