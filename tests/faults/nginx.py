"""A real nginx, with the configuration that the documentation shows."""

import os
from pathlib import Path
from typing import Final

import pytest

from tests import services
from tests.faults.reverse_proxy import ReverseProxy, check_syntax

__all__ = ["Nginx", "parsed_by_nginx"]

#: The configuration around the block of a server; nginx writes to our folder alone.
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


class Nginx(ReverseProxy):
    """An nginx in front of a site.

    Args:
        behind: The address of Django's server.
        media: The folder of the storage.
        locations: The locations of a server block, instead of the block on the page.
    """

    name = "nginx"

    def __init__(self, behind: str, media: Path, *, locations: str = ""):
        super().__init__(behind, media)
        self._locations = locations

    def command(self) -> list[str]:
        # Workers of a root server run as another user otherwise, who may not read the storage.
        user = "user root;" if os.geteuid() == 0 else ""
        program = services.nginx()
        assert program
        path = _written(self._server(), self._folder, user)
        return [program, "-p", str(self._folder), "-e", "stderr", "-c", str(path)]

    def _server(self) -> str:
        if self._locations:
            return f"server {{ listen 127.0.0.1:{self._port}; {self._locations} }}"
        return self.documented(
            "    internal;",
            ("listen 80;", f"listen 127.0.0.1:{self._port};"),
            ("http://127.0.0.1:8000;", f"{self._behind};"),
            ("alias /srv/shop/downloads/;", f"alias {self._media}/;"),
        )


def parsed_by_nginx(server: str, folder: Path) -> None:
    """Have nginx parse the block of a server; skip the test without an nginx.

    Args:
        server: The configuration.
        folder: A folder for the files of the server.

    Raises:
        AssertionError: The configuration has an error.
    """
    program = services.nginx()
    if program is None:
        pytest.skip("no nginx is installed")
    # The check binds the port, and only root may bind one below 1024.
    path = _written(server.replace("listen 80;", "listen 127.0.0.1:8080;"), folder)
    check_syntax([program, "-t", "-p", str(folder), "-e", "stderr", "-c", str(path)])


def _written(server: str, folder: Path, user: str = "") -> Path:
    path = folder / "nginx.conf"
    path.write_text(AROUND.format(folder=folder, user=user, server=server))
    return path
