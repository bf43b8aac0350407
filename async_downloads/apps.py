"""The app."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

__all__ = ["AsyncDownloadsConfig"]


class AsyncDownloadsConfig(AppConfig):
    """Connects the receivers and the checks once the models are there."""

    name = "async_downloads"
    verbose_name = _("Downloads")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect what listens. Nothing here touches the database."""
        from async_downloads import checks, receivers

        checks.register_all()
        receivers.connect(self)
