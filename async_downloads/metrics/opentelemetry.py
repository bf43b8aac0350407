"""The only module that imports the API of OpenTelemetry; the site configures its SDK."""

from collections.abc import Iterator
from functools import cache

from opentelemetry.metrics import CallbackOptions, Observation, get_meter

from async_downloads import __version__
from async_downloads.metrics import backlog
from async_downloads.metrics.instruments import (
    COUNTERS,
    HISTOGRAMS,
    OLDEST_WAITING,
    UNFINISHED,
)
from async_downloads.metrics.recording import Meter

__all__ = ["OpenTelemetryMeter", "meter"]


@cache
def meter() -> Meter:
    """Return the meter of this process, whose numbers go to the global meter provider."""
    return OpenTelemetryMeter()


class OpenTelemetryMeter:
    """Counters, histograms, and gauges that are read from the database at each export."""

    def __init__(self) -> None:
        """Create the instruments."""
        created = get_meter("async_downloads", __version__)
        self._counters = {
            change: created.create_counter(each.dotted, each.unit, each.description)
            for change, each in COUNTERS.items()
        }
        self._histograms = {
            attribute: created.create_histogram(
                *(each.dotted, each.unit, each.description),
                explicit_bucket_boundaries_advisory=each.buckets,
            )
            for attribute, each in HISTOGRAMS.items()
        }
        for gauge, callback in ((UNFINISHED, _unfinished), (OLDEST_WAITING, _oldest_waiting)):
            created.create_observable_gauge(
                gauge.dotted, [callback], unit=gauge.unit, description=gauge.description
            )

    def count(self, change: str, task: str) -> None:
        """Count a change."""
        self._counters[change].add(1, {"task": task})

    def observe(self, attribute: str, task: str, value: float) -> None:
        """Observe a value of an attribute."""
        self._histograms[attribute].record(value, {"task": task})


def _unfinished(_: CallbackOptions) -> Iterator[Observation]:
    unfinished = backlog.read()
    if unfinished is not None:
        for state, count in unfinished.counts.items():
            yield Observation(count, {"state": state})


def _oldest_waiting(_: CallbackOptions) -> Iterator[Observation]:
    unfinished = backlog.read()
    if unfinished is not None:
        yield Observation(unfinished.seconds_waiting)
