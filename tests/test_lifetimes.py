"""Downloads with lifetimes of their own, from the call that starts one to the clean-up."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from async_downloads import cache, shortcuts, store
from async_downloads.executors import starting
from async_downloads.models import Download
from async_downloads.models.lifetime import FOR_GOOD
from async_downloads.store import cache_entries
from tests import jobs, queues, recorded_calls
from tests.attempts import long_ago
from tests.clocks import move_clock
from tests.factories import DownloadFactory

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]

HOUR = 3600
WEEK = 7 * 24 * HOUR
LIST = "/async_downloads/list/"
MENU = "/async_downloads/ajax_update/"
JSON = {"Accept": "application/json"}

#: By name: the argument, the lifetime on the row, and the words on the page of all.
LIFETIMES: dict[str, tuple[Any, timedelta | None, str]] = {
    "hour": (HOUR, timedelta(hours=1), r"until (\d+(:\d+)? [ap]\.m\.|noon|midnight)"),
    "week": (WEEK, timedelta(days=7), r"until \w+\. \d+, \d{4}|until \w+ \d+, \d{4}"),
    "site": ("default", None, r"until \w+day"),
    "good": (None, FOR_GOOD, ""),
}


def with_time_out(download_key: str, timeout: int = 5) -> None:
    """Be a task that has an argument of this name, as it may since 0.6."""


def get(key: str) -> Download:
    return Download.objects.get(pk=key)


@pytest.fixture
def several(user: Any, settings: Any) -> dict[str, Download]:
    """Return a complete download of each lifetime."""
    keys = {
        name: shortcuts.start_download(recorded_calls.export, user, f"{name}.csv", timeout=timeout)[
            1
        ]
        for name, (timeout, _, _) in LIFETIMES.items()
    }
    queues.run_waiting()
    return {name: get(key) for name, key in keys.items()}


def test_each_expires_at_its_time_and_is_cleaned_up_then(
    several: dict[str, Download], user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def left() -> list[str]:
        names = Download.objects.for_user(user.pk).values_list("filename", flat=True)
        return sorted(name.removesuffix(".csv") for name in names)

    def shown() -> list[str]:
        rows = Download.objects.for_user(user.pk).active()
        return sorted(row.filename.removesuffix(".csv") for row in rows)

    assert all(row.complete for row in several.values())
    for passed, names in {
        timedelta(minutes=59): ["good", "hour", "site", "week"],
        timedelta(minutes=61): ["good", "site", "week"],
        timedelta(hours=25): ["good", "week"],
        timedelta(days=8): ["good"],
        timedelta(days=30_000): ["good"],
    }.items():
        with monkeypatch.context() as context:
            move_clock(context, passed)
            assert shown() == names
            store.clean_up()
            assert left() == names


def test_the_page_of_all_says_until_when(several: dict[str, Download], signed_in: Client) -> None:
    text = signed_in.get(LIST).content.decode()
    for name, (_, _, words) in LIFETIMES.items():
        item = text[text.index(f'id="listed-download-{several[name].pk}"') :].partition("</li>")[0]
        found = re.search(r'<time class="download-until" datetime="([^"]+)"[^>]*>([^<]+)<', item)
        assert bool(found) == bool(words), name
        if found:
            assert re.fullmatch(words, found[2]), (name, found[2])
            assert found[1][:16] == several[name].expires_at.isoformat()[:16]


def test_the_menu_says_it_only_of_lifetimes_of_their_own(
    several: dict[str, Download], signed_in: Client
) -> None:
    text = signed_in.get(MENU, headers={"HX-Request": "true"}).content.decode()
    shown = {
        name
        for name, row in several.items()
        if "download-until" in text.split(f'id="download-{row.pk}"')[1].partition("</li>")[0]
    }
    assert shown == {"hour", "week"}


def test_a_remembered_item_of_the_menu_gets_its_words_when_the_end_comes_near(
    several: dict[str, Download], signed_in: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_shown() -> bool:
        text = signed_in.get(MENU, headers={"HX-Request": "true"}).content.decode()
        item = text.split(f'id="download-{several["site"].pk}"')[1].partition("</li>")[0]
        return "download-until" in item

    assert not is_shown()
    move_clock(monkeypatch, timedelta(hours=20))
    assert is_shown()


def test_json_has_the_expiry(several: dict[str, Download], signed_in: Client) -> None:
    rows = signed_in.get(MENU, headers=JSON).json()["downloads"]
    by_name = {row["filename"].removesuffix(".csv"): row for row in rows}
    for name, (_, _, words) in LIFETIMES.items():
        row, data = several[name], by_name[name]
        assert data["expires_at"] == (row.expires_at and row.expires_at.isoformat())
        assert re.fullmatch(words, data["until_text"]), name
        assert (data["held"], data["can_keep"], data["keep_url"]) == (False, False, "")


def test_the_admin_says_it(several: dict[str, Download], staff_user: Any, client: Client) -> None:
    client.force_login(staff_user)
    listed = client.get("/admin/async_downloads/download/").content.decode()
    for words in ("never expires", "59\xa0minutes left", "23\xa0hours left", "6\xa0days left"):
        assert words in listed, words
    kept = {"hour": "1\xa0hour", "week": "1\xa0week", "site": "the default of the site"}
    for name, words in {**kept, "good": "until it is cleared"}.items():
        page = client.get(f"/admin/async_downloads/download/{several[name].pk}/change/")
        assert words in page.content.decode().split("field-kept_for")[1][:500], name


def test_the_entries_of_the_cache_live_as_long(
    user: Any, shared_cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeouts: list[float | None] = []
    real = cache_entries.set_entry

    def set_entry(entry: Any, timeout: Any = "default") -> bool:
        timeouts.append(timeout)
        return real(entry, timeout)

    monkeypatch.setattr(cache_entries, "set_entry", set_entry)
    for timeout, expected in {HOUR: HOUR, WEEK: WEEK, None: None}.items():
        _, key = cache.init_download(user, "a.csv", timeout=timeout)
        assert timeouts[-1] == 24 * HOUR
        cache.save_download(key, [["row"]])
        assert timeouts[-1] == expected


# Each function that takes it

STARTERS = {
    "init_download": lambda user, timeout: cache.init_download(user, "a.csv", timeout=timeout),
    "start_download": lambda user, timeout: shortcuts.start_download(
        jobs.export, user, "a.csv", timeout=timeout
    ),
    "init_generic_csv_download": lambda user, timeout: shortcuts.init_generic_csv_download(
        jobs.export, user, "a", timeout=timeout
    ),
}


@pytest.mark.parametrize("name", LIFETIMES)
@pytest.mark.parametrize("start", STARTERS.values(), ids=STARTERS)
def test_the_row_has_the_lifetime(user: Any, start: Any, name: str) -> None:
    timeout, lifetime, _ = LIFETIMES[name]
    assert get(start(user, timeout)[1]).lifetime == lifetime


@pytest.mark.parametrize("wrong", [0, "3600", True], ids=repr)
@pytest.mark.parametrize("start", STARTERS.values(), ids=STARTERS)
def test_with_a_wrong_one_nothing_is_written(user: Any, start: Any, wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="timeout"):
        start(user, wrong)
    assert not Download.objects.exists()
    assert queues.waiting() == []


def test_a_queued_download_gets_it_later(user: Any) -> None:
    _, key = cache.init_download(user, "a.csv", timeout=HOUR)
    with pytest.raises(ValueError, match="timeout is -1"):
        shortcuts.enqueue_download(jobs.export, key, timeout=-1)
    assert (get(key).state, get(key).task, queues.waiting()) == ("pending", "", [])
    shortcuts.enqueue_download(jobs.export, key)
    assert get(key).lifetime == timedelta(hours=1)
    shortcuts.enqueue_download(jobs.export, key, timeout=WEEK)
    assert get(key).lifetime == timedelta(days=7)
    # With arguments that a row cannot record, too.
    shortcuts.enqueue_download(jobs.export, key, ("a", "tuple"), timeout=None)
    assert get(key).lifetime == FOR_GOOD


def test_a_task_with_an_argument_of_this_name_gets_it_instead(user: Any) -> None:
    path = f"{__name__}.with_time_out"
    for task in (with_time_out, path):
        _, key = shortcuts.init_generic_csv_download(task, user, "a", timeout=7)
        assert get(key).lifetime is None
        shortcuts.enqueue_download(task, key, timeout=8)
        assert get(key).lifetime is None
    assert [task["args"][3]["timeout"] for task in queues.waiting()] == [7, 8, 7, 8]
    _, key = shortcuts.start_download(path, user, "a.csv", timeout=HOUR)
    assert get(key).lifetime == timedelta(hours=1)


# What becomes of it


def test_a_retry_and_a_second_request_keep_it(user: Any) -> None:
    _, key = shortcuts.start_download(recorded_calls.fail, user, "a.csv", timeout=HOUR)
    queues.run_waiting()
    assert get(key).failed
    assert get(key).expires_at is not None
    assert store.retry(get(key))
    assert get(key).lifetime == timedelta(hours=1)
    made = DownloadFactory(
        collection__user=user, complete=True, lifetime=FOR_GOOD, **recorded_calls.recorded()
    )
    again = starting.repeat(made)
    assert again is not None
    assert (again.pk != made.pk, again.lifetime) == (True, FOR_GOOD)


def test_one_that_is_joined_keeps_its_own(user: Any) -> None:
    options: dict[str, Any] = {"args": [1], "join": True}
    first = shortcuts.start_download(jobs.export, user, "a.csv", timeout=HOUR, **options)
    second = shortcuts.start_download(jobs.export, user, "a.csv", timeout=WEEK, **options)
    assert first == second
    assert get(first[1]).lifetime == timedelta(hours=1)


def test_a_short_one_that_waits_for_long_does_not_fail(
    user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, key = shortcuts.start_download(jobs.export, user, "a.csv", timeout=60)
    with monkeypatch.context() as context:
        move_clock(context, timedelta(hours=23))
        assert store.clean_up().failed == 0
    queues.run_waiting()
    assert get(key).complete


def test_one_for_good_fails_like_others_if_no_worker_comes() -> None:
    row = DownloadFactory(lifetime=FOR_GOOD, expired=True, heard_at=long_ago())
    assert store.clean_up().failed == 1
    row.refresh_from_db()
    assert (row.failed, row.expires_at) == (True, None)
