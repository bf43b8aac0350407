"""The site as an ASGI application with the route that 0.6 documented, or without one."""

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application
from django.urls import re_path

http = ASGIStaticFilesHandler(get_asgi_application())

from async_downloads.ws_consumers import DownloadsConsumer  # noqa: E402 (it needs the apps)

urlpatterns = [
    re_path(r"ws/downloads/(?P<username>[\w.]+)/$", DownloadsConsumer.as_asgi()),
]

application = ProtocolTypeRouter(
    {"http": http, "websocket": AuthMiddlewareStack(URLRouter(urlpatterns))}
)

without_route = ProtocolTypeRouter({"http": http, "websocket": URLRouter([])})
