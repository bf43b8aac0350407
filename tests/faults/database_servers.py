"""Private database servers that a test may stop, kill and start again."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from tests.faults.databases import Database, Mariadb, Postgres
from tests.faults.processes import eventually, free_port
from tests.pace import LONGEST_WAIT

__all__ = ["SERVERS", "DatabaseServer", "MariadbServer", "PostgresServer"]

#: Folders of server programs that distributions leave out of the PATH.
FOLDERS: Final = ("/usr/sbin", *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"))))

#: The user of Linux without rights, who runs the servers if the tests run as root.
UNPRIVILEGED: Final = 65534


def program(*names: str) -> str:
    """Return the path of the first installed one of these programs; an empty text if none is."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *FOLDERS])
    return next((program for name in names if (program := shutil.which(name, path=path))), "")


class DatabaseServer:
    """A server on a free port, with its data in a temporary folder."""

    kind: ClassVar[str]

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="async-downloads-server-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            shutil.chown(self.folder, UNPRIVILEGED)
        self.create()
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        Database.templates.pop(self.database.kind, None)
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def missing() -> str:
        """Return why this machine cannot run it; an empty text if it can."""
        raise NotImplementedError

    @property
    def database(self) -> type[Database]:
        """The kind of database for sites on this server."""
        server = {"host": "127.0.0.1", "port": self.port, "user": self.user, "password": ""}

        class OnThisServer(self.base):
            kind = f"{self.kind}-{self.port}"
            address = server

        return OnThisServer

    base: ClassVar[type[Database]]
    user: ClassVar[str]

    def create(self) -> None:
        """Create the data files of the server."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._user()
            )
        eventually(lambda: self.answers, why=f"an answer of {self.kind}")

    def kill(self) -> None:
        """End the server at once, as ``-m immediate`` or a power failure do."""
        if self._process is not None:
            self._process.send_signal(self.abort)
            self._process.wait(LONGEST_WAIT)
            self._process = None

    abort: ClassVar[int]

    def stop(self) -> None:
        """Shut the server down; it ends all connections first."""
        assert self._process is not None, "It is not running."
        self._process.send_signal(self.orderly)
        self._process.wait(LONGEST_WAIT)
        self._process = None

    orderly: ClassVar[int]

    @property
    def answers(self) -> bool:
        """Whether the server accepts a connection."""
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
        """Return the arguments that keep a process from running as root."""
        if os.geteuid():
            return {}
        account = pwd.getpwuid(UNPRIVILEGED)
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


class PostgresServer(DatabaseServer):
    """A private PostgreSQL."""

    kind, base, user = "postgres", Postgres, "postgres"
    abort = 3  # SIGQUIT, an immediate shutdown
    orderly = 2  # SIGINT, a fast shutdown

    @staticmethod
    def missing() -> str:
        if not program("initdb"):
            return "no initdb of PostgreSQL is installed"
        return Postgres.missing_driver()

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
        options = [f"-c{name}={value}" for name, value in settings.items()]
        return [program("postgres"), "-D", str(self.folder / "data"), *options]


class MariadbServer(DatabaseServer):
    """A private MariaDB."""

    kind, base, user = "mariadb", Mariadb, "root"
    abort = 9  # SIGKILL; what was committed is recovered
    orderly = 15  # SIGTERM

    @staticmethod
    def missing() -> str:
        if not (program("mariadbd") and program("mariadb-install-db")):
            return "no mariadbd with mariadb-install-db is installed"
        return Mariadb.missing_driver()

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
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [program("mariadbd"), "--no-defaults", *options]


SERVERS: Final[dict[str, type[DatabaseServer]]] = {
    kind.kind: kind for kind in (PostgresServer, MariadbServer)
}
