"""Prometheus reads the numbers, also those of other processes."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from async_downloads import cache, metrics, store
from async_downloads.metrics import MULTIPROC_DIR, backlog, prometheus, recording
from async_downloads.metrics.instruments import COUNTERS, HISTOGRAMS
from tests.attempts import long_ago
from tests.factories import DownloadFactory
from tests.pace import LONGEST_WAIT
from tests.snippets import ROOT

pytestmark = pytest.mark.any_database

Samples = dict[tuple[str, tuple[str, ...]], float]


def samples(registry: CollectorRegistry = REGISTRY) -> Samples:
    """Return what an endpoint serves, by names and values of labels."""
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
        if sample.name.startswith("async_downloads_")
    }


@pytest.fixture
def _on(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(MULTIPROC_DIR, raising=False)
    settings.ASYNC_DOWNLOADS_METRICS = "prometheus"
    metrics.connect()
    yield
    recording.disconnect()


@pytest.mark.usefixtures("_on")
@pytest.mark.django_db(transaction=True)
def test_an_export_is_in_the_default_registry(user: Any) -> None:
    before = samples()
    _, key = cache.init_download(user, "a.csv")
    cache.save_download(key, [["a"], ["b"]])
    after = samples(prometheus.registry())

    def added(name: str, *labels: str) -> float:
        key = (f"async_downloads_{name}", (*labels, "unknown"))
        return after[key] - before.get(key, 0)

    for counter in ("requested", "started", "completed"):
        assert added(f"{counter}_total") == 1
    for histogram in HISTOGRAMS.values():
        assert added(f"{histogram.underscored.removeprefix('async_downloads_')}_count") == 1
    assert added("file_bytes_sum") == 4
    assert added("file_rows_bucket", "10.0") == 1


@pytest.mark.usefixtures("_on")
@pytest.mark.django_db(transaction=True)
def test_what_is_unfinished_is_read_at_the_scrape() -> None:
    def read() -> dict[str, float]:
        return {
            "_".join((name.removeprefix("async_downloads_"), *labels)): value
            for (name, labels), value in samples().items()
            if name.startswith(("async_downloads_unfinished", "async_downloads_oldest"))
        }

    empty = {"unfinished_waiting": 0, "unfinished_running": 0, "unfinished_stalled": 0}
    assert read() == {**empty, "oldest_waiting_seconds": 0}
    DownloadFactory(timestamp=long_ago(), heard_at=long_ago())
    DownloadFactory.create_batch(2, running=True)
    DownloadFactory(running=True, heard_at=long_ago())
    DownloadFactory(complete=True)
    numbers = read()
    assert numbers.pop("oldest_waiting_seconds") >= 60 * 60
    assert numbers == {"unfinished_waiting": 1, "unfinished_running": 2, "unfinished_stalled": 1}


@pytest.mark.usefixtures("_on")
def test_without_the_database_the_other_metrics_are_served(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> store.Backlog:
        raise DatabaseError("the database is away")

    monkeypatch.setattr(store, "read_backlog", broken)
    text = generate_latest(prometheus.registry()).decode()
    assert "python_info" in text
    assert "async_downloads_unfinished" not in text
    assert "the database is away" in caplog.text


def test_registering_the_collector_reads_nothing() -> None:
    # Not marked django_db, so a query fails the test.
    registry = CollectorRegistry(auto_describe=True)
    registry.register(prometheus.UnfinishedCollector())


@pytest.mark.django_db(transaction=True)
async def test_an_event_loop_may_collect() -> None:
    unfinished = backlog.read()
    assert unfinished is not None
    assert unfinished.counts == {"waiting": 0, "running": 0, "stalled": 0}


def test_the_names_end_with_their_units() -> None:
    names = {each.underscored for each in (*COUNTERS.values(), *HISTOGRAMS.values())}
    assert names >= {"async_downloads_queued_seconds", "async_downloads_file_bytes"}
    # OpenMetrics reserves these.
    assert not [name for name in names if name.endswith(("_total", "_created", "_count", "_info"))]


#: A worker: it counts in a process that it forks, as django-q2 and Celery do.
WORKER = """
import os

import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "async_downloads"],
    ASYNC_DOWNLOADS_METRICS="prometheus",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    USE_TZ=True,
)
django.setup()
from async_downloads import signals
from async_downloads.models import Download

child = os.fork()
signals.download_completed.send(Download, download=Download(task="shop.tasks.orders", size=5))
if child:
    os.waitpid(child, 0)
"""


@pytest.mark.django_db(transaction=True)
def test_one_process_serves_the_numbers_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    DownloadFactory()
    monkeypatch.setenv(MULTIPROC_DIR, str(tmp_path))
    for _ in range(2):
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(WORKER)],
            check=True,
            timeout=LONGEST_WAIT,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    numbers = samples(prometheus.registry())
    task = ("shop.tasks.orders",)
    assert numbers["async_downloads_completed_total", task] == 4
    assert numbers["async_downloads_file_bytes_sum", task] == 20
    # The database has the rest.
    assert numbers["async_downloads_unfinished", ("waiting",)] == 1


def test_a_folder_that_does_not_exist_is_an_error_at_the_scrape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MULTIPROC_DIR, str(tmp_path / "missing"))
    with pytest.raises(ValueError, match="not a directory"):
        prometheus.registry()
