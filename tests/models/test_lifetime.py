"""The lifetime of a download, and the words for its end."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone, translation

from async_downloads.models import Download, DownloadState
from async_downloads.models.lifetime import (
    FOR_GOOD,
    MAX_SECONDS,
    keep_until,
    lifetime_of,
    timeout_of,
)
from tests.factories import DownloadFactory

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

#: A Sunday.
NOW = datetime(2026, 11, 29, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("timeout", "lifetime", "seconds"),
    [
        ("default", None, 86_400),
        (None, FOR_GOOD, None),
        (3600, HOUR, 3600),
        (0.25, timedelta(seconds=1), 1),
        (MAX_SECONDS, timedelta(days=36_500), MAX_SECONDS),
    ],
    ids=repr,
)
def test_an_argument_becomes_a_lifetime(
    timeout: Any, lifetime: timedelta | None, seconds: float | None
) -> None:
    assert lifetime_of(timeout) == lifetime
    assert timeout_of(lifetime) == seconds


@pytest.mark.parametrize("timeout", [0, -1, math.nan, math.inf, MAX_SECONDS + 1], ids=repr)
def test_a_number_out_of_range_is_a_value_error(timeout: float) -> None:
    with pytest.raises(ValueError, match=f"timeout is {timeout!r}; it must be above 0 and at most"):
        lifetime_of(timeout)


@pytest.mark.parametrize("timeout", ["3600", "", True, HOUR, []], ids=repr)
def test_what_is_not_a_number_is_a_type_error(timeout: Any) -> None:
    with pytest.raises(TypeError, match="timeout must be a number of seconds, None or 'default'"):
        lifetime_of(timeout)


#: By lifetime, how long a finished download is kept if ``TIMEOUT`` is ten minutes.
KEPT = {None: timedelta(minutes=10), HOUR: HOUR, FOR_GOOD: None}


@pytest.mark.django_db
@pytest.mark.parametrize("use_tz", [True, False], ids=["zones", "no zones"])
@pytest.mark.parametrize("lifetime", KEPT)
@pytest.mark.parametrize("end", ["complete", "fail", "fail_missing", "stop"])
def test_the_end_of_a_download_sets_its_expiry_by_its_lifetime(
    settings: Any, end: str, lifetime: timedelta | None, use_tz: bool
) -> None:
    settings.USE_TZ = use_tz
    settings.ASYNC_DOWNLOADS_TIMEOUT = 600
    begun = {"complete": True} if end == "fail_missing" else {"running": True}
    download = DownloadFactory(lifetime=lifetime, **begun)
    rows = Download.objects.filter(pk=download.pk)
    changed = rows.complete(path="a", size=1) if end == "complete" else getattr(rows, end)("why")
    assert changed == 1
    download.refresh_from_db()
    kept = KEPT[lifetime]
    if kept is None:
        assert download.expires_at is None
        assert download.timeout is None
        return
    assert download.timeout == kept.total_seconds()
    # Without time zones, the clock may be put forward by an hour meanwhile.
    late = download.expires_at - timezone.now() - kept
    assert -timedelta(minutes=1) < late < (timedelta(minutes=1) if use_tz else HOUR)


@pytest.mark.django_db
@pytest.mark.parametrize("lifetime", KEPT)
def test_until_then_the_time_out_of_the_site_decides_when_it_is_overdue(
    settings: Any, lifetime: timedelta | None
) -> None:
    settings.ASYNC_DOWNLOADS_TIMEOUT = 600
    download = DownloadFactory(running=True, lifetime=lifetime)
    rows = Download.objects.filter(pk=download.pk)
    for write in (rows.heartbeat, rows.heartbeat_alone, lambda: rows.progress(5)):
        rows.update(expires_at=None)
        assert write() == 1
        download.refresh_from_db()
        left = download.expires_at - timezone.now()
        assert timedelta(minutes=9) < left <= timedelta(minutes=10)
        assert download.timeout == 600


@pytest.mark.django_db
@pytest.mark.parametrize("lifetime", KEPT)
def test_a_heartbeat_after_a_failure_leaves_it_its_lifetime(
    settings: Any, lifetime: timedelta | None
) -> None:
    settings.ASYNC_DOWNLOADS_TIMEOUT = 600
    download = DownloadFactory(running=True, lifetime=lifetime)
    rows = Download.objects.filter(pk=download.pk)
    assert rows.fail("It broke.") == 1
    # A task may report an error and go on.
    for write in (rows.heartbeat, rows.heartbeat_alone, lambda: rows.progress(5)):
        assert write() == 1
        download.refresh_from_db()
        kept = KEPT[lifetime]
        if kept is None:
            assert download.expires_at is None
        else:
            assert abs(download.expires_at - timezone.now() - kept) < timedelta(minutes=1)


def complete(**columns: Any) -> Download:
    """Return a complete download that is not in the database."""
    return Download(**{"state": DownloadState.COMPLETE, "finished_at": NOW, **columns})


@pytest.fixture
def sunday(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timezone, "now", lambda: NOW)


@pytest.mark.usefixtures("sunday")
@pytest.mark.parametrize(
    ("after", "english", "german"),
    [
        (HOUR, "until 11 a.m.", "11:00"),
        (13.9 * HOUR, "until 11:54 p.m.", "23:54"),
        (15 * HOUR, "until Monday", "Montag"),
        (6 * DAY, "until Saturday", "Samstag"),
        (7 * DAY, "until Dec. 6, 2026", "6. Dezember 2026"),
        (400 * DAY, "until Jan. 3, 2028", "3. Januar 2028"),
    ],
)
def test_the_nearer_the_end_the_finer_the_words(
    after: timedelta, english: str, german: str
) -> None:
    download = complete(expires_at=NOW + after)
    with timezone.override("UTC"):
        assert download.until_text == english
        with translation.override("de"):
            assert german in download.until_text


@pytest.mark.usefixtures("sunday")
def test_an_end_in_the_coming_night_is_a_time_of_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timezone, "now", lambda: NOW.replace(hour=23))
    with timezone.override("UTC"):
        assert complete(expires_at=NOW.replace(hour=23) + 2 * HOUR).until_text == "until 1 a.m."


@pytest.mark.usefixtures("sunday")
def test_the_words_are_in_the_time_zone_of_the_page() -> None:
    download = complete(expires_at=NOW + 15 * HOUR)
    with timezone.override("America/New_York"):
        # There it is still Sunday.
        assert download.until_text == "until 8 p.m."


def test_they_exist_without_time_zones(settings: Any) -> None:
    settings.USE_TZ = False
    assert complete(expires_at=timezone.now() + HOUR).until_text.startswith("until ")


@pytest.mark.usefixtures("sunday")
@pytest.mark.parametrize(
    "columns",
    [
        {"expires_at": None},
        {"expires_at": NOW + DAY, "held": True},
        {"expires_at": NOW + DAY, "state": DownloadState.RUNNING},
        {"expires_at": NOW + DAY, "state": DownloadState.FAILED},
    ],
    ids=["for good", "held", "running", "failed"],
)
def test_there_are_no_words_without_an_end(columns: dict[str, Any]) -> None:
    assert complete(**columns).until_text == ""
    assert complete(lifetime=DAY, **columns).menu_until_text == ""


@pytest.mark.usefixtures("sunday")
@pytest.mark.parametrize(
    ("lifetime", "after", "shown"),
    [(None, DAY, False), (None, 5 * HOUR, True), (DAY, DAY, True), (7 * DAY, 7 * DAY, True)],
)
def test_the_menu_is_silent_about_the_default_that_is_far_away(
    lifetime: timedelta | None, after: timedelta, shown: bool
) -> None:
    download = complete(lifetime=lifetime, expires_at=NOW + after)
    assert download.menu_until_text == (download.until_text if shown else "")


@pytest.mark.usefixtures("sunday")
@pytest.mark.parametrize(
    ("limit", "columns", "until"),
    [
        (None, {}, None),
        # One more lifetime than so far.
        (30 * DAY, {}, NOW + DAY + HOUR),
        (30 * DAY, {"lifetime": 7 * DAY}, NOW + 7 * DAY + HOUR),
        # At most this long after its end.
        (30 * DAY, {"lifetime": 7 * DAY, "finished_at": NOW - 26 * DAY}, NOW + 4 * DAY),
        (2 * DAY, {"finished_at": NOW - DAY - 23 * HOUR}, None),
        # A row of 0.6 does not say when it ended.
        (30 * DAY, {"finished_at": None, "timestamp": NOW - 29.5 * DAY}, NOW + 0.5 * DAY),
        # Staff keep it for longer than that anyway.
        (30 * DAY, {"expires_at": NOW + 31 * DAY}, None),
        (30 * DAY, {"expires_at": None}, None),
        (30 * DAY, {"held": True}, None),
        (30 * DAY, {"state": DownloadState.FAILED}, None),
        (30 * DAY, {"state": DownloadState.RUNNING}, None),
    ],
)
def test_an_owner_can_keep_a_download_for_one_more_lifetime(
    settings: Any, limit: timedelta | None, columns: dict[str, Any], until: datetime | None
) -> None:
    settings.ASYNC_DOWNLOADS_MAX_LIFETIME = limit and limit.total_seconds()
    download = complete(**{"expires_at": NOW + HOUR, **columns})
    assert keep_until(download) == until
    assert download.can_keep == (until is not None)


@pytest.mark.usefixtures("sunday")
def test_without_a_time_out_only_the_limit_counts(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_TIMEOUT = None
    settings.ASYNC_DOWNLOADS_MAX_LIFETIME = 3 * 86_400
    assert keep_until(complete(expires_at=NOW + HOUR)) == NOW + 3 * DAY
