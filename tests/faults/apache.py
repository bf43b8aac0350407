"""A real Apache, with the configuration that the documentation shows."""

import os
import re
from pathlib import Path
from typing import Final

import pytest

from tests import services
from tests.faults.reverse_proxy import ReverseProxy, check_syntax

__all__ = ["Apache", "parsed_by_apache"]

#: The configuration of a distribution around the block of a site, with the modules it needs.
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


class Apache(ReverseProxy):
    """An Apache in front of a site."""

    name = "apache"

    def command(self) -> list[str]:
        block = self.documented(
            "<VirtualHost",
            ("<VirtualHost *:80>", f"<VirtualHost 127.0.0.1:{self._port}>"),
            ("http://127.0.0.1:8000/", f"{self._behind}/"),
            ("/srv/shop/downloads", str(self._media)),
        )
        path = _written(block, self._folder, self._port)
        program = services.apache()
        assert program
        return [program, "-f", str(path), "-D", "FOREGROUND"]

    def log(self) -> str:
        return (self._folder / "error.log").read_text()


def parsed_by_apache(block: str, folder: Path) -> None:
    """Have Apache parse the block of a site; skip the test without an Apache.

    Args:
        block: The configuration.
        folder: A folder for the files of the server.

    Raises:
        AssertionError: The configuration has an error.
    """
    program = services.apache()
    if program is None:
        pytest.skip("no Apache with mod_xsendfile is installed")
    path = _written(re.sub(r"\*:80\b", "*:8080", block), folder, 8080)
    check_syntax([program, "-t", "-f", str(path)])


def _written(site: str, folder: Path, port: int) -> Path:
    path = folder / "httpd.conf"
    # Workers of a root server run as another user, who needs the right to read the storage.
    user = "User www-data\nGroup www-data" if os.geteuid() == 0 else ""
    modules = services.apache_modules()
    path.write_text(AROUND.format(folder=folder, user=user, port=port, modules=modules, site=site))
    return path
