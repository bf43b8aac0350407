"""The processes of the demo on several machines, which are process groups here."""

import os
import time
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.core.management import call_command

from demo.servers import nginx
from demo.servers.logs import log_path
from demo.servers.ports import HOST, any_free_ports, free_ports
from demo.servers.prerequisites import LOCAL_S3
from demo.servers.supervisor import PYTHON, ServerError, Supervisor

__all__ = ["CLUSTERS", "Distributed"]

CLUSTERS: Final = ("cluster 1", "cluster 2")

#: Seconds in which S3 must answer.
S3_SECONDS: Final = 30.0


class Distributed(Supervisor):
    """Two web servers behind nginx, and two clusters.

    Args:
        first_port: As for ``Supervisor``.
        broker: The broker of the clusters, "orm" or "redis".

    Attributes:
        wsgi: The address of the WSGI server, without nginx.
        asgi: The address of the ASGI server, without nginx.
    """

    TITLE = "Two web servers behind nginx and two clusters"

    def __init__(self, first_port: int, broker: str) -> None:
        super().__init__(first_port)
        self.broker = self.environ["DEMO_BROKER"] = broker
        self.wsgi, self.asgi = (f"http://{HOST}:{port}/" for port in any_free_ports(2))
        self.notes = [
            f"A WSGI server answers at {self.wsgi}, an ASGI server at {self.asgi}. The tasks wait "
            f"in {'PostgreSQL' if broker == 'orm' else 'Redis'} (DEMO_BROKER).",
            f"The logs are in {log_path('nginx').parent}.",
        ]

    def start_cluster(self, name: str) -> None:
        """Start one of ``CLUSTERS``, for the first time or again."""
        self.launch(name, [*PYTHON, "demo.manage", "qcluster"])

    def deliveries(self, name: str) -> int:
        """Return how many exports a cluster has begun since its start."""
        try:
            lines = log_path(name).read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return 0
        return sum("processing" in line and "run_task" in line for line in lines)

    def _start(self) -> None:
        if port := os.environ.get(LOCAL_S3):
            self.launch("S3", [*PYTHON, "moto.server", "-H", HOST, "-p", port])
            self.notes.append("S3 is in memory: its files are gone when the demo stops.")
        call_command("collectstatic", interactive=False, verbosity=0)
        for name in CLUSTERS:
            self.start_cluster(name)
        self._start_web_servers()
        self._make_bucket()
        for name, address in (("WSGI server", self.wsgi), ("ASGI server", self.asgi)):
            if not self.wait_for_answer(name, address):
                raise ServerError(f"Another program has taken the port of the {name}: {address}")
        self._start_nginx()

    def _start_web_servers(self) -> None:
        gunicorn = ["gunicorn", "demo.wsgi", "--threads", "8"]
        # Two demos at once would share its control socket.
        gunicorn.append("--no-control-socket")
        self.launch("WSGI server", [*PYTHON, *gunicorn, "--bind", _netloc(self.wsgi)])
        uvicorn = ["uvicorn", "demo.asgi:application", "--lifespan", "off"]
        address = ("--host", HOST, "--port", _netloc(self.asgi).rpartition(":")[2])
        self.launch("ASGI server", [*PYTHON, *uvicorn, *address])

    def _start_nginx(self) -> None:
        program = nginx.find_nginx()
        if program is None:
            raise ServerError("nginx is not installed.")
        folder = Path(settings.VAR) / "nginx"
        for port in free_ports(self._first_port):
            servers = (_netloc(self.wsgi), _netloc(self.asgi))
            configuration = nginx.write_configuration(folder, port, *servers)
            options = ["-p", str(folder), "-e", "stderr", "-c", str(configuration)]
            self.launch("nginx", [program, *options])
            self.address = f"http://{HOST}:{port}/"
            if self.wait_for_answer("nginx", self.address):
                return
        raise self.no_port_error()

    def _make_bucket(self) -> None:
        """Wait for S3, and make the bucket unless it exists."""
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
                    raise ServerError(f"S3 refuses the bucket {bucket}: {error}") from error
                client.create_bucket(Bucket=bucket)
            except BotoCoreError as error:
                if time.monotonic() > deadline:
                    raise ServerError(f"S3 does not answer: {error}") from error
                time.sleep(0.2)


def _netloc(address: str) -> str:
    return address.removeprefix("http://").rstrip("/")
