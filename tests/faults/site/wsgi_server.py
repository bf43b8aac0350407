"""Serve the site over WSGI: ``python -m tests.faults.site.wsgi_server [--one-thread]``.

Each request gets its own thread, or all share one. The server prints its port.
"""

import sys

from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler, WSGIServer
from django.core.wsgi import get_wsgi_application

if __name__ == "__main__":
    kind = WSGIServer if "--one-thread" in sys.argv else ThreadedWSGIServer
    server = kind(("127.0.0.1", 0), WSGIRequestHandler)
    server.set_app(get_wsgi_application())
    print(f"Listening at 127.0.0.1:{server.server_port}", flush=True)  # noqa: T201 (the harness reads it)
    server.serve_forever()
