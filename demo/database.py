"""The database of the demo. The first start makes it, and later ones use it again."""

import time
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import connections

from demo.shop.models import Order
from demo.shop.seed import seed

__all__ = ["prepare"]


def prepare() -> str:
    """Make missing tables and orders.

    Returns:
        A line for people: how many orders there are, and how long it took.
    """
    start = time.monotonic()
    Path(settings.VAR).mkdir(parents=True, exist_ok=True)
    call_command("migrate", verbosity=0)
    verb = "Made" if seed() else "Found"
    orders = Order.objects.count()
    # Child processes open connections of their own.
    connections.close_all()
    return f"{verb} a shop with {orders:,} orders in {time.monotonic() - start:.1f} s."
