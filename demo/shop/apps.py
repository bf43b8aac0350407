"""The app."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """The shop."""

    name = "demo.shop"
    verbose_name = "Shop"

    def ready(self) -> None:
        """Listen to what happens to downloads."""
        from demo.shop import receivers

        receivers.connect()
