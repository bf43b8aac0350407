"""Links from the page of a download."""

from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.templatetags.admin_urls import admin_urlname
from django.contrib.auth import get_user_model
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse

from async_downloads import permissions
from async_downloads.models import Download, DownloadCollection

__all__ = ["links_of", "may_view", "page_of"]


def links_of(download: Download, site: AdminSite, request: HttpRequest) -> dict[str, str]:
    """Return URLs by their names in the template; empty without the permission to follow.

    Args:
        download: The row.
        site: The admin site.
        request: The request for the page.
    """
    collection = download.collection
    return {
        "file_url": download.url if may_fetch_file(download, request.user) else "",
        "collection_url": page_of(collection, DownloadCollection, site, request),
        "user_url": page_of(collection.user, get_user_model(), site, request),
    }


def may_fetch_file(download: Download, user: Any) -> bool:
    """Return whether the download view would send the file to a user."""
    own = download.collection.user_id is not None and download.collection.user_id == user.pk
    allowed = own or permissions.may_fetch_of_others(user)
    return download.complete and allowed and permissions.may_fetch(user, download)


def page_of(row: Model | None, model: type[Model], site: AdminSite, request: HttpRequest) -> str:
    """Return the URL of a row's page in the admin; empty if there is none for this user."""
    if row is None or not may_view(model, site, request, row):
        return ""
    return reverse(admin_urlname(model._meta, "change"), args=[row.pk], current_app=site.name)


def may_view(
    model: type[Model], site: AdminSite, request: HttpRequest, row: Model | None = None
) -> bool:
    """Return whether the admin has pages of a model, or of one row, that this user may view."""
    return site.is_registered(model) and site.get_model_admin(model).has_view_or_change_permission(
        request, row
    )
