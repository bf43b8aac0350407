"""Downloads in a second database, with a replica that lags."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.faults.conftest import needs
from tests.faults.harness import Client, Site
from tests.faults.site import transactions


@dataclass
class Routed:
    """A site with a web server, and two sites whose databases it uses."""

    site: Site
    two: Site
    replica: Site
    person: Client

    def init(self) -> str:
        """Make a download of this user; return the download key."""
        return self.person.begin("/init/")

    def run(self, code: str) -> list[str]:
        """Run code in a child, and return the lines of its output."""
        return self.site.run(code).splitlines()

    def complete(self, count: int) -> list[str]:
        """Make complete downloads; return the download keys."""
        keys = [self.init() for _ in range(count)]
        self.run(RUN.format(keys=keys))
        shown = self.person.shown()
        assert {shown[key] for key in keys} == {"complete"}
        return keys


RUN = """
from async_downloads.tasks import run_task
for key in {keys!r}:
    run_task("tests.faults.site.tasks.rows", key)
"""

#: A user whose row is in the replica already.
FIRST_USER = """
from django.contrib.auth import get_user_model
user = get_user_model().objects.create(username="ada")
user.save(using="replica", force_insert=True)
"""

#: Copies the rows of now to the replica, which does not change after that.
REPLICATE = """
from async_downloads.models import Download, DownloadCollection
for model, owner in ((DownloadCollection, "user"), (Download, "collection__user")):
    for row in model.objects.using("two").filter(**{owner + "__username": "ada"}):
        row.save(using="replica")
"""


@pytest.fixture(scope="module", params=[("sqlite", "postgres"), ("postgres", "sqlite")])
def routed(request: pytest.FixtureRequest) -> Iterator[Routed]:
    """A site whose downloads are in another kind of database than the default one."""
    one, another = request.param
    needs("proc", "redis", one, another)
    router = "tests.faults.site.routers.SeparateAndReplicated"
    settings = {"DATABASE_ROUTERS": [router], "ROOT_URLCONF": transactions.__name__}
    with ExitStack() as stack:
        site = stack.enter_context(Site(one, cache="redis", **settings))
        two, replica = (stack.enter_context(Site(another)) for _ in range(2))
        site.settings["DATABASES"] |= {
            "two": two.database.settings,
            "replica": replica.database.settings,
        }
        site.run(FIRST_USER)
        server = stack.enter_context(site.server())
        yield Routed(site, two, replica, server.client())


def test_no_decision_is_based_on_a_lagging_replica(routed: Routed) -> None:
    """A download is made, listed, built, fetched and cleared; the replica shows its start."""
    key, person = routed.init(), routed.person
    assert person.shown()[key] == "pending"
    routed.run(REPLICATE)
    routed.run(RUN.format(keys=[key]))
    assert person.shown()[key] == "complete"
    assert "name 0" in person.get(f"/async_downloads/download/{key}/").text
    assert person.clear(key).status == 200
    assert key not in person.shown()
    assert person.get(f"/async_downloads/download/{key}/").status == 404
    assert (routed.two.row(key), routed.site.rows()) == ({}, [])
    assert not [path for path in routed.site.files() if key in path]
    # The replica was lagging all the time.
    assert routed.replica.row(key)["state"] == "pending"


NEW_USER = """
from django.contrib.auth import get_user_model
from async_downloads import cache
from async_downloads.models import Download
users = get_user_model().objects
users.filter(username="new").delete()
user = users.create(username="new")
for owner in (user, user.pk, "new"):
    _, key = cache.init_download(owner, "orders.csv")
    rows = Download.objects.using("two").filter(pk=key)
    print(rows.values_list("collection__user_id", flat=True).get() == user.pk)
"""


def test_a_user_who_is_missing_from_the_replica_is_found(routed: Routed) -> None:
    """By the object, the primary key or the name."""
    assert routed.run(NEW_USER) == ["True", "True", "True"]


FILES = """
from contextlib import suppress
from pathlib import Path
from django.conf import settings
from django.db import transaction
from async_downloads import store
from async_downloads.models import Download

ways = {{
    "purge": lambda rows: store.purge(rows),
    "delete": lambda rows: rows.delete(),
    "instance": lambda rows: rows.using("two").get().delete(),
}}

def exists(key):
    return any(path.is_file() for path in Path(settings.MEDIA_ROOT).rglob(f"*{{key}}/*"))

for way, key in {keys!r}.items():
    seen = []
    rows = Download.objects.filter(pk=key)
    with suppress(LookupError), transaction.atomic(using="two"):
        ways[way](rows)
        raise LookupError
    seen.append(exists(key))
    with transaction.atomic(using="two"):
        ways[way](rows)
        with transaction.atomic(using="default"):
            seen.append(exists(key))
        seen.append(exists(key))
    seen.append(exists(key))
    print(way, seen)
    with suppress(LookupError), transaction.atomic(using="default"):
        ways[way](Download.objects.filter(pk={others!r}[way]))
        print(exists({others!r}[way]))
        raise LookupError
"""


def test_a_file_is_deleted_on_commit_of_its_own_database(routed: Routed) -> None:
    """Not on rollback, not on commit of another database, and not later."""
    ways = ("purge", "delete", "instance")
    keys = dict(zip(ways, routed.complete(3), strict=True))
    others = dict(zip(ways, routed.complete(3), strict=True))
    printed = routed.run(FILES.format(keys=keys, others=others))
    expected = [(f"{way} [True, True, True, False]", "False") for way in ways]
    assert printed == [line for pair in expected for line in pair]
    assert not {*keys.values(), *others.values()} & routed.person.shown().keys()


PROGRESS = """
from django.db import transaction
from async_downloads import cache
from async_downloads.models import Download
from async_downloads.shortcuts import init_generic_csv_download
from async_downloads.signals import download_changed
from django_q.models import OrmQ

changes = []
def listen(change, **_):
    changes.append(change)
download_changed.connect(listen)

key = {key!r}
row = Download.objects.using("two").filter(pk=key)
with transaction.atomic(using="default"):
    cache.set_percentage(key, 40)
    print(row.get().percentage, changes)
with transaction.atomic(using="two"):
    cache.set_percentage(key, 60)
    print(row.get().percentage, changes)
    with transaction.atomic(using="default"):
        init_generic_csv_download("tests.faults.site.tasks.rows", "ada", "Orders")
    print(OrmQ.objects.count(), changes)
print(OrmQ.objects.count(), changes)
OrmQ.objects.all().delete()
"""


def test_changes_wait_only_for_transactions_of_their_own_database(routed: Routed) -> None:
    """Progress, signals and the queue ignore a transaction of another database."""
    key = routed.init()
    assert routed.run(PROGRESS.format(key=key)) == [
        "40 ['progressed']",
        "40 ['progressed', 'progressed']",
        "0 ['progressed', 'progressed']",
        "1 ['progressed', 'progressed', 'created']",
    ]
    (item,) = (item for item in routed.person.update()["downloads"] if item["download_key"] == key)
    assert item["percentage"] == 60


def test_a_clean_up_reads_from_the_primary_database(routed: Routed) -> None:
    """It deletes expired downloads and orphan files, whatever the replica says."""
    key, orphan = routed.complete(2)
    routed.run(REPLICATE)
    routed.two.query("UPDATE async_downloads_download SET expires_at = timestamp")
    code = f"""
    from django.core.management import call_command
    from async_downloads.models import Download
    rows = Download.objects.using("two").filter(pk={orphan!r})
    rows._raw_delete("two")
    call_command("cleanup_downloads", "--orphans", "--min-age", "0")
    """
    printed = routed.run(code)
    assert "Removed 1 orphan file." in printed
    assert routed.two.row(key) == {}
    assert not [path for path in routed.site.files() if key in path or orphan in path]
