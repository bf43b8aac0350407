"""Serve the site over WSGI, a thread for each request: ``python -m tests.faults.site.wsgi_server``.

The port is any that is free, and printed.
"""

from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application

if __name__ == "__main__":
    server = ThreadedWSGIServer(("127.0.0.1", 0), WSGIRequestHandler)
    server.set_app(get_wsgi_application())
    print(f"Listening at 127.0.0.1:{server.server_port}", flush=True)  # noqa: T201 (it is read)
    server.serve_forever()
