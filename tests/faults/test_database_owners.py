"""Users of a custom model, and owners who are deleted or inactive."""

from collections.abc import Iterator

import pytest
from django.conf import settings as project_settings

from tests.faults.running import Running, run_site


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def members(request: pytest.FixtureRequest) -> Iterator[Running]:
    """A site whose users have a UUID and an e-mail address."""
    apps = [app for app in project_settings.INSTALLED_APPS if app != "tests.shop"]
    with run_site(
        request.param,
        migrated=False,
        AUTH_USER_MODEL="members.Member",
        INSTALLED_APPS=[*apps, "tests.faults.site.members"],
        ROOT_URLCONF="tests.faults.site.members.urls",
    ) as running:
        yield running


WAYS = """
from django.contrib.auth.models import AnonymousUser
from django.utils.functional import SimpleLazyObject
from async_downloads import cache
from tests.faults.site.members.models import Member

ada = Member.objects.get(email="ada@example.com")
read = []
def look():
    read.append(True)
    return Member.objects.get(pk=ada.pk)
ways = [ada, ada.pk, str(ada.pk), ada.email, SimpleLazyObject(lambda: ada), SimpleLazyObject(look)]
print(" ".join(cache.init_download(way, "orders.csv")[1] for way in ways))
print(len({cache.get_collection_key(way) for way in ways}), len(read))

gone = Member.objects.create(email="gone@example.com")
stale = Member.objects.get(pk=gone.pk)
pk = gone.pk
gone.delete()
for owner in (
    AnonymousUser(), SimpleLazyObject(AnonymousUser), Member(email="new@example.com"),
    gone, pk, stale, None,
):
    try:
        cache.init_download(owner, "orders.csv")
    except Exception as error:
        print(type(error).__name__, end=" ")
    else:
        print("accepted", end=" ")
"""


def test_each_way_of_naming_a_user_means_the_same_collection(members: Running) -> None:
    """The object, UUID, its text, e-mail address, or a lazy object; others are refused."""
    members.person.get("/sign-in/ada/")
    before = len(members.site.rows())
    keys, collections, refused = members.site.run(WAYS).splitlines()
    assert collections == "1 1"
    assert len(members.site.rows()) == before + 6
    assert set(keys.split()) <= members.person.shown().keys()
    # The object of a deleted user is refused by the foreign key.
    assert refused.split() == [
        *["ValueError"] * 4,
        "DoesNotExist",
        "IntegrityError",
        "TypeError",
    ]
    other = members.server.client("grace")
    assert other.shown() == {}
    assert [other.clear(key).status for key in keys.split()[:1]] == [404]
    anonymous = members.server.client("")
    assert "sign" in anonymous.poll().text.lower()
    assert keys.split()[0] not in anonymous.get("/async_downloads/ajax_update/").text


def test_a_user_of_a_custom_model_uses_a_download_like_any_other(members: Running) -> None:
    """It is built, fetched, shown to staff, and cleared."""
    key = members.init()
    with members.call(("tasks.rows", key)) as child:
        assert child.wait() == 0, child.log
    person, site = members.person, members.site
    assert person.shown()[key] == "complete"
    (item,) = (item for item in person.update()["downloads"] if item["download_key"] == key)
    assert item["user"] == "ada@example.com"
    assert "name 0" in person.get(item["url"]).text
    staff = members.server.client("staff")
    site.query("UPDATE members_member SET is_staff = true WHERE email = 'staff@example.com'")
    page = staff.get("/admin/async_downloads/download/?q=ada@example.com")
    assert page.status == 200
    assert key in page.text
    assert staff.get("/admin/async_downloads/downloadcollection/?q=ada").status == 200
    assert person.clear(key).status == 200
    assert (site.row(key), members.site.files(key)) == ({}, [])


def test_a_deleted_owner_loses_the_downloads_and_an_inactive_one_keeps_them(
    members: Running,
) -> None:
    """A running export of the deleted owner is cancelled."""
    site = members.site
    deleted, inactive = members.server.client("deleted"), members.server.client("inactive")
    keys = [str(person.begin("/init/")) for person in (deleted, inactive)]
    with (
        members.call(("tasks.steady", keys[0])) as first,
        members.call(("tasks.steady", keys[1])) as second,
    ):
        for key in keys:
            site.until_started(key)
        site.run(
            """
            from tests.faults.site.members.models import Member
            Member.objects.filter(email="deleted@example.com").delete()
            Member.objects.filter(email="inactive@example.com").update(is_active=False)
            """
        )
        assert first.wait() == 0, first.log
        assert "was cancelled" in first.log
        site.go()
        assert second.wait() == 0, second.log
    assert (site.row(keys[0]), members.site.files(keys[0])) == ({}, [])
    assert site.row(keys[1])["state"] == "complete"
    for person in (deleted, inactive):
        assert keys[1] not in person.get("/async_downloads/ajax_update/").text
        assert person.get(f"/async_downloads/download/{keys[1]}/").headers["Content-Type"] == (
            "text/html; charset=utf-8"
        )


ADOPT = """
from async_downloads.legacy import adoption
from tests.legacy import legacy_downloads

# Such users were known to 0.6 only by a text that the site gave.
keys = [legacy_downloads.begin(way) for way in ("ada@example.com", "ada", "team")]
list(adoption.adopt(collection_keys=[f"async_downloads/{way}" for way in ("ada", "team")]))
print(*keys)
"""


def test_a_download_of_0_6_is_adopted_for_the_user_with_its_e_mail_address(
    members: Running,
) -> None:
    members.person.get("/sign-in/ada/")
    theirs, *labels = members.site.run(ADOPT).split()
    shown = members.person.shown()
    assert shown[theirs] == "pending"
    assert not set(labels) & shown.keys()
    assert set(labels) < {row["id"] for row in members.site.rows()}
