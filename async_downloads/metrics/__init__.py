"""Metrics of downloads, for Prometheus or OpenTelemetry, if ``ASYNC_DOWNLOADS_METRICS`` says so.

If it is empty, no library is imported, no signal is received and no row is read.

| Modules | Purpose |
| --- | --- |
| ``instruments`` | the names, the units and the buckets |
| ``recording`` | what happens to a download, as numbers |
| ``backlog`` | what is unfinished, read when it is collected |
| ``prometheus``, ``opentelemetry`` | where the numbers go |
"""

from collections.abc import Callable
from typing import Final

from async_downloads import settings
from async_downloads.metrics import recording
from async_downloads.metrics.recording import Meter
from async_downloads.utils.log import get_logger

__all__ = ["METERS", "MULTIPROC_DIR", "connect"]

logger = get_logger(__name__)

#: The environment variable of prometheus_client: the folder in which processes share numbers.
MULTIPROC_DIR: Final = "PROMETHEUS_MULTIPROC_DIR"


def _prometheus() -> Meter:
    from async_downloads.metrics import prometheus

    return prometheus.meter()


def _opentelemetry() -> Meter:
    from async_downloads.metrics import opentelemetry

    return opentelemetry.meter()


#: The values of the setting. Each function raises ``ImportError`` without its library,
#: ``TypeError`` with an old one, and ``ValueError`` if the site has a metric of the same name.
METERS: Final[dict[str, Callable[[], Meter]]] = {
    "prometheus": _prometheus,
    "opentelemetry": _opentelemetry,
}


def connect() -> None:
    """Record metrics from now on, if the site has chosen where they go.

    A wrong choice is logged, and a check reports it: exports work without metrics.
    """
    chosen = settings.METRICS
    if not chosen:
        return
    try:
        meter = METERS[chosen]()
    except (ImportError, KeyError, TypeError, ValueError) as error:
        logger.error("No metrics, as ASYNC_DOWNLOADS_METRICS is %r: %r", chosen, error)
        return
    recording.connect(meter)
