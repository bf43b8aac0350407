"""System checks for misconfigurations; none connects to a database or a cache server."""

from typing import Final

from django.core.checks import register

from async_downloads.checks.audit import check_audit
from async_downloads.checks.cache import check_cache_is_shared, check_cache_time_limits
from async_downloads.checks.database import check_sqlite
from async_downloads.checks.exports import check_export_fields
from async_downloads.checks.mail import check_mails
from async_downloads.checks.metrics import check_metrics, check_metrics_are_shared
from async_downloads.checks.queue import check_queue, check_queue_is_asynchronous
from async_downloads.checks.settings import (
    check_lifetimes,
    check_names,
    check_settings,
    check_site_functions,
)
from async_downloads.checks.site import check_site
from async_downloads.checks.storage import check_files_are_kept, check_storage
from async_downloads.checks.websockets import check_layer, check_route, check_websockets

__all__ = ["register_all"]

TAG: Final = "async_downloads"

ALWAYS: Final = (
    *(check_settings, check_lifetimes, check_names, check_site_functions),
    *(check_websockets, check_site, check_queue, check_sqlite, check_storage),
    *(check_export_fields, check_mails, check_audit, check_metrics),
)

#: Checks of ``check --deploy``.
DEPLOYED: Final = (
    *(check_cache_is_shared, check_cache_time_limits, check_files_are_kept),
    *(check_queue_is_asynchronous, check_layer, check_route),
    check_metrics_are_shared,
)


def register_all() -> None:
    """Register every check of this package; called once, when the app is ready."""
    for check in ALWAYS:
        register(check, TAG)
    for check in DEPLOYED:
        register(check, TAG, deploy=True)
