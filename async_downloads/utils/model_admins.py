"""The base classes of mixins for the admin, and its URLs."""

from typing import TYPE_CHECKING, Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.http import HttpRequest
from django.urls import reverse

__all__ = ["DatedFilters", "ModelAdminMixin", "admin_url"]

if TYPE_CHECKING:
    from django.contrib import admin
    from django.contrib.admin.views.main import ChangeList

    # Django's own class takes no type arguments at run time.
    ModelAdminMixin = admin.ModelAdmin[Any]
else:
    ModelAdminMixin = ChangeList = object


class DatedFilters(ChangeList):
    """A changelist that refuses dates which no calendar has; that of Django fails."""

    def get_filters(self, request: HttpRequest) -> Any:
        """Return the filters.

        Raises:
            IncorrectLookupParameters: No calendar has this date.
        """
        try:
            return super().get_filters(request)
        except (OverflowError, ValueError) as error:
            raise IncorrectLookupParameters from error


def admin_url(site: str, opts: Any, page: str, *arguments: Any) -> str:
    """Return the URL of a page of a model in the admin site with this name."""
    view = f"admin:{opts.app_label}_{opts.model_name}_{page}"
    return reverse(view, args=arguments, current_app=site)
