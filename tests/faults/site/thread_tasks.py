"""Tasks that run in threads of the process that queues them."""

from async_downloads.executors.threads import thread_task
from tests.faults.site import tasks


@thread_task
def third(download_key: str) -> None:
    """Write rows up to 30 %."""
    tasks.third(download_key)


@thread_task
def brief(download_key: str) -> None:
    """Write a few rows."""
    tasks.brief(download_key)
