"""A person on a slow line, who has asked for a large file."""

import re
import socket
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from tests.faults.client import Client
from tests.pace import LONGEST_WAIT

__all__ = ["SlowClient"]

#: What the system keeps of what was not read yet; little, so that the server notices.
BUFFER_BYTES: Final = 1 << 16


class SlowClient:
    """A connection from which an answer is read as slowly as the test likes.

    Attributes:
        headers: The status line and the headers.
        length: The bytes of the body, as the headers tell.
        received: The bytes of it that were read so far.
    """

    def __init__(self, person: Client, path: str, **headers: str):
        url = urlsplit(person.address)
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._socket.settimeout(LONGEST_WAIT)
        self._socket.connect((url.hostname, url.port))
        told = {
            "Host": url.netloc,
            "Cookie": f"sessionid={person.cookie('sessionid')}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items())]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self.headers, body = self._read_headers()
        self.length = int(re.findall(r"(?i)content-length: (\d+)", self.headers)[0])
        self.received = len(body)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    def read(self, count: int) -> None:
        """Read so many bytes more, or what there is until the end."""
        wanted = min(self.received + count, self.length)
        while self.received < wanted:
            piece = self._socket.recv(min(BUFFER_BYTES, wanted - self.received))
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
