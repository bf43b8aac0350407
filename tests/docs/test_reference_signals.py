"""The page on signals has each of them, with what it is sent with."""

import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from async_downloads import cache, signals, store
from async_downloads.models import Download
from async_downloads.shortcuts import start_download
from tests import recorded_calls
from tests.attempts import long_ago
from tests.docs.helpers import rows_of
from tests.factories import DownloadFactory
from tests.snippets import PAGES

pytestmark = pytest.mark.any_database

PAGE = "docs/reference/signals.md"

TEXT = PAGES[PAGE].text


def code(cell: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", cell))


SIGNALS = {
    name.strip("`"): code(arguments)
    for name, _, arguments in rows_of(TEXT, "| signal | sent when | arguments |")
}


@pytest.fixture
def sent() -> Iterator[dict[str, list[dict[str, Any]]]]:
    """What each signal was sent with."""
    heard: dict[str, list[dict[str, Any]]] = {name: [] for name in signals.__all__}
    receivers = {}
    for name in signals.__all__:

        def receive(name: str = name, **arguments: Any) -> None:
            heard[name].append(arguments)

        receivers[name] = receive
        getattr(signals, name).connect(receive)
    yield heard
    for name, receive in receivers.items():
        getattr(signals, name).disconnect(receive)


def live(user: Any, client: Client) -> None:
    """Take downloads through every step of their lives."""
    _, key = cache.init_download(user, "complete.csv")
    cache.set_percentage(key, 50)
    cache.save_download(key, [["a"]])
    response = client.get(Download.objects.get(pk=key).url)
    response.close()
    Download.objects.filter(pk=key).update(expires_at=Download.objects.get(pk=key).timestamp)
    store.clean_up()
    _, key = cache.init_download(user, "failed.csv")
    cache.set_error(key, "It failed.")
    _, key = cache.init_download(user, "cancelled.csv")
    store.purge(Download.objects.filter(pk=key))
    store.claim(DownloadFactory(running=True, heard_at=long_ago()).download_key)
    _, key = start_download(recorded_calls.export, user, "requeued.csv")
    cache.set_error(key, "It failed.")
    store.retry(Download.objects.select_related("collection__user").get(pk=key))


def test_the_table_has_each_signal() -> None:
    assert SIGNALS.keys() == set(signals.__all__)


@pytest.mark.django_db(transaction=True)
def test_each_signal_is_sent_with_the_arguments_of_the_table(
    user: Any, signed_in: Client, sent: dict[str, list[dict[str, Any]]]
) -> None:
    live(user, signed_in)
    for name, arguments in SIGNALS.items():
        assert sent[name], name
        for each in sent[name]:
            assert each.keys() - {"sender", "signal"} == arguments, name
            assert each["sender"] is Download
    changes = re.search(r"its `change` is one of (.*?)\.", TEXT.replace("\n", " "))
    assert changes
    assert {each["change"] for each in sent["download_changed"]} == set(
        re.findall(r'"(\w+)"', changes[1])
    )


@pytest.mark.django_db(transaction=True)
def test_each_step_is_a_line_of_the_log_with_the_attributes_of_the_table(
    user: Any, signed_in: Client, caplog: pytest.LogCaptureFixture
) -> None:
    rows = dict(rows_of(TEXT, "| attribute | meaning |"))
    caplog.set_level(logging.INFO, "async_downloads.signals")
    live(user, signed_in)
    records = [record for record in caplog.records if record.name == "async_downloads.signals"]
    assert {vars(record)["change"] for record in records} == code(rows["`change`"])
    for record in records:
        for attribute in code("".join(rows)):
            assert hasattr(record, attribute), attribute
