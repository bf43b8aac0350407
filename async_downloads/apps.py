"""The app configuration."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

__all__ = ["AsyncDownloadsConfig"]


class AsyncDownloadsConfig(AppConfig):
    """Register the checks and connect the receivers when the models are loaded."""

    name = "async_downloads"
    verbose_name = _("Downloads")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register and connect. Nothing here touches the database."""
        from async_downloads import checks, receivers

        checks.register_all()
        receivers.connect(self)
