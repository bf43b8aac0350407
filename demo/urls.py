"""The shop, its sign-in page, the downloads and the admin."""

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from demo.shop.people import SIGN_INS

urlpatterns = [
    path("", include("demo.shop.urls")),
    path(
        "sign-in/",
        LoginView.as_view(
            # A public server does not show passwords.
            extra_context={
                "run": settings.RUN,
                "sign_ins": SIGN_INS if settings.SHOW_SIGN_INS else (),
            },
            redirect_authenticated_user=True,
        ),
        name="login",
    ),
    path("sign-out/", LogoutView.as_view(), name="logout"),
    path("async_downloads/", include("async_downloads.urls")),
    path("admin/", admin.site.urls),
]

if getattr(settings, "ASYNC_DOWNLOADS_METRICS", ""):
    from demo.shop.metrics import metrics

    urlpatterns.append(path("metrics/", metrics))
