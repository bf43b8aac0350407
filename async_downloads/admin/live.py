"""Views that an open admin page polls: counts by state, and progress."""

import uuid
from http import HTTPStatus
from typing import Any, Final

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from django.views.decorators.http import require_safe

from async_downloads import intervals, store
from async_downloads.admin.display import badge, live_cells
from async_downloads.centre import htmx_assets
from async_downloads.models import LONG_COLUMNS, Download
from async_downloads.models.labels import grouped
from async_downloads.utils.model_admins import ModelAdminMixin, admin_url

__all__ = ["LiveViews"]

#: Downloads that one request may poll: as many as a page of the list shows.
MAX_POLLED: Final = 100


class LiveViews(ModelAdminMixin):
    """Two views for users who may view the list."""

    def get_urls(self) -> list[URLPattern]:
        """Put these before Django's, which would read them as primary keys."""
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        view = self.admin_site.admin_view
        urls: list[URLPattern] = super().get_urls()
        return [
            path("summary/", view(require_safe(self.summary_view)), name=f"{name}_summary"),
            path("progress/", view(require_safe(self.progress_view)), name=f"{name}_progress"),
            *urls,
        ]

    def live_context(self, rows: list[Download]) -> dict[str, Any]:
        """Return the context for polling the state, progress and size of rows."""
        return {
            "running": ",".join(row.pk.hex for row in rows if row.in_progress),
            "progress_url": self.address("progress"),
            "poll_seconds": intervals.ADMIN_POLL,
        }

    @property
    def htmx(self) -> str:
        """The URL of htmx."""
        return htmx_assets.url("htmx-2.min.js")

    def address(self, name: str) -> str:
        """Return the URL of one of this model's pages in its admin site."""
        return admin_url(self.admin_site.name, self.opts, name)

    def summary_view(self, request: HttpRequest) -> HttpResponse:
        """Count all downloads by state, in a request of its own as it reads every row."""
        self._check_view_permission(request)
        rows: Any = self.get_queryset(request)
        totals = store.total_by_condition(rows)
        context = {
            "totals": [
                (badge(each.condition), grouped(each.count), each.size, self._list_of(each))
                for each in totals
            ],
            "count": grouped(sum(total.count for total in totals)),
            "size": sum(total.size for total in totals),
            "list_url": self.address("changelist"),
        }
        return render(request, "async_downloads/admin/summary.html", context)

    def progress_view(self, request: HttpRequest) -> HttpResponse:
        """Return the state, progress and size of the downloads that a page shows in progress."""
        self._check_view_permission(request)
        try:
            keys = [uuid.UUID(text) for text in request.GET.get("keys", "").split(",")]
        except ValueError:
            return HttpResponse(status=HTTPStatus.BAD_REQUEST)
        polled: Any = self.get_queryset(request).filter(pk__in=keys[:MAX_POLLED])
        rows = store.as_shown(list(polled.defer(*LONG_COLUMNS).with_database_clock()))
        cells = [cell for row in rows for cell in live_cells(row, swapped=True).values()]
        context = {"cells": cells, **self.live_context(rows)}
        return render(request, "async_downloads/admin/progress.html", context)

    def _list_of(self, total: store.Total) -> str:
        query = "condition" if total.condition == store.STALLED else "state__exact"
        return f"{self.address('changelist')}?{query}={total.condition}"

    def _check_view_permission(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied
