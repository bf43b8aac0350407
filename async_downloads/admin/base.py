"""What the pages of downloads and those of collections have in common."""

from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.http import HttpRequest
from django.utils.functional import cached_property

from async_downloads.models import Download, DownloadCollection

__all__ = ["COUNTED", "BoundedPaginator", "KeyedChangeList", "ReadOnlyAdmin"]

if TYPE_CHECKING:
    # Django's own classes take no type arguments when they run.
    ModelAdmin = admin.ModelAdmin[Any]
    AnyPaginator = Paginator[Any]
else:
    ModelAdmin = admin.ModelAdmin
    AnyPaginator = Paginator

#: How far rows are counted: a million of them would take longer to count than to show.
COUNTED: Final = 10_000


class BoundedPaginator(AnyPaginator):
    """Pages of the first ``COUNTED`` rows; what lies behind them, filters and dates find."""

    @cached_property
    def keys(self) -> list[Any]:
        """The primary keys of all rows that are counted, and one more if there is one.

        They count the rows and choose those of any page in one go, so that a search
        reads the table once, and a sort need not carry whole rows.
        """
        rows: Any = self.object_list
        return list(rows.values_list("pk", flat=True)[: COUNTED + 1])

    # Django's own is a cached property as well.
    @cached_property
    def count(self) -> int:
        """How many rows there are, as far as they are counted."""
        return min(len(self.keys), COUNTED)

    @property
    def has_more(self) -> bool:
        """Whether there are more than are counted."""
        return len(self.keys) > COUNTED


class KeyedChangeList(ChangeList):
    """A list whose rows are read by the keys that its paginator has found."""

    def get_results(self, request: HttpRequest) -> None:
        """Read one page."""
        super().get_results(request)
        paginator: Any = self.paginator
        if self.multi_page and not (self.show_all and self.can_show_all):
            first = (self.page_num - 1) * self.list_per_page
            keys = paginator.keys[first : min(first + self.list_per_page, paginator.count)]
        else:
            keys = paginator.keys
        found = self.apply_select_related(self.root_queryset.filter(pk__in=keys).order_by())
        rows = {row.pk: row for row in self.narrowed(found)}
        shown: Any = self.shown([rows[key] for key in keys if key in rows])
        self.result_list = shown

    def narrowed(self, rows: Any) -> Any:
        """Return the rows without what no list shows."""
        return rows

    def shown(self, rows: list[Any]) -> list[Any]:
        """Return the rows as they are shown."""
        return rows


class ReadOnlyAdmin(ModelAdmin):
    """Rows that the code owns: staff look at them and intervene, and edit nothing."""

    paginator = BoundedPaginator
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False

    class Media:
        css = {"all": ["css/async_downloads_admin.css"]}

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Read rows by their keys."""
        return KeyedChangeList

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds a row by hand: it would have no file."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody edits a row by hand: a worker may be writing it."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether rows may be deleted; with the user they belong to, always.

        The page of a user asks this of each row that a deletion of the user cascades
        to. Staff who may delete users would otherwise need a right on downloads as well.
        """
        if super().has_delete_permission(request, obj):
            return True
        return obj is not None and _is_page_of_another_model(request)

    def has_intervene_permission(self, request: HttpRequest) -> bool:
        """Whether somebody may fail downloads and have them kept: whoever may change them."""
        permission = f"{Download._meta.app_label}.change_download"
        return request.user.has_perm(permission)

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[Any, int], set[Any], list[str]]:
        """Say what would be deleted without a list of everything that belongs to it."""
        lacking = set()
        if not self.has_delete_permission(request):
            lacking = {self.opts.verbose_name}
        names = [str(row) for row in objs]
        return names, self.deleted_counts(list(objs)), lacking, []

    def deleted_counts(self, rows: list[Any]) -> dict[Any, int]:
        """Return how many rows of which kind go with these."""
        return {self.opts.verbose_name_plural: len(rows)}


def _is_page_of_another_model(request: HttpRequest) -> bool:
    """Return whether a request is for a page of any other ModelAdmin than ours."""
    match = request.resolver_match
    # Django notes down whose page a URL leads to.
    served = getattr(match and match.func, "model_admin", None)
    own = (Download, DownloadCollection)
    return served is not None and served.model._meta.concrete_model not in own
