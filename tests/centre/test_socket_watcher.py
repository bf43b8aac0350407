"""One look for all sockets: what they cost, and whom a change wakes."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.core.cache import caches
from django.db.backends.signals import connection_created
from django.test import Client
from django.utils import timezone

from async_downloads import cache, intervals, owners, store
from async_downloads.centre import push, rendering, socket_feed, socket_threads, socket_watcher
from async_downloads.store import cache_entries
from tests.factories import DownloadFactory
from tests.sockets import (
    NOTHING,
    Socket,
    communicator,
    connected,
    counts,
    in_thread,
    percentages,
    running,
    session_communicator,
    until,
)

# Fixtures are only used in modules that import them.
from tests.sockets import no_connection_left_behind as no_connection_left_behind
from tests.sockets import pushed as pushed

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]

ROWS = "async_downloads_download"


@pytest.fixture(autouse=True)
def shared(settings: Any) -> None:
    """Use a cache that other processes see, so that there are version tokens."""
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "file"


class SilentLayer(InMemoryChannelLayer):
    """A channel layer that loses every message."""

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        pass


@pytest.fixture
def silent_layer(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"{__name__}.SilentLayer"}}


@pytest.fixture
def queries() -> Iterator[list[str]]:
    """Record the SQL of the threads that read for sockets."""
    recorded: list[str] = []

    def record(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        recorded.append(sql)
        return execute(sql, params, many, context)

    def watch(connection: Any, **_: Any) -> None:
        name = threading.current_thread().name
        if name.startswith(socket_threads.THREAD_NAME) and not connection.execute_wrappers:
            connection.execute_wrappers.append(record)

    # They have a new connection for each piece of work.
    connection_created.connect(watch)
    yield recorded
    connection_created.disconnect(watch)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Look often, and record how many tokens each look reads."""
    monkeypatch.setattr(intervals, "SOCKET_LOOK", 0.06)
    monkeypatch.setattr(intervals, "SOCKET_HINTED", 0.05)
    counts: list[int] = []
    get_versions = store.get_versions

    def counted(keys: Any) -> dict[str, str]:
        counts.append(len(keys))
        return get_versions(keys)

    monkeypatch.setattr(store, "get_versions", counted)
    return counts


async def until_joined(*users: Any) -> None:
    groups = {push.group_name(user.pk) for user in users}
    await until(lambda: groups <= set(get_channel_layer().groups))


async def until_looked(looks: list[int], times: int) -> None:
    before = len(looks)
    await until(lambda: len(looks) >= before + times)


async def test_waiting_sockets_read_their_tokens_together_and_make_no_query(
    user: Any, other_user: Any, looks: list[int], queries: list[str]
) -> None:
    await running(user)
    async with connected(user), connected(user), connected(other_user):
        await until_joined(user, other_user)
        await until_looked(looks, 3)
        queries.clear()
        looks.clear()
        await until_looked(looks, 20)
        assert set(looks) == {2}
        assert queries == []


async def test_a_change_is_read_once_for_all_sockets_of_its_owner_alone(
    user: Any, other_user: Any, looks: list[int], queries: list[str]
) -> None:
    download = await running(user, percentage=30)
    pages = [communicator(owner) for owner in [user] * 5 + [other_user]]
    for page in pages:
        await page.connect()
        await page.receive_from()
    await until_joined(user, other_user)
    await until_looked(looks, 3)
    queries.clear()
    await in_thread(cache.set_percentage, download.download_key, 40)
    for page in pages[:5]:
        assert percentages(await page.receive_from()) == [40]
    await until_looked(looks, 3)
    # The process that makes the change keeps the summary, but a look may come before that.
    assert len([sql for sql in queries if ROWS in sql]) <= 1
    assert await pages[5].receive_nothing()
    for page in pages:
        await page.disconnect()


@pytest.mark.parametrize("other_path", ["/ws/downloads/", "/ws/downloads/?language=de"])
async def test_tabs_that_differ_in_nothing_share_one_rendering(
    user: Any, other_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    download = await running(user, percentage=30)
    rendered: list[Any] = []
    render = rendering.render_summary
    async with connected(user) as first, connected(user, path=other_path) as second:
        monkeypatch.setattr(
            rendering, "render_summary", lambda *args: rendered.append(args) or render(*args)
        )
        await in_thread(cache.set_percentage, download.download_key, 40)
        markups = [await page.receive_from() for page in (first, second)]
        same = other_path == "/ws/downloads/"
        assert (markups[0] == markups[1]) is same
        assert len(rendered) == (1 if same else 2)


async def test_without_hints_changes_are_seen_by_their_tokens(
    user: Any, silent_layer: None
) -> None:
    download = await running(user, percentage=30)
    async with connected(user) as page:
        for percentage in (40, 50):
            await in_thread(cache.set_percentage, download.download_key, percentage)
            assert percentages(await page.receive_from()) == [percentage]


async def test_a_message_without_the_name_of_its_group_counts_for_all(
    user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "SOCKET_LOOK", 10_000)
    async with connected(user) as page:
        await until_joined(user)
        await in_thread(DownloadFactory, collection__user=user, name="New")
        key = (await in_thread(owners.resolve, user)).collection_key
        await in_thread(cache_entries.renew_version, key)
        await get_channel_layer().group_send(push.group_name(user.pk), {"type": push.HINT})
        assert counts(await page.receive_from()) == ("in-progress", 1)


async def test_a_download_that_expires_disappears_without_a_write(
    user: Any, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_feed, "MARGIN", 1.1)
    expires_at = timezone.now() + timedelta(seconds=3)
    await in_thread(
        DownloadFactory, collection__user=user, complete=True, name="Done", expires_at=expires_at
    )
    async with connected(user) as page:
        while counts(await page.receive_from()) != NOTHING:
            pass


async def test_after_the_cache_is_emptied_the_rows_decide_until_there_are_tokens_again(
    user: Any, looks: list[int], silent_layer: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "SOCKET_IDLE", 0.1)
    async with connected(user) as page:
        await in_thread(caches["file"].clear)
        await in_thread(DownloadFactory, collection__user=user, complete=True, name="First")
        while counts(await page.receive_from()) != ("has-new", 1):
            pass
        monkeypatch.setattr(intervals, "SOCKET_IDLE", 10_000)
        await in_thread(cache.init_download, user, "second.csv")
        while counts(await page.receive_from()) != ("in-progress", 1):
            pass


async def test_a_page_that_takes_no_message_does_not_delay_the_others(user: Any) -> None:
    download = await running(user, percentage=30)
    taken = asyncio.Event()
    served = communicator(user).application

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        async def send_late(message: dict[str, Any]) -> None:
            if message["type"] == "websocket.send":
                await taken.wait()
            await send(message)

        await served(scope, receive, send_late)

    slow = Socket(application, "/ws/downloads/")
    assert (await slow.connect())[0]
    async with connected(user) as page:
        for percentage in (40, 50):
            await in_thread(cache.set_percentage, download.download_key, percentage)
            assert percentages(await page.receive_from()) == [percentage]
        taken.set()
        while percentages(await slow.receive_from()) != [50]:
            pass
    await slow.disconnect()


async def test_the_watcher_ends_with_the_last_socket_and_begins_again(user: Any) -> None:
    def at_work() -> bool:
        names = [thread.name for thread in threading.enumerate()]
        return any(name.startswith(socket_threads.THREAD_NAME) for name in names)

    tasks = asyncio.all_tasks()
    for _ in range(2):
        async with connected(user), connected(user):
            assert at_work()
            assert len(socket_watcher._watchers) == 1
        assert socket_watcher._watchers == {}
        await until(lambda: asyncio.all_tasks() == tasks and not at_work())


# Sessions


async def signed_in_page(client: Client) -> Socket:
    page = session_communicator(client)
    assert (await page.connect())[0]
    await page.receive_from()
    return page


async def test_a_session_is_not_read_for_each_message(
    signed_in: Client, user: Any, queries: list[str]
) -> None:
    download = await running(user)
    page = await signed_in_page(signed_in)
    for percentage in (40, 50):
        await in_thread(cache.set_percentage, download.download_key, percentage)
        assert percentages(await page.receive_from()) == [percentage]
    assert [sql for sql in queries if "django_session" in sql] == []
    await page.disconnect()


async def test_nothing_is_sent_after_a_minute_without_a_check_of_the_session(
    signed_in: Client, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    download = await running(user)
    page = await signed_in_page(signed_in)
    await in_thread(signed_in.session.flush)
    monkeypatch.setattr(intervals, "SESSION_MAXIMUM", -1)
    await in_thread(cache.set_percentage, download.download_key, 40)
    output = await page.receive_output()
    assert (output["type"], output["code"]) == ("websocket.close", socket_feed.SIGNED_OUT)
    await page.disconnect()


def test_a_team_that_has_the_key_of_its_member_has_a_token_to_trust() -> None:
    """The team "5" of the user with the primary key 5."""
    token = socket_watcher._token_of(["downloads_5"] * 2, {"downloads_5": "a"})
    assert token == cache_entries.joint_version({"downloads_5": "a"})
    assert socket_watcher._token_of(["downloads_5", "downloads_6"], {"downloads_5": "a"}) is None
