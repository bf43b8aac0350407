"""A real browser resumes an interrupted download by itself."""

import os
import re
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from django.conf import settings as project_settings
from playwright.sync_api import Page

from async_downloads.models import Download
from tests.factories import DownloadFactory

pytestmark = pytest.mark.django_db(transaction=True)

MEGABYTE: Final = 1 << 20


class BreakingProxy(socketserver.ThreadingTCPServer):
    """A proxy that closes the connection in the middle of each whole file.

    Attributes:
        requests: The requests for files, with their headers.
    """

    daemon_threads = True

    def __init__(self, behind: str):
        super().__init__(("127.0.0.1", 0), Connection)
        self.behind = urlsplit(behind)
        self.requests: list[str] = []

    @property
    def address(self) -> str:
        """Return the address of the proxy."""
        return f"http://localhost:{self.server_address[1]}"


class Connection(socketserver.BaseRequestHandler):
    """One connection, for one request."""

    server: BreakingProxy

    def handle(self) -> None:
        """Forward the request, and the part of the response before the break."""
        request = self.request.recv(1 << 16).replace(b": keep-alive", b": close")
        if not request:
            return
        is_file = b"/download/" in request.partition(b"\r\n")[0]
        if is_file:
            self.server.requests.append(request.decode())
        limit = MEGABYTE if is_file and b"\r\nRange:" not in request else float("inf")
        address = self.server.behind.hostname, self.server.behind.port
        with socket.create_connection(address) as behind:
            behind.sendall(request)
            sent = 0
            while sent < limit and (piece := behind.recv(1 << 16)):
                self.request.sendall(piece)
                sent += len(piece)


@pytest.fixture
def proxy(live_server: Any) -> Iterator[BreakingProxy]:
    with BreakingProxy(live_server.url) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        yield proxy
        proxy.shutdown()
        thread.join()


def test_the_browser_continues_with_a_range_of_the_same_content(
    page: Page, proxy: BreakingProxy, shared_cache: str, user: Any
) -> None:
    download: Download = DownloadFactory(collection__user=user, complete=True)
    content = os.urandom(2 * MEGABYTE)
    Path(project_settings.MEDIA_ROOT, download.filepath).write_bytes(content)
    page.goto(f"{proxy.address}/async_downloads/list/")
    with page.expect_download() as started:
        page.get_by_role("link", name=download.name, exact=True).click()
    assert started.value.failure() is None
    assert Path(started.value.path()).read_bytes() == content
    first, second = proxy.requests
    assert "\r\nRange:" not in first
    assert re.search(r"\r\nRange: bytes=\d{6,}-\r\n", second)
    assert re.search(r'\r\nIf-Range: ".+"\r\n', second)
