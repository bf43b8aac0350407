"""The home page and its buttons."""

from django.urls import path

from demo.shop import views

urlpatterns = [
    path("", views.home, name="home"),
    path("exports/<slug:slug>/", views.start_export, name="start_export"),
]
