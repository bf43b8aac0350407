"""The admin of presets for exports: see and delete them."""

from django.contrib import admin
from django.http import HttpRequest

from async_downloads.models import ExportPreset

__all__ = ["ExportPresetAdmin"]


@admin.register(ExportPreset)
class ExportPresetAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # it takes none at run time
    """Presets of all lists. Only the page before an export saves them: it knows the columns."""

    list_display = ["name", "changelist", "updated_at"]
    list_filter = ["changelist"]
    search_fields = ["name", "changelist"]
    ordering = ["changelist", "name"]
    fields = ["name", "changelist", "choices", "updated_at"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: ExportPreset | None = None) -> bool:
        """Return False."""
        return False
