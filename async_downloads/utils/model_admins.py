"""The base classes of mixins for the admin, the URLs of its pages, and the keys that they post."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import BadRequest, ValidationError
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse

from async_downloads.utils.error_text import storable

__all__ = ["DatedFilters", "ModelAdminMixin", "admin_url", "check_keys"]

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


def check_keys(model: type[Model], keys: Iterable[str]) -> None:
    """Refuse keys of ticked rows that no page has posted, before a query names them.

    Args:
        model: The model of the rows.
        keys: The texts that were posted as primary keys.

    Raises:
        BadRequest: The database may not accept them.
    """
    if not all(_may_be_key(model._meta.pk, key) for key in keys):
        raise BadRequest("The ticked rows must be primary keys.")


def _may_be_key(field: Any, key: str) -> bool:
    """Return whether a database accepts a text as a value of a primary key."""
    while field.remote_field is not None:
        # Of a model that inherits: the key of its parent.
        field = field.target_field
    try:
        field.run_validators(field.to_python(key))
    except (ValidationError, ValueError):
        return False
    return storable(key) == key
