"""The web server and the cluster of one machine."""

from demo.children import HOST, PYTHON, Children, free_ports

__all__ = ["Services"]


class Services(Children):
    """Both of them."""

    TITLE = "The web server and the cluster"

    def _start(self) -> None:
        self.launch("cluster", [*PYTHON, "demo.manage", "qcluster"])
        for port in free_ports(self._first_port):
            command = ["demo.manage", "runserver", "--noreload", f"{HOST}:{port}"]
            self.launch("web server", [*PYTHON, *command])
            self.address = f"http://{HOST}:{port}/"
            if self.answers("web server", self.address):
                return
        raise self.no_port()
