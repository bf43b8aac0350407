"""What happens to a download, as numbers: the receivers of its signals."""

from collections.abc import Callable
from typing import Any, Final, Protocol

from async_downloads import signals
from async_downloads.metrics.instruments import COUNTERS
from async_downloads.models import Download

__all__ = ["UNKNOWN", "Meter", "connect", "disconnect"]

#: The label of downloads whose call is not recorded.
UNKNOWN: Final = "unknown"

#: What is observed at which change.
OBSERVED: Final = {
    "started": ("seconds_queued",),
    "completed": ("seconds_building", "size", "rows_written"),
}


class Meter(Protocol):
    """Where numbers go. The only label is the dotted path of the task, so there are few."""

    def count(self, change: str, task: str) -> None:
        """Count a change, one of ``COUNTERS``."""

    def observe(self, attribute: str, task: str, value: float) -> None:
        """Observe a value of an attribute, one of ``HISTOGRAMS``."""


def connect(meter: Meter) -> None:
    """Record what happens from now on; once, however often it is called."""
    for change in COUNTERS:
        _signal(change).connect(_receiver(meter, change), weak=False, dispatch_uid=__name__)


def disconnect() -> None:
    """Record nothing any more."""
    for change in COUNTERS:
        _signal(change).disconnect(dispatch_uid=__name__)


def _signal(change: str) -> Any:
    return getattr(signals, f"download_{change}")


def _receiver(meter: Meter, change: str) -> Callable[..., None]:
    def record(download: Download, **_: Any) -> None:
        task = download.task or UNKNOWN
        meter.count(change, task)
        for attribute in OBSERVED.get(change, ()):
            value = getattr(download, attribute)
            if value is not None:
                meter.observe(attribute, task, value)

    return record
