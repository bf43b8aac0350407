"""A real web server in front of Django, with the configuration that the documentation shows."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final, Self

from tests.faults.client import Client
from tests.faults.processes import Child, eventually, free_port
from tests.snippets import PAGES

__all__ = ["PAGE", "ReverseProxy", "check_syntax"]

#: Ports that are tried: another process may take one before the server does.
PORTS_TO_TRY: Final = 5

#: The page that shows the configurations.
PAGE: Final = "docs/how-to/web-server-and-storage.md"


class ReverseProxy:
    """A web server in front of a site, to be used in ``with``.

    Args:
        behind: The address of Django's server.
        media: The folder of the storage.
    """

    name: ClassVar[str]

    def __init__(self, behind: str, media: Path):
        self._behind, self._media = behind, media
        self._folder = Path(tempfile.mkdtemp(prefix=f"async-downloads-{self.name}-"))
        self.address = ""

    def __enter__(self) -> Self:
        for _ in range(PORTS_TO_TRY):
            self._port = free_port()
            self.address = f"http://127.0.0.1:{self._port}"
            log = self._folder / "log"
            self._child = Child(self.command(), env=os.environ, log=log)
            eventually(self._listens_or_has_ended, why=f"{self.name} to listen")
            if self._child.alive:
                return self
        raise AssertionError(self._child.log)

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            error.add_note(self.log())
        self._child.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def command(self) -> list[str]:
        """Write the configuration, and return the command that runs the server."""
        raise NotImplementedError

    def log(self) -> str:
        """Return what the server has logged."""
        return self._child.log

    def client(self, username: str = "ada") -> Client:
        """Return a client of a user who is signed in."""
        client = Client(self.address)
        assert client.get(f"/sign-in/{username}/").status == 200
        return client

    def documented(self, mark: str, *changes: tuple[str, str]) -> str:
        """Return the block of the page that contains a mark, with the values of this site.

        Args:
            mark: A text that only this block contains.
            *changes: Values on the page, and those of this site.
        """
        block: str = PAGES[PAGE].snippet(mark)
        for shown, actual in changes:
            assert block.count(shown) == 1, shown
            block = block.replace(shown, actual)
        return block

    def _listens_or_has_ended(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1):
                return True
        except OSError:
            return not self._child.alive


def check_syntax(arguments: Sequence[str]) -> None:
    """Run a server's check of its configuration, and fail if it finds an error."""
    checked = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
