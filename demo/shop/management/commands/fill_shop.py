"""``fill_shop``: customers, orders and the demo's users, in a shop that has none."""

from typing import Any

from django.core.management.base import BaseCommand

from demo.shop.seed import seed


class Command(BaseCommand):
    """The command."""

    help = "Fill an empty shop with orders, and with users whose passwords are no secrets."

    def handle(self, *args: Any, **options: Any) -> None:
        """Fill it, unless it has orders."""
        self.stdout.write("Filled." if seed() else "There are orders already.")
