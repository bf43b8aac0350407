"""The tasks of the site as Celery tasks, with the options of its settings."""

from typing import Any

from celery import Celery
from django.conf import settings
from django.utils.module_loading import import_string

from tests.faults.site import tasks


def task_options() -> dict[str, Any]:
    """Return the options of each task, with exceptions imported from their dotted paths."""
    options = dict(getattr(settings, "CELERY_TASK_OPTIONS", {}))
    if "autoretry_for" in options:
        options["autoretry_for"] = tuple(map(import_string, options["autoretry_for"]))
    return options


app = Celery(
    "faults",
    broker=settings.CELERY_BROKER,
    set_as_current=False,
    include=["async_downloads.tasks", "tests.faults.site.celery_tasks"],
)
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_lost_wait=0.2,
    worker_hijack_root_logger=False,
    **getattr(settings, "CELERY_CONF", {}),
)

for name, function in tasks.supervised.items():
    app.task(function, name=name, **task_options())
