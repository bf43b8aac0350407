"""A real nginx, with the configuration that the documentation shows."""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pytest

from tests import services
from tests.faults.client import Client
from tests.faults.processes import Child, eventually
from tests.snippets import PAGES

__all__ = ["TRIES", "Nginx", "free_port", "parsed_by_nginx"]

#: What a distribution has around the server's block; here, all that it writes is ours.
AROUND: Final = """
daemon off;
pid {folder}/nginx.pid;
{user}
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {server}
}}
"""

#: Ports that are tried: another process may take one before nginx does.
TRIES: Final = 5

#: The page that shows the configuration.
PAGE: Final = "docs/how-to/web-server-and-storage.md"


class Nginx:
    """An nginx before a site, to be used in ``with``.

    Args:
        behind: The address of Django's server.
        media: The folder of the storage.
        locations: The locations of another server's block than the page's.
    """

    def __init__(self, behind: str, media: Path, *, locations: str = ""):
        self._behind, self._media, self._locations = behind, media, locations
        self._folder = Path(tempfile.mkdtemp(prefix="async-downloads-nginx-"))
        self.address = ""

    def __enter__(self) -> Self:
        for _ in range(TRIES):
            self._port = free_port()
            self.address = f"http://127.0.0.1:{self._port}"
            self._child = self._start()
            eventually(self._listens_or_has_ended, why="an nginx that listens")
            if self._child.alive:
                return self
        raise AssertionError(self._child.log)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            error.add_note(self._child.log)
        self._child.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def client(self, username: str = "ada") -> Client:
        """Return a person who is signed in."""
        client = Client(self.address)
        assert client.get(f"/sign-in/{username}/").status == 200
        return client

    def _listens_or_has_ended(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1):
                return True
        except OSError:
            return not self._child.alive

    def _start(self) -> Child:
        path = self._folder / "nginx.conf"
        # As root it would hand its work to a user who may not read the folders of the tests.
        user = "user root;" if os.geteuid() == 0 else ""
        server = self._server()
        path.write_text(AROUND.format(folder=self._folder, user=user, server=server))
        program = services.nginx()
        assert program
        arguments = [program, "-p", str(self._folder), "-e", "stderr", "-c", str(path)]
        return Child(arguments, env=os.environ, log=self._folder / "log")

    def _server(self) -> str:
        """Return the page's block with the places of this site, or one with the locations given."""
        if self._locations:
            return f"server {{ listen 127.0.0.1:{self._port}; {self._locations} }}"
        block = PAGES[PAGE].snippet("    internal;")
        for shown, here in (
            ("listen 80;", f"listen 127.0.0.1:{self._port};"),
            ("http://127.0.0.1:8000;", f"{self._behind};"),
            ("alias /srv/shop/downloads/;", f"alias {self._media}/;"),
        ):
            assert block.count(shown) == 1, shown
            block = block.replace(shown, here)
        return str(block)


def parsed_by_nginx(server: str, folder: Path) -> None:
    """Have nginx read the block of a server, or skip the test without one.

    Args:
        server: The configuration.
        folder: Where the files of a server may lie.

    Raises:
        AssertionError: nginx does not understand it.
    """
    program = services.nginx()
    if program is None:
        pytest.skip("no nginx is installed")
    path = folder / "nginx.conf"
    # It binds the port, which only root may do with one below 1024.
    server = server.replace("listen 80;", "listen 127.0.0.1:8080;")
    path.write_text(AROUND.format(folder=folder, user="", server=server))
    arguments = [program, "-t", "-p", str(folder), "-e", "stderr", "-c", str(path)]
    tested = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stderr


def free_port() -> int:
    """Return a port that no process listens on just now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
