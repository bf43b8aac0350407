"""The instruments: the same names in Prometheus, whichever library records them.

A name of OpenTelemetry, such as ``async_downloads.queued`` in seconds, becomes
``async_downloads_queued_seconds`` on its way to Prometheus. So it is called that at once if
it goes there directly.
"""

from dataclasses import dataclass
from typing import Final

__all__ = ["COUNTERS", "HISTOGRAMS", "OLDEST_WAITING", "UNFINISHED", "Instrument"]

SECONDS: Final = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0)
BYTES: Final = tuple(10.0**power for power in range(3, 11))
ROWS: Final = tuple(10.0**power for power in range(1, 9))

#: The words for units of OpenTelemetry in names of Prometheus.
UNITS: Final = {"s": "seconds", "By": "bytes"}


@dataclass(frozen=True, slots=True)
class Instrument:
    """One counter, histogram or gauge.

    Attributes:
        name: Its name without the prefix of the package.
        description: A sentence for people who look at the number.
        unit: The unit, as OpenTelemetry writes it: ``"s"``, ``"By"``, or a noun in braces.
        buckets: The upper limits of a histogram.
    """

    name: str
    description: str
    unit: str = "{download}"
    buckets: tuple[float, ...] = ()

    @property
    def dotted(self) -> str:
        """Return the name for OpenTelemetry."""
        return f"async_downloads.{self.name}"

    @property
    def underscored(self) -> str:
        """Return the name for Prometheus, without the ``_total`` of a counter."""
        unit = UNITS.get(self.unit)
        return "_".join(filter(None, ["async_downloads", self.name, unit]))


#: Counters by the change that they count, in the words of ``signals``.
COUNTERS: Final = {
    "created": Instrument("requested", "Downloads that were requested."),
    "started": Instrument("started", "Attempts that a worker has begun."),
    "completed": Instrument("completed", "Files that were completed."),
    "failed": Instrument("failed", "Failures of downloads."),
    "stalled": Instrument("stalled", "Attempts that stopped giving heartbeats."),
    "requeued": Instrument("requeued", "Tasks that were queued again."),
    "cancelled": Instrument("cancelled", "Unfinished downloads that were cleared."),
    "fetched": Instrument("fetched", "Files that were handed out."),
}

#: Histograms by the attribute of a download that they observe.
HISTOGRAMS: Final = {
    "seconds_queued": Instrument("queued", "From the request to the attempt.", "s", SECONDS),
    "seconds_building": Instrument("building", "From the attempt to the file.", "s", SECONDS),
    "size": Instrument("file", "The size of a complete file.", "By", BYTES),
    "rows_written": Instrument("file_rows", "The rows of a complete file.", "{row}", ROWS),
}

#: A gauge by the label ``state``: ``"waiting"``, ``"running"`` or ``"stalled"``.
UNFINISHED: Final = Instrument("unfinished", "Downloads that are unfinished now.")

#: A gauge.
OLDEST_WAITING: Final = Instrument(
    "oldest_waiting", "How long ago the oldest waiting download was requested; 0 for none.", "s"
)
