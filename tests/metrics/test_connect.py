"""Metrics are recorded if the site has chosen so; otherwise they cost nothing."""

import logging
from typing import Any

import pytest

from async_downloads import metrics, signals
from async_downloads.metrics import instruments, recording
from tests.test_apps import in_new_process

#: The receivers of metrics, and the modules that were imported.
LOOK = """
from async_downloads import signals
from async_downloads.metrics import instruments, recording

for signal in map(signals.__dict__.get, signals.__all__):
    for lookup, *_ in signal.receivers:
        assert lookup[0] != recording.__name__, signal
libraries = {"prometheus_client", "opentelemetry"}
print(sorted(libraries & {name.partition(".")[0] for name in sys.modules}))
"""


def counted() -> int:
    """Return how many signals metrics receive."""
    own = (recording.__name__, 0)
    return sum(
        any(lookup[0] == own[0] for lookup, *_ in getattr(signals, name).receivers)
        for name in signals.__all__
    )


@pytest.mark.parametrize(
    "blocked", [set(), {"prometheus_client", "opentelemetry"}], ids=["allowed", "blocked"]
)
def test_off_nothing_is_imported_and_no_signal_is_received(
    tmp_path: Any, blocked: set[str]
) -> None:
    assert in_new_process(LOOK, tmp_path, blocked=blocked) == "[]\n"
    assert counted() == 0


@pytest.mark.parametrize("chosen", ["prometheus", "opentelemetry"])
def test_on_each_counted_signal_is_received(settings: Any, chosen: str) -> None:
    settings.ASYNC_DOWNLOADS_METRICS = chosen
    try:
        metrics.connect()
        metrics.connect()
        assert counted() == len(instruments.COUNTERS)
    finally:
        recording.disconnect()


@pytest.mark.parametrize("chosen", ["statsd", ["prometheus"], 5], ids=str)
def test_a_wrong_choice_is_logged_and_raises_nothing(
    settings: Any, chosen: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.ASYNC_DOWNLOADS_METRICS = chosen
    metrics.connect()
    assert counted() == 0
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert f"ASYNC_DOWNLOADS_METRICS is {chosen!r}" in record.getMessage()


TAKEN = """
from async_downloads import metrics
from django.core.checks import run_checks
from django.test import override_settings
from prometheus_client import Counter

Counter("async_downloads_started", "A metric of the site.")
override_settings(ASYNC_DOWNLOADS_METRICS="prometheus").enable()
metrics.connect()
print([message.id for message in run_checks(tags=["async_downloads"]) if "METRICS" in message.msg])
"""


def test_a_metric_of_the_site_with_the_same_name_does_not_keep_it_from_starting(
    tmp_path: Any,
) -> None:
    assert in_new_process(TAKEN, tmp_path, blocked=set()) == "['async_downloads.E022']\n"


WITHOUT = """
import logging
from async_downloads import metrics
from django.core.checks import run_checks
from django.test import override_settings

for chosen in ("prometheus", "opentelemetry"):
    override_settings(ASYNC_DOWNLOADS_METRICS=chosen).enable()
    metrics.connect()
    for message in run_checks(tags=["async_downloads"]):
        if "METRICS" in message.msg:
            print(message.id, message.hint)
"""


def test_without_the_library_a_check_says_what_to_install(tmp_path: Any) -> None:
    blocked = {"prometheus_client", "opentelemetry"}
    assert in_new_process(WITHOUT, tmp_path, blocked=blocked).splitlines() == [
        "async_downloads.E022 Install prometheus-client, or leave the setting empty.",
        "async_downloads.E022 Install opentelemetry-sdk, or leave the setting empty.",
    ]
