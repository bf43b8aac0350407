"""Checks of the ModelAdmins with exports."""

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error
from django.core.exceptions import FieldDoesNotExist

__all__ = ["check_export_fields"]


def check_export_fields(**_: Any) -> Iterator[CheckMessage]:
    """E015: ``export_fields`` names what is not a column."""
    if not apps.is_installed("django.contrib.admin"):
        return
    from django.contrib.admin.sites import all_sites

    from async_downloads.exports import ExportInBackgroundMixin

    for site in all_sites:
        for model_admin in site._registry.values():
            if isinstance(model_admin, ExportInBackgroundMixin):
                yield from _of_admin(model_admin)


def _of_admin(model_admin: Any) -> Iterator[CheckMessage]:
    from async_downloads.exports.changelist_columns import Columns
    from async_downloads.exports.offers import expanded

    fields = model_admin.export_fields
    name = type(model_admin).__name__
    if not isinstance(fields, (list, tuple)):
        yield _error(f"{name}.export_fields is {fields!r}, which is not a list or tuple.")
        return
    for field in fields:
        try:
            Columns(model_admin, expanded(model_admin, [field])).header  # noqa: B018 (raises)
        except (AttributeError, FieldDoesNotExist):
            yield _error(f"{name}.export_fields names {field!r}, which is not a column.")


def _error(text: str) -> CheckMessage:
    return Error(
        text,
        hint='Name columns as in list_display, "*" for all fields of the model, or '
        '"customer__*" for those of the related model.',
        id="async_downloads.E015",
    )
