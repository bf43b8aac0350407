"""A site that includes the package as its documentation says."""

from django.contrib import admin
from django.urls import include, path

from tests.shop import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("async_downloads/", include("async_downloads.urls")),
    path("", views.home, name="home"),
    path("favicon.ico", views.favicon),
    path("with-htmx/", views.with_htmx, name="with_htmx"),
    path("as-0-6/", views.as_0_6, name="as_0_6"),
]
