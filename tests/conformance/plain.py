"""For django-q2, whose tasks the package supervises."""

from typing import Any

from async_downloads.shortcuts import download_task
from async_downloads.testing.performing import aperform, perform


@download_task
def conform(download_key: str, *args: Any, **kwargs: Any) -> None:
    perform(download_key, *args, **kwargs)


@download_task
async def coroutine(download_key: str, *args: Any, **kwargs: Any) -> None:
    await aperform(download_key, *args, **kwargs)
