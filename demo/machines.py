"""A distributed shop, with a process group for each of its machines."""

import os
import re
import socket
import time
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.core.management import call_command

from demo import surroundings
from demo.children import HOST, PYTHON, Children, ServiceError, free_ports, log_path

__all__ = ["CLUSTERS", "Machines"]

CLUSTERS: Final = ("cluster 1", "cluster 2")

#: What a distribution has around the servers' blocks. The last line is for whoever wants to
#: know which server has answered.
AROUND: Final = """
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

S3_SECONDS: Final = 30.0


class Machines(Children):
    """Two web servers behind nginx, and two clusters.

    Args:
        first_port: As for all ``Children``.
        broker: What the clusters are given their tasks by, "orm" or "redis".

    Attributes:
        wsgi: The address of the WSGI server itself, past nginx.
        asgi: The same of the ASGI server.
    """

    TITLE = "Two web servers behind nginx and two clusters"

    def __init__(self, first_port: int, broker: str) -> None:
        super().__init__(first_port)
        self.broker = self.environ["DEMO_BROKER"] = broker
        self.wsgi, self.asgi = (f"http://{HOST}:{port}/" for port in _two_ports())
        self.notes = [
            f"A WSGI server answers at {self.wsgi}, an ASGI server at {self.asgi}; the tasks are "
            f"in {'PostgreSQL' if broker == 'orm' else 'Redis'} (DEMO_BROKER).",
            f"Their logs are in {log_path('nginx').parent}.",
        ]

    def start_cluster(self, name: str) -> None:
        """Start one of ``CLUSTERS``, for the first time or again."""
        self.launch(name, [*PYTHON, "demo.manage", "qcluster"])

    def deliveries(self, name: str) -> int:
        """Return how many exports a cluster has taken up since it was started."""
        try:
            lines = log_path(name).read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return 0
        return sum("processing" in line and "run_task" in line for line in lines)

    def _start(self) -> None:
        if port := os.environ.get(surroundings.LOCAL_S3):
            self.launch("S3", [*PYTHON, "moto.server", "-H", HOST, "-p", port])
            self.notes.append("S3 is in memory here: its files go with it.")
        call_command("collectstatic", interactive=False, verbosity=0)
        for name in CLUSTERS:
            self.start_cluster(name)
        gunicorn = ["gunicorn", "demo.wsgi", "--threads", "8"]
        # Two demos at once would share its control socket.
        gunicorn.append("--no-control-socket")
        self.launch("WSGI server", [*PYTHON, *gunicorn, "--bind", _netloc(self.wsgi)])
        uvicorn = ["uvicorn", "demo.asgi:application", "--lifespan", "off"]
        place = ("--host", HOST, "--port", _netloc(self.asgi).rpartition(":")[2])
        self.launch("ASGI server", [*PYTHON, *uvicorn, *place])
        self._make_bucket()
        for name, address in (("WSGI server", self.wsgi), ("ASGI server", self.asgi)):
            if not self.answers(name, address):
                raise ServiceError(f"The port of the {name} was taken: {address}")
        self._start_nginx()

    def _start_nginx(self) -> None:
        program = surroundings.nginx()
        if program is None:
            raise ServiceError("nginx is not installed.")
        folder = Path(settings.VAR) / "nginx"
        folder.mkdir(exist_ok=True)
        (folder / "mime.types").write_text(MIME_TYPES)
        for port in free_ports(self._first_port):
            (folder / "nginx.conf").write_text(self._configuration(folder, port))
            options = ["-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
            self.launch("nginx", [program, *options])
            self.address = f"http://{HOST}:{port}/"
            if self.answers("nginx", self.address):
                return
        raise self.no_port()

    def _configuration(self, folder: Path, port: int) -> str:
        """Return the configuration that is shown to people, with the places of this demo."""
        blocks = Path(__file__).with_name("nginx.conf").read_text()
        for shown, here in (
            (r"listen 443 ssl;", f"listen {HOST}:{port};"),
            (r"server_name [^;]+;", f"server_name {HOST} localhost;"),
            (r"ssl_certificate [^;]+;", ""),
            (r"ssl_certificate_key [^;]+;", ""),
            (r"10\.0\.0\.11:8000;", f"{_netloc(self.wsgi)};"),
            (r"10\.0\.0\.12:8000;", f"{_netloc(self.asgi)};"),
            (r"alias [^;]+;", f"alias {settings.STATIC_ROOT}/;"),
        ):
            blocks, count = re.subn(shown, here, blocks)
            if not count:
                raise ServiceError(f"demo/nginx.conf has nothing like {shown}")
        # As root it would hand its work to somebody who may not read the folders of this demo.
        user = "user root;" if os.geteuid() == 0 else ""
        return AROUND.format(folder=folder, user=user, blocks=blocks)

    def _make_bucket(self) -> None:
        """Make the bucket if it is not there, as soon as S3 answers."""
        bucket = settings.STORAGES["downloads"]["OPTIONS"]["bucket_name"]
        client: Any = boto3.client("s3")
        deadline = time.monotonic() + S3_SECONDS
        while True:
            self.watch()
            try:
                client.head_bucket(Bucket=bucket)
                return
            except ClientError as error:
                if error.response["Error"]["Code"] != "404":
                    raise ServiceError(f"S3 refuses the bucket {bucket}: {error}") from error
                client.create_bucket(Bucket=bucket)
            except BotoCoreError as error:
                if time.monotonic() > deadline:
                    raise ServiceError(f"S3 does not answer: {error}") from error
                time.sleep(0.2)


def _two_ports() -> tuple[int, int]:
    """Return two ports that nobody listens at just now."""
    with socket.socket() as one, socket.socket() as other:
        one.bind((HOST, 0))
        other.bind((HOST, 0))
        return one.getsockname()[1], other.getsockname()[1]


def _netloc(address: str) -> str:
    return address.removeprefix("http://").rstrip("/")
