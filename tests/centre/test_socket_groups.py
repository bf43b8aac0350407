"""The groups that a process has joined, at a channel layer that fails."""

import asyncio
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from async_downloads.centre import push, socket_groups
from async_downloads.centre.socket_groups import JOINS, SocketGroups
from tests.sockets import until


class CountingLayer(InMemoryChannelLayer):
    """A channel layer that notes how many joins wait at once."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = self.most = 0

    async def group_add(self, group: str, channel: str) -> None:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await asyncio.sleep(0)
        self.waiting -= 1
        await super().group_add(group, channel)


class BrokenLayer(InMemoryChannelLayer):
    """A channel layer that fails in one method until it is repaired."""

    def __init__(self, method: str, error: Exception | None = None) -> None:
        super().__init__()
        self.broken = True
        self.failures = self.joins = 0
        working = getattr(self, method)

        async def fail_or_work(*args: Any) -> Any:
            if self.broken:
                self.failures += 1
                raise error or ConnectionError("refused")
            return await working(*args)

        setattr(self, method, fail_or_work)

    async def group_add(self, group: str, channel: str) -> None:
        self.joins += 1
        await super().group_add(group, channel)


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_groups, "FIRST_PAUSE", 0.01)


def begin(layer: Any, names: list[str], received: list[Any]) -> SocketGroups:
    groups = SocketGroups(layer, received.append)
    groups.start()
    for name in names:
        groups.join(name)
    return groups


async def end(groups: SocketGroups, names: list[str]) -> None:
    for name in names:
        groups.leave(name)
    groups.close()
    await until(lambda: all(task.done() for task in groups._tasks))


async def test_a_thousand_groups_are_joined_with_one_channel_and_a_few_at_once() -> None:
    layer, names = CountingLayer(), [f"downloads_{number}" for number in range(1000)]
    received: list[Any] = []
    groups = begin(layer, names, received)
    await until(lambda: len(layer.groups) == 1000)
    assert layer.most <= JOINS
    assert len({channel for group in layer.groups.values() for channel in group}) == 1
    # A hint may have come before a group was joined.
    assert {message["group"] for message in received} == set(names)
    await end(groups, names)
    await until(lambda: layer.groups == {})


async def test_messages_arrive() -> None:
    layer = InMemoryChannelLayer()
    received: list[Any] = []
    groups = begin(layer, ["one"], received)
    await until(lambda: "one" in layer.groups)
    received.clear()
    message = {"type": push.HINT, "group": "one"}
    await layer.group_send("one", message)
    await until(lambda: received == [message])
    await end(groups, ["one"])


@pytest.mark.parametrize("method", ["group_add", "new_channel"])
async def test_joins_are_repeated_until_the_layer_answers_and_one_warning_is_logged(
    method: str, short_pauses: None, caplog: pytest.LogCaptureFixture
) -> None:
    layer = BrokenLayer(method)
    groups = begin(layer, ["one", "two"], [])
    await until(lambda: groups._errors > 2)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    layer.broken = False
    await until(lambda: set(layer.groups) == {"one", "two"})
    await end(groups, ["one", "two"])


async def test_after_an_error_the_groups_are_joined_again(short_pauses: None) -> None:
    layer = BrokenLayer("receive")
    layer.broken = False
    received: list[Any] = []
    groups = begin(layer, ["one"], received)
    await until(lambda: "one" in layer.groups)
    layer.broken = True
    # The error comes with the next message.
    await layer.group_send("one", {"type": push.HINT, "group": "one"})
    layer.groups.clear()
    await until(lambda: "one" in layer.groups)
    layer.broken = False
    received.clear()
    await layer.group_send("one", {"type": push.HINT, "group": "one"})
    await until(lambda: bool(received))
    await end(groups, ["one"])


async def test_a_timeout_of_an_idle_layer_joins_nothing_again(short_pauses: None) -> None:
    layer = BrokenLayer("receive", TimeoutError("Nothing came."))
    received: list[Any] = []
    groups = begin(layer, ["one"], received)
    await until(lambda: layer.failures > 5)
    assert layer.joins == 1
    layer.broken = False
    received.clear()
    await layer.group_send("one", {"type": push.HINT, "group": "one"})
    await until(lambda: bool(received))
    await end(groups, ["one"])


@pytest.mark.parametrize("method", ["group_add", "group_discard"])
async def test_a_layer_that_is_down_does_not_keep_the_tasks_after_the_last_group(
    method: str,
) -> None:
    layer = BrokenLayer(method)
    groups = begin(layer, ["one"], [])
    await until(lambda: bool(layer.failures or layer.groups))
    await end(groups, ["one"])
