"""A webhook of another service."""

import hashlib
import hmac
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from async_downloads import cache, signals
from async_downloads.models import Download
from tests import queues
from tests.docs.helpers import executed
from tests.snippets import PAGES

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]

PAGE = "docs/how-to/webhooks.md"

WEBHOOKS = PAGES[PAGE]

COVERED = {
    "WEBHOOK_URL =": "test_the_service_gets_a_signed_event_of_a_file",
    "def queue_webhook": "test_the_service_gets_a_signed_event_of_a_file",
    "class OrdersConfig": "test_the_service_gets_a_signed_event_of_a_file",
}


class Service(HTTPServer):
    """The other service, which keeps what it gets."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 204
        self.requests: list[tuple[dict[str, str], bytes]] = []


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((dict(self.headers), body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Write no log."""


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def connected(
    quick_start: Any, settings: Any, service: Service, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """The receiver, which its import connects, and the settings of the page."""
    for name, value in executed(WEBHOOKS.snippet("WEBHOOK_URL =")).items():
        if name.isupper():
            setattr(settings, name, value)
    settings.WEBHOOK_URL = f"http://127.0.0.1:{service.server_port}/downloads"
    webhooks = quick_start("orders.webhooks", WEBHOOKS.placed("def queue_webhook"))
    # django-q2 finds the task as an attribute of the package.
    monkeypatch.setattr(sys.modules["orders"], "webhooks", webhooks, raising=False)
    apps = quick_start("orders.apps", WEBHOOKS.placed("class OrdersConfig"))
    apps.__file__ = __file__
    apps.OrdersConfig("orders", apps).ready()
    yield
    for signal in (signals.download_completed, signals.download_failed):
        signal.disconnect(webhooks.queue_webhook)


def events(service: Service) -> list[Any]:
    return [json.loads(body) for _, body in service.requests]


def test_the_service_gets_a_signed_event_of_a_file(
    user: Any, service: Service, settings: Any
) -> None:
    _, key = cache.init_download(user, "orders.csv", "Open orders")
    cache.save_download(key, [["a"]], header=["b"])
    assert service.requests == [], "the export does not wait for the service"
    (task,) = queues.run_waiting()
    assert task["success"], task["result"]
    ((headers, body),) = service.requests
    secret = settings.WEBHOOK_SECRET.encode()
    signature = hmac.new(secret, body, hashlib.sha256).hexdigest()
    assert headers["X-Signature"] == f"sha256={signature}"
    finished_at = Download.objects.get().finished_at
    assert finished_at is not None
    assert events(service) == [
        {
            "id": f"{key} {finished_at.isoformat()}",
            "download_key": key,
            "state": "complete",
            "name": "Open orders",
            "rows": 1,
            "bytes": 4,
            "error": "",
        }
    ]


def test_a_failure_is_an_event_too(user: Any, service: Service) -> None:
    _, key = cache.init_download(user, "orders.csv")
    cache.set_error(key, "Choose a shorter period.")
    queues.run_waiting()
    (event,) = events(service)
    assert (event["state"], event["error"]) == ("failed", "Choose a shorter period.")


def test_a_service_that_refuses_lets_the_task_fail_and_the_download_stand(
    user: Any, service: Service
) -> None:
    service.status = 503
    _, key = cache.init_download(user, "orders.csv")
    cache.save_download(key, [["a"]])
    (task,) = queues.run_waiting()
    assert not task["success"]
    assert Download.objects.get(pk=key).complete
