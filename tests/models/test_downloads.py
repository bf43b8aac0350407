"""The properties of a download, and its conditional updates."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone, translation

from async_downloads.models import Download, DownloadCollection
from async_downloads.utils import error_text
from tests.factories import DownloadCollectionFactory, DownloadFactory

pytestmark = pytest.mark.django_db

#: The factory traits of a finished download.
FINISHED: Any = ({"complete": True}, {"failed": True})


def ago(**kwargs: float) -> Any:
    return timezone.now() - timedelta(**kwargs)


@pytest.mark.parametrize(
    ("values", "in_progress", "stalled", "text"),
    [
        ({}, True, False, "Waiting"),
        ({"percentage": 30}, True, False, "In progress"),
        ({"running": True}, True, False, "In progress"),
        ({"complete": True}, False, False, "Complete"),
        ({"failed": True}, False, False, "Failed"),
        ({"heard_at": ago(hours=1)}, False, True, "no worker has started it"),
        ({"running": True, "heard_at": ago(hours=1)}, False, True, "stopped responding"),
        ({"complete": True, "heard_at": ago(hours=1)}, False, False, "Complete"),
        ({"failed": True, "heard_at": ago(hours=1)}, False, False, "Failed"),
    ],
)
def test_the_state_in_words(values: Any, in_progress: bool, stalled: bool, text: str) -> None:
    download = DownloadFactory(**values)
    assert (download.in_progress, download.stalled) == (in_progress, stalled)
    assert text in download.status_text
    assert Download.objects.stalled().filter(pk=download.pk).exists() is stalled


def test_stalled_follows_the_setting(settings: Any) -> None:
    download = DownloadFactory(heard_at=ago(seconds=30))
    settings.ASYNC_DOWNLOADS_STALLED_AFTER = 20
    assert download.stalled
    settings.ASYNC_DOWNLOADS_STALLED_AFTER = 40
    assert not download.stalled


def test_only_a_complete_download_has_a_url() -> None:
    assert DownloadFactory().url == ""
    assert DownloadFactory(failed=True).url == ""
    complete = DownloadFactory(complete=True)
    assert complete.url == f"/async_downloads/download/{complete.pk}/"


def test_a_download_is_either_active_or_expired() -> None:
    expired = {DownloadFactory(expired=True, **state) for state in FINISHED}
    active = {DownloadFactory(), DownloadFactory(expires_at=None)}
    active |= {DownloadFactory(expires_at=None, **state) for state in FINISHED}
    # An unfinished download does not expire.
    active |= {DownloadFactory(expired=True), DownloadFactory(running=True, expired=True)}
    assert set(Download.objects.active()) == active
    assert set(Download.objects.expired()) == expired


@pytest.mark.parametrize(
    ("values", "overdue"),
    [
        ({"expired": True, "heard_at": ago(hours=1)}, True),
        ({"running": True, "expired": True, "heard_at": ago(hours=1)}, True),
        # TIMEOUT may be shorter than STALLED_AFTER: a live attempt does not fail.
        ({"running": True, "expired": True}, False),
        ({"expired": True}, False),
        ({"heard_at": ago(hours=1)}, False),
        ({"expires_at": None, "heard_at": ago(days=400)}, False),
        ({"failed": True, "expired": True, "heard_at": ago(hours=1)}, False),
        ({"complete": True, "expired": True, "heard_at": ago(hours=1)}, False),
    ],
)
def test_overdue_is_unfinished_stalled_and_without_a_heartbeat_for_the_timeout(
    values: Any, overdue: bool
) -> None:
    download = DownloadFactory(**values)
    assert download.overdue is overdue
    assert Download.objects.overdue().filter(pk=download.pk).exists() is overdue


def test_complete_is_final() -> None:
    download = DownloadFactory(complete=True)
    rows = Download.objects.filter(pk=download.pk)
    assert rows.fail("late") == 0
    assert rows.progress(5) == 0
    assert Download.objects.claim(download.pk, uuid.uuid4()) == 0
    assert not Download.objects.claimed_by(download.pk, download.claim).exists()


def test_a_download_without_attempts_left_cannot_be_claimed(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ATTEMPTS = 2
    download = DownloadFactory(attempts=2)
    assert Download.objects.claim(download.pk, uuid.uuid4()) == 0


def test_an_attempt_without_the_claim_changes_nothing() -> None:
    download = DownloadFactory(running=True)
    stranger = Download.objects.claimed_by(download.pk, uuid.uuid4())
    assert stranger.heartbeat() == 0
    assert stranger.progress(5) == 0
    assert stranger.complete(path="x", size=1) == 0
    assert Download.objects.claimed_by(download.pk, download.claim).progress(5) == 1


def test_every_write_is_a_heartbeat_and_extends_the_expiry(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_TIMEOUT = 500
    download = DownloadFactory(running=True, heard_at=ago(hours=1), expires_at=ago(hours=1))
    for write in (
        lambda rows: rows.heartbeat(),
        lambda rows: rows.progress(5),
        lambda rows: rows.fail("late"),
        lambda rows: rows.complete(path="x", size=1),
    ):
        rows = Download.objects.filter(pk=download.pk)
        rows.update(heard_at=ago(hours=1), expires_at=ago(hours=1), state="running", percentage=0)
        assert write(rows) == 1
        download.refresh_from_db()
        assert download.heard_at > ago(seconds=30)
        assert download.expires_at is not None
        assert download.expires_at > timezone.now() + timedelta(seconds=450)


@pytest.mark.parametrize(
    "values",
    [
        {"percentage": 101},
        {"state": "unheard of"},
        {"state": "complete", "percentage": 100, "size": None},
        {"state": "complete", "percentage": 100, "size": 1, "filepath": ""},
        {"state": "complete", "percentage": 99, "size": 1},
    ],
)
def test_the_database_refuses_an_impossible_row(values: Any) -> None:
    download = DownloadFactory()
    with pytest.raises(IntegrityError), transaction.atomic():
        Download.objects.filter(pk=download.pk).update(**values)


def test_a_collection_has_one_owner(user: Any) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        DownloadCollection.objects.create(pk=uuid.uuid4(), key="k", user=user, label="both")
    assert str(DownloadCollectionFactory(user=user)) == "ada"
    assert str(DownloadCollectionFactory(user=None, label="accounts")) == "accounts"


def test_for_user_returns_the_downloads_of_the_users_collection(user: Any, other_user: Any) -> None:
    mine = DownloadFactory(collection__user=user)
    DownloadFactory(collection__user=other_user)
    DownloadFactory(collection__user=None, collection__label="accounts")
    assert list(Download.objects.for_user(user.pk)) == [mine]
    assert list(Download.objects.for_user(None)) == []


def test_the_reason_of_a_failure_is_in_the_language_of_the_reader() -> None:
    assert Download(errors="").error_text == ""
    assert Download(errors="The shop burnt down.").error_text == "The shop burnt down."
    ours = error_text.for_owner(ValueError())
    with translation.override("de"):
        assert Download(errors=ours).error_text != ours
    assert Download(errors=ours).error_text == ours
