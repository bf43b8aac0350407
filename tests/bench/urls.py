"""The URLs of the site of the fault tests, with the static files that a browser needs."""

from django.contrib.staticfiles.views import serve
from django.urls import path

from tests.faults.site.urls import urlpatterns as site_urlpatterns

urlpatterns = [*site_urlpatterns, path("static/<path:path>", serve, {"insecure": True})]
