"""The base class of mixins for a ModelAdmin, and the URLs of the admin."""

from typing import TYPE_CHECKING, Any

from django.urls import reverse

__all__ = ["ModelAdminMixin", "admin_url"]

if TYPE_CHECKING:
    from django.contrib import admin

    # Django's own class takes no type arguments at run time.
    ModelAdminMixin = admin.ModelAdmin[Any]
else:
    ModelAdminMixin = object


def admin_url(site: str, opts: Any, page: str, *arguments: Any) -> str:
    """Return the URL of a page of a model in the admin site with this name."""
    view = f"admin:{opts.app_label}_{opts.model_name}_{page}"
    return reverse(view, args=arguments, current_app=site)
