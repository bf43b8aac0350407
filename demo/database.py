"""The database of the demo, made on the first start and used again on the next."""

import time
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import connections

from demo.shop.models import Order
from demo.shop.seed import seed

__all__ = ["prepare"]


def prepare() -> str:
    """Make what is missing of tables and orders.

    Returns:
        What there is now, and how long it took.
    """
    start = time.monotonic()
    Path(settings.VAR).mkdir(parents=True, exist_ok=True)
    call_command("migrate", verbosity=0)
    verb = "Made" if seed() else "Found"
    orders = Order.objects.count()
    # From here on, the database is the children's.
    connections.close_all()
    return f"{verb} a shop with {orders:,} orders in {time.monotonic() - start:.1f} s."
