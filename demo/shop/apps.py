"""The app."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """The shop; its workers find their tasks by their dotted paths."""

    name = "demo.shop"
    verbose_name = "Shop"
