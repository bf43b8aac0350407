"""The processes of the demo on one machine: a web server and a cluster."""

from demo.servers.ports import HOST, free_ports
from demo.servers.supervisor import PYTHON, Supervisor

__all__ = ["SingleMachine"]


class SingleMachine(Supervisor):
    """A web server and a cluster."""

    TITLE = "The web server and the cluster"

    def _start(self) -> None:
        self.launch("cluster", [*PYTHON, "demo.manage", "qcluster"])
        for port in free_ports(self._first_port):
            # "--insecure" serves static files although DEBUG is off.
            command = ["demo.manage", "runserver", "--noreload", "--insecure", f"{HOST}:{port}"]
            self.launch("web server", [*PYTHON, *command])
            self.address = f"http://{HOST}:{port}/"
            if self.wait_for_answer("web server", self.address):
                return
        raise self.no_port_error()
