"""The downloads of teams in the lists, the summary and the JSON of their members."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.cache import caches
from django.test import Client
from django.urls import reverse

from async_downloads import cache, owners, store, teams
from async_downloads.models import Download, DownloadCollection
from async_downloads.owners import Owner
from async_downloads.store import Version, cache_entries
from tests.factories import DownloadFactory, UserFactory
from tests.team_members import GROUPS, shared, started, team

pytestmark = pytest.mark.django_db

UPDATE = "/async_downloads/ajax_update/"
LIST = "/async_downloads/list/"
HTMX = {"HX-Request": "true"}


@pytest.fixture(autouse=True)
def with_teams(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_MEMBERS = GROUPS


@pytest.fixture
def sales(user: Any, other_user: Any) -> Group:
    return team("Sales", user, other_user)


def member(user: Any) -> Owner:
    return teams.with_current_teams(owners.resolve(user))


def version_in(markup: str) -> str:
    return re.findall(r'download[^>]* data-version="([^"]+)"', markup)[-1]


# What members see


def test_a_member_sees_own_downloads_and_those_of_the_team(
    signed_in: Client, user: Any, sales: Group
) -> None:
    DownloadFactory(collection__user=user, name="My own", complete=True)
    shared(sales, name="For all", complete=True)
    shared(team("Purchase"), name="For others", complete=True)
    for response in (signed_in.get(UPDATE, headers=HTMX), signed_in.get(LIST)):
        assert "My own" in response.text
        assert "For all" in response.text
        assert "For others" not in response.text
        assert response.text.count("Team: <bdi>Sales</bdi>") == 1
        # Own ones can be removed.
        assert response.text.count(' aria-label="Remove ') == 1


def test_the_json_names_the_team_and_what_the_member_may_do(
    signed_in: Client, user: Any, sales: Group
) -> None:
    DownloadFactory(collection__user=user, complete=True, recorded=True)
    mine_of_team = shared(sales, complete=True, recorded=True)
    data = signed_in.get(UPDATE, {"html": 0}).json()
    by_team = {each["team"]: each for each in data["downloads"]}
    assert data["total"] == 2
    assert by_team[""]["user"] == "ada"
    of_team = by_team["Sales"]
    assert of_team["user"] == f"auth.group:{sales.pk}"
    assert (of_team["can_clear"], of_team["clear_url"]) == (False, "")
    assert (of_team["can_retry"], of_team["retry_url"]) == (False, "")
    assert by_team[""]["can_clear"] is True
    user.user_permissions.add(Permission.objects.get(codename=teams.PERMISSION))
    of_team = signed_in.get(of_team["detail_url"]).json()
    assert (of_team["can_clear"], of_team["can_retry"]) == (True, True)
    assert of_team["clear_url"].endswith(str(mine_of_team.pk))


def test_the_right_to_clear_shows_the_buttons(signed_in: Client, user: Any, sales: Group) -> None:
    shared(sales, failed=True, recorded=True)
    assert "download-clear" not in signed_in.get(UPDATE, headers=HTMX).text
    user.user_permissions.add(Permission.objects.get(codename=teams.PERMISSION))
    text = signed_in.get(UPDATE, headers=HTMX).text
    assert "download-clear" in text
    assert "download-retry" in text


def test_the_button_to_clear_finished_ones_needs_an_own_one(
    signed_in: Client, user: Any, sales: Group
) -> None:
    shared(sales, complete=True)
    for path in (UPDATE, LIST):
        assert "async-downloads-clear-finished" not in signed_in.get(path, headers=HTMX).text
    DownloadFactory(collection__user=user, complete=True)
    for path in (UPDATE, LIST):
        assert "async-downloads-clear-finished" in signed_in.get(path, headers=HTMX).text


def test_the_name_of_a_team_is_escaped(signed_in: Client, user: Any) -> None:
    shared(team("<b>Sales</b>", user), complete=True)
    for response in (signed_in.get(UPDATE, headers=HTMX), signed_in.get(LIST)):
        assert "&lt;b&gt;Sales&lt;/b&gt;" in response.text
        assert "<b>Sales" not in response.text


def test_a_kept_item_of_one_member_is_not_that_of_another(
    signed_in: Client, user: Any, other_user: Any, sales: Group
) -> None:
    shared(sales, complete=True)
    boss = Client()
    boss.force_login(other_user)
    other_user.user_permissions.add(Permission.objects.get(codename=teams.PERMISSION))
    for _ in range(2):
        assert "download-clear" in boss.get(UPDATE, headers=HTMX).text
        assert "download-clear" not in signed_in.get(UPDATE, headers=HTMX).text


def test_the_summary_counts_downloads_of_teams(user: Any, sales: Group, any_cache: str) -> None:
    shared(sales, running=True, percentage=40)
    shared(sales, complete=True)
    DownloadFactory(collection__user=user, running=True, percentage=20)
    for _ in range(2):
        summary = store.read_summary(member(user))
        assert (summary.running, summary.unseen, summary.percentage) == (2, 1, 30)


def test_each_member_has_seen_what_they_have_seen(user: Any, other_user: Any, sales: Group) -> None:
    shared(sales, complete=True)
    ada, grace = member(user), member(other_user)
    # Neither has a collection of their own.
    assert DownloadCollection.objects.count() == 1
    store.mark_seen(ada, store.read_listing(ada))
    assert store.read_summary(ada).unseen == 0
    assert store.read_summary(grace).unseen == 1
    assert store.read_newly_finished(ada, "", "now", limit=3) == []
    (toast,) = store.read_newly_finished(grace, "", "now", limit=3)
    assert str(toast.team) == "Sales"


def test_a_cleanup_keeps_what_members_have_seen(user: Any, sales: Group, settings: Any) -> None:
    shared(sales, complete=True)
    ada = member(user)
    store.mark_seen(ada, store.read_listing(ada))
    store.clean_up()
    assert store.read_summary(ada).unseen == 0
    settings.ASYNC_DOWNLOADS_MEMBERS = ""
    store.clean_up()
    assert not DownloadCollection.objects.filter(user=user).exists()


# Changes


def test_a_change_of_a_team_reaches_the_pages_of_all_members(
    user: Any, other_user: Any, sales: Group, any_cache: str
) -> None:
    key = started(sales)
    owner = member(other_user)
    summary, listing = store.read_summary(owner), store.read_listing(owner)
    cache.save_download(key, [["row"]])
    assert store.read_summary(owner).unseen == 1 > summary.unseen
    changed = store.read_changes(owner, listing.version)
    assert changed is not None
    assert changed.downloads[0].complete
    # Nothing has changed since, also if that was not read from the cache.
    assert store.read_changes(owner, changed.version) is None


def test_progress_in_a_transaction_of_the_caller_reaches_members(
    user: Any, sales: Group, shared_cache: str
) -> None:
    key = started(sales)
    owner = member(user)
    seen = store.read_listing(owner).version
    cache.set_percentage(key, 50)
    changed = store.read_changes(owner, seen)
    assert changed is not None
    assert changed.percentage == 50


def test_a_new_name_of_a_team_reaches_the_list(
    user: Any, sales: Group, django_assert_num_queries: Any
) -> None:
    shared(sales, complete=True)
    seen = store.read_listing(member(user)).version
    Group.objects.update(name="Field sales")
    changed = store.read_changes(member(user), seen)
    assert changed is not None
    assert str(changed.downloads[0].team) == "Field sales"


def test_a_lost_token_costs_one_read_of_the_rows(
    user: Any, sales: Group, shared_cache: str, django_assert_num_queries: Any
) -> None:
    shared(sales, running=True)
    owner = member(user)
    seen = store.read_listing(owner).version
    caches[shared_cache].clear()
    assert store.read_changes(owner, seen) is None
    with django_assert_num_queries(0):
        assert store.read_changes(owner, seen) is None


def test_a_dead_cache_costs_queries_and_nothing_else(
    user: Any, sales: Group, dead_cache: str
) -> None:
    shared(sales, complete=True)
    owner = member(user)
    listing = store.read_listing(owner)
    assert (listing.total, store.read_summary(owner).unseen) == (1, 1)
    assert store.read_changes(owner, listing.version) is None


def test_the_joint_token_differs_if_one_token_or_the_collections_do() -> None:
    token = cache_entries.joint_version({"a": "1", "b": "2"})
    assert cache_entries.joint_version({"b": "2", "a": "1"}) == token
    for other in ({"a": "1", "b": "3"}, {"a": "1"}, {"a": "1", "c": "2"}, {"a": "2", "b": "1"}):
        assert cache_entries.joint_version(other) != token
    assert Version.parse(f"{token}.abc") == Version(token, "abc")


# Who has left


def test_a_former_member_gets_nothing_that_was_kept(
    signed_in: Client, user: Any, sales: Group, shared_cache: str
) -> None:
    download = shared(sales, name="For all", complete=True)
    file = signed_in.get(download.url)
    assert b"".join(file)
    listed = signed_in.get(UPDATE, headers=HTMX)
    page = signed_in.get(LIST)
    as_json = signed_in.get(UPDATE, {"html": 0})
    detail = signed_in.get(reverse("async_downloads:detail", args=[download.pk]))
    # A second look is answered from the cache.
    etag = {"If-None-Match": detail["ETag"]}
    assert signed_in.get(detail.wsgi_request.path, headers=etag).status_code == 304
    sales.user_set.remove(user)
    assert signed_in.get(detail.wsgi_request.path, headers=etag).status_code == 404
    assert signed_in.get(download.url, headers={"If-None-Match": file["ETag"]}).status_code == 404
    assert signed_in.get(download.url, headers={"Range": "bytes=1-"}).status_code == 404
    polls = [
        signed_in.get(UPDATE, {"version": version_in(listed.text)}, headers=HTMX),
        signed_in.get(LIST, {"version": version_in(page.text)}, headers=HTMX),
        signed_in.get(UPDATE, {"html": 0}, headers={"If-None-Match": as_json["ETag"]}),
        signed_in.get(UPDATE, {"summary": 1, "version": "a.b", "since": ""}, headers=HTMX),
    ]
    for response in polls:
        assert response.status_code == 200
        assert "For all" not in response.text
    assert polls[2].json()["total"] == 0


def test_a_new_member_sees_the_downloads_at_once(
    signed_in: Client, user: Any, shared_cache: str
) -> None:
    purchase = team("Purchase")
    shared(purchase, name="For all", complete=True)
    version = version_in(signed_in.get(UPDATE, headers=HTMX).text)
    assert signed_in.get(UPDATE, {"version": version}, headers=HTMX).status_code == 204
    purchase.user_set.add(user)
    assert "For all" in signed_in.get(UPDATE, {"version": version}, headers=HTMX).text


# What it costs


@pytest.mark.parametrize("number", [1, 20])
def test_an_unchanged_poll_costs_the_query_of_the_site_alone(
    number: int,
    signed_in: Client,
    user: Any,
    round_trips: list[str],
    django_assert_num_queries: Any,
) -> None:
    for index in range(number):
        shared(team(f"Team {index}", user), running=True)
    version = version_in(signed_in.get(UPDATE, headers=HTMX).text)
    text = signed_in.get(UPDATE, {"summary": 1}, headers=HTMX).text
    summary = re.findall(r' data-version="([^"]+)"', text)[0]
    round_trips.clear()
    for shown in ({"version": version}, {"summary": 1, "version": summary}):
        # The session, the user, and the groups.
        with django_assert_num_queries(3):
            assert signed_in.get(UPDATE, shown, headers=HTMX).status_code == 204
    assert round_trips == ["get_many", "get_many"]


@pytest.mark.parametrize("number", [1, 20])
@pytest.mark.parametrize(
    ("path", "parameters", "headers", "queries"),
    [
        # The session, the user, the groups, two of permissions, and the rows.
        (UPDATE, {"prefetch": 1}, HTMX, 6),
        (UPDATE, {"html": 0}, {}, 6),
        # With the number of downloads. The rows that were seen are noted by the first request.
        (LIST, {}, {}, 7),
        # Without permissions, as nothing is in progress.
        (UPDATE, {"summary": 1}, HTMX, 4),
    ],
    ids=["menu", "json", "page", "summary"],
)
def test_a_list_costs_the_same_for_any_number_of_teams(
    number: int,
    path: str,
    parameters: Any,
    headers: Any,
    queries: int,
    signed_in: Client,
    user: Any,
    django_assert_num_queries: Any,
) -> None:
    for index in range(number):
        shared(team(f"Team {index}", user), complete=True)
    signed_in.get(LIST)
    with django_assert_num_queries(queries):
        assert signed_in.get(path, parameters, headers=headers).status_code == 200


def test_an_own_file_costs_no_query_for_teams(
    signed_in: Client, user: Any, sales: Group, django_assert_num_queries: Any, settings: Any
) -> None:
    download = DownloadFactory(collection__user=user, complete=True)
    # The session, the user, and the row.
    with django_assert_num_queries(3):
        assert signed_in.head(download.url).status_code == 200


def test_without_the_setting_downloads_of_labels_are_nobodys(
    signed_in: Client, user: Any, sales: Group, settings: Any
) -> None:
    settings.ASYNC_DOWNLOADS_MEMBERS = ""
    download = shared(sales, name="For all", complete=True)
    assert "For all" not in signed_in.get(LIST).text
    assert signed_in.get(download.url).status_code == 404
    assert store.read_listing(owners.resolve(user)).total == 0


def test_three_people_share_one_file(user: Any, other_user: Any, sales: Group) -> None:
    third = UserFactory()
    sales.user_set.add(third)
    cache.save_download(started(sales), [["row"]])
    download = Download.objects.get()
    for number, person in enumerate((user, other_user, third), start=1):
        client = Client()
        client.force_login(person)
        (listed,) = client.get(UPDATE).json()["downloads"]
        response = client.get(listed["url"])
        assert b"".join(response) == b"row\n"
        download.refresh_from_db()
        assert (download.fetch_count, download.fetched_by) == (number, person)
