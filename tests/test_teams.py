"""The site's function that says of which teams a user is a member."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.http import HttpRequest

from async_downloads import owners, store, teams
from async_downloads.owners import Owner
from tests.shop.models import Customer
from tests.site_functions import SiteFunction
from tests.team_members import GROUPS, team

pytestmark = [pytest.mark.any_database, pytest.mark.django_db]

#: The function of the site.
members = SiteFunction(lambda user: user, answer=())
asked = members.asked


@pytest.fixture
def site_answers(settings: Any) -> Callable[[Any], None]:
    settings.ASYNC_DOWNLOADS_MEMBERS = f"{__name__}.members"
    return members.begin()


def request_of(user: Any) -> HttpRequest:
    request = HttpRequest()
    request.user = user
    return request


def labels(owner: Owner) -> list[tuple[str, str]]:
    return [(each.owner.name, each.title) for each in owner.teams]


def test_without_the_setting_nothing_is_asked(user: Any, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        owner = teams.owner_of(request_of(user))
    assert owner == owners.resolve(user)
    assert type(owner) is Owner


def test_a_team_is_a_label_or_a_model_instance(user: Any, site_answers: Any) -> None:
    sales = Group.objects.create(name="Sales")
    site_answers(["night shift", sales])
    expected = [("night shift", "night shift"), (f"auth.group:{sales.pk}", "Sales")]
    assert labels(teams.owner_of(request_of(user))) == expected


def test_a_label_never_means_a_user(user: Any, other_user: Any, site_answers: Any) -> None:
    site_answers([other_user.username])
    (found,) = teams.owner_of(request_of(user)).teams
    assert found.owner == Owner(None, other_user.username)
    assert found.owner.collection_id != owners.resolve(other_user).collection_id


async def groups_async(user: Any) -> list[Group]:
    """Return the groups of a user, by a query that is awaited."""
    return [group async for group in user.groups.order_by("name")]


@pytest.mark.django_db(transaction=True)
def test_the_function_may_be_a_coroutine_function(user: Any, settings: Any) -> None:
    team("Sales", user)
    settings.ASYNC_DOWNLOADS_MEMBERS = f"{__name__}.groups_async"
    assert [name for _, name in labels(teams.owner_of(request_of(user)))] == ["Sales"]


def test_the_function_is_called_once_for_each_request(user: Any, site_answers: Any) -> None:
    site_answers(["night shift"])
    request = request_of(user)
    assert teams.owner_of(request) is teams.owner_of(request)
    assert asked == [user]
    teams.owner_of(request_of(user))
    assert asked == [user, user]


def test_a_request_that_changes_its_user_asks_again(
    user: Any, other_user: Any, site_answers: Any
) -> None:
    site_answers(["night shift"])
    request = request_of(user)
    teams.owner_of(request)
    request.user = other_user
    assert teams.owner_of(request).user_id == other_user.pk
    assert asked == [user, other_user]


@pytest.mark.parametrize("lazily", [False, True])
def test_any_iterable_will_do_and_each_team_counts_once(
    user: Any, site_answers: Any, lazily: bool
) -> None:
    names = ["a", "b", "a"]
    site_answers(iter(names) if lazily else tuple(names))
    assert labels(teams.owner_of(request_of(user))) == [("a", "a"), ("b", "b")]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("sales", "It must return an iterable of teams, not str."),
        (b"sales", "It must return an iterable of teams, not bytes."),
        (None, "It must return an iterable of teams, not NoneType."),
        (5, "It must return an iterable of teams, not int."),
        ([5], "A team is a label or a model instance other than a user, not 5."),
        ([None], "A team is a label or a model instance other than a user, not None."),
        (["good", ""], "user must not be empty."),
        (["x" * 501], "user is longer than 500 characters."),
        (["a\x00b"], "user has characters that no name has"),
        ([Customer(name="new")], "is not saved yet"),
        ([f"team {number}" for number in range(51)], "It returned more than 50 teams."),
        (LookupError("which tenant?"), "which tenant?"),
    ],
    ids=str,
)
def test_a_function_that_fails_means_no_team_and_is_logged(
    user: Any, site_answers: Any, value: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    site_answers(value)
    owner = teams.owner_of(request_of(user))
    assert owner == owners.resolve(user)
    assert store.read_listing(owner).total == 0
    (record,) = [each for each in caplog.records if each.name == "async_downloads.teams"]
    assert record.getMessage() == (
        f"User {user.pk} sees no team downloads: ASYNC_DOWNLOADS_MEMBERS failed"
    )
    assert record.exc_info is not None
    assert reason in str(record.exc_info[1])


def test_a_user_is_not_a_team(user: Any, other_user: Any, site_answers: Any, caplog: Any) -> None:
    site_answers([other_user])
    assert teams.owner_of(request_of(user)).teams == ()
    assert "other than a user" in caplog.text


def test_an_endless_answer_ends(user: Any, site_answers: Any) -> None:
    site_answers(f"team {number}" for number in iter(int, 1))
    assert len(teams.owner_of(request_of(user)).teams) == 0


@pytest.mark.parametrize("path", ["no.such.function", "tests.settings.SECRET_KEY", 5])
def test_a_path_that_cannot_be_called_means_no_team(
    user: Any, settings: Any, path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.ASYNC_DOWNLOADS_MEMBERS = path
    assert teams.owner_of(request_of(user)).teams == ()
    assert "ASYNC_DOWNLOADS_MEMBERS failed" in caplog.text


def test_the_right_to_clear_is_read_only_when_needed(
    user: Any, settings: Any, django_assert_num_queries: Any
) -> None:
    settings.ASYNC_DOWNLOADS_MEMBERS = GROUPS
    team("Sales", user)
    with django_assert_num_queries(1):
        owner = teams.owner_of(request_of(user))
    assert owner.may_change_teams is False
    user.user_permissions.add(Permission.objects.get(codename=teams.PERMISSION))
    assert teams.with_current_teams(owner).may_change_teams is True


def test_a_user_model_without_permissions_may_only_fetch(
    user: Any, site_answers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Plain:
        pk = user.pk

    assert teams.Member(user.pk, "ada", (), Plain()).may_change_teams is False


def test_the_teams_of_a_socket_are_those_of_the_moment(user: Any, settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_MEMBERS = GROUPS
    sales = team("Sales", user)
    owner = teams.with_current_teams(owners.resolve(user))
    assert labels(owner) == [(f"auth.group:{sales.pk}", "Sales")]
    sales.user_set.remove(user)
    assert teams.with_current_teams(owner) == owners.resolve(user)
    sales.user_set.add(user)
    user.delete()
    assert teams.with_current_teams(owner).teams == ()
