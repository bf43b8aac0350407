"""Locks that last longer than any statement waits for them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from django.db import connection

from async_downloads.store import transactions

__all__ = ["giving_up_at_once"]


@contextmanager
def giving_up_at_once() -> Iterator[None]:
    """Let statements with a short lock timeout fail at once, as nothing releases the lock."""

    def execute(run: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        # MariaDB counts whole seconds.
        return run(sql.replace("lock_wait_timeout = 1", "lock_wait_timeout = 0"), *arguments)

    with (
        patch.object(transactions, "LOCK_MILLISECONDS", 20),
        connection.execute_wrapper(execute),
    ):
        yield
