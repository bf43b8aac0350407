"""The list of all downloads, and the page of one."""

import uuid
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.text import smart_split, unescape_string_literal
from django.utils.translation import gettext_lazy as _

from async_downloads import store
from async_downloads.admin.actions import DownloadActions
from async_downloads.admin.base import ReadOnlyAdmin
from async_downloads.admin.changelist import DownloadChangeList
from async_downloads.admin.display import DownloadColumns
from async_downloads.admin.filters import (
    AgeFilter,
    ConditionFilter,
    OwnerFilter,
    SizeFilter,
    owned_by,
)
from async_downloads.admin.links import links_of
from async_downloads.admin.live import LiveViews
from async_downloads.models import Download

__all__ = ["DownloadAdmin"]


@admin.register(Download)
class DownloadAdmin(DownloadColumns, DownloadActions, LiveViews, ReadOnlyAdmin):
    """The downloads of all owners."""

    actions = [
        *("delete_selected", "cancel", "mark_failed", "run_again", "extend_expiry"),
        *("hold", "release"),
    ]
    date_hierarchy = "timestamp"
    list_display = ["name", "owner", "condition", "file_size", "age", "fetches"]
    list_filter = ["state", ConditionFilter, OwnerFilter, AgeFilter, SizeFilter]
    list_select_related = ["collection__user", "fetched_by"]
    ordering = ["-timestamp", "-id"]
    search_fields = ["name", "filename"]
    search_help_text = _("Searches name, file name and owner, or finds a download key.")
    fieldsets = [
        (None, {"fields": ["name", "owner", "status", "attempts", "id"]}),
        (_("Failure"), {"fields": ["error", "detail"]}),
        (_("Task"), {"fields": ["task_path", "task_arguments", "times_queued"]}),
        (_("File"), {"fields": ["file_name", "filepath", "file_size", "fetches", "fetched_at"]}),
        (
            _("Dates"),
            {
                "fields": [
                    *("timestamp", "started_at", "finished_at"),
                    *("heard_at", "moved_at", "expires_at", "kept_for", "held"),
                ]
            },
        ),
    ]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[DownloadChangeList]:
        """Return a list with live percentages."""
        return DownloadChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search by name, file and owner, or find a download key.

        A query of its own finds the owners, so that the table is not joined with them.
        """
        try:
            return queryset.filter(pk=uuid.UUID(search_term.strip())), False
        except ValueError:
            pass
        for word in smart_split(search_term):
            quoted = word[0] in "\"'" and word[0] == word[-1]
            text = unescape_string_literal(word) if quoted else word
            named = Q(name__icontains=text) | Q(filename__icontains=text)
            queryset = queryset.filter(named | owned_by(text))
        return queryset, False

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        """Return a download with its live percentage."""
        download = super().get_object(request, object_id, from_field)
        if download is not None:
            store.as_shown([download])
        return download

    def protected_rows(self, rows: list[Any]) -> list[str]:
        """Return the downloads that staff hold."""
        return [str(row) for row in rows if row.held]

    def delete_model(self, request: HttpRequest, obj: Download) -> None:
        """Purge one download."""
        store.purge(Download.objects.filter(pk=obj.pk))

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Show the list, which loads its counts and polls for progress."""
        live = {"htmx": self.htmx, "summary_url": self.address("summary")}
        response = super().changelist_view(request, {**live, **(extra_context or {})})
        shown = getattr(response, "context_data", None)
        if shown and "cl" in shown:
            shown |= self.live_context(shown["cl"].result_list)
        return response

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Show one download, with the links that the user may follow."""
        download = context["original"]
        context |= links_of(download, self.admin_site, request)
        context |= {"htmx": self.htmx, **self.live_context([download])}
        return super().render_change_form(request, context, *args, **kwargs)
