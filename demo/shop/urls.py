"""The home page and its buttons, and a page that does the same by JSON."""

from django.urls import path

from demo.shop import spa, views

urlpatterns = [
    path("", views.home, name="home"),
    path("exports/", views.export_states, name="export_states"),
    path("exports/<slug:slug>/", views.start_export, name="start_export"),
    path("spa/", spa.page, name="spa"),
    path("spa/exports/", spa.exports, name="spa_exports"),
    path("spa/exports/<slug:slug>/", spa.start_by_json, name="spa_start"),
]
