"""Hints that make a user's open pages look for changes."""

import asyncio
import logging
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from channels.layers import BaseChannelLayer, InMemoryChannelLayer, get_channel_layer

from async_downloads.centre import push
from async_downloads.utils.circuit_breaker import CircuitBreaker
from tests import services
from tests.pace import LONGEST_WAIT

ODD_KEYS = [
    1,
    2**63,
    -1,
    0,
    uuid.UUID(int=5),
    "bob@example.com",
    "a b",
    "a/b",
    "name!with!marks",
    "名前",
    "x" * 300,
    "",
    "\n",
    ("two", "parts"),
]


class BrokenLayer(BaseChannelLayer):
    """A channel layer whose server does not accept connections."""

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        raise ConnectionError("no route to the layer")


class HungLayer(BaseChannelLayer):
    """A channel layer whose server accepts a connection and never answers, as a stopped Redis."""

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await asyncio.sleep(LONGEST_WAIT)


def use_layer(settings: Any, backend: str, **config: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": config}}


@pytest.fixture(autouse=True)
def pushed(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # The circuit breaker must not stay open after a test that opens it.
    monkeypatch.setattr(push, "_breaker", CircuitBreaker("The channel layer"))
    settings.ASYNC_DOWNLOADS_WS_MODE = True
    use_layer(settings, "channels.layers.InMemoryChannelLayer")


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return the messages logged so far, from warnings up."""
    return lambda: [
        record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING
    ]


async def join(user_id: Any) -> str:
    """Join a user's group, and return the channel on which its messages arrive."""
    layer = get_channel_layer()
    channel: str = await layer.new_channel()
    await layer.group_add(push.group_name(user_id), channel)
    return channel


def messages(channel: str) -> list[dict[str, Any]]:
    """Return the messages that wait in a channel of the in-memory layer."""
    queue = get_channel_layer().channels.get(channel)
    return [] if queue is None else [message for _, message in queue._queue]


def hint_to(user_id: Any) -> dict[str, Any]:
    """Return the message of a hint."""
    return {"type": "downloads.hint", "group": push.group_name(user_id)}


@pytest.mark.parametrize("user_id", ODD_KEYS, ids=ascii)
def test_a_group_has_a_valid_name_for_any_type_of_key(user_id: object) -> None:
    assert InMemoryChannelLayer().require_valid_group_name(push.group_name(user_id))


def test_each_user_has_a_group_of_their_own() -> None:
    assert len({push.group_name(user_id) for user_id in ODD_KEYS}) == len(ODD_KEYS)


@pytest.mark.parametrize("prefix", ["news", "with space", "ß", "x" * 200])
def test_another_prefix_gives_other_valid_group_names(settings: Any, prefix: str) -> None:
    before = push.group_name(1)
    settings.ASYNC_DOWNLOADS_WS_CHANNEL_NAME = prefix
    assert push.group_name(1) != before
    assert push.group_name(1) != push.group_name(2)
    assert InMemoryChannelLayer().require_valid_group_name(push.group_name(1))


def test_the_documented_prefix_is_the_first_part_of_the_name() -> None:
    assert push.group_name(7) == "downloads_7"


@pytest.mark.parametrize("user_id", ODD_KEYS, ids=ascii)
def test_a_hint_reaches_the_group_with_its_name_and_no_other_data(
    user_id: object, warnings: Callable[[], list[str]]
) -> None:
    channel = async_to_sync(join)(user_id)
    push.hint(user_id)
    assert messages(channel) == [{"type": "downloads.hint", "group": push.group_name(user_id)}]
    assert warnings() == []


def test_a_hint_does_not_reach_other_groups() -> None:
    channel = async_to_sync(join)(1)
    push.hint(2)
    assert messages(channel) == []


def test_a_hint_to_an_empty_group_is_not_an_error(warnings: Callable[[], list[str]]) -> None:
    push.hint(1)
    assert warnings() == []


def test_a_hint_from_a_thread_of_an_asgi_server_reaches_the_group(
    warnings: Callable[[], list[str]],
) -> None:
    async def request() -> str:
        channel = await join(1)
        await sync_to_async(push.hint)(1)
        return channel

    assert messages(asyncio.run(request())) == [hint_to(1)]
    assert warnings() == []


@pytest.mark.skipif(not services.available("redis"), reason="Redis does not answer")
def test_a_hint_reaches_the_group_through_redis(
    settings: Any, warnings: Callable[[], list[str]]
) -> None:
    config = {"hosts": [services.redis_url()], "prefix": f"tests-{uuid.uuid4().hex}"}
    use_layer(settings, "channels_redis.core.RedisChannelLayer", **config)

    async def request() -> Any:
        layer = get_channel_layer()
        channel = await join(1)
        await sync_to_async(push.hint)(1)
        async with asyncio.timeout(5):
            message = await layer.receive(channel)
        await layer.flush()
        await layer.close_pools()
        return message

    assert asyncio.run(request())["type"] == push.HINT
    assert warnings() == []


def test_nothing_is_pushed_unless_the_site_turns_it_on(
    settings: Any, warnings: Callable[[], list[str]]
) -> None:
    settings.ASYNC_DOWNLOADS_WS_MODE = False
    channel = async_to_sync(join)(1)
    push.hint(1)
    assert messages(channel) == []
    # The layer is not even imported.
    settings.CHANNEL_LAYERS = {}
    push.hint(1)
    assert warnings() == []


def test_a_full_channel_is_not_an_error(warnings: Callable[[], list[str]]) -> None:
    channel = async_to_sync(join)(1)
    for _ in range(150):
        push.hint(1)
    assert len(messages(channel)) == 100
    assert warnings() == []


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param(f"{__name__}.BrokenLayer", id="broken"),
        pytest.param("channels.layers.BaseChannelLayer", id="without groups"),
        pytest.param("tests.no_such_module.Layer", id="not importable"),
    ],
)
def test_a_layer_that_fails_is_only_logged(
    settings: Any, warnings: Callable[[], list[str]], backend: str
) -> None:
    use_layer(settings, backend)
    push.hint(1)
    assert len(warnings()) == 1


def test_a_missing_layer_is_only_logged(settings: Any, warnings: Callable[[], list[str]]) -> None:
    settings.CHANNEL_LAYERS = {}
    push.hint(1)
    assert len(warnings()) == 1


def test_a_redis_that_is_down_is_only_logged(
    settings: Any, warnings: Callable[[], list[str]]
) -> None:
    use_layer(settings, "channels_redis.core.RedisChannelLayer", hosts=["redis://127.0.0.1:1/0"])
    push.hint(1)
    assert len(warnings()) == 1


def test_a_hint_inside_a_running_loop_reaches_the_group(warnings: Callable[[], list[str]]) -> None:
    async def view() -> str:
        channel = await join(1)
        push.hint(1)
        return channel

    channel = asyncio.run(view())
    # A thread sends it, perhaps after the loop has ended.
    wait_until_sent()
    assert messages(channel) == [hint_to(1)]
    assert warnings() == []


def test_inside_a_running_loop_a_layer_that_hangs_delays_no_view(
    settings: Any, warnings: Callable[[], list[str]]
) -> None:
    use_layer(settings, f"{__name__}.HungLayer")

    async def view() -> bool:
        push.hint(1)
        return any(thread.name == push.THREAD_NAME for thread in threading.enumerate())

    assert asyncio.run(view())
    wait_until_sent()
    assert len(warnings()) == 1


def wait_until_sent() -> None:
    """Wait for the threads that send hints."""
    for thread in threading.enumerate():
        if thread.name == push.THREAD_NAME:
            thread.join()


def test_a_layer_that_keeps_failing_is_logged_once(
    settings: Any, warnings: Callable[[], list[str]]
) -> None:
    # An export of a hundred steps must not fill the log with a hundred tracebacks.
    use_layer(settings, f"{__name__}.BrokenLayer")
    for _ in range(100):
        push.hint(1)
    assert len(warnings()) == 1


def test_a_layer_that_recovers_is_used_again_and_the_next_outage_is_logged(
    settings: Any, warnings: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("async_downloads.utils.circuit_breaker.RECOVERY_SECONDS", 0.0)
    monkeypatch.setattr("async_downloads.utils.circuit_breaker.BACKOFF", 0)
    use_layer(settings, f"{__name__}.BrokenLayer")
    push.hint(1)
    use_layer(settings, "channels.layers.InMemoryChannelLayer")
    channel = async_to_sync(join)(1)
    push.hint(1)
    assert messages(channel) == [hint_to(1)]
    use_layer(settings, f"{__name__}.BrokenLayer")
    push.hint(1)
    assert len(warnings()) == 2


def test_a_layer_that_hangs_delays_an_export_only_briefly(
    settings: Any, warnings: Callable[[], list[str]]
) -> None:
    use_layer(settings, f"{__name__}.HungLayer")
    started = time.monotonic()
    for _ in range(3):
        push.hint(1)
    assert time.monotonic() - started < LONGEST_WAIT
    assert len(warnings()) == 1
