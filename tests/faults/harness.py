"""Sites made of real parts, to break them: processes, servers, databases, kills.

A test asks the fixture ``new_site`` for a site. It has a database of its own, a
folder for its files, and as many child processes as the test starts. All of it
is gone at the end, however the test ends; if it fails, the report shows the rows
and what the children have printed. ::

    def test_a_killed_worker_is_replaced(new_site: NewSite) -> None:
        site = new_site("postgres", ASYNC_DOWNLOADS_STALLED_AFTER=2)
        key = site.begin("steady")
        with site.cluster(workers=2) as cluster:
            first = site.started(key)
            kill(first.pid)
            site.started(key, times=2)
            site.go()
            site.until(key, state="complete")
        assert len(site.files()) == 1

Making a site
    ``new_site(database, cache=..., broker=..., q=..., migrated=..., **settings)``;
    see ``Site``. What the machine lacks skips the test, and says what it is.

Making work
    ``begin(task)`` makes a record and queues the task, and returns the download
    key; ``begin_each(task, task, ...)`` returns a dictionary of them; ``init()`` and
    ``enqueue(task, key)`` do one of the two each. Tasks are those
    of ``tests/faults/site/tasks.py``, by their names; ``go(name)`` lets one go on
    that waits, and ``starts(key)`` tells which processes have started it.

Processes
    ``cluster()`` is a real ``qcluster``, ``server()`` a real web server (WSGI, or
    ASGI with ``asgi=True``), ``start(code)`` a child that runs some code, all three to be
    used in ``with``; ``run(code)`` waits for it and returns what it printed. Django
    is set up for the code. Each takes settings for this one process.
    ``kill``, ``stop``, ``cont`` take the number of a process.

Looking
    ``row(key)``, ``rows()``, ``files()``, ``queued()``, ``results()`` read the database,
    the storage and the queue, without Django; ``query(sql)`` reads whatever else.
    ``until(key, state=..., ...)``, ``until_idle(site, cluster)`` and
    ``eventually(condition, why=...)`` wait.

A Redis that may be stopped, filled or killed is ``RedisServer`` (fixture
``redis_server``), whose ``url`` serves as ``cache`` and as ``broker``. A PostgreSQL or
MariaDB that may be stopped and killed is a ``DatabaseServer`` (fixture
``database_server``), whose ``database`` serves as a site's.
"""

import atexit
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Self

import redis

from tests import services
from tests.faults import parts
from tests.faults.client import Client
from tests.faults.databases import DATABASES, Database
from tests.faults.parts import missing
from tests.faults.processes import ROOT, Child, Cluster, alive, cont, eventually, kill, stop
from tests.faults.redis_server import RedisServer
from tests.pace import LONGEST_WAIT, whole

__all__ = [
    "Child",
    "Client",
    "Cluster",
    "NewSite",
    "RedisServer",
    "Server",
    "Site",
    "Start",
    "alive",
    "cont",
    "eventually",
    "kill",
    "missing",
    "stop",
    "until_idle",
]

#: Makes a site: the fixture ``new_site``.
NewSite = Callable[..., "Site"]

SETUP: Final = "import django; django.setup()\n"

#: What a test makes so short that it races against the work of a slow machine, in seconds.
SHORT: Final = 60
RACING: Final = ("ASYNC_DOWNLOADS_STALLED_AFTER", "ASYNC_DOWNLOADS_TIMEOUT", "timeout", "retry")


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a task: its process, and what the row said of attempts."""

    pid: int
    attempts: str


class Server(Child):
    """A real web server."""

    @property
    def address(self) -> str:
        """Where it answers; empty until it does."""
        for port in re.findall(r"127\.0\.0\.1:(\d+)", self.log):
            return f"http://127.0.0.1:{port}"
        assert self.alive, f"The server has ended:\n{self.log}"
        return ""

    def client(self, username: str = "ada") -> Client:
        """Return somebody who is signed in; empty text for nobody."""
        client = Client(self.address)
        if username:
            answer = client.get(f"/sign-in/{username}/")
            assert answer.status == 200, answer
        return client


class Site:
    """A site with a database and a storage of its own, and the processes that work on it.

    Args:
        database: ``"sqlite"``, ``"postgres"`` or ``"mariadb"``; or what a ``DatabaseServer``
            has as ``database``.
        cache: ``"file"``, ``"redis"``, ``"locmem"``, ``"dummy"``, ``"database"``, the URL
            of a Redis, or Django's settings for a cache.
        broker: ``"orm"``, ``"redis"`` or the URL of a Redis.
        q: More settings of django-q2's cluster.
        migrated: Whether its database has its tables already.
        **settings: Any settings of Django.
    """

    #: Those that are open, for whoever reports on a test.
    open: ClassVar[list["Site"]] = []

    #: Where templates of databases lie; removed by ``close_templates``.
    _templates: ClassVar[Path | None] = None

    def __init__(
        self,
        database: str | type[Database] = "sqlite",
        *,
        cache: Any = "file",
        broker: str = "orm",
        q: dict[str, Any] | None = None,
        migrated: bool = True,
        **settings: Any,
    ):
        self.name = f"faults-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.folder = Path(tempfile.mkdtemp(prefix="async-downloads-faults-"))
        self.media, self.steering = self.folder / "media", self.folder / "steering"
        self.steering.mkdir()
        self._children: list[Child] = []
        self._shared_redis = "redis" in (cache, broker)
        self.broker = services.redis_url() if broker == "redis" else broker
        kind = DATABASES[database] if isinstance(database, str) else database
        try:
            self.settings: dict[str, Any] = {
                "CACHES": {
                    alias: parts.cache_settings(wanted, name=self.name, folder=self.folder)
                    for alias, wanted in (("default", cache), ("database", "database"))
                },
                "Q_CLUSTER": parts.cluster_settings(
                    self.broker, _bearable(q or {}), name=self.name
                ),
                "MEDIA_ROOT": str(self.media),
                "FAULTS_STEERING": str(self.steering),
            }
            self.database: Database = (
                kind.migrated(self.folder, self._template_folder(), self._migrate)
                if migrated
                else kind.empty(self.folder)
            )
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        self.settings |= {"DATABASES": {"default": self.database.settings}, **_bearable(settings)}
        Site.open.append(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            error.add_note(self.account())
        self.close()

    def close(self) -> None:
        """End its processes, and remove all that was made for it."""
        Site.open.remove(self)
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            stack.callback(self.database.close)
            if self._shared_redis:
                stack.callback(self._clear_redis)
            for child in self._children:
                stack.callback(child.close)

    # Children

    def run(self, code: str, **settings: Any) -> str:
        """Run code in a child, and return what it printed; fails if the child does."""
        done = subprocess.run(
            [sys.executable, "-c", SETUP + textwrap.dedent(code)],
            env=self.environment(settings),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST_WAIT,
            check=False,
        )
        assert done.returncode == 0, f"The child ended with {done.returncode}:\n{done.stderr}"
        return done.stdout.strip()

    def start(self, code: str, **settings: Any) -> Child:
        """Start a child that runs code."""
        return self._spawn(Child, ["-c", SETUP + textwrap.dedent(code)], settings)

    @contextmanager
    def cluster(self, *, q: dict[str, Any] | None = None, **settings: Any) -> Iterator[Cluster]:
        """Run a cluster of django-q2, from when it takes tasks until it is killed.

        Args:
            q: Settings of this cluster, such as ``{"workers": 2}``.
            **settings: Other settings of its processes.
        """
        settings = {"Q_CLUSTER": self.settings["Q_CLUSTER"] | _bearable(q or {})} | settings
        with self._spawn(Cluster, ["-m", "django", "qcluster"], settings) as cluster:
            eventually(lambda: cluster.ready, why="a cluster that takes tasks")
            yield cluster

    @contextmanager
    def server(
        self, *, asgi: bool = False, kind: str = "", port: int = 0, **settings: Any
    ) -> Iterator[Server]:
        """Run a web server: a threaded one of WSGI, or Daphne, or another one of ``SERVERS``.

        Args:
            asgi: Whether it is Daphne.
            kind: Which one else.
            port: The port of Daphne; a free one if left out.
            **settings: Other settings of its process.
        """
        arguments = [
            argument.format(port=port)
            for argument in parts.SERVERS[kind or ("daphne" if asgi else "threads")]
        ]
        with self._spawn(Server, arguments, settings) as server:
            eventually(lambda: server.address, why="a server that listens")
            yield server

    def environment(self, settings: dict[str, Any] | None = None) -> dict[str, str]:
        """Return the environment of a child of this site."""
        values = self.settings | _bearable(settings or {})
        return os.environ | {
            "DJANGO_SETTINGS_MODULE": "tests.faults.site.settings",
            "FAULTS_SITE": json.dumps(values, default=str),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }

    # Work

    def init(self, user: str = "ada") -> str:
        """Make a record, and the user if need be; returns the download key."""
        return self.run(_INIT.format(user=user) + "print(key)")

    def enqueue(self, task: str, key: str, *args: Any, **kwargs: Any) -> None:
        """Queue a task for a record, as ``init_generic_csv_download`` would, unchecked."""
        self.run(f"key = {key!r}" + _queue(task, args, kwargs))

    def begin(self, task: str, *args: Any, **kwargs: Any) -> str:
        """Make a record and queue a task for it; returns the download key."""
        return self.run(_INIT.format(user="ada") + _queue(task, args, kwargs) + "print(key)")

    def begin_each(self, *tasks: str) -> dict[str, str]:
        """Make a record and queue a task for it, for each of these; returns the download keys."""
        code = "".join(
            _INIT.format(user="ada") + _queue(task, (), {}) + "print(key)" for task in tasks
        )
        return dict(zip(tasks, self.run(code).split(), strict=True))

    def go(self, name: str = "go") -> None:
        """Let tasks go on that wait for this."""
        (self.steering / name).touch()

    def halt(self, name: str = "go") -> None:
        """Let tasks wait again."""
        (self.steering / name).unlink(missing_ok=True)

    def starts(self, key: str = "") -> list[Start]:
        """Return the starts of tasks in their order, of one download or of all."""
        path = self.steering / "starts.log"
        lines = path.read_text().splitlines() if path.exists() else []
        words = [line.split() for line in lines if line.startswith(key)]
        return [Start(int(pid), attempts) for _, pid, attempts in words]

    def started(self, key: str, *, times: int = 1) -> Start:
        """Wait for the n-th start of a download's task, and return it."""
        why = f"start {times} of {key}"
        return eventually(lambda: self.starts(key)[times - 1 :], why=why)[0]

    # Looking

    def query(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        """Run a statement on the database; placeholders are the driver's."""
        return self.database.query(statement, *parameters)

    def rows(self) -> list[dict[str, Any]]:
        """Return the downloads, the oldest first, with all their columns; keys as text."""
        rows = self.query("SELECT * FROM async_downloads_download ORDER BY timestamp")
        for row in rows:
            for name in ("id", "claim", "collection_id"):
                row[name] = row[name] and str(uuid.UUID(str(row[name])))
        return rows

    def row(self, key: str) -> dict[str, Any]:
        """Return a download; an empty dictionary if there is none."""
        return next((row for row in self.rows() if row["id"] == key), {})

    def until(self, key: str, **values: Any) -> dict[str, Any]:
        """Wait until a download has these values, and return it."""

        def row_if_so() -> dict[str, Any]:
            row = self.row(key)
            return row if row and values.items() <= row.items() else {}

        try:
            return eventually(row_if_so, why=f"{key} with {values}")
        except AssertionError as error:
            error.add_note(f"It is: {self.row(key)}")
            raise

    def files(self) -> list[str]:
        """Return the files of the storage, as paths below its root."""
        found = self.media.rglob("*") if self.media.exists() else []
        return sorted(path.relative_to(self.media).as_posix() for path in found if path.is_file())

    def queued(self) -> int:
        """Return how many tasks the queue holds, waiting or not yet acknowledged."""
        if self.broker == "orm":
            return int(self.query("SELECT COUNT(*) AS n FROM django_q_ormq")[0]["n"])
        with redis.Redis.from_url(self.broker) as client:
            return int(client.llen(f"django_q:{self.name}:q"))

    def results(self) -> list[dict[str, Any]]:
        """Return what django-q2 has kept of tasks that ended: ``success``, ``attempt_count``."""
        return self.query("SELECT * FROM django_q_task ORDER BY stopped")

    def logs(self) -> str:
        """Return what its long-running children have printed."""
        return "\n".join(child.log for child in self._children)

    def account(self) -> str:
        """Return all that helps to understand a failure."""
        looks = {"Rows": self.rows, "Files": self.files, "Starts": self.starts}
        parts = [f"{name}: {_seen(look)}" for name, look in looks.items()]
        parts += [f"--- {child.log_path.name}\n{child.log}" for child in self._children]
        return "\n".join(parts)

    # Making it

    def _spawn(self, kind: type[Any], arguments: list[str], settings: dict[str, Any]) -> Any:
        log = self.folder / f"{len(self._children)}-{kind.__name__.lower()}.log"
        child = kind([sys.executable, *arguments], env=self.environment(settings), log=log)
        self._children.append(child)
        return child

    def _migrate(self, database: dict[str, Any]) -> None:
        self.run(
            """
            from django.core.management import call_command
            call_command("migrate", verbosity=0)
            call_command("createcachetable", verbosity=0)
            """,
            DATABASES={"default": database},
        )

    def _clear_redis(self) -> None:
        with redis.Redis.from_url(services.redis_url()) as client:
            for key in client.scan_iter(match=f"*{self.name}*"):
                client.delete(key)

    @classmethod
    def _template_folder(cls) -> Path:
        if cls._templates is None:
            cls._templates = Path(tempfile.mkdtemp(prefix="async-downloads-faults-"))
            # For scripts; processes of pytest-xdist end without it, after the fixtures.
            atexit.register(cls.close_templates)
        return cls._templates

    @classmethod
    def close_templates(cls) -> None:
        """Remove what sites of this process were copied from."""
        Database.close_templates()
        if cls._templates is not None:
            shutil.rmtree(cls._templates, ignore_errors=True)
            cls._templates = None


def until_idle(site: Site, cluster: Cluster) -> None:
    """Wait until nothing is queued, and the cluster has told how each task ended that it took."""

    def idle() -> bool:
        return site.queued() == 0 and cluster.deliveries == cluster.endings

    eventually(idle, why="an idle cluster")


def _bearable(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with their short times as long as this machine needs them."""
    return settings | {
        name: whole(settings[name])
        for name in RACING
        if isinstance(settings.get(name), int | float) and settings[name] < SHORT
    }


def _seen(look: Callable[[], object]) -> str:
    """Return what is seen, or what went wrong: children may still be at work."""
    try:
        return repr(look())
    except Exception as error:
        return f"not seen: {error!r}"


_INIT: Final = """
from django.contrib.auth import get_user_model
from async_downloads import cache
user, _ = get_user_model().objects.get_or_create(username={user!r})
_, key = cache.init_download(user, "orders.csv")
"""


def _queue(task: str, args: Any, kwargs: dict[str, Any]) -> str:
    """Return code that queues a task for ``key``."""
    return f"""
from async_downloads import executors
executors.django_q.enqueue("tests.faults.site.tasks.{task}", key, *{args!r}, **{kwargs!r})
"""
