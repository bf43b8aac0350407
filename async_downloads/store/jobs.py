"""Periodic jobs, each of which one process does at a time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connections

from async_downloads.store import cache_entries
from async_downloads.store.transactions import database

__all__ = ["alone", "name_of"]


@contextmanager
def alone(job: str) -> Iterator[Callable[[], None] | None]:
    """Do a job, unless another process does it.

    Yields:
        A function to call now and then, as a heartbeat of the job; None if another process
        does it.
    """
    name = name_of(job)
    if not cache_entries.start_job(name):
        yield None
        return
    try:
        yield lambda: cache_entries.renew_job(name)
    finally:
        cache_entries.end_job(name)


def name_of(job: str) -> str:
    """Return a name that all processes which do this job on this database agree on."""
    options = connections[database()].settings_dict
    return "/".join([job, *(str(options[name]) for name in ("HOST", "PORT", "NAME"))])
