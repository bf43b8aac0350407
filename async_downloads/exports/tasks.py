"""What a worker runs for an export out of the admin."""

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.contrib.admin.exceptions import NotRegistered
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.sites import all_sites
from django.core.exceptions import SuspiciousOperation
from django.db.models import QuerySet
from django.urls import get_resolver
from django.utils.translation import gettext_noop

from async_downloads.exceptions import DownloadError
from async_downloads.exports.changelist_columns import Columns
from async_downloads.exports.changelist_request import Selection, WorkerRequest, matching
from async_downloads.exports.mixin import ExportInBackgroundMixin
from async_downloads.exports.resources import export_resource
from async_downloads.shortcuts import download_task, queryset_to_csv

__all__ = ["export_changelist"]


@download_task
def export_changelist(download_key: str, selection: dict[str, Any]) -> None:
    """Export rows of a changelist, as the person who asked may see them now.

    Args:
        download_key: The key of the download.
        selection: What the admin has noted down; see ``Selection``.

    Raises:
        DownloadCancelled: The download was cleared, or taken over by another run.
        DownloadError: The person may not export the list any more, or its filters have gone.
        LookupError: This process has no such list in its admin.
    """
    asked = Selection(**selection)
    model_admin = _find_admin(asked)
    with asked.conditions():
        request = _request_of(model_admin, asked)
        rows = _rows_of(model_admin, request, asked)
        resource = model_admin.get_export_resource(request)
        if resource is not None:
            export_resource(download_key, resource, rows)
            return
        columns = Columns(model_admin, model_admin.get_export_list_display(request))
        queryset_to_csv(download_key, columns.header, columns.with_relations(rows), columns.row)


def _request_of(model_admin: ExportInBackgroundMixin, asked: Selection) -> WorkerRequest:
    """Return a request by who has asked, with the rights that they have now."""
    user = asked.find_user()
    if user is not None:
        request = WorkerRequest(asked, user)
        model_admin.restore_export_state(request, asked.state)
        if model_admin.may_export(request):
            return request
    raise DownloadError(gettext_noop("You may no longer export this list."))


def _rows_of(
    model_admin: ExportInBackgroundMixin, request: WorkerRequest, asked: Selection
) -> "QuerySet[Any]":
    try:
        return matching(model_admin, request, asked.keys)
    except (IncorrectLookupParameters, SuspiciousOperation) as error:
        # They were there when it was started: a new version of the site has come since.
        text = gettext_noop("The list has other filters by now. Please export it anew.")
        raise DownloadError(text) from error


def _find_admin(asked: Selection) -> ExportInBackgroundMixin:
    # Sites and their ModelAdmins may be made where only the URLconf leads to.
    _ = get_resolver().url_patterns
    model = apps.get_model(asked.app_label, asked.model)
    for site in _sites(asked.site):
        try:
            found = site.get_model_admin(model)
        except NotRegistered:
            continue
        if isinstance(found, ExportInBackgroundMixin):
            return found
    raise LookupError(
        f"This worker knows no admin site {asked.site!r} with exports of {model._meta.label}. "
        "It must load the same settings and the same URLconf as the web server."
    )


def _sites(name: str) -> Iterator[Any]:
    return (site for site in all_sites if site.name == name)
