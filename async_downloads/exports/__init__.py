"""Exports of the admin's lists and of django-import-export's Resources."""

from async_downloads.exports.mixin import ExportInBackgroundMixin
from async_downloads.exports.resources import export_resource

__all__ = ["ExportInBackgroundMixin", "export_resource"]
