"""Include these under any path: ``path("async_downloads/", include("async_downloads.urls"))``."""

from django.urls import path

from async_downloads import views

app_name = "async_downloads"

urlpatterns = [
    path("ajax_update/", views.ajax_update, name="ajax_update"),
    path("ajax_clear_download/", views.ajax_clear_download, name="ajax_clear_download"),
    path("clear_finished/", views.clear_finished, name="clear_finished"),
    path("retry/", views.retry, name="retry"),
    path("keep/", views.keep, name="keep"),
    path("list/", views.download_list, name="download_list"),
    path("scripts/<str:name>", views.script, name="script"),
    path("openapi.json", views.openapi, name="openapi"),
    path("detail/<uuid:download_key>/", views.detail, name="detail"),
    path("download/<uuid:download_key>/", views.download, name="download"),
]
