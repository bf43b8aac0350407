"""Views outside of the transactions that ``ATOMIC_REQUESTS`` begins."""

from collections.abc import Callable
from typing import Any, TypeVar

from django.db import connections
from django.db.transaction import non_atomic_requests

__all__ = ["outside_transactions"]

View = TypeVar("View", bound=Callable[..., Any])


def outside_transactions(view: View) -> View:
    """Keep a view out of ``ATOMIC_REQUESTS``, of each database.

    Django's own decorator means the default database, and a router may place the rows in another.
    """
    for alias in connections:
        non_atomic_requests(using=alias)(view)
    return view
