"""A site that includes the package as its documentation says."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from tests.shop import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("async_downloads/", include("async_downloads.urls")),
    path("", views.home, name="home"),
    path("favicon.ico", views.favicon),
    path("with-htmx/", views.with_htmx, name="with_htmx"),
    path("with-htmx-4/", views.with_htmx, {"version": 4}, name="with_htmx_4"),
    path("as-0-6/", views.as_0_6, name="as_0_6"),
    path("as-0-6-own/", views.as_0_6_own),
    path("in-bootstrap/<int:version>/<str:theme>/", views.in_bootstrap, name="in_bootstrap"),
    path("in-an-engine/<int:version>/<str:direction>/<str:css>/", views.in_an_engine),
    path("in-a-framework/kept/worker.js", views.worker),
    path("in-a-framework/<str:framework>/", views.in_a_framework),
    path("two-centres/", views.two_centres),
    path("old.css", views.old_css, name="old_css"),
    path("out/", RedirectView.as_view(url="/admin/login/")),
    path("boosted/", views.boosted, {"strange": False}),
    path("strange/", views.boosted, {"strange": True}),
    path("with-htmx-config/", views.with_htmx_config),
    path("start/", views.start, name="start"),
    path("node/<path:path>", views.node_module, name="node_module"),
]
