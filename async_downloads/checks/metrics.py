"""Checks of the metrics, if the site wants them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning

from async_downloads import settings
from async_downloads.metrics import METERS, MULTIPROC_DIR

__all__ = ["check_metrics", "check_metrics_are_shared"]

#: What to install for each value.
PACKAGES: Final = {
    "prometheus": "prometheus-client",
    "opentelemetry": "opentelemetry-sdk",
}


def check_metrics(**_: Any) -> Iterator[CheckMessage]:
    """E021 to E023: an unknown value, a missing library, a folder that cannot be used."""
    chosen = settings.METRICS
    if chosen == "":
        return
    if not isinstance(chosen, str) or chosen not in METERS:
        yield Error(
            f"ASYNC_DOWNLOADS_METRICS is {chosen!r}.",
            hint=f"It must be empty or one of: {', '.join(METERS)}.",
            id="async_downloads.E021",
        )
        return
    try:
        METERS[chosen]()
    except ImportError as error:
        yield Error(
            f"ASYNC_DOWNLOADS_METRICS is {chosen!r}, which cannot be imported: {error}",
            hint=f"Install {PACKAGES[chosen]}, or leave the setting empty.",
            id="async_downloads.E022",
        )
        return
    except (TypeError, ValueError) as error:
        yield Error(
            f"ASYNC_DOWNLOADS_METRICS is {chosen!r}, which cannot be used: {error}",
            hint=f"Upgrade {PACKAGES[chosen]}. If the site has a metric whose name is one of the "
            "package's, rename it: the log says which.",
            id="async_downloads.E022",
        )
        return
    folder = os.environ.get(MULTIPROC_DIR)
    if chosen == "prometheus" and folder is not None and not _is_writable(folder):
        yield Error(
            f"The environment variable {MULTIPROC_DIR} is {folder!r}, which is not a folder that "
            "this process can write to, so that no metrics are recorded.",
            hint="Create it before the processes start, writable for the web and the workers.",
            id="async_downloads.E023",
        )


def check_metrics_are_shared(**_: Any) -> Iterator[CheckMessage]:
    """W020: numbers that stay in the process that has counted them."""
    if settings.METRICS == "prometheus" and MULTIPROC_DIR not in os.environ:
        yield CheckWarning(
            f"The environment variable {MULTIPROC_DIR} is not set, so that each process has "
            "metrics of its own, and those of workers are never scraped.",
            hint="Set it to one folder for all processes of a machine. Silence this if each "
            "process serves its own metrics.",
            id="async_downloads.W020",
        )


def _is_writable(folder: str) -> bool:
    return Path(folder).is_dir() and os.access(folder, os.W_OK)
