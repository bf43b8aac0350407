"""The URLs of a site for 0.6."""

from django.urls import include, path
from django.views.generic import TemplateView

urlpatterns = [
    path("", TemplateView.as_view(template_name="home.html")),
    path("async_downloads/", include("async_downloads.urls")),
]
