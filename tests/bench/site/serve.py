"""Serve the measured site, sixteen requests at a time, and print the port."""

import os
from collections.abc import Callable, Iterable
from threading import BoundedSemaphore
from typing import Any

from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application


class Handler(WSGIRequestHandler):
    """A handler without access logs."""

    def log_message(self, *args: object) -> None:
        """Log nothing."""


class Server(ThreadedWSGIServer):
    """A server that queues more connections than Django's."""

    request_queue_size = 200


def limited(application: Any) -> Callable[[Any, Any], Iterable[bytes]]:
    """Return the application with a limit of requests, as databases limit connections."""
    slots = BoundedSemaphore(16)

    def answer(environ: Any, start_response: Any) -> Iterable[bytes]:
        with slots:
            response = application(environ, start_response)
            try:
                return list(response)
            finally:
                response.close()

    return answer


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench_settings"
    server = Server(("127.0.0.1", 0), Handler)
    server.set_app(limited(get_wsgi_application()))
    print(server.server_port, flush=True)
    server.serve_forever()
