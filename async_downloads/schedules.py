"""The periodic clean-up as a django-q2 schedule."""

from datetime import timedelta
from typing import Any, Final

from django.apps import apps
from django.db import connections, router
from django.utils import timezone

from async_downloads.models import Download

__all__ = ["CLEANUP_NAME", "CLEANUP_PATH", "install"]

CLEANUP_PATH: Final = "async_downloads.tasks.cleanup_expired_downloads"
CLEANUP_NAME: Final = "async_downloads: remove expired downloads"
CLEANUP_MINUTES: Final = 60


def install(using: str) -> None:
    """Make the schedule of the clean-up, unless there is one already.

    A schedule counts as there if it runs the clean-up, whatever an admin has
    made of its name, its interval or its repeats. Processes that migrate at
    once end with one row between them.

    Args:
        using: The database that was just migrated.
    """
    if not apps.is_installed("django_q"):
        return
    from django_q.models import Schedule

    databases = {model: router.db_for_write(model) for model in (Schedule, Download)}
    # The two may live in two databases, either of which may be migrated last.
    if using not in databases.values() or not all(map(_migrated, databases, databases.values())):
        return
    schedules = Schedule.objects.using(databases[Schedule])
    if schedules.filter(func=CLEANUP_PATH).exists():
        return
    schedules.create(
        name=CLEANUP_NAME,
        func=CLEANUP_PATH,
        schedule_type=Schedule.MINUTES,
        minutes=CLEANUP_MINUTES,
        next_run=timezone.now() + timedelta(minutes=CLEANUP_MINUTES),
    )
    # The table has no unique name to race for. Each process removes the rows that
    # are younger than the oldest one it sees after its own is committed: the last one
    # sees all, and the oldest is younger than none.
    ours = schedules.filter(func=CLEANUP_PATH, name=CLEANUP_NAME).order_by("pk")
    oldest = ours.values_list("pk", flat=True).first()
    ours.filter(pk__gt=oldest).delete()


def _migrated(model: Any, using: str) -> bool:
    """Return whether a model has its table: not after migrating another app alone, or back."""
    with connections[using].cursor() as cursor:
        return model._meta.db_table in connections[using].introspection.table_names(cursor)
