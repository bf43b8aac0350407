"""The choices for an export of a changelist: shared under a name, and those a person made last."""

from typing import Any, Final

from django.conf import settings as project_settings
from django.db import models
from django.utils.translation import gettext_lazy as _

__all__ = ["MAX_PRESET_NAME", "ExportPreset", "LastExport"]

MAX_PRESET_NAME: Final = 100

#: Characters of the name of an admin site and the label of a model.
MAX_CHANGELIST_LENGTH: Final = 200


def _choices() -> "models.JSONField[Any, Any]":
    return models.JSONField(
        _("choices"), help_text=_("Columns in their order, format, encoding and time zone.")
    )


class ExportPreset(models.Model):
    """Choices under a name, for all staff who may export the changelist."""

    changelist = models.CharField(
        _("list"),
        max_length=MAX_CHANGELIST_LENGTH,
        editable=False,
        help_text=_("The admin site and the model."),
    )
    name = models.CharField(_("name"), max_length=MAX_PRESET_NAME)
    choices = _choices()
    updated_at = models.DateTimeField(_("last changed"), auto_now=True)

    class Meta:
        verbose_name = _("export preset")
        verbose_name_plural = _("export presets")
        constraints = [
            models.UniqueConstraint(
                fields=["changelist", "name"], name="async_downloads_preset_unique"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class LastExport(models.Model):
    """The choices that a person made last for a changelist."""

    user = models.ForeignKey(
        project_settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="+",
        verbose_name=_("user"),
    )
    changelist = models.CharField(_("list"), max_length=MAX_CHANGELIST_LENGTH)
    choices = _choices()

    class Meta:
        verbose_name = _("last export")
        verbose_name_plural = _("last exports")
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["user", "changelist"], name="async_downloads_last_export_unique"
            ),
        ]

    def __str__(self) -> str:
        return self.changelist
