"""The admin of the ledger: search it, filter it and export it, and change nothing."""

import uuid
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from async_downloads import settings
from async_downloads.admin.base import ReadOnlyAdmin
from async_downloads.admin.filters import TextFilter
from async_downloads.exports import ExportInBackgroundMixin
from async_downloads.models import FetchRecord

__all__ = ["FetchRecordAdmin"]


class UserFilter(TextFilter):
    """The user by a part of the name."""

    title = _("user")
    parameter_name = "user"
    label = _("Part of the user’s name")  # noqa: RUF001 (an apostrophe)
    remove = _("All users")

    def matching(self, queryset: QuerySet[Any], text: str) -> QuerySet[Any]:
        """Keep the records of users whose name contains the text."""
        return queryset.filter(user_name__icontains=text)


@admin.register(FetchRecord)
class FetchRecordAdmin(ExportInBackgroundMixin, ReadOnlyAdmin):
    """The files that were handed out; the index of the admin has it while ``AUDIT`` is on."""

    date_hierarchy = "fetched_at"
    list_display = ["fetched_at", "user_name", "file_name", "owner", "address"]
    list_filter = ["fetched_at", UserFilter]
    ordering = ["-fetched_at", "-id"]
    search_fields = ["user_name", "download_name", "file_name", "owner", "address"]
    search_help_text = _(
        "Searches user, download, file name, owner and address, or finds a download key."
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search by words, or find a download key."""
        try:
            return queryset.filter(download_key=uuid.UUID(search_term.strip())), False
        except ValueError:
            return super().get_search_results(request, queryset, search_term)

    def get_export_list_display(self, request: HttpRequest) -> list[str]:
        """Return all columns but the row's own key, as a page of the list has no room for them."""
        return [field.name for field in self.opts.fields if not field.primary_key]

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Return whether the index has the list: only while files are recorded."""
        return bool(settings.AUDIT) and super().has_module_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: the command ``cleanup_downloads --ledger-before`` deletes old records."""
        return False
