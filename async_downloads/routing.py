"""Websocket routes: ``URLRouter(async_downloads.routing.websocket_urlpatterns)``."""

from django.urls import re_path

from async_downloads.ws_consumers import DownloadsConsumer

__all__ = ["websocket_urlpatterns"]

websocket_urlpatterns = [
    re_path(r"^ws/downloads/(?:(?P<username>[^/]+)/)?$", DownloadsConsumer.as_asgi()),
]
