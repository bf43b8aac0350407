"""The websocket consumer over time: failures, the end of a session, language."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.test import Client
from django.utils import timezone, translation
from django.utils.translation import gettext

from async_downloads import cache, intervals
from async_downloads.centre import push, rendering, socket_feed, socket_watcher
from async_downloads.models import Download
from tests.factories import DownloadFactory
from tests.pace import LONGEST_WAIT, stretched
from tests.sockets import (
    Socket,
    communicator,
    connected,
    counts,
    in_thread,
    running,
    session_communicator,
    until,
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
    monkeypatch.setattr(intervals, "SOCKET_LOOK", 0.1)
    monkeypatch.setattr(intervals, "SOCKET_HINTED", 0.05)
    monkeypatch.setattr(intervals, "SESSION_IDLE", 0.1)
    monkeypatch.setattr(socket_watcher, "SESSION_PAUSE", 0.1)


async def close_code(page: Socket) -> int:
    """Wait until the socket is closed, and return the code."""
    while (output := await page.receive_output())["type"] != "websocket.close":
        pass
    return int(output["code"])


@pytest.mark.parametrize("end", ["signs out", "is deactivated", "is deleted"])
async def test_an_idle_socket_is_closed_after_its_session_or_user_ends(
    signed_in: Client, user: Any, short_intervals: None, end: str
) -> None:
    page = session_communicator(signed_in)
    assert (await page.connect())[0]
    if end == "signs out":
        await in_thread(signed_in.session.flush)
    elif end == "is deactivated":
        await in_thread(type(user).objects.filter(pk=user.pk).update, is_active=False)
    else:
        await in_thread(user.delete)
    assert await close_code(page) == socket_feed.SIGNED_OUT
    await page.disconnect()


@pytest.mark.parametrize("end", ["signs out", "has a new password", "is deactivated", "is deleted"])
async def test_an_idle_socket_is_closed_at_once_if_django_says_that_its_user_is_signed_out(
    signed_in: Client, user: Any, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    # Django sends its signal before it ends the session.
    monkeypatch.setattr(intervals, "SESSION_AFTER_HINT", stretched(0.5))
    page = session_communicator(signed_in)
    assert (await page.connect())[0]
    await until(lambda: push.group_name(user.pk) in get_channel_layer().groups)
    if end == "signs out":
        await in_thread(signed_in.logout)
    elif end == "is deleted":
        await in_thread(user.delete)
    else:
        user.is_active = end != "is deactivated"
        user.set_password("another")
        await in_thread(user.save)
    assert await close_code(page) == socket_feed.SIGNED_OUT
    await page.disconnect()


async def test_the_group_is_joined_again_in_an_emptied_layer(
    user: Any, short_intervals: None
) -> None:
    async with connected(user) as page:
        await get_channel_layer().flush()
        await in_thread(cache.init_download, user, "new.csv")
        assert counts(await page.receive_from()) == ("in-progress", 1)
        await until(lambda: list(get_channel_layer().groups) == [push.group_name(user.pk)])


async def test_a_stalled_download_is_shown_without_a_hint(user: Any, short_intervals: None) -> None:
    download = await running(user, percentage=30)
    async with connected(user) as page:
        long_ago = timezone.now() - timedelta(hours=1)
        await Download.objects.filter(pk=download.pk).aupdate(heard_at=long_ago)
        markup = await page.receive_from()
        assert counts(markup) == ("", 0)
        assert f'data-poll="{intervals.STALLED_POLL}"' in markup


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
        for number in (1, 2):
            await in_thread(cache.init_download, user, f"{number}.csv")
            assert counts(await page.receive_from()) == ("in-progress", number)


async def test_without_a_layer_a_socket_gets_changes_later_and_a_warning_is_logged_once(
    user: Any, settings: Any, short_intervals: None, caplog: pytest.LogCaptureFixture
) -> None:
    use_layer(settings, ClosedLayer)
    async with connected(user) as page:
        for number in (1, 2):
            await in_thread(cache.init_download, user, f"{number}.csv")
            assert counts(await page.receive_from()) == ("in-progress", number)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


class LateLayer(InMemoryChannelLayer):
    """A channel layer whose server answers after three attempts."""

    attempts = 0

    async def group_add(self, group: str, channel: str) -> None:
        self.attempts += 1
        if self.attempts <= 3:
            raise ConnectionError("refused")
        await super().group_add(group, channel)


async def test_a_group_that_could_not_be_joined_is_joined_later(user: Any, settings: Any) -> None:
    use_layer(settings, LateLayer)
    async with connected(user) as page:
        await until(lambda: bool(get_channel_layer().groups))
        await in_thread(cache.init_download, user, "new.csv")
        assert counts(await page.receive_from()) == ("in-progress", 1)


async def test_a_summary_that_cannot_be_rendered_closes_the_socket_so_that_the_page_polls(
    user: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await in_thread(DownloadFactory, collection__user=user, complete=True)
    monkeypatch.setattr(rendering, "TOAST_TEMPLATE", "no/such/template.html")
    page = communicator(user, path="/ws/downloads/?since=")
    await page.connect()
    assert await close_code(page) == socket_feed.FAILED
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
    with translation.override("de"):
        label = gettext("Downloads: {count} in progress").format(count=1)
    assert f'data-label="{label}"' in await page.receive_from()
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
