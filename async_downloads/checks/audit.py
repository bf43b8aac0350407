"""Checks of the ledger's settings."""

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning

from async_downloads import settings

__all__ = ["check_audit"]


def check_audit(**_: Any) -> Iterator[CheckMessage]:
    """E019 and W019: a ledger that is neither on nor off, or an address without a ledger."""
    if not isinstance(settings.AUDIT, bool):
        yield Error(
            f"ASYNC_DOWNLOADS_AUDIT is {settings.AUDIT!r}.",
            hint="It must be True or False.",
            id="async_downloads.E019",
        )
    path = settings.AUDIT_ADDRESS
    if path and not settings.AUDIT:
        yield CheckWarning(
            f"ASYNC_DOWNLOADS_AUDIT_ADDRESS is {path!r}, but no file is recorded.",
            hint="Set ASYNC_DOWNLOADS_AUDIT to True, or leave the address out.",
            id="async_downloads.W019",
        )
