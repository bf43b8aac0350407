"""The SDK of OpenTelemetry gets the numbers."""

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.metrics import set_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader

from async_downloads import cache, metrics
from async_downloads.metrics import recording
from async_downloads.metrics.instruments import COUNTERS, HISTOGRAMS, OLDEST_WAITING, UNFINISHED
from tests.factories import DownloadFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]


@pytest.fixture(scope="module")
def reader() -> Iterator[InMemoryMetricReader]:
    """Reads what the global provider of the process gets, which can be set once."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    set_meter_provider(provider)
    yield reader
    provider.shutdown()


@pytest.fixture(autouse=True)
def _on(settings: Any) -> Iterator[None]:
    settings.ASYNC_DOWNLOADS_METRICS = "opentelemetry"
    metrics.connect()
    yield
    recording.disconnect()


def read(reader: InMemoryMetricReader) -> dict[str, Any]:
    """Return the instruments by their names."""
    data = reader.get_metrics_data()
    assert data is not None
    return {
        metric.name: metric
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if scope.scope.name == "async_downloads"
    }


def points(metric: Any) -> dict[tuple[Any, ...], Any]:
    return {tuple(point.attributes.values()): point for point in metric.data.data_points}


def test_an_export_is_recorded(user: Any, reader: InMemoryMetricReader) -> None:
    _, key = cache.init_download(user, "a.csv")
    cache.save_download(key, [["a"], ["b"]])
    recorded = read(reader)
    for change in ("created", "started", "completed"):
        assert points(recorded[COUNTERS[change].dotted])["unknown",].value == 1
    for histogram in HISTOGRAMS.values():
        point = points(recorded[histogram.dotted])["unknown",]
        assert isinstance(point, HistogramDataPoint)
        assert point.count == 1
        assert point.explicit_bounds == histogram.buckets
        assert recorded[histogram.dotted].unit == histogram.unit
    assert points(recorded["async_downloads.file"])["unknown",].sum == 4


def test_what_is_unfinished_is_read_at_the_export(reader: InMemoryMetricReader) -> None:
    DownloadFactory.create_batch(2)
    DownloadFactory(running=True)
    recorded = read(reader)
    states = points(recorded[UNFINISHED.dotted])
    assert {state: point.value for (state,), point in states.items()} == {
        "waiting": 2,
        "running": 1,
        "stalled": 0,
    }
    assert points(recorded[OLDEST_WAITING.dotted])[()].value > 0
