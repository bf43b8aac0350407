"""A user with a slow connection, who fetches a large file."""

import re
import socket
from typing import Final, Self
from urllib.parse import urlsplit

from tests.faults.client import Client
from tests.pace import LONGEST_WAIT

__all__ = ["SlowClient"]

#: Bytes that the system buffers before the test reads them; few, so that the server has to wait.
BUFFER_BYTES: Final = 1 << 16


class SlowClient:
    """A connection from which the test reads an answer piece by piece.

    Attributes:
        headers: The status line and the headers.
        length: The bytes of the body, according to the headers.
        received: The bytes of the body that have been read.
    """

    def __init__(self, client: Client, path: str, **headers: str):
        url = urlsplit(client.address)
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._socket.settimeout(LONGEST_WAIT)
        self._socket.connect((url.hostname, url.port))
        sent = {
            "Host": url.netloc,
            "Cookie": f"sessionid={client.cookie('sessionid')}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self.headers, body = self._read_headers()
        self.length = int(re.findall(r"(?i)content-length: (\d+)", self.headers)[0])
        self.received = len(body)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def read(self, count: int) -> None:
        """Read this many bytes more, or all that are left."""
        end = min(self.received + count, self.length)
        while self.received < end:
            piece = self._socket.recv(min(BUFFER_BYTES, end - self.received))
            assert piece, f"The connection has ended after {self.received} of {self.length} bytes."
            self.received += len(piece)

    def _read_headers(self) -> tuple[str, bytes]:
        answer = b""
        while b"\r\n\r\n" not in answer:
            piece = self._socket.recv(BUFFER_BYTES)
            assert piece, f"The connection has ended: {answer!r}"
            answer += piece
        head, _, body = answer.partition(b"\r\n\r\n")
        return head.decode(), body
