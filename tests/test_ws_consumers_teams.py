"""What the socket of a member of a team sends."""

from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.contrib.auth.models import Group

from async_downloads import cache, intervals, owners
from async_downloads.centre import push
from async_downloads.intervals import SOCKET_MINIMUM
from tests.sockets import (
    NOTHING,
    connected,
    counts,
    in_thread,
    percentages,
    running,
    until,
)

# Fixtures are only used in modules that import them.
from tests.sockets import no_connection_left_behind as no_connection_left_behind
from tests.sockets import pushed as pushed
from tests.team_members import GROUPS, shared, started, team

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]

#: Long enough for a message that is due.
SOON = SOCKET_MINIMUM * 3


@pytest.fixture(autouse=True)
def with_teams(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_MEMBERS = GROUPS


@pytest.fixture
def only_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read nothing without a hint: the cache of the tests has no tokens."""
    for name in ("SOCKET_BUSY", "SOCKET_IDLE"):
        monkeypatch.setattr(intervals, name, 10_000)


@pytest.fixture
def only_tokens(shared_cache: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send no hint of a team."""
    monkeypatch.setattr(push, "hint_team", lambda collection_key: None)


def group_of(sales: Group) -> str:
    return push.team_group_name(owners.resolve(sales).collection_key)


async def until_joined(sales: Group, joined: bool = True) -> None:
    group = group_of(sales)
    await until(lambda: (group in get_channel_layer().groups) is joined)


@pytest.mark.parametrize("way", ["only_hints", "only_tokens"])
async def test_each_change_of_a_team_reaches_the_sockets_of_all_members(
    way: str, user: Any, other_user: Any, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(way)
    sales = await in_thread(team, "Sales", user, other_user)
    key = await in_thread(started, sales)
    async with connected(user) as first, connected(other_user) as second:
        await until_joined(sales)
        for percentage in (30, 60):
            await in_thread(cache.set_percentage, key, percentage)
            for page in (first, second):
                while percentages(await page.receive_from()) != [percentage]:
                    pass
    await until_joined(sales, joined=False)


async def test_other_people_are_not_sent_anything(user: Any, other_user: Any) -> None:
    sales = await in_thread(team, "Sales", user)
    key = await in_thread(started, sales)
    async with connected(user), connected(other_user) as other:
        await until_joined(sales)
        await in_thread(cache.set_percentage, key, 30)
        assert await other.receive_nothing(timeout=SOON)


async def test_a_person_who_has_left_gets_no_further_download_of_the_team(
    user: Any, shared_cache: str
) -> None:
    sales = await in_thread(team, "Sales", user)
    key = await in_thread(started, sales)
    async with connected(user) as page:
        await until_joined(sales)
        await in_thread(sales.user_set.remove, user)
        # The open socket learns it at the next change, of the team or of their own.
        await in_thread(cache.save_download, key, [["row"]])
        markup = await page.receive_from()
        assert counts(markup) == NOTHING
        assert "orders" not in markup
        await until_joined(sales, joined=False)
        await in_thread(shared, sales, name="For all", complete=True)
        await in_thread(started, sales)
        assert await page.receive_nothing(timeout=SOON)


async def test_a_person_who_joins_gets_the_downloads_with_the_next_change(
    user: Any, shared_cache: str
) -> None:
    sales = await in_thread(team, "Sales")
    await in_thread(shared, sales, running=True)
    own = await running(user, percentage=10)
    async with connected(user) as page:
        await in_thread(sales.user_set.add, user)
        await in_thread(cache.set_percentage, own.download_key, 20)
        assert counts(await page.receive_from()) == ("in-progress", 2)
        await until_joined(sales)


async def test_teams_are_asked_again_while_nothing_changes(
    user: Any, shared_cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "SESSION_IDLE", 0)
    sales = await in_thread(team, "Sales", user)
    await in_thread(shared, sales, complete=True)
    async with connected(user) as page:
        await in_thread(sales.user_set.remove, user)
        while counts(await page.receive_from()) != NOTHING:
            pass


async def test_a_toast_names_the_team(user: Any, shared_cache: str) -> None:
    sales = await in_thread(team, "Sales", user)
    key = await in_thread(started, sales)
    async with connected(user, path="/ws/downloads/?since=") as page:
        await in_thread(cache.save_download, key, [["row"]])
        markup = await page.receive_from()
        while "async-downloads-toast" not in markup:
            markup = await page.receive_from()
        assert "Team: <bdi>Sales</bdi>" in markup


async def test_without_teams_no_group_of_a_team_is_joined(
    user: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ASYNC_DOWNLOADS_MEMBERS = ""
    sales = await in_thread(team, "Sales", user)
    sent: list[str] = []
    monkeypatch.setattr(push, "_send_soon", lambda group, kind: sent.append(group))
    async with connected(user):
        await in_thread(started, sales)
        assert set(get_channel_layer().groups) <= {push.group_name(user.pk)}
    assert sent == []
