"""A real Apache, with the configuration that the documentation shows."""

import os
import re
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
from tests.faults.nginx import TRIES, free_port
from tests.faults.processes import Child, eventually
from tests.snippets import PAGES

__all__ = ["Apache", "parsed_by_apache"]

#: What a distribution has around the block of a site, with the modules that it needs.
AROUND: Final = """
ServerName localhost
ServerRoot {folder}
PidFile {folder}/httpd.pid
ErrorLog {folder}/error.log
Mutex default:{folder}
{user}
Listen 127.0.0.1:{port}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http_module {modules}/mod_proxy_http.so
LoadModule headers_module {modules}/mod_headers.so
LoadModule xsendfile_module {modules}/mod_xsendfile.so
{site}
"""


class Apache:
    """An Apache before a site, to be used in ``with``.

    Args:
        behind: The address of Django's server.
        media: The folder of the storage.
    """

    def __init__(self, behind: str, media: Path):
        self._behind, self._media = behind, media
        self._folder = Path(tempfile.mkdtemp(prefix="async-downloads-apache-"))
        self.address = ""

    def __enter__(self) -> Self:
        for _ in range(TRIES):
            self._port = free_port()
            self.address = f"http://127.0.0.1:{self._port}"
            self._child = self._start()
            eventually(self._listens_or_has_ended, why="an Apache that listens")
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
            error.add_note((self._folder / "error.log").read_text())
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
        block = PAGES["docs/how-to/web-server-and-storage.md"].snippet("<VirtualHost")
        for shown, here in (
            ("<VirtualHost *:80>", f"<VirtualHost 127.0.0.1:{self._port}>"),
            ("http://127.0.0.1:8000/", f"{self._behind}/"),
            ("/srv/shop/downloads", str(self._media)),
        ):
            assert block.count(shown) == 1, shown
            block = block.replace(shown, here)
        path = _written(block, self._folder, self._port)
        program = services.apache()
        assert program
        arguments = [program, "-f", str(path), "-D", "FOREGROUND"]
        return Child(arguments, env=os.environ, log=self._folder / "log")


def parsed_by_apache(block: str, folder: Path) -> None:
    """Have Apache read the block of a site, or skip the test without one.

    Args:
        block: The configuration.
        folder: Where the files of a server may lie.

    Raises:
        AssertionError: Apache does not understand it.
    """
    program = services.apache()
    if program is None:
        pytest.skip("no Apache with mod_xsendfile is installed")
    path = _written(re.sub(r"\*:80\b", "*:8080", block), folder, 8080)
    arguments = [program, "-t", "-f", str(path)]
    tested = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stderr


def _written(site: str, folder: Path, port: int) -> Path:
    path = folder / "httpd.conf"
    # As root it would hand its work to a user who may not read the folders of the tests.
    user = "User www-data\nGroup www-data" if os.geteuid() == 0 else ""
    modules = services.apache_modules()
    path.write_text(AROUND.format(folder=folder, user=user, port=port, modules=modules, site=site))
    return path
