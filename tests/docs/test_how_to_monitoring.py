"""The metrics and the log that the page shows."""

import io
import json
import logging
import logging.config
import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from django.core.management import get_commands
from django.http import Http404
from django.test import RequestFactory
from django.urls import resolve

from async_downloads import cache, signals
from async_downloads.models import Download
from tests.docs.helpers import executed, rows_of
from tests.docs.times import an_hour_ago
from tests.factories import DownloadFactory, OrderFactory
from tests.snippets import PAGES

pytestmark = pytest.mark.any_database

PAGE = "docs/how-to/monitoring.md"

MONITORING = PAGES[PAGE]

COVERED = {
    "manage.py downloads_status": "test_the_command_exists",
    "def status_lines": "test_prometheus_reads_the_numbers",
    "urlpatterns +=": "test_the_url_leads_to_the_metrics",
    "METRICS_TOKEN = os": "test_without_the_token_there_are_no_metrics",
    "def observe": "test_durations_are_observed_in_the_worker",
    "class JsonFormatter": "test_the_log_of_an_export_says_when_each_step_was",
    "LOGGING = {": "test_the_log_of_an_export_says_when_each_step_was",
    "def export_with_rates": "test_the_log_of_an_export_says_when_each_step_was",
    '"message": "Loading the rates"': "output",
}

#: A line of the text format: a name, labels in braces, and a number.
SAMPLE = re.compile(r'(\w+)(\{\w+="\w+"\})? (-?\d+(?:\.\d+)?)')


@pytest.fixture
def metrics(quick_start: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("METRICS_TOKEN", "secret")
    settings.METRICS_TOKEN = executed(MONITORING.snippet("METRICS_TOKEN = os"))["METRICS_TOKEN"]
    return quick_start("orders.metrics", MONITORING.placed("def status_lines"))


def read(metrics: ModuleType, token: str = "secret") -> dict[str, float]:  # noqa: S107 (of a test)
    request = RequestFactory().get("/metrics/", headers={"Authorization": f"Bearer {token}"})
    text = metrics.metrics(request).content.decode()
    assert text.endswith("\n")
    matches = [SAMPLE.fullmatch(line) for line in text.splitlines()]
    return {f"{match[1]}{match[2] or ''}": float(match[3]) for match in matches if match}


def test_the_command_exists() -> None:
    assert set(re.findall(r"manage\.py (\w+)", MONITORING.text)) <= get_commands().keys()


@pytest.mark.django_db
def test_prometheus_reads_the_numbers(metrics: ModuleType) -> None:
    assert read(metrics)["downloads_ok"] == 1
    DownloadFactory(complete=True)
    DownloadFactory(complete=True, expired=True)
    DownloadFactory(failed=True)
    DownloadFactory(running=True, heard_at=an_hour_ago())
    DownloadFactory(timestamp=an_hour_ago(), heard_at=an_hour_ago())
    numbers = read(metrics)
    waiting = numbers.pop("downloads_oldest_pending_seconds")
    # An hour, and the seconds that the test took to get here.
    assert waiting >= 60 * 60
    assert numbers == {
        "downloads_ok": 0,
        'downloads_count{state="pending"}': 1,
        'downloads_bytes{state="pending"}': 0,
        'downloads_count{state="running"}': 1,
        'downloads_bytes{state="running"}': 0,
        'downloads_count{state="complete"}': 2,
        'downloads_bytes{state="complete"}': 8,
        'downloads_count{state="failed"}': 1,
        'downloads_bytes{state="failed"}': 0,
        "downloads_stalled": 1,
        "downloads_expired": 1,
    }
    for expression, _ in rows_of(MONITORING.text, "| expression | meaning |"):
        (name,) = re.findall(r"downloads_\w+(?:\{.*?\})?", expression)
        assert name in {*numbers, "downloads_oldest_pending_seconds"}


@pytest.mark.django_db
def test_without_the_token_there_are_no_metrics(metrics: ModuleType) -> None:
    with pytest.raises(Http404):
        read(metrics, token="wrong")
    with pytest.raises(Http404):
        metrics.metrics(RequestFactory().get("/metrics/"))


def test_without_a_token_in_the_environment_the_view_refuses_all(
    metrics: ModuleType, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("METRICS_TOKEN")
    settings.METRICS_TOKEN = executed(MONITORING.snippet("METRICS_TOKEN = os"))["METRICS_TOKEN"]
    with pytest.raises(Http404):
        read(metrics, token="")


def test_the_url_leads_to_the_metrics(metrics: ModuleType, quick_start: Any) -> None:
    urls = quick_start("mysite.urls", MONITORING.placed("urlpatterns +="))
    assert resolve("/metrics/", urlconf=urls).func is metrics.metrics


@pytest.mark.django_db(transaction=True)
def test_durations_are_observed_in_the_worker(user: Any, quick_start: Any) -> None:
    client = pytest.importorskip("prometheus_client")
    module = quick_start("orders.durations", MONITORING.placed("def observe"))
    try:
        _, key = cache.init_download(user, "orders.csv")
        Download.objects.filter(pk=key).update(timestamp=an_hour_ago())
        cache.save_download(key, [["a"]])
    finally:
        signals.download_completed.disconnect(module.observe)
        text = client.generate_latest().decode()
        for histogram in (module.WAIT, module.BUILD):
            client.REGISTRY.unregister(histogram)
    assert 'downloads_wait_seconds_bucket{le="900.0"} 0.0' in text
    assert "downloads_wait_seconds_count 1.0" in text
    assert "downloads_build_seconds_count 1.0" in text


@pytest.fixture
def log(quick_start: Any) -> Iterator[io.StringIO]:
    """The log as the page configures it, in the place of the standard error."""
    module = quick_start("mysite.logs", MONITORING.placed("class JsonFormatter"))
    vars(sys.modules["mysite"])["logs"] = module
    configuration = executed(MONITORING.snippet("LOGGING = {"))["LOGGING"]
    loggers = [logging.getLogger(name) for name in configuration["loggers"]]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    stream = io.StringIO()
    configuration["handlers"]["json"]["stream"] = stream
    logging.config.dictConfig(configuration)
    yield stream
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate


@pytest.mark.django_db(transaction=True)
def test_the_log_of_an_export_says_when_each_step_was(
    log: io.StringIO, user: Any, quick_start: Any
) -> None:
    tasks = quick_start("orders.tasks", MONITORING.placed("def export_with_rates"))
    # As in a site, where the module's name is that of the package.
    assert tasks.logger.name == "orders.tasks"
    OrderFactory(status="open")
    _, key = cache.init_download(user, "orders.csv")
    tasks.export_with_rates(key, "open")
    _, other = cache.init_download(user, "orders.csv")
    cache.set_error(other, ValueError("a traceback"))
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert all(line["time"] and line["level"] for line in lines)
    own = [line for line in lines if line.get("download_key") == key]
    assert [line.get("change") or line["message"] for line in own] == [
        "created",
        "started",
        "Loading the rates",
        "completed",
    ]
    size = Download.objects.get(pk=key).size
    assert (own[-1]["size"], own[-1]["rows_written"], own[-1]["attempts"]) == (size, 1, 1)
    assert any(line["level"] == "ERROR" for line in lines if line.get("download_key") == other)


def test_the_quoted_lines_have_the_fields_of_the_formatter() -> None:
    fields = executed(MONITORING.snippet("class JsonFormatter"))["FIELDS"]
    (quoted,) = MONITORING.snippets("text")
    changes = re.findall(r'"change": "(\w+)"', quoted)
    assert changes == ["created", "started", "completed", "fetched"]
    assert set(changes) <= {name.removeprefix("download_") for name in signals.__all__}
    names = set(re.findall(r'"(\w+)":', quoted)) - {"time", "message"}
    assert names <= set(fields)
