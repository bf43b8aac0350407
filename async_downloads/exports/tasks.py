"""The task that exports a list of the admin."""

from typing import Any

from django.apps import apps
from django.contrib.admin.exceptions import NotRegistered
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.sites import all_sites
from django.core.exceptions import SuspiciousOperation
from django.db.models import QuerySet
from django.urls import get_resolver
from django.utils.translation import gettext_noop

from async_downloads.building.content import Content, Table, save
from async_downloads.exceptions import DownloadError
from async_downloads.exports.changelist_columns import Columns
from async_downloads.exports.changelist_request import Selection, WorkerRequest, matching
from async_downloads.exports.choices import Choices
from async_downloads.exports.mixin import ExportInBackgroundMixin
from async_downloads.exports.offers import chosen_columns
from async_downloads.exports.resources import ResourceExport
from async_downloads.formats import registry
from async_downloads.shortcuts import download_task

__all__ = ["export_changelist"]


@download_task
def export_changelist(download_key: str, selection: dict[str, Any]) -> None:
    """Export rows of a changelist with the current permissions of the person.

    Args:
        download_key: The key of the download.
        selection: The values of a ``Selection``.

    Raises:
        DownloadCancelled: The download was cleared, or taken over by another attempt.
        DownloadError: The person may no longer export the list or one of the columns, or the
            filters of the list changed.
        LookupError: The admin of this process does not have the list.
    """
    chosen = Selection(**selection)
    model_admin = _find_admin(chosen)
    with chosen.conditions():
        request = _request_of(model_admin, chosen)
        rows = _rows_of(model_admin, request, chosen)
        save(download_key, _content(model_admin, request, rows, chosen.choices))


def _content(
    model_admin: ExportInBackgroundMixin,
    request: WorkerRequest,
    rows: "QuerySet[Any]",
    values: dict[str, Any] | None,
) -> Content:
    """Return the content of the file, by the choices of the person if there are any."""
    resource = model_admin.get_export_resource(request)
    if values is None:
        if resource is not None:
            return ResourceExport(resource, rows)
        columns = Columns(model_admin, model_admin.get_export_list_display(request))
        return _table(columns, rows, columns.header)
    choices = Choices.read(values)
    offers = chosen_columns(model_admin, request, choices.columns)
    names = [offer.name for offer in offers]
    format_name, encoding = choices.writer
    chosen_format = registry.named(format_name)
    if resource is not None:
        return ResourceExport(resource, rows, names, chosen_format, encoding)
    columns = Columns(model_admin, names)
    header = [offer.label for offer in offers]
    return _table(columns, rows, header, format=chosen_format, encoding=encoding)


def _table(columns: Columns, rows: "QuerySet[Any]", header: list[str], **options: Any) -> Table:
    return Table(
        columns.with_relations(rows),
        header=header,
        row_function=columns.row,
        columns=columns.described,
        **options,
    )


def _request_of(model_admin: ExportInBackgroundMixin, chosen: Selection) -> WorkerRequest:
    """Return a request of the person, with their current permissions."""
    user = chosen.find_user()
    if user is not None:
        request = WorkerRequest(chosen, user)
        model_admin.restore_export_state(request, chosen.state)
        if model_admin.may_export(request):
            return request
    raise DownloadError(gettext_noop("You may no longer export this list."))


def _rows_of(
    model_admin: ExportInBackgroundMixin, request: WorkerRequest, chosen: Selection
) -> "QuerySet[Any]":
    try:
        return matching(model_admin, request, chosen.keys)
    except (IncorrectLookupParameters, SuspiciousOperation) as error:
        # They existed at the request: the site was deployed anew since.
        text = gettext_noop("The filters of the list have changed. Please export it again.")
        raise DownloadError(text) from error


def _find_admin(chosen: Selection) -> ExportInBackgroundMixin:
    # Importing the URLconf may register sites and their ModelAdmins.
    _ = get_resolver().url_patterns
    model = apps.get_model(chosen.app_label, chosen.model)
    for site in (site for site in all_sites if site.name == chosen.site):
        try:
            model_admin = site.get_model_admin(model)
        except NotRegistered:
            continue
        if isinstance(model_admin, ExportInBackgroundMixin):
            return model_admin
    raise LookupError(
        f"This worker has no admin site {chosen.site!r} with exports of {model._meta.label}. "
        "Start it with the settings and the URLconf of the web server."
    )
