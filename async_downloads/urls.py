"""Include these under any path: ``path("async_downloads/", include("async_downloads.urls"))``."""

import uuid
from contextlib import suppress

from django.urls import path, register_converter
from django.urls.converters import UUIDConverter

from async_downloads import views

app_name = "async_downloads"


class DownloadKeyConverter(UUIDConverter):
    """A download key, in each form that the views take from a form field.

    Any other text stands for the key of no download, so that a view answers to it as to an
    unknown key: with JSON, for a client that wants JSON.
    """

    regex = "[^/]+"

    def to_python(self, value: str) -> uuid.UUID:
        """Return the key; that of no download for another text."""
        with suppress(ValueError):
            return uuid.UUID(value)
        return uuid.UUID(int=0)


register_converter(DownloadKeyConverter, "async_downloads_key")

urlpatterns = [
    path("ajax_update/", views.ajax_update, name="ajax_update"),
    path("ajax_clear_download/", views.ajax_clear_download, name="ajax_clear_download"),
    path("clear_finished/", views.clear_finished, name="clear_finished"),
    path("retry/", views.retry, name="retry"),
    path("keep/", views.keep, name="keep"),
    path("list/", views.download_list, name="download_list"),
    path("scripts/<str:name>", views.script, name="script"),
    path("openapi.json", views.openapi, name="openapi"),
    path("detail/<async_downloads_key:download_key>/", views.detail, name="detail"),
    path("download/<async_downloads_key:download_key>/", views.download, name="download"),
]
