"""Exports of what a site has already: lists of its admin, Resources of django-import-export."""

from async_downloads.exports.mixin import ExportInBackgroundMixin
from async_downloads.exports.resources import export_resource

__all__ = ["ExportInBackgroundMixin", "export_resource"]
