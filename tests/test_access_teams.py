"""Permissions of every URL and of sockets for one file of a team, in one table.

The former member was a member a moment ago, and has opened each page.
"""

from datetime import timedelta
from typing import Any, Final

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, Group, Permission
from django.db import connections
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from async_downloads import teams, urls
from async_downloads.files import storage
from async_downloads.models import Download
from tests.factories import UserFactory
from tests.recorded_calls import recorded
from tests.sockets import communicator
from tests.team_members import GROUPS, shared, team
from tests.test_access import client_of, rolled_back, state

pytestmark = pytest.mark.django_db

PEOPLE: Final = (
    "anonymous",
    "other",
    "former member",
    "member",
    "member with it",
    "staff with it",
)

#: Those who see the download.
MEMBERS: Final = ("member", "member with it")

NAME: Final = "Quarterly orders"

POST_KEY: Final = "download_key"

#: By URL and method, the status for each of ``PEOPLE``.
TABLE: Final = {
    ("ajax_update", "GET"): (302, 200, 200, 200, 200, 200),
    ("download_list", "GET"): (302, 200, 200, 200, 200, 200),
    ("detail", "GET"): (401, 404, 404, 200, 200, 404),
    ("detail", "HEAD"): (401, 404, 404, 200, 200, 404),
    ("download", "GET"): (302, 404, 404, 200, 200, 200),
    ("download", "HEAD"): (302, 404, 404, 200, 200, 200),
    ("ajax_clear_download", "POST"): (302, 404, 404, 403, 200, 404),
    ("clear_finished", "POST"): (302, 302, 302, 302, 302, 302),
    ("retry", "POST"): (302, 404, 404, 403, 200, 404),
    ("keep", "POST"): (302, 404, 404, 403, 200, 404),
    ("openapi", "GET"): (200, 200, 200, 200, 200, 200),
    ("script", "GET"): (200, 200, 200, 200, 200, 200),
}

#: The arguments of URLs without the download key.
ARGUMENTS: Final = {"script": ["htmx-2.min.js"]}

#: The URLs with the download key.
KEYED: Final = ("detail", "download")


@pytest.fixture(autouse=True)
def with_teams(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_MEMBERS = GROUPS
    settings.ASYNC_DOWNLOADS_MAX_LIFETIME = 3 * 24 * 60 * 60


def address(name: str, download: Download) -> str:
    args = [download.pk] if name in KEYED else ARGUMENTS.get(name, [])
    return reverse(f"async_downloads:{name}", args=args)


def content_of(response: Any) -> bytes:
    """Return the content of a response, which is closed after that."""
    return b"".join(response) if response.streaming else response.content


def visit(client: Client, download: Download) -> None:
    """Open each page, so that whatever may be kept is kept."""
    for name in ("ajax_update", "download_list", "detail", "download"):
        for headers in ({}, {"HX-Request": "true"}):
            content_of(client.get(address(name, download), headers=headers))


def person_of(who: str, group: Group) -> Any:
    if who == "anonymous":
        return AnonymousUser()
    person = UserFactory(is_staff=who.startswith("staff"))
    if "member" in who:
        group.user_set.add(person)
    if who == "member with it":
        person.user_permissions.add(Permission.objects.get(codename=teams.PERMISSION))
    if who == "staff with it":
        person.user_permissions.add(Permission.objects.get(codename="fetch_download"))
    return person


@pytest.fixture
def sales() -> Group:
    return team("Sales")


@pytest.fixture
def download(sales: Group) -> Download:
    soon = timezone.now() + timedelta(hours=1)
    return shared(sales, complete=True, name=NAME, expires_at=soon, **recorded())


def test_each_url_is_in_the_table() -> None:
    assert {name for name, _ in TABLE} == {pattern.name for pattern in urls.urlpatterns}


@pytest.mark.parametrize("who", PEOPLE)
def test_each_url_has_the_expected_permissions(
    who: str, sales: Group, download: Download, shared_cache: str
) -> None:
    person = person_of(who, sales)
    client = client_of(person)
    visit(client, download)
    if who == "former member":
        sales.user_set.remove(person)
    before = state()
    answers = {}
    for name, method in TABLE:
        data = {POST_KEY: str(download.pk)} if method == "POST" else None
        with rolled_back():
            response = getattr(client, method.lower())(address(name, download), data)
            answers[name, method] = response.status_code
            shown = content_of(response)
            changed = state() != before
        may = who == "member with it" and name in ("ajax_clear_download", "retry", "keep")
        assert changed is may, name
        assert Download.objects.filter(pk=download.pk).exists()
        if who not in (*MEMBERS, "staff with it"):
            assert NAME.encode() not in shown, name
            assert b"Sales" not in shown, name
    column = PEOPLE.index(who)
    assert answers == {key: statuses[column] for key, statuses in TABLE.items()}


@pytest.mark.parametrize("name", ["ajax_clear_download", "retry", "keep"])
@pytest.mark.parametrize("wanted", ["html", "json", "htmx"])
def test_a_member_without_the_right_learns_why(
    name: str, wanted: str, user: Any, sales: Group, download: Download
) -> None:
    sales.user_set.add(user)
    headers = {
        "html": {},
        "json": {"Accept": "application/json"},
        "htmx": {"HX-Request": "true"},
    }[wanted]
    data = {POST_KEY: str(download.pk)}
    response = client_of(user).post(address(name, download), data, headers=headers)
    # htmx swaps no error, so it gets the list with the reason.
    assert response.status_code == (200 if wanted == "htmx" else 403)
    assert "This file belongs to your team." in response.text
    assert Download.objects.filter(pk=download.pk).exists()


def test_the_path_does_not_clear_what_the_key_does_not(
    user: Any, other_user: Any, sales: Group, download: Download
) -> None:
    sales.user_set.add(user)
    data = {"filepath": download.filepath}
    url = address("ajax_clear_download", download)
    assert client_of(user).post(url, data).status_code == 403
    assert client_of(other_user).post(url, data).status_code == 404
    assert client_of(person_of("member with it", sales)).post(url, data).status_code == 200
    assert not Download.objects.exists()


def test_a_download_of_a_team_that_staff_hold_is_not_cleared(
    sales: Group, download: Download
) -> None:
    Download.objects.filter(pk=download.pk).update(held=True)
    url, data = address("ajax_clear_download", download), {POST_KEY: str(download.pk)}
    for who, status in {"member with it": 409, "member": 403, "other": 404}.items():
        assert client_of(person_of(who, sales)).post(url, data).status_code == status
    assert Download.objects.filter(pk=download.pk).exists()


def test_clearing_all_finished_ones_leaves_those_of_teams(sales: Group, download: Download) -> None:
    person = person_of("member with it", sales)
    client_of(person).post(address("clear_finished", download))
    assert Download.objects.filter(pk=download.pk).exists()


def test_a_member_with_the_right_cancels_and_tries_again(sales: Group) -> None:
    client = client_of(person_of("member with it", sales))
    failed = shared(sales, failed=True, **recorded())
    data = {POST_KEY: str(failed.pk)}
    assert client.post(address("retry", failed), data).status_code == 200
    assert Download.objects.get().state == "pending"
    assert client.post(address("ajax_clear_download", failed), data).status_code == 200
    assert not Download.objects.exists()


def test_what_is_made_again_belongs_to_the_team(
    sales: Group, download: Download, user: Any
) -> None:
    client = client_of(person_of("member with it", sales))
    headers = {"Accept": "application/json"}
    data = {POST_KEY: str(download.pk)}
    response = client.post(address("retry", download), data, headers=headers)
    assert response.status_code == 202
    assert response.json()["team"] == "Sales"
    new = Download.objects.exclude(pk=download.pk).get()
    assert new.collection_id == download.collection_id


@pytest.mark.parametrize("who", MEMBERS)
def test_the_site_may_refuse_a_team_file_to_a_member(
    who: str, sales: Group, download: Download, settings: Any
) -> None:
    settings.ASYNC_DOWNLOADS_MAY_FETCH = "operator.is_"
    assert client_of(person_of(who, sales)).get(download.url).status_code == 404


def test_the_site_may_refuse_to_build_a_team_file_again(
    sales: Group, download: Download, settings: Any
) -> None:
    settings.ASYNC_DOWNLOADS_MAY_START = "operator.is_"
    client = client_of(person_of("member with it", sales))
    response = client.post(address("retry", download), {POST_KEY: str(download.pk)})
    assert response.status_code == 404


def test_each_fetch_is_recorded_with_the_person(sales: Group, download: Download) -> None:
    for number in (1, 2):
        person = person_of("member", sales)
        content_of(client_of(person).get(download.url))
        row = Download.objects.get()
        assert (row.fetch_count, row.fetched_by_id) == (number, person.pk)


def test_a_missing_file_offers_a_button_only_with_the_right(
    sales: Group, download: Download
) -> None:
    storage.storage().delete(download.filepath)
    for who, offered in (("member", False), ("member with it", True)):
        response = client_of(person_of(who, sales)).get(download.url)
        assert response.status_code == 410
        assert ("Try again" in response.text) is offered


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("who", PEOPLE)
async def test_each_socket_has_the_expected_permissions(who: str, settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_WS_MODE = True
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

    def prepare() -> Any:
        group = team("Sales")
        shared(group, complete=True, name=NAME)
        person = person_of(who, group)
        if who == "former member":
            group.user_set.remove(person)
        return person

    person = await sync_to_async(prepare)()
    page = communicator(person, "/ws/downloads/?since=")
    connected, _ = await page.connect()
    assert connected is (who != "anonymous")
    if connected:
        assert (NAME in await page.receive_from()) is (who in MEMBERS)
    await page.disconnect()
    await sync_to_async(connections.close_all)()
