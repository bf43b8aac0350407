"""Deleting downloads by owner, state and time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from async_downloads import cache, store
from async_downloads.exceptions import DownloadCancelled
from async_downloads.models import Download, DownloadCollection
from async_downloads.store import Selection, bulk_delete, cleanup
from tests.attempts import claimed, long_ago
from tests.factories import DownloadCollectionFactory, DownloadFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True)


def one_of_each() -> dict[str, Download]:
    """Return one download in each condition."""
    return {
        "pending": DownloadFactory(),
        "running": DownloadFactory(running=True),
        "complete": DownloadFactory(complete=True),
        "failed": DownloadFactory(failed=True),
        "stalled": DownloadFactory(running=True, heard_at=long_ago()),
        "expired": DownloadFactory(complete=True, expired=True),
    }


@pytest.mark.parametrize(
    ("states", "found"),
    [
        ((), "pending running complete failed stalled expired"),
        (("pending",), "pending"),
        (("running",), "running stalled"),
        (("complete",), "complete expired"),
        (("failed",), "failed"),
        (("stalled",), "stalled"),
        (("expired",), "expired"),
        (("failed", "expired"), "failed expired"),
        (("stalled", "pending", "expired"), "stalled pending expired"),
    ],
    ids=str,
)
def test_a_download_matches_one_of_the_states(states: tuple[str, ...], found: str) -> None:
    kinds = {download.pk: kind for kind, download in one_of_each().items()}
    rows = Selection(states=frozenset(states)).rows()
    assert {kinds[row.pk] for row in rows} == set(found.split())


def test_every_other_condition_must_hold() -> None:
    mine, other = DownloadCollectionFactory(), DownloadCollectionFactory()
    at = datetime(2026, 1, 31, tzinfo=UTC)
    early, exact, late = (
        DownloadFactory(collection=mine, failed=True, timestamp=at + timedelta(seconds=seconds))
        for seconds in (-1, 0, 1)
    )
    DownloadFactory(collection=other, failed=True, timestamp=at)
    DownloadFactory(collection=mine, timestamp=at)

    def found(**conditions: Any) -> set[Any]:
        chosen = {"collections": (mine.pk,), "states": frozenset({"failed"}), **conditions}
        return {row.pk for row in Selection(**chosen).rows()}

    assert found() == {early.pk, exact.pk, late.pk}
    # From then on, and before then.
    assert found(requested_from=at) == {exact.pk, late.pk}
    assert found(requested_before=at) == {early.pk}
    assert found(requested_from=at, requested_before=at + timedelta(seconds=1)) == {exact.pk}
    assert found(collections=()) == set()


def test_a_name_selects_the_user_and_the_text() -> None:
    label = DownloadFactory(collection__user=None, collection__label="ada").collection
    assert store.collections_of("ada") == (label.pk,)
    user = UserFactory(username="ada")
    own = DownloadFactory(collection__user=user).collection
    assert set(store.collections_of("ada")) == {label.pk, own.pk}
    # A user without downloads exists all the same.
    assert store.collections_of(UserFactory(username="grace").username) == ()
    with pytest.raises(LookupError, match="no user is called 'adaa'"):
        store.collections_of("adaa")
    for name in ("", " ", "a\0"):
        with pytest.raises(ValueError, match="user"):
            store.collections_of(name)


def test_a_survey_counts_active_downloads_and_those_in_progress() -> None:
    one_of_each()
    survey = store.survey(Selection())
    assert (survey.downloads, survey.size) == (6, 8)
    assert (survey.active, survey.in_progress) == (5, 2)
    nothing = store.survey(Selection(collections=()))
    assert nothing == store.Survey(downloads=0, size=0, active=0, in_progress=0)


def test_only_the_selected_downloads_go_with_their_files() -> None:
    kinds = one_of_each()
    done = store.remove_selected(Selection(states=frozenset({"complete"})))
    assert (done.downloads, done.size, done.left) == (2, 8, 0)
    assert done.collections == 2
    assert not default_storage.exists(kinds["complete"].filepath)
    assert not default_storage.exists(kinds["expired"].filepath)
    assert Download.objects.count() == 4
    assert DownloadCollection.objects.count() == 4


@pytest.mark.parametrize(
    ("state", "logged"), [("expired", ["expired"]), ("complete", []), ("pending", ["cancelled"])]
)
def test_a_deletion_is_logged_as_expired_or_cancelled(
    state: str, logged: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    DownloadFactory(complete=True, expired=True)
    DownloadFactory()
    with caplog.at_level("INFO", logger="async_downloads.signals"):
        store.remove_selected(Selection(states=frozenset({state})))
    assert [getattr(record, "change", None) for record in caplog.records] == logged


def test_removing_a_running_download_cancels_it() -> None:
    download = DownloadFactory()
    attempt = claimed(download)
    assert store.remove_selected(Selection(states=frozenset({"running"}))).downloads == 1
    with pytest.raises(DownloadCancelled):
        attempt.heartbeat()


def test_the_callback_runs_after_each_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "FIRST_BATCH", 3)
    monkeypatch.setattr(cleanup, "BATCH_SECONDS", 0.0)
    collection = DownloadFactory(failed=True).collection
    for _ in range(6):
        DownloadFactory(collection=collection, failed=True)
    kept = DownloadFactory(collection=collection)
    totals: list[int] = []
    done = store.remove_selected(
        Selection(states=frozenset({"failed"})),
        after_each=lambda done: totals.append(done.downloads),
    )
    # Each batch is half as large, as the one before took too long.
    assert totals == [3, 4, 5, 6, 7]
    assert done.downloads == 7
    assert list(Download.objects.all()) == [kept]


def test_the_queries_of_a_batch_do_not_grow_with_it() -> None:
    collection = DownloadFactory().collection
    counts = []
    for number in (5, 50):
        for _ in range(number):
            DownloadFactory(collection=collection, failed=True)
        with CaptureQueriesContext(connection) as queries:
            done = store.remove_selected(Selection(states=frozenset({"failed"})))
        assert done.downloads == number
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 20


def test_a_download_that_no_longer_matches_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    retried, failed = DownloadFactory(failed=True), DownloadFactory(failed=True)
    real = bulk_delete.delete_locked

    def retry_first(*arguments: Any, **options: Any) -> Any:
        claimed(retried)
        return real(*arguments, **options)

    monkeypatch.setattr(bulk_delete, "delete_locked", retry_first)
    done = store.remove_selected(Selection(states=frozenset({"failed"})))
    assert (done.downloads, done.left) == (1, 1)
    assert not Download.objects.filter(pk=failed.pk).exists()
    assert Download.objects.get(pk=retried.pk).state == "running"


def test_an_export_with_heartbeats_in_the_cache_alone_has_not_stalled() -> None:
    silent = DownloadFactory(running=True, heard_at=long_ago())
    alive = DownloadFactory(running=True, heard_at=long_ago())
    with transaction.atomic():
        cache.set_percentage(alive.download_key, 50)
    done = store.remove_selected(Selection(states=frozenset({"stalled"})))
    assert (done.downloads, done.left) == (1, 1)
    assert not Download.objects.filter(pk=silent.pk).exists()
    # Selected as a running one, it goes.
    done = store.remove_selected(Selection(states=frozenset({"stalled", "running"})))
    assert (done.downloads, done.left) == (1, 0)


def test_an_unfinished_download_has_not_expired() -> None:
    DownloadFactory(expired=True, heard_at=long_ago())
    DownloadFactory(running=True, expired=True, heard_at=long_ago())
    expired = Selection(states=frozenset({"expired"}))
    assert store.survey(expired).downloads == 0
    assert store.remove_selected(expired).downloads == 0
    assert Download.objects.count() == 2


def test_only_a_whole_clean_up_is_recorded() -> None:
    assert store.read_status().last_cleanup is None
    store.clean_up(dry_run=True)
    store.clean_up(collection=DownloadFactory().collection)
    store.remove_selected(Selection(states=frozenset({"failed"})))
    assert store.read_status().last_cleanup is None
    before = timezone.now()
    store.clean_up()
    last_cleanup = store.read_status().last_cleanup
    assert last_cleanup is not None
    assert before - timedelta(seconds=1) < last_cleanup <= timezone.now()
