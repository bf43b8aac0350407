"""Django's own tasks, or those of their backport."""

from django.conf import settings
from django.utils.module_loading import import_string

from async_downloads.shortcuts import download_task
from tests.faults.site import tasks

task = import_string(f"{settings.TASKS_PACKAGE}.task")


@task(backend="database")
@download_task
def third(download_key: str) -> None:
    """Write rows up to 30 %."""
    tasks.third(download_key)


@task(backend="database")
@download_task
def brief(download_key: str) -> None:
    """Write a few rows."""
    tasks.brief(download_key)
