"""Checks of django-q2, if the site uses it."""

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.conf import settings as project_settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning

__all__ = ["check_queue", "check_queue_is_asynchronous"]


def check_queue(**_: Any) -> Iterator[CheckMessage]:
    """W003 and E012: time limits that repeat a running task, or an unknown database."""
    if not apps.is_installed("django_q"):
        return
    cluster = getattr(project_settings, "Q_CLUSTER", {})
    retry, timeout = cluster.get("retry"), cluster.get("timeout")
    if not (retry and timeout and retry > timeout):
        yield CheckWarning(
            f"Q_CLUSTER has retry={retry!r} and timeout={timeout!r}, so that django-q2 starts "
            "a long export again while it is running, or never stops it.",
            hint="Set both, with timeout above the longest export and retry above timeout.",
            id="async_downloads.W003",
        )
    alias = cluster.get("orm")
    if alias and alias not in project_settings.DATABASES:
        yield Error(
            f"Q_CLUSTER has orm={alias!r}, which is not in DATABASES: nothing can be queued.",
            hint="It must be one of the aliases in DATABASES: "
            f"{', '.join(project_settings.DATABASES)}.",
            id="async_downloads.E012",
        )


def check_queue_is_asynchronous(**_: Any) -> Iterator[CheckMessage]:
    """W013: a django-q2 that builds each export inside the request."""
    cluster = getattr(project_settings, "Q_CLUSTER", {})
    if apps.is_installed("django_q") and cluster.get("sync"):
        yield CheckWarning(
            'Q_CLUSTER has "sync" on, so that each export is built inside the request that asks '
            "for it, and the person waits.",
            hint='Leave "sync" out of Q_CLUSTER; it is for tests and debugging.',
            id="async_downloads.W013",
        )
