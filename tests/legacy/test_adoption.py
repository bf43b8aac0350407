"""Adopting the downloads of 0.6: by lists, by folders, and once only."""

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from django.conf import settings as project_settings
from django.core.cache import caches
from django.core.files.base import ContentFile
from django.db import connections
from django.utils import timezone

from async_downloads import cache, owners, signals, store
from async_downloads.files import storage
from async_downloads.legacy import adoption
from async_downloads.models import Download, DownloadCollection
from tests.attempts import claimed
from tests.factories import DownloadFactory, UserFactory
from tests.legacy import legacy_downloads

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("shared_cache", "user"),
]


def adopt(**options: Any) -> dict[str, str]:
    """Adopt, and return the outcome of each path, which must be unique."""
    findings = list(adoption.adopt(**options))
    paths = [finding.path for finding in findings]
    assert len(paths) == len(set(paths))
    return {finding.path: finding.outcome for finding in findings}


def adopted(key: str) -> Download:
    adopt()
    return Download.objects.get(pk=key)


def reasons(**options: Any) -> list[str]:
    return [each.reason for each in adoption.adopt(**options) if each.outcome == "refused"]


# States


def test_a_complete_download_has_its_file_and_its_size(user: Any) -> None:
    download = adopted(legacy_downloads.store("ada", name="All orders"))
    assert download.complete
    assert download.size == len(legacy_downloads.CONTENT)
    assert (download.name, download.filename) == ("All orders", "orders.csv")
    assert download.collection.owner == owners.resolve(user)
    assert download.collection.key == cache.get_collection_key(user)
    assert download.expires_at is not None
    assert download.expires_at > timezone.now() + timedelta(hours=23)


def test_a_file_that_the_storage_renamed_is_adopted() -> None:
    key = legacy_downloads.begin("ada", complete=True, url="/media/orders.csv")
    storage.storage().save(f"downloads/{key}/orders_x7.csv", ContentFile(b"1"))
    download = adopted(key)
    assert download.complete
    assert download.filepath == f"downloads/{key}/orders_x7.csv"
    assert download.filename == "orders.csv"


def test_a_download_whose_file_is_missing_has_failed() -> None:
    legacy_downloads.store("ada")
    download = adopted(legacy_downloads.begin("ada", complete=True, percentage=100, url="/media/x"))
    assert download.failed
    assert download.errors == "The file is missing. Please request it again."


def test_a_complete_download_waits_for_a_missing_storage() -> None:
    key = legacy_downloads.begin("ada", complete=True, percentage=100, url="/media/x")
    assert reasons() == ["The storage is not there, and with it the file."]
    storage.storage().save(f"downloads/{key}/orders.csv", ContentFile(b"1"))
    assert adopted(key).complete


def test_the_owner_reads_the_text_of_the_site_and_not_that_of_an_exception() -> None:
    own = legacy_downloads.begin("ada", complete=True, errors="Nothing in May.")
    dsn = "postgresql://shop:secret@db"
    hidden = legacy_downloads.begin("ada", complete=True, errors=dsn, url="/media/x.csv")
    adopt()
    rows = Download.objects.in_bulk([own, hidden], field_name="pk")
    assert rows[uuid.UUID(own)].errors == "Nothing in May."
    assert dsn not in rows[uuid.UUID(hidden)].errors
    assert rows[uuid.UUID(hidden)].error_detail == dsn
    assert all(row.failed for row in rows.values())


def test_the_queued_task_finishes_a_download_in_progress() -> None:
    key = legacy_downloads.begin("ada", percentage=40)
    # A killed worker left a partial file.
    storage.storage().save(f"downloads/{key}/orders.csv", ContentFile(b"half"))
    download = adopted(key)
    assert download.in_progress
    assert download.percentage == 40
    cache.save_download(key, [[1], [2]])
    download.refresh_from_db()
    assert download.complete
    assert download.filepath == f"downloads/{key}/orders.csv"
    assert Path(project_settings.MEDIA_ROOT, download.filepath).read_text() == "1\n2\n"
    assert len(list(storage.names_in(f"downloads/{key}"))) == 1


def test_a_download_in_progress_has_its_only_attempt_left(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ATTEMPTS = 1
    download = adopted(legacy_downloads.begin("ada", percentage=40))
    assert claimed(download).download == download


# Owners


def test_a_user_named_like_the_primary_key_of_another_keeps_their_downloads(user: Any) -> None:
    other = UserFactory(username=str(user.pk))
    keys = {name: legacy_downloads.store(name) for name in (user.username, other.username)}
    adopt()
    for name, key in keys.items():
        assert Download.objects.get(pk=key).collection.user.username == name


def test_a_name_without_a_user_is_a_label() -> None:
    failed = legacy_downloads.begin("team", complete=True, errors="No.")
    stored = legacy_downloads.store("team")
    assert list(adopt()) == [f"downloads/{stored}/orders.csv"]
    assert adopt(collection_keys=["async_downloads/team"])[f"downloads/{failed}/orders.csv"]
    (collection,) = DownloadCollection.objects.all()
    assert (collection.user, collection.label) == (None, "team")
    assert collection.downloads.count() == 2


@pytest.mark.parametrize("name", ["", "x" * 501, "a\0b"])
def test_a_name_that_is_not_valid_is_refused(name: str) -> None:
    legacy_downloads.store(name, listed=False)
    assert reasons() == ["No user has this name alone, and no label can have it."]
    assert not Download.objects.exists()


@pytest.mark.parametrize(
    "path",
    [
        "downloads/other/orders.csv",
        "secret.txt",
        "/downloads/{key}/orders.csv",
        "../{key}/orders.csv",
        "downloads/../{key}/orders.csv",
        "invoices/{key}/orders.csv",
        "{key}/orders.csv",
        "downloads/{key}/" + "x" * 500,
    ],
)
def test_a_path_outside_the_downloads_folder_is_refused(path: str) -> None:
    key = str(uuid.uuid4())
    legacy_downloads.begin("ada", complete=True)
    (entry,) = caches["file"].get("async_downloads/ada")
    broken = caches["file"].get(entry) | {"filepath": path.format(key=key)}
    caches["file"].set(key, broken)
    caches["file"].set("async_downloads/ada", [key])
    (reason,) = reasons()
    assert "is not a path inside the folder of the download" in reason


# Search


def test_more_than_a_batch_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adoption, "BATCH_SIZE", 2)
    keys = {legacy_downloads.store(name) for name in ("ada", "ada", "ada", "bob", "cyd", "team")}
    for name in ("bob", "cyd"):
        UserFactory(username=name)
    assert len(adopt()) == 6
    assert {str(pk) for pk in Download.objects.values_list("pk", flat=True)} == keys


def test_a_download_that_is_not_listed_is_found_by_its_folder() -> None:
    assert adopted(legacy_downloads.store("ada", listed=False)).collection.user.username == "ada"


def test_a_known_download_stays_as_it_is() -> None:
    key = legacy_downloads.begin("ada")
    path = f"downloads/{key}/orders.csv"
    assert adopt() == {path: "pending"}
    cache.set_percentage(key, 60)
    Download.objects.filter(pk=key).update(name="Renamed")
    caches["file"].set(
        key, caches["file"].get(legacy_downloads.begin("grace")) | {"filepath": path}
    )
    assert adopt() == {path: "known"}
    download = Download.objects.get(pk=key)
    assert (download.percentage, download.name) == (60, "Renamed")


def test_a_cleared_download_does_not_come_back(user: Any) -> None:
    key = legacy_downloads.store("ada")
    adopt()
    assert store.clear(user.pk, download_key=uuid.UUID(key))
    assert adopt() == {}


def test_a_download_of_today_is_not_a_finding(user: Any) -> None:
    DownloadFactory(collection__user=user, complete=True)
    # As an export whose row has not been committed yet.
    _, key = cache.init_download(user, "orders.csv")
    storage.storage().save(f"downloads/{key}/orders.csv", ContentFile(b"1"))
    Download.objects.filter(pk=key)._raw_delete("default")
    assert adopt(owner=owners.resolve(user)) == {}


def test_two_adoptions_at_once_insert_each_download_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = [legacy_downloads.begin("ada") for _ in range(3)]
    insert, races = adoption._insert, []

    def overtaken(rows: list[Any]) -> None:
        if not races:
            races.append(rows)
            insert(rows[:1])
        insert(rows)

    monkeypatch.setattr(adoption, "_insert", overtaken)
    adopt()
    assert Download.objects.filter(pk__in=keys).count() == 3


def test_a_file_without_a_cache_entry_is_adopted_for_the_given_owner_only(
    user: Any, other_user: Any
) -> None:
    key = str(uuid.uuid4())
    path = f"downloads/{key}/orders.csv"
    storage.storage().save(path, ContentFile(b"1"))
    storage.storage().save("downloads/ours/readme.txt", ContentFile(b"1"))
    assert adopt() == {path: "ownerless"}
    assert not Download.objects.exists()
    assert adopt(owner=owners.resolve(other_user)) == {path: "complete"}
    assert Download.objects.get(pk=key).collection.user == other_user
    assert adopt() == {}


def test_a_folder_with_more_than_one_file_is_refused(user: Any) -> None:
    for name in ("a.csv", "b.csv"):
        storage.storage().save(f"downloads/{uuid.UUID(int=7)}/{name}", ContentFile(b"1"))
    assert set(adopt().values()) == {"ownerless"}
    assert reasons(owner=owners.resolve(user)) == ["There is more than one file in this folder."]


def test_an_expired_download_is_not_given_to_another_owner(user: Any, other_user: Any) -> None:
    key = legacy_downloads.store("ada")
    caches["file"].delete(key)
    (reason,) = reasons(owner=owners.resolve(other_user))
    assert reason.startswith("It had expired")
    assert not Download.objects.exists()


def test_a_dry_run_yields_the_same_findings_and_writes_nothing(
    django_assert_num_queries: Any, user: Any
) -> None:
    for name in ("ada", "team"):
        legacy_downloads.store(name)
    planned = adopt(dry_run=True)
    assert not DownloadCollection.objects.exists()
    assert adopt() == planned


# Writes


def test_the_cache_of_0_6_stays_as_it_is_and_pages_are_out_of_date(user: Any) -> None:
    key = legacy_downloads.store("ada")
    entry = caches["file"].get(key)
    version = store.read_listing(owners.resolve(user)).version
    adopt()
    assert caches["file"].get(key) == entry
    assert caches["file"].get("async_downloads/ada") == [key]
    listing = store.read_changes(owners.resolve(user), version)
    assert listing is not None
    assert [download.download_key for download in listing.downloads] == [key]


def test_each_adoption_is_published_after_the_commit() -> None:
    key, news = legacy_downloads.begin("ada"), []

    def listen(download_key: str, change: str, **_: Any) -> None:
        news.append((download_key, change, Download.objects.filter(pk=download_key).exists()))

    signals.download_changed.connect(listen)
    try:
        adopt(dry_run=True)
        assert news == []
        adopt()
    finally:
        signals.download_changed.disconnect(listen)
    assert news == [(key, "created", True)]


def test_the_queries_do_not_grow_with_the_batch() -> None:
    def queries(number: int) -> int:
        for _ in range(number):
            legacy_downloads.begin("ada")
        connection = connections["default"]
        connection.force_debug_cursor = True
        before = len(connection.queries_log)
        adopt()
        connection.force_debug_cursor = False
        return len(connection.queries_log) - before

    queries(1)
    assert queries(2) == queries(20)


NOON: Final = datetime(2020, 7, 1, 12)  # noqa: DTZ001 (as 0.6 has it)


@pytest.mark.parametrize(
    ("use_tz", "timestamp", "adopted_as"),
    [
        (True, NOON, datetime(2020, 7, 1, 16, tzinfo=UTC)),
        (True, NOON.replace(tzinfo=UTC), NOON.replace(tzinfo=UTC)),
        (False, NOON, NOON),
        (False, NOON.replace(tzinfo=UTC), NOON.replace(hour=8)),
    ],
)
def test_times_follow_use_tz_and_time_zone(
    use_tz: bool, timestamp: datetime, adopted_as: datetime, settings: Any
) -> None:
    settings.USE_TZ, settings.TIME_ZONE = use_tz, "America/New_York"
    download = adopted(legacy_downloads.begin("ada", timestamp=timestamp))
    assert download.timestamp == adopted_as
