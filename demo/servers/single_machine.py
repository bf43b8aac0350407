"""The processes of the demo on one machine: a web server and a cluster."""

import shutil
from pathlib import Path

from django.conf import settings

from demo.servers.ports import HOST, free_ports
from demo.servers.supervisor import PYTHON, Supervisor

__all__ = ["SingleMachine"]


class SingleMachine(Supervisor):
    """A web server and a cluster."""

    TITLE = "The web server and the cluster"

    def _start(self) -> None:
        self._share_metrics()
        self.launch("cluster", [*PYTHON, "demo.manage", "qcluster"])
        for port in free_ports(self._first_port):
            # "--insecure" serves static files although DEBUG is off.
            command = ["demo.manage", "runserver", "--noreload", "--insecure", f"{HOST}:{port}"]
            self.launch("web server", [*PYTHON, *command])
            self.address = f"http://{HOST}:{port}/"
            if self.wait_for_answer("web server", self.address):
                return
        raise self.no_port_error()

    def _share_metrics(self) -> None:
        """Make an empty folder, in which all processes count for ``/metrics/``."""
        if settings.METRICS_INSTALLED:
            folder = Path(settings.VAR) / "metrics"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            self.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
