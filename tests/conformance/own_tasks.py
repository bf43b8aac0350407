"""For Django's own tasks, or for their backport."""

from typing import Any

try:
    from django.tasks import task
except ImportError:
    from django_tasks import task

from async_downloads.shortcuts import download_task
from async_downloads.testing.performing import aperform, perform


@task(backend="database")
@download_task
def conform(download_key: str, *args: Any, **kwargs: Any) -> None:
    perform(download_key, *args, **kwargs)


@task(backend="database")
@download_task
async def coroutine(download_key: str, *args: Any, **kwargs: Any) -> None:
    await aperform(download_key, *args, **kwargs)
