"""Free ports on the loopback address."""

import socket
from collections.abc import Iterator
from typing import Final

__all__ = ["HOST", "PORTS", "any_free_ports", "free_ports"]

HOST: Final = "127.0.0.1"

#: Ports that are tried, from the first one on.
PORTS: Final = 100


def free_ports(first: int) -> Iterator[int]:
    """Yield the free ports among ``PORTS`` ports."""
    return (port for port in range(first, min(first + PORTS, 65536)) if _is_free(port))


def any_free_ports(count: int) -> list[int]:
    """Return different ports that the system chooses."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _is_free(port: int) -> bool:
    with socket.socket() as candidate:
        # The web server sets it, too: a port that was in use a moment ago is free.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((HOST, port))
        except OSError:
            return False
        return True
