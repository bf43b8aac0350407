"""What a websocket survives, what ends it, and how it is like a request."""

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

# The fixtures are these tests' own, too.
from tests.sockets import no_connection_left_behind as no_connection_left_behind
from tests.sockets import pushed as pushed

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look without a hint, too, every moment."""
    monkeypatch.setattr(intervals, "SOCKET_IDLE", 0.1)
    monkeypatch.setattr(intervals, "SOCKET_BUSY", 0.1)


async def until_closed(page: Socket) -> int:
    """Take what is sent until the socket is closed, and return the code."""
    while (output := await page.receive_output())["type"] != "websocket.close":
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


async def test_a_layer_that_was_emptied_is_joined_again(user: Any, impatient: None) -> None:
    async with connected(user) as page:
        await get_channel_layer().flush()
        await in_thread(cache.init_download, user, "new.csv")
        assert "new.csv" in await page.receive_from()
        assert list(get_channel_layer().groups) == [push.group_name(user.pk)]


async def test_a_worker_that_died_is_shown_although_nobody_tells(
    user: Any, impatient: None
) -> None:
    download = await running(user, percentage=30)
    async with connected(user) as page:
        long_ago = timezone.now() - timedelta(hours=1)
        await Download.objects.filter(pk=download.pk).aupdate(heard_at=long_ago)
        assert "stopped responding" in await page.receive_from()


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
            assert name in await page.receive_from()


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


async def test_a_page_that_goes_while_it_is_told_of_a_change_is_no_error(
    user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """An ASGI server raises an OSError of its own at what is sent to nobody."""
    tried = asyncio.Event()
    served = communicator(user).application

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        async def send_or_tell(message: dict[str, Any]) -> None:
            if message["type"] != "websocket.send":
                await send(message)
                return
            tried.set()
            raise BrokenPipeError

        await served(scope, receive, send_or_tell)

    page = Socket(application, "/ws/downloads/")
    assert (await page.connect())[0]
    await asyncio.wait_for(tried.wait(), LONGEST_WAIT)
    assert await page.receive_nothing()
    await page.disconnect()
    assert [record for record in caplog.records if record.levelname != "DEBUG"] == []
