"""The admin of collections: how much each owner has."""

from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext_lazy as _

from async_downloads import store
from async_downloads.admin.actions import MAX_LISTED, CollectionActions
from async_downloads.admin.base import ReadOnlyAdmin
from async_downloads.admin.links import may_view, page_of
from async_downloads.models import Download, DownloadCollection
from async_downloads.utils.model_admins import admin_url

__all__ = ["DownloadCollectionAdmin"]


@admin.register(DownloadCollection)
class DownloadCollectionAdmin(CollectionActions, ReadOnlyAdmin):
    """Collections with their numbers and sizes, expired downloads included."""

    actions = ["delete_selected"]
    list_display = ["__str__", "download_count", "total_size", "key", "created_at"]
    list_select_related = ["user"]
    ordering = ["-created_at", "-id"]
    fields = ["owner", "key", "download_count", "total_size", "created_at"]

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        """Search by owner, by the user name field of the site's user model."""
        return ["label", "key", f"user__{get_user_model().USERNAME_FIELD}"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Annotate the number and size of each collection's downloads."""
        rows: Any = super().get_queryset(request)
        counted: QuerySet[Any] = rows.totalled()
        return counted

    def deleted_counts(self, rows: list[Any]) -> dict[Any, int]:
        """Include the downloads."""
        counts = super().deleted_counts(rows)
        names = Download._meta.verbose_name_plural
        return {**counts, names: Download.objects.filter(collection__in=rows).count()}

    def protected_rows(self, rows: list[Any]) -> list[str]:
        """Return some of the downloads that staff hold."""
        held: Any = Download.objects.filter(collection__in=rows)
        return [str(row) for row in held.held_back().only("name")[:MAX_LISTED]]

    def delete_model(self, request: HttpRequest, obj: DownloadCollection) -> None:
        """Purge the downloads of a collection in batches, then delete it."""
        store.purge(Download.objects.filter(collection=obj.pk))
        DownloadCollection.objects.filter(pk=obj.pk).empty().delete()

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Show one collection, with links to its downloads and its user."""
        collection = context["original"]
        context["user_url"] = page_of(collection.user, get_user_model(), self.admin_site, request)
        context["downloads_url"] = self._downloads_of(collection, request)
        return super().render_change_form(request, context, *args, **kwargs)

    def _downloads_of(self, collection: DownloadCollection, request: HttpRequest) -> str:
        """Return the URL of a collection's downloads; empty without the permission to view them."""
        if not may_view(Download, self.admin_site, request):
            return ""
        url = admin_url(self.admin_site.name, Download._meta, "changelist")
        return f"{url}?collection__id__exact={collection.pk}"

    @admin.display(description=_("owner"))
    def owner(self, collection: DownloadCollection) -> str:
        """The owner."""
        return str(collection)

    @admin.display(description=_("downloads"), ordering="count")
    def download_count(self, collection: Model) -> int:
        """The number of downloads, expired ones included."""
        return int(getattr(collection, "count", 0))

    @admin.display(description=_("size"), ordering="bytes")
    def total_size(self, collection: Model) -> str:
        """The size of all files."""
        return filesizeformat(getattr(collection, "bytes", None) or 0)
