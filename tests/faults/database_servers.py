"""Database servers of one's own, to be stopped, killed and started again."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Self

from tests.faults.databases import Database, Mariadb, Postgres
from tests.faults.processes import eventually

__all__ = ["SERVERS", "DatabaseServer", "MariadbServer", "PostgresServer"]

#: Where distributions keep the programs of a server that are not in everybody's PATH.
FOLDERS: Final = ("/usr/sbin", *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"))))


def program(*names: str) -> str:
    """Return the path of the first of these programs that is installed; an empty text if none."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *FOLDERS])
    return next((found for name in names if (found := shutil.which(name, path=path))), "")


class DatabaseServer:
    """A server on a free port, which keeps its data in a folder of its own."""

    kind: ClassVar[str]

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="async-downloads-server-"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if os.geteuid() == 0:
            # Root may not run a PostgreSQL, and should not run anything else.
            shutil.chown(self.folder, "nobody")
        self.create()
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        Database.templates.pop(self.database.kind, None)
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def missing() -> str:
        """Return what it lacks on this machine; an empty text if nothing."""
        raise NotImplementedError

    @property
    def database(self) -> type[Database]:
        """A kind of database for sites, on this server."""
        raise NotImplementedError

    def create(self) -> None:
        """Make the files of the server."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """Return what runs the server, and ends when it ends."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._user()
            )
        eventually(lambda: self.answers, why=f"an answer of {self.kind}")

    def kill(self) -> None:
        """Kill it as ``-m immediate`` and a loss of power do; what connects is refused."""
        if self._process is not None:
            self._process.send_signal(self.abort)
            self._process.wait(30)
            self._process = None

    abort: ClassVar[int]

    def stop(self) -> None:
        """Stop it in order: it ends all connections first."""
        assert self._process is not None, "It is not running."
        self._process.send_signal(self.orderly)
        self._process.wait(30)
        self._process = None

    orderly: ClassVar[int]

    @property
    def answers(self) -> bool:
        """Whether it takes a connection."""
        assert self._process is not None, "It is not running."
        assert self._process.poll() is None, (self.folder / "log").read_text(errors="replace")
        with contextlib.suppress(Exception), self.database.administration():
            return True
        return False

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(
            arguments, stdin=subprocess.DEVNULL, capture_output=True, check=False, **self._user()
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")

    def _user(self) -> dict[str, Any]:
        """Return the arguments by which a process is not root's."""
        if os.geteuid():
            return {}
        nobody = pwd.getpwnam("nobody")
        return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


class PostgresServer(DatabaseServer):
    """A PostgreSQL."""

    kind = "postgres"
    abort = 3  # SIGQUIT, an immediate shutdown
    orderly = 2  # SIGINT, a fast shutdown

    @staticmethod
    def missing() -> str:
        if not program("initdb"):
            return "no initdb of PostgreSQL is installed"
        return Postgres.lacks_driver()

    def create(self) -> None:
        options = ("--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync")
        self._run(program("initdb"), *options, "--pgdata", str(self.folder / "data"))

    def command(self) -> list[str]:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "fsync": "off",
        }
        chosen = [f"-c{name}={value}" for name, value in settings.items()]
        return [program("postgres"), "-D", str(self.folder / "data"), *chosen]

    @property
    def database(self) -> type[Database]:
        server = {"host": "127.0.0.1", "port": self.port, "user": "postgres", "password": ""}

        class OnThisServer(Postgres):
            kind = f"postgres-{self.port}"
            place = server

        return OnThisServer


class MariadbServer(DatabaseServer):
    """A MariaDB."""

    kind = "mariadb"
    abort = 9  # SIGKILL; what was committed is recovered
    orderly = 15  # SIGTERM

    @staticmethod
    def missing() -> str:
        if not (program("mariadbd") and program("mariadb-install-db")):
            return "no mariadbd with mariadb-install-db is installed"
        return Mariadb.lacks_driver()

    def create(self) -> None:
        options = ("--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db")
        self._run(program("mariadb-install-db"), *options, f"--datadir={self.folder / 'data'}")

    def command(self) -> list[str]:
        settings = {
            "datadir": self.folder / "data",
            "port": self.port,
            "bind-address": "127.0.0.1",
            "socket": self.folder / "socket",
            "pid-file": self.folder / "pid",
            "innodb-buffer-pool-size": "16M",
        }
        chosen = [f"--{name}={value}" for name, value in settings.items()]
        return [program("mariadbd"), "--no-defaults", *chosen]

    @property
    def database(self) -> type[Database]:
        server = {"host": "127.0.0.1", "port": self.port, "user": "root", "password": ""}

        class OnThisServer(Mariadb):
            kind = f"mariadb-{self.port}"
            place = server

        return OnThisServer


SERVERS: Final[dict[str, type[DatabaseServer]]] = {
    kind.kind: kind for kind in (PostgresServer, MariadbServer)
}
