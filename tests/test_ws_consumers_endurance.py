"""The websocket consumer over time: failures, the end of a session, language and tokens."""

import asyncio
import re
from datetime import timedelta
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.middleware.csrf import _does_token_match
from django.test import Client
from django.utils import timezone

from async_downloads import cache, intervals, ws_consumers
from async_downloads.centre import push
from async_downloads.models import Download
from tests.pace import LONGEST_WAIT
from tests.sockets import (
    Socket,
    communicator,
    connected,
    in_thread,
    is_refused,
    running,
    session_communicator,
)

# Fixtures are only used in modules that import them.
from tests.sockets import no_connection_left_behind as no_connection_left_behind
from tests.sockets import pushed as pushed

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for changes several times a second, even without hints."""
    monkeypatch.setattr(intervals, "SOCKET_IDLE", 0.1)
    monkeypatch.setattr(intervals, "SOCKET_BUSY", 0.1)


async def close_code(page: Socket) -> int:
    """Wait until the socket is closed, and return the code."""
    while (output := await page.receive_output())["type"] != "websocket.close":
        pass
    return int(output["code"])


@pytest.mark.parametrize("end", ["signs out", "is deactivated", "is deleted"])
async def test_an_idle_socket_is_closed_soon_after_its_session_or_user_ends(
    signed_in: Client, user: Any, short_intervals: None, end: str
) -> None:
    page = session_communicator(signed_in)
    assert (await page.connect())[0]
    if end == "signs out":
        await in_thread(signed_in.logout)
    elif end == "is deactivated":
        await in_thread(type(user).objects.filter(pk=user.pk).update, is_active=False)
    else:
        await in_thread(user.delete)
    assert await close_code(page) == ws_consumers.SIGNED_OUT
    await page.disconnect()


async def test_the_group_is_joined_again_in_an_emptied_layer(
    user: Any, short_intervals: None
) -> None:
    async with connected(user) as page:
        await get_channel_layer().flush()
        await in_thread(cache.init_download, user, "new.csv")
        assert "new.csv" in await page.receive_from()
        assert list(get_channel_layer().groups) == [push.group_name(user.pk)]


async def test_a_stalled_download_is_shown_without_a_hint(user: Any, short_intervals: None) -> None:
    download = await running(user, percentage=30)
    async with connected(user) as page:
        long_ago = timezone.now() - timedelta(hours=1)
        await Download.objects.filter(pk=download.pk).aupdate(heard_at=long_ago)
        assert "stopped responding" in await page.receive_from()


class FailingLayer(InMemoryChannelLayer):
    """A channel layer whose every second call fails, as an idle Redis may."""

    calls = 0

    async def receive(self, channel: str) -> Any:
        self.calls += 1
        if self.calls % 2:
            raise TimeoutError("Nothing came.")
        return await super().receive(channel)


class ClosedLayer(InMemoryChannelLayer):
    """A channel layer whose server cannot be reached."""

    async def group_add(self, group: str, channel: str) -> None:
        raise ConnectionError("refused")


def use_layer(settings: Any, layer: type) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"{__name__}.{layer.__name__}"}}


async def test_an_error_while_receiving_does_not_close_the_socket(user: Any, settings: Any) -> None:
    use_layer(settings, FailingLayer)
    async with connected(user) as page:
        for name in ("one.csv", "two.csv"):
            await in_thread(cache.init_download, user, name)
            assert name in await page.receive_from()


async def test_without_a_layer_a_socket_is_refused_and_a_warning_is_logged(
    user: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    use_layer(settings, ClosedLayer)
    assert await is_refused(communicator(user))
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_a_list_that_cannot_be_rendered_closes_the_socket_so_that_the_page_polls(
    user: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.ASYNC_DOWNLOADS_DOWNLOAD_TEMPLATE = "no/such/template.html"
    page = communicator(user)
    await page.connect()
    assert await close_code(page) == ws_consumers.FAILED
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
async def test_messages_are_in_the_language_of_the_page(
    user: Any, query: str, headers: list[Any]
) -> None:
    await running(user)
    page = communicator(user, f"/ws/downloads/{query}", headers=headers)
    await page.connect()
    # Django formats the time of day by the language.
    assert str(timezone.now().year) in (markup := await page.receive_from())
    assert re.search(r">\d+\. |>\d\d\.\d\d\.", markup)
    await page.disconnect()


async def test_forms_in_messages_have_the_token_of_the_page_and_no_address_of_a_socket(
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


async def test_a_page_that_closes_during_a_message_is_not_an_error(
    user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """An ASGI server raises an OSError when a closed socket is sent a message."""
    tried = asyncio.Event()
    served = communicator(user).application

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        async def send_or_fail(message: dict[str, Any]) -> None:
            if message["type"] != "websocket.send":
                await send(message)
                return
            tried.set()
            raise BrokenPipeError

        await served(scope, receive, send_or_fail)

    page = Socket(application, "/ws/downloads/")
    assert (await page.connect())[0]
    await asyncio.wait_for(tried.wait(), LONGEST_WAIT)
    assert await page.receive_nothing()
    await page.disconnect()
    assert [record for record in caplog.records if record.levelname != "DEBUG"] == []
