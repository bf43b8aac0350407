"""Downloads and their collections for staff: to look at, and to purge."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.actions import delete_selected
from django.contrib.auth import get_user_model
from django.db.models import Count, Model, QuerySet, Sum
from django.http import HttpRequest, HttpResponseBase
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from async_downloads import store
from async_downloads.models import Download, DownloadCollection

__all__ = ["DownloadAdmin", "DownloadCollectionAdmin"]

if TYPE_CHECKING:
    # Django's own class takes no type arguments when it runs.
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin

NOTHING = "-"


class ConditionFilter(admin.SimpleListFilter):
    """What is derived from the time when one looks, rather than kept in a column."""

    title = _("condition")
    parameter_name = "condition"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Name the conditions."""
        return [("stalled", _("Stalled")), ("expired", _("Expired"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        """Keep what is in the chosen condition."""
        conditions = {"stalled": Download.objects.stalled, "expired": Download.objects.expired}
        condition = conditions.get(self.value() or "")
        return None if condition is None else queryset & condition()


class ReadOnlyAdmin(ModelAdmin):
    """Rows that the code owns: staff look at them and purge them, and edit nothing."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds a row by hand: it would have no file."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody edits a row by hand: a worker may be writing it."""
        return False

    @admin.action(permissions=["delete"], description=_("Purge the selected ones, files included"))
    def delete_selected(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponseBase | None:
        """Purge, after Django's own page has asked for confirmation."""
        return delete_selected(self, request, queryset)


@admin.register(Download)
class DownloadAdmin(ReadOnlyAdmin):
    """Every download, whoever asked for it."""

    actions = ["delete_selected"]
    date_hierarchy = "timestamp"
    list_display = [
        "name",
        "owner",
        "condition",
        "progress",
        "file_size",
        "timestamp",
        "expires_at",
    ]
    list_filter = ["state", ConditionFilter, "timestamp"]
    list_select_related = ["collection__user"]
    ordering = ["-timestamp"]
    fieldsets = [
        (None, {"fields": ["name", "owner", "condition", "progress", "attempts"]}),
        (_("File"), {"fields": ["filename", "filepath", "file_size"]}),
        (_("Failure"), {"fields": ["errors", "detail"]}),
        (
            _("Dates"),
            {"fields": ["timestamp", "started_at", "finished_at", "heard_at", "expires_at"]},
        ),
    ]

    class Media:
        css = {"all": ["css/async_downloads_admin.css"]}

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        """Search by name, file and owner, whatever the site's user model calls a user."""
        username = get_user_model().USERNAME_FIELD
        return ["name", "filename", "collection__label", f"collection__user__{username}"]

    def delete_model(self, request: HttpRequest, obj: Download) -> None:
        """Purge one download."""
        store.purge(Download.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Purge many downloads, in batches."""
        store.purge(Download.objects.filter(pk__in=queryset.values("pk")))

    @admin.display(description=_("owner"), ordering="collection__user")
    def owner(self, download: Download) -> str:
        """Who asked for it."""
        return str(download.collection)

    @admin.display(description=_("state"), ordering="state")
    def condition(self, download: Download) -> SafeString:
        """The state in words, marked by its colour."""
        kind = "stalled" if download.stalled else download.state
        return format_html(
            '<span class="async-downloads-state async-downloads-{}">{}</span>',
            kind,
            download.status_text,
        )

    @admin.display(description=_("progress"), ordering="percentage")
    def progress(self, download: Download) -> SafeString:
        """How much is done."""
        return format_html(
            '<progress class="async-downloads-progress" max="100" value="{0}"></progress> {0} %',
            download.percentage,
        )

    @admin.display(description=_("error detail"))
    def detail(self, download: Download) -> SafeString | str:
        """What staff are told of a failure, a traceback with its lines as they are."""
        if not download.error_detail:
            return NOTHING
        return format_html('<pre class="async-downloads-detail">{}</pre>', download.error_detail)

    @admin.display(description=_("size"), ordering="size")
    def file_size(self, download: Download) -> str:
        """How large the file is."""
        return NOTHING if download.size is None else filesizeformat(download.size)


@admin.register(DownloadCollection)
class DownloadCollectionAdmin(ReadOnlyAdmin):
    """Who has how much."""

    actions = ["delete_selected"]
    list_display = ["__str__", "key", "download_count", "total_size", "created_at"]
    list_select_related = ["user"]
    ordering = ["-created_at"]
    fields = ["user", "label", "key", "download_count", "total_size", "created_at"]

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        """Search by owner, whatever the site's user model calls a user."""
        return ["label", "key", f"user__{get_user_model().USERNAME_FIELD}"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Count the downloads of each collection along with it."""
        counted: QuerySet[Any] = (
            super()
            .get_queryset(request)
            .annotate(count=Count("downloads"), bytes=Sum("downloads__size"))
        )
        return counted

    def delete_model(self, request: HttpRequest, obj: DownloadCollection) -> None:
        """Purge a collection with its downloads."""
        self.delete_queryset(request, DownloadCollection.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Purge collections with their downloads, the downloads in batches first."""
        collections = list(queryset.values_list("pk", flat=True))
        store.purge(Download.objects.filter(collection__in=collections))
        DownloadCollection.objects.filter(pk__in=collections).delete()

    @admin.display(description=_("downloads"), ordering="count")
    def download_count(self, collection: Model) -> int:
        """How many downloads there are, expired ones included."""
        return int(getattr(collection, "count", 0))

    @admin.display(description=_("size"), ordering="bytes")
    def total_size(self, collection: Model) -> str:
        """How much their files take."""
        return filesizeformat(getattr(collection, "bytes", None) or 0)
