"""``fill_shop`` fills an empty shop with orders and with the users of the demo."""

from typing import Any

from django.core.management.base import BaseCommand

from demo.shop.seed import seed


class Command(BaseCommand):
    """The command."""

    help = "Fill an empty shop with orders, and with users whose passwords are public."

    def handle(self, *args: Any, **options: Any) -> None:
        """Fill the shop, unless it has orders."""
        self.stdout.write("Filled." if seed() else "There are orders already.")
