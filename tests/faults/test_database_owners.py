"""Users of another kind, and owners who are gone. Case 21."""

from collections.abc import Iterator

import pytest
from django.conf import settings as project_settings

from tests.faults.running import Running, run_site


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def members(request: pytest.FixtureRequest) -> Iterator[Running]:
    """Run a site whose users have a UUID and an e-mail address."""
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
for nobody in (
    AnonymousUser(), SimpleLazyObject(AnonymousUser), Member(email="new@example.com"),
    gone, pk, stale, None,
):
    try:
        cache.init_download(nobody, "orders.csv")
    except Exception as error:
        print(type(error).__name__, end=" ")
    else:
        print("accepted", end=" ")
"""


def test_case_21_however_a_user_is_named_it_is_the_same_one(members: Running) -> None:
    """Case 21: by object, UUID, its text, e-mail address, or lazily; and nobody is refused."""
    members.person.get("/sign-in/ada/")
    before = len(members.site.rows())
    keys, collections, refused = members.site.run(WAYS).splitlines()
    assert collections == "1 1"
    assert len(members.site.rows()) == before + 6
    assert set(keys.split()) <= members.person.shown().keys()
    # Of the last but one only the database knows, when it is asked to keep the row.
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


def test_case_21_a_download_of_theirs_lives_as_any_other(members: Running) -> None:
    """Case 21: built, fetched, shown to staff, cleared."""
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
    assert (site.row(key), members.files(key)) == ({}, [])


def test_case_21_an_owner_who_goes_takes_the_downloads_along(members: Running) -> None:
    """Case 21: a deleted one, the running export included; one who is shut out keeps theirs."""
    site = members.site
    deleted, inactive = members.server.client("deleted"), members.server.client("inactive")
    keys = [str(person.post("/init/").json["download_key"]) for person in (deleted, inactive)]
    with (
        members.call(("tasks.steady", keys[0])) as first,
        members.call(("tasks.steady", keys[1])) as second,
    ):
        for key in keys:
            site.started(key)
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
    assert (site.row(keys[0]), members.files(keys[0])) == ({}, [])
    assert site.row(keys[1])["state"] == "complete"
    for person in (deleted, inactive):
        assert keys[1] not in person.get("/async_downloads/ajax_update/").text
        assert person.get(f"/async_downloads/download/{keys[1]}/").headers["Content-Type"] == (
            "text/html; charset=utf-8"
        )


ADOPT = """
from async_downloads.legacy import adoption
from tests import legacy_downloads

# Such users were known to 0.6 only by a text that the site gave.
keys = [legacy_downloads.begin(way) for way in ("ada@example.com", "ada", "team")]
list(adoption.adopt(collection_keys=[f"async_downloads/{way}" for way in ("ada", "team")]))
print(*keys)
"""


def test_what_0_6_kept_of_somebody_with_an_e_mail_address_is_theirs(members: Running) -> None:
    members.person.get("/sign-in/ada/")
    theirs, *labels = members.site.run(ADOPT).split()
    shown = members.person.shown()
    assert shown[theirs] == "pending"
    assert not set(labels) & shown.keys()
    assert set(labels) < {row["id"] for row in members.site.rows()}
