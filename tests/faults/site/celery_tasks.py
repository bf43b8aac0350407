"""Tasks for Celery that their dotted paths lead to, so that a row can record them."""

from async_downloads.shortcuts import download_task
from tests.faults.site import tasks
from tests.faults.site.celery_app import app, task_options


@app.task(**task_options())
@download_task
def third(download_key: str) -> None:
    """Write rows up to 30 %."""
    tasks.third(download_key)


@app.task(**task_options())
@download_task
def brief(download_key: str) -> None:
    """Write a few rows."""
    tasks.brief(download_key)
