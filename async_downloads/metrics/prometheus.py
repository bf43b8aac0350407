"""The only module that imports prometheus_client."""

import os
from collections.abc import Iterator
from functools import cache

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

from async_downloads.metrics import MULTIPROC_DIR, backlog
from async_downloads.metrics.instruments import (
    COUNTERS,
    HISTOGRAMS,
    OLDEST_WAITING,
    UNFINISHED,
    Instrument,
)
from async_downloads.metrics.recording import Meter

__all__ = ["PrometheusMeter", "UnfinishedCollector", "meter", "registry"]


def registry() -> CollectorRegistry:
    """Return what an endpoint of Prometheus serves.

    Without ``PROMETHEUS_MULTIPROC_DIR`` it is the default registry of prometheus_client. With
    it, it is a new one, with the numbers of all processes of the machine.

    Raises:
        ValueError: ``PROMETHEUS_MULTIPROC_DIR`` is not a folder.
    """
    if MULTIPROC_DIR not in os.environ:
        return REGISTRY
    shared = CollectorRegistry()
    MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
    shared.register(UnfinishedCollector())
    return shared


@cache
def meter() -> Meter:
    """Return the meter of this process, whose numbers are in the default registry.

    Raises:
        ValueError: The site has registered a metric of the same name.
    """
    made = PrometheusMeter()
    REGISTRY.register(UnfinishedCollector())
    return made


class PrometheusMeter:
    """Counters and histograms in the default registry."""

    def __init__(self) -> None:
        """Create the instruments."""
        self._counters = {
            change: Counter(each.underscored, each.description, ["task"])
            for change, each in COUNTERS.items()
        }
        self._histograms = {
            attribute: Histogram(each.underscored, each.description, ["task"], buckets=each.buckets)
            for attribute, each in HISTOGRAMS.items()
        }

    def count(self, change: str, task: str) -> None:
        """Count a change."""
        self._counters[change].labels(task).inc()

    def observe(self, attribute: str, task: str, value: float) -> None:
        """Observe a value of an attribute."""
        self._histograms[attribute].labels(task).observe(value)


class UnfinishedCollector:
    """Gauges that are read from the database at each scrape, by one query."""

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Return the gauges without values: registering them reads nothing."""
        yield from (_gauge(UNFINISHED), _gauge(OLDEST_WAITING))

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the gauges; none if the database does not answer."""
        unfinished = backlog.read()
        if unfinished is None:
            return
        by_state = _gauge(UNFINISHED, ["state"])
        for state, count in unfinished.counts.items():
            by_state.add_metric([state], count)
        oldest = _gauge(OLDEST_WAITING)
        oldest.add_metric([], unfinished.seconds_waiting)
        yield from (by_state, oldest)


def _gauge(instrument: Instrument, labels: list[str] | None = None) -> GaugeMetricFamily:
    return GaugeMetricFamily(instrument.underscored, instrument.description, labels=labels)
