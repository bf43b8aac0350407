"""Serve the site that is measured, a thread for each connection; prints its port."""

import os

from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application


class Handler(WSGIRequestHandler):
    """Without a line of the log for each request."""

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class Server(ThreadedWSGIServer):
    """For more people at once than Django's own server queues."""

    request_queue_size = 200


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench_settings"
    server = Server(("127.0.0.1", 0), Handler)
    server.set_app(get_wsgi_application())
    print(server.server_port, flush=True)
    server.serve_forever()
