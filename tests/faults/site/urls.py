"""The URLs of the site: the package's, and views to sign in and to start an export."""

from django.contrib import admin
from django.urls import include, path

from tests.faults.site import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("async_downloads/", include("async_downloads.urls")),
    path("sign-in/<str:username>/", views.sign_in),
    path("start/<str:task>/", views.start),
    path("start-path/<str:path>/", views.start_path),
    path("", views.home),
]
