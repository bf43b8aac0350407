"""nginx in front of the web servers: find the program, and write its configuration."""

import os
import re
import shutil
from pathlib import Path
from typing import Final

from django.conf import settings

from demo.servers.ports import HOST

__all__ = ["find_nginx", "write_configuration"]

#: The configuration that people read and copy.
EXAMPLE: Final = Path(__file__).parents[1] / "nginx.conf"

#: A distribution has this around the blocks of the example. Only its last directive
#: matters: a header names the server that has answered.
FRAME: Final = """
daemon off;
pid {folder}/nginx.pid;
{user}
events {{}}
http {{
    include {folder}/mime.types;
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    add_header X-Served-By $upstream_addr always;
    {blocks}
}}
"""

MIME_TYPES: Final = """
types { text/css css; text/javascript js; image/svg+xml svg; image/png png; font/woff2 woff2; }
"""


def find_nginx() -> str | None:
    """Return the path of nginx, or None. Its folder is not always in ``PATH``."""
    return shutil.which("nginx") or shutil.which("/usr/sbin/nginx")


def write_configuration(folder: Path, port: int, wsgi: str, asgi: str) -> Path:
    """Write the example with the addresses and folders of this demo.

    Args:
        folder: The folder for the configuration and the temporary files.
        port: The port of nginx.
        wsgi: Host and port of the WSGI server.
        asgi: Host and port of the ASGI server.

    Returns:
        The path of the configuration.

    Raises:
        ValueError: The example lacks a line that is replaced.
    """
    blocks = EXAMPLE.read_text()
    for pattern, replacement in (
        (r"listen 443 ssl;", f"listen {HOST}:{port};"),
        (r"server_name [^;]+;", f"server_name {HOST} localhost;"),
        (r"ssl_certificate [^;]+;", ""),
        (r"ssl_certificate_key [^;]+;", ""),
        (r"10\.0\.0\.11:8000;", f"{wsgi};"),
        (r"10\.0\.0\.12:8000;", f"{asgi};"),
        (r"alias [^;]+;", f"alias {settings.STATIC_ROOT}/;"),
    ):
        blocks, count = re.subn(pattern, replacement, blocks)
        if not count:
            raise ValueError(f"{EXAMPLE.name} has nothing that matches {pattern}")
    folder.mkdir(exist_ok=True)
    (folder / "mime.types").write_text(MIME_TYPES)
    # Started by root, nginx would use another user, who cannot read the folders of the demo.
    user = "user root;" if os.geteuid() == 0 else ""
    path = folder / "nginx.conf"
    path.write_text(FRAME.format(folder=folder, user=user, blocks=blocks))
    return path
