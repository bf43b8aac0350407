"""The app."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """The shop."""

    name = "demo.shop"
    verbose_name = "Shop"
