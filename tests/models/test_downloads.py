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
from tests.recorded_calls import recorded

pytestmark = pytest.mark.django_db

#: The factory traits of a finished download.
FINISHED: Any = ({"complete": True}, {"failed": True})


def ago(**kwargs: float) -> Any:
    return timezone.now() - timedelta(**kwargs)


@pytest.mark.parametrize(
    ("values", "retryable", "repeatable", "rescuable"),
    [
        ({}, False, False, False),
        ({"running": True}, False, False, False),
        ({"complete": True}, False, True, False),
        ({"failed": True}, True, False, False),
        ({"heard_at": ago(hours=1)}, True, False, True),
        # Its task has run, and has left the file to another one.
        ({"heard_at": ago(hours=1), "started_at": ago(hours=1)}, True, False, False),
        ({"running": True, "heard_at": ago(hours=1)}, True, False, True),
        ({"running": True, "heard_at": ago(hours=1), "attempts": 3}, True, False, False),
    ],
)
def test_what_may_follow_if_the_call_is_recorded(
    settings: Any, values: Any, retryable: bool, repeatable: bool, rescuable: bool
) -> None:
    without, download = DownloadFactory(**values), DownloadFactory(**values, recorded=True)
    assert not any((without.retryable, without.repeatable, without.rescuable))
    assert (download.retryable, download.repeatable) == (retryable, repeatable)
    assert download.rescuable is rescuable
    settings.ASYNC_DOWNLOADS_RESCUE = False
    assert not download.rescuable


@pytest.mark.parametrize(
    ("values", "in_progress", "stalled", "text"),
    [
        ({}, True, False, "Waiting"),
        ({"percentage": 30}, True, False, "In progress"),
        ({"running": True}, True, False, "In progress"),
        ({"complete": True}, False, False, "Complete"),
        ({"failed": True}, False, False, "Failed"),
        ({"heard_at": ago(hours=1)}, False, True, "nothing has started it"),
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


@pytest.mark.parametrize(
    ("rescue", "attempts", "text"),
    [
        (True, 1, "Interrupted: it stopped responding. It starts again by itself."),
        (True, 3, "Stalled: it stopped responding. Wait, or try again."),
        (False, 1, "Stalled: it stopped responding. Wait, or try again."),
    ],
)
def test_a_stalled_attempt_says_what_follows(
    settings: Any, rescue: bool, attempts: int, text: str
) -> None:
    settings.ASYNC_DOWNLOADS_RESCUE = rescue
    values = {"running": True, "heard_at": ago(hours=1), "attempts": attempts}
    assert DownloadFactory(**values, **recorded()).status_text == text


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
    ("values", "stuck"),
    [
        ({"running": True, "moved_at": ago(hours=1)}, True),
        ({"running": True}, False),
        ({"running": True, "moved_at": ago(hours=1), "heard_at": ago(hours=1)}, False),
        ({"moved_at": ago(hours=1)}, False),
        ({"complete": True, "moved_at": ago(hours=1)}, False),
    ],
    # The processes of xdist need the same names.
    ids=["not moving", "moving", "stalled", "pending", "complete"],
)
def test_a_download_is_stuck_if_its_process_is_alive_and_its_work_does_not_move(
    values: Any, stuck: bool, settings: Any
) -> None:
    download = DownloadFactory(**values)
    assert not download.stuck
    assert not Download.objects.stuck().exists()
    settings.ASYNC_DOWNLOADS_STUCK_AFTER = 600
    assert download.stuck == stuck
    assert Download.objects.stuck().exists() == stuck
    assert not download.rescuable
    assert Download.objects.rescue() == 0


def test_a_row_that_was_read_with_the_clock_of_the_database_is_judged_by_it() -> None:
    download = DownloadFactory(running=True)
    read = Download.objects.with_database_clock().get()
    assert abs(read.clock_difference) < timedelta(minutes=1)
    assert not read.stalled
    # As if the clock of this process were an hour behind.
    read._read_at = timezone.now() + timedelta(hours=1)
    assert abs(read.database_time() - timezone.now() - timedelta(hours=1)) < timedelta(minutes=1)
    assert read.stalled
    assert not download.stalled


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


@pytest.mark.parametrize("step", ["claim", "rescue", "retry", "resume"])
def test_an_attempt_begins_without_the_outcome_of_the_one_before(step: str) -> None:
    outcome = {
        "size": 4,
        "rows_written": 1,
        "rows_expected": 2,
        "errors": "The file is missing.",
        "error_detail": "Traceback",
        "finished_at": timezone.now(),
        "expected_at": timezone.now(),
    }
    ended: Any = {"running": True, "heard_at": ago(hours=1)} if step == "rescue" else FINISHED[1]
    download = DownloadFactory(recorded=True, **(ended | outcome))
    rows: Any = Download.objects.filter(pk=download.pk)
    assert getattr(rows, step)(*([download.pk, uuid.uuid4()] if step == "claim" else [])) == 1
    fields = {name: Download._meta.get_field(name).get_default() for name in outcome}
    assert rows.values(*outcome).get() == fields


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
