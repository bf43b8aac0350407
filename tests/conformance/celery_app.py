"""For Celery: an app whose broker is in Django's settings."""

from typing import Any

from celery import Celery

from async_downloads.shortcuts import download_task
from async_downloads.testing.performing import aperform, perform

app = Celery("conformance", set_as_current=False)
app.config_from_object("django.conf:settings", namespace="CELERY")


@app.task
@download_task
def conform(download_key: str, *args: Any, **kwargs: Any) -> None:
    perform(download_key, *args, **kwargs)


@app.task
@download_task
async def coroutine(download_key: str, *args: Any, **kwargs: Any) -> None:
    await aperform(download_key, *args, **kwargs)
