"""Which handshakes a real server accepts, and how it ends."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.faults.conftest import needs
from tests.faults.harness import Server, Site
from tests.pace import LONGEST_WAIT


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server whose ``ALLOWED_HOSTS`` allow any host, so that the package has to decide."""
    needs("proc")
    layer = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    settings = {"ASYNC_DOWNLOADS_WS_MODE": True, "CHANNEL_LAYERS": layer}
    with Site(**settings) as site, site.server(asgi=True) as server:
        yield server


def handshake(server: Server, path: str = "/ws/downloads/", **headers: str) -> int:
    """Request a websocket, and return the status of the answer."""
    host = urlsplit(server.address)
    sent = {
        "Host": host.netloc,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        **headers,
    }
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
    address = host.hostname or "", host.port or 0
    with socket.create_connection(address, timeout=LONGEST_WAIT) as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return int(connection.makefile("rb").readline().split()[1])


@pytest.fixture(scope="module")
def cookie(server: Server) -> str:
    """The session cookie of ada."""
    return f"sessionid={server.client('ada').cookie('sessionid')}"


@pytest.mark.parametrize("path", ["/ws/downloads/", "/ws/downloads/ada/"])
def test_a_user_is_accepted_from_a_page_of_the_site(server: Server, cookie: str, path: str) -> None:
    assert handshake(server, path, Cookie=cookie, Origin=server.address) == 101


def test_a_foreign_origin_is_refused(server: Server, cookie: str) -> None:
    assert handshake(server, Cookie=cookie, Origin="https://evil.example.com") == 403
    assert handshake(server, Cookie=cookie, Origin="null") == 403


def test_the_name_of_another_user_in_the_path_is_refused(server: Server, cookie: str) -> None:
    server.client("grace")
    assert handshake(server, "/ws/downloads/grace/", Cookie=cookie, Origin=server.address) == 403


def test_a_visitor_is_refused(server: Server) -> None:
    assert handshake(server, Origin=server.address) == 403


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
def test_a_server_ends_by_sigterm_while_sockets_are_open(kind: str) -> None:
    needs("proc")
    layer = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    settings = {"ASYNC_DOWNLOADS_WS_MODE": True, "CHANNEL_LAYERS": layer}
    with Site(**settings) as site, site.server(kind=kind) as server, ExitStack() as stack:
        cookie = f"sessionid={server.client('ada').cookie('sessionid')}"
        address = f"{server.address.replace('http', 'ws')}/ws/downloads/"
        sockets = [
            stack.enter_context(connect(address, additional_headers={"Cookie": cookie}))
            for _ in range(20)
        ]
        for each in sockets:
            assert 'data-count="0"' in str(each.recv(LONGEST_WAIT))
        server.terminate()
        server.wait()
        for each in sockets:
            with pytest.raises(ConnectionClosed):
                each.recv(LONGEST_WAIT)
        # Daphne ends without a word.
        assert {each.close_code for each in sockets} == {1012 if kind == "uvicorn" else 1006}
        assert "Traceback" not in server.log
