"""The metrics and the log that the page shows."""

import io
import json
import logging
import logging.config
import re
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.core.management import call_command, get_commands
from django.http import Http404
from django.test import RequestFactory
from django.urls import resolve
from prometheus_client import start_http_server
from prometheus_client.parser import text_string_to_metric_families

from async_downloads import cache, signals
from async_downloads import metrics as package_metrics
from async_downloads.metrics import MULTIPROC_DIR, recording
from async_downloads.metrics.instruments import COUNTERS, HISTOGRAMS, OLDEST_WAITING, UNFINISHED
from async_downloads.models import Download
from tests.attempts import long_ago
from tests.docs.helpers import ROOT, executed, problems
from tests.factories import DownloadFactory, OrderFactory
from tests.snippets import PAGES

pytestmark = pytest.mark.any_database

PAGE = "docs/how-to/monitoring.md"

MONITORING = PAGES[PAGE]

COVERED = {
    "manage.py downloads_status": "test_the_command_exists",
    "ASYNC_DOWNLOADS_METRICS =": "test_the_settings_pass_the_checks",
    "def metrics(": "test_prometheus_reads_the_numbers",
    "urlpatterns +=": "test_the_url_leads_to_the_metrics",
    "start_http_server": "test_a_machine_with_workers_alone_serves_its_numbers",
    "class JsonFormatter": "test_the_log_of_an_export_says_when_each_step_was",
    "LOGGING = {": "test_the_log_of_an_export_says_when_each_step_was",
    "def export_with_rates": "test_the_log_of_an_export_says_when_each_step_was",
    '"message": "Loading the rates"': "output",
}


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder in which processes share their numbers."""
    folder = tmp_path / "metrics"
    folder.mkdir()
    assert f"`{MULTIPROC_DIR}`" in MONITORING.text
    monkeypatch.setenv(MULTIPROC_DIR, str(folder))
    return folder


@pytest.fixture
def metrics(quick_start: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("METRICS_TOKEN", "secret")
    for name, value in executed(MONITORING.snippet("METRICS_TOKEN = os")).items():
        if name.isupper():
            setattr(settings, name, value)
    package_metrics.connect()
    yield quick_start("orders.metrics", MONITORING.placed("def metrics("))
    recording.disconnect()


def read(metrics: ModuleType, token: str = "secret") -> dict[str, float]:  # noqa: S107 (of a test)
    request = RequestFactory().get("/metrics/", headers={"Authorization": f"Bearer {token}"})
    response = metrics.metrics(request)
    assert response["Content-Type"].startswith("text/plain; version=")
    return {
        sample.name + "".join(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(response.content.decode())
        for sample in family.samples
    }


def test_the_command_exists() -> None:
    commands = set(re.findall(r"manage\.py (\w+)", MONITORING.text))
    assert commands - {"serve_metrics"} <= get_commands().keys()


@pytest.mark.usefixtures("shared")
def test_the_settings_pass_the_checks(settings: Any) -> None:
    documented = executed(MONITORING.snippet("METRICS_TOKEN = os"))
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "file"
    assert problems(settings, documented, ["ASYNC_DOWNLOADS_METRICS"]) == []


@pytest.mark.django_db(transaction=True)
def test_prometheus_reads_the_numbers(metrics: ModuleType, user: Any) -> None:
    before = read(metrics)
    _, key = cache.init_download(user, "orders.csv")
    cache.save_download(key, [["a"]])
    DownloadFactory(timestamp=long_ago(), heard_at=long_ago())
    DownloadFactory(running=True, heard_at=long_ago())
    numbers = read(metrics)
    name = "async_downloads_completed_totalunknown"
    assert numbers[name] == before.get(name, 0) + 1
    assert numbers["async_downloads_unfinishedstalled"] == 1
    assert numbers["async_downloads_oldest_waiting_seconds"] >= 60 * 60


def names_of(metric: str) -> set[str]:
    return {metric, *(f"{metric}_{end}" for end in ("total", "bucket", "sum", "count"))}


@pytest.mark.parametrize("path", [PAGE, "docs/grafana/async-downloads.json"])
def test_the_metrics_of_the_alerts_and_of_the_dashboard_exist(path: str) -> None:
    all_of_them = [*COUNTERS.values(), *HISTOGRAMS.values(), UNFINISHED, OLDEST_WAITING]
    known = set().union(*(names_of(each.underscored) for each in all_of_them))
    named = set(re.findall(r"\basync_downloads_\w+", (ROOT / path).read_text()))
    assert len(named) >= 5
    assert named <= known


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


@pytest.mark.usefixtures("shared")
@pytest.mark.django_db(transaction=True)
def test_a_machine_with_workers_alone_serves_its_numbers(
    quick_start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "orders.management.commands.serve_metrics"
    module = quick_start(name, MONITORING.placed("start_http_server"))
    served: list[Any] = []

    class StoppedError(Exception):
        pass

    def start(port: int, registry: Any) -> None:
        assert port == 9100
        served.append(start_http_server(0, addr="127.0.0.1", registry=registry))

    def stop(seconds: float) -> None:
        (server, _) = served[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics") as answer:
            assert answer.status == 200
        raise StoppedError

    monkeypatch.setattr(module, "start_http_server", start)
    monkeypatch.setattr(module, "time", ModuleType("time"))
    monkeypatch.setattr(module.time, "sleep", stop, raising=False)
    with pytest.raises(StoppedError):
        call_command(module.Command())
    for server, thread in served:
        server.shutdown()
        server.server_close()
        thread.join()


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
    assert own[1]["seconds_queued"] >= 0
    assert own[-1]["seconds_building"] >= 0
    assert own[-1]["collection_key"] == f"async_downloads/{user.pk}"
    assert any(line["level"] == "ERROR" for line in lines if line.get("download_key") == other)


def test_the_quoted_lines_have_the_fields_of_the_formatter() -> None:
    fields = executed(MONITORING.snippet("class JsonFormatter"))["FIELDS"]
    (quoted,) = MONITORING.snippets("text")
    changes = re.findall(r'"change": "(\w+)"', quoted)
    assert changes == ["created", "started", "completed", "fetched"]
    assert set(changes) <= {name.removeprefix("download_") for name in signals.__all__}
    names = set(re.findall(r'"(\w+)":', quoted)) - {"time", "message"}
    assert names <= set(fields)
