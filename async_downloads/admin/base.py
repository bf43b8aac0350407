"""Base classes of the admins of rows that only the code edits."""

from typing import Any, ClassVar, Final

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.http import HttpRequest
from django.utils.functional import cached_property

from async_downloads.admin.dates import hierarchy
from async_downloads.models import Download, DownloadCollection
from async_downloads.utils.model_admins import DatedFilters

__all__ = ["MAX_COUNTED", "BoundedPaginator", "KeyedChangeList", "ReadOnlyAdmin"]

#: Rows that are counted at most: counting a million takes longer than showing a page.
MAX_COUNTED: Final = 10_000


class BoundedPaginator(Paginator):  # type: ignore[type-arg] # it takes none at run time
    """Pages of the first ``MAX_COUNTED`` rows; filters, dates and search find the others."""

    @cached_property
    def keys(self) -> list[Any]:
        """The primary keys of the counted rows, and of one more if there is one.

        One query counts the rows and selects those of any page, so that a search
        reads the table once and a sort does not carry whole rows.
        """
        rows: Any = self.object_list
        return list(rows.values_list("pk", flat=True)[: MAX_COUNTED + 1])

    # A cached property in Django too.
    @cached_property
    def count(self) -> int:
        """The number of rows, at most ``MAX_COUNTED``."""
        return min(len(self.keys), MAX_COUNTED)

    @property
    def has_more(self) -> bool:
        """Whether there are more than ``MAX_COUNTED`` rows."""
        return len(self.keys) > MAX_COUNTED


class KeyedChangeList(DatedFilters, ChangeList):
    """A list that reads its rows by the primary keys of its paginator."""

    #: The columns that the list does not show, and does not read.
    deferred: ClassVar[tuple[str, ...]] = ()

    def get_results(self, request: HttpRequest) -> None:
        """Read one page."""
        super().get_results(request)
        paginator: Any = self.paginator
        if self.multi_page and not (self.show_all and self.can_show_all):
            first = (self.page_num - 1) * self.list_per_page
            keys = paginator.keys[first : min(first + self.list_per_page, paginator.count)]
        else:
            keys = paginator.keys
        rows = {row.pk: row for row in self.rows_with(keys).defer(*self.deferred)}
        shown: Any = [rows[key] for key in keys if key in rows]
        self.result_list = shown

    def rows_with(self, keys: list[Any]) -> Any:
        """Return the rows with these primary keys, as one page shows them."""
        return self.apply_select_related(self.root_queryset.filter(pk__in=keys).order_by())

    @property
    def dates(self) -> dict[str, Any]:
        """The context of Django's template for the date hierarchy, if the list has one."""
        return hierarchy(self)


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # it takes none at run time
    """Rows that only the code edits: staff view them and run bulk actions."""

    paginator = BoundedPaginator
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False

    class Media:
        css = {"all": ["css/async_downloads_admin.css"]}

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Read rows by their keys."""
        return KeyedChangeList

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: a row added by hand would have no file."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: a worker may be writing the row."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether rows may be deleted; always if their user is deleted.

        The admin asks this for each row to which the deletion of a user cascades.
        Staff who may delete users need no permission on downloads for that.
        """
        if super().has_delete_permission(request, obj):
            return True
        return obj is not None and _is_page_of_another_model(request)

    def has_change_downloads_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may fail, hold and keep downloads, and run them again."""
        permission = f"{Download._meta.app_label}.change_download"
        return request.user.has_perm(permission)

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[Any, int], set[Any], list[str]]:
        """Return what would be deleted, without a list of all related rows."""
        missing = set()
        if not self.has_delete_permission(request):
            missing = {self.opts.verbose_name}
        names = [str(row) for row in objs]
        rows = list(objs)
        return names, self.deleted_counts(rows), missing, self.protected_rows(rows)

    def protected_rows(self, rows: list[Any]) -> list[str]:
        """Return the names of what may not be deleted, as staff hold it."""
        raise NotImplementedError

    def deleted_counts(self, rows: list[Any]) -> dict[Any, int]:
        """Return the number of rows to delete, by the plural name of their model."""
        return {self.opts.verbose_name_plural: len(rows)}


def _is_page_of_another_model(request: HttpRequest) -> bool:
    """Return whether a request is for a page of a ModelAdmin of another app."""
    match = request.resolver_match
    # Django sets the attribute on the views of a ModelAdmin.
    served = getattr(match and match.func, "model_admin", None)
    own = (Download, DownloadCollection)
    return served is not None and served.model._meta.concrete_model not in own
