"""Sites made of real parts, for tests that break them: processes, servers, databases.

The fixture ``new_site`` makes a site. It has a database of its own, a folder for
its files, and as many child processes as the test starts. All of it is removed
after the test; if the test fails, the report shows the rows and the output of
the children. ::

    def test_a_killed_worker_is_replaced(new_site: NewSite) -> None:
        site = new_site("postgres", ASYNC_DOWNLOADS_STALLED_AFTER=2)
        key = site.begin("steady")
        with site.cluster(workers=2) as cluster:
            first = site.until_started(key)
            kill(first.pid)
            site.until_started(key, number=2)
            site.go()
            site.until(key, state="complete")
        assert len(site.files()) == 1

Making a site
    ``new_site(database, cache=..., broker=..., q=..., migrated=..., **settings)``;
    see ``Site``. The test is skipped if the machine lacks a part.

Exports
    ``begin(task)`` makes a download, queues the task, and returns the download
    key; ``begin_each(task, task, ...)`` returns the key of each task; ``init()`` only
    makes a download, ``enqueue(task, key)`` only queues. Tasks are functions of
    ``tests/faults/site/tasks.py``, by name; none of these downloads records its task.
    ``begin_path(path)`` starts a task of any executor, and records it. ``starts(key)``
    returns their starts.

Steering
    ``go(name)`` sets a flag that tasks and storages of the site wait for. They
    report by appending to files, which ``messages(name)`` reads.

Processes
    ``cluster()`` is a real ``qcluster``, ``server()`` a real web server (WSGI, or
    ASGI with ``asgi=True``), ``start(code)`` a child that runs some code, all three to be
    used in ``with``; ``run(code)`` waits for it and returns its output. Django is set
    up for the code. Each takes settings for this one process. They are forks of a process
    that has imported Django: see ``tests.faults.prepared``.
    ``kill``, ``stop``, ``resume`` take the number of a process.

Results
    ``row(key)``, ``rows()``, ``files()``, ``queued()``, ``results()`` read the database,
    the storage and the queue, without Django; ``query(sql)`` runs any statement.
    ``until(key, state=..., ...)``, ``until_started(key)``, ``until_messages(name)``,
    ``until_idle(site, cluster)`` and ``eventually(condition, why=...)`` wait.

``RedisServer`` (fixture ``redis_server``) is a Redis that a test may stop, fill or
kill; its ``url`` serves as ``cache`` and as ``broker``. ``DatabaseServer`` (fixture
``database_server``) is a PostgreSQL or MariaDB that a test may stop or kill; its
``database`` serves as the database of a site.
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
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, ClassVar, Final, Self

import redis

from tests import services
from tests.faults import parts
from tests.faults.client import Client
from tests.faults.databases import DATABASES, Database
from tests.faults.parts import missing, storages
from tests.faults.prepared import ROOT, started
from tests.faults.processes import Child, Cluster, alive, eventually, kill, resume, stop
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
    "eventually",
    "kill",
    "missing",
    "resume",
    "stop",
    "storages",
    "until_idle",
]

#: Makes a site: the fixture ``new_site``.
NewSite = Callable[..., "Site"]

SETUP: Final = "import django; django.setup()\n"

#: Settings that are multiplied on a slow machine if they are below so many seconds.
SHORT: Final = 60
STRETCHED: Final = ("ASYNC_DOWNLOADS_STALLED_AFTER", "ASYNC_DOWNLOADS_TIMEOUT", "timeout", "retry")


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a task: its process, and the attempts of the row at that time."""

    pid: int
    attempts: str


class Server(Child):
    """A real web server."""

    @property
    def address(self) -> str:
        """The address; an empty text until the server listens."""
        for port in re.findall(r"127\.0\.0\.1:(\d+)", self.log):
            return f"http://127.0.0.1:{port}"
        assert self.alive, f"The server has ended:\n{self.log}"
        return ""

    def client(self, username: str = "ada") -> Client:
        """Return a client of this user, signed in; of a visitor if the name is empty."""
        client = Client(self.address)
        if username:
            answer = client.get(f"/sign-in/{username}/")
            assert answer.status == 200, answer
        return client


class Site:
    """A site with a database and a storage of its own, and the processes that work on it.

    Args:
        database: ``"sqlite"``, ``"postgres"`` or ``"mariadb"``; or the ``database`` of a
            ``DatabaseServer``.
        cache: ``"file"``, ``"redis"``, ``"locmem"``, ``"dummy"``, ``"database"``, the URL
            of a Redis, or Django's settings for a cache.
        broker: ``"orm"``, ``"redis"`` or the URL of a Redis.
        q: More settings of django-q2's cluster.
        migrated: Whether the database has its tables already.
        **settings: More settings of Django.
    """

    #: The sites of the running test, for its report.
    open: ClassVar[list["Site"]] = []

    #: The folder of template databases; removed by ``close_templates``.
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
                    self.broker, _stretched(q or {}), name=self.name
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
        self.settings |= {"DATABASES": {"default": self.database.settings}, **_stretched(settings)}
        Site.open.append(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            error.add_note(self.diagnostics())
        self.close()

    def close(self) -> None:
        """End the processes, and remove the database and the files."""
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
        """Run code in a child, and return its output; fails if the child does."""
        done = self.run_python("-c", SETUP + textwrap.dedent(code), **settings)
        assert done.returncode == 0, f"The child ended with {done.returncode}:\n{done.stderr}"
        return done.stdout.strip()

    def run_python(self, *arguments: str, **settings: Any) -> "subprocess.CompletedProcess[str]":
        """Run Python in a child until it ends, and return how it ended."""
        with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
            command = [sys.executable, *arguments]
            env = self.environment(settings)
            child = started(command, env=env, out=out.fileno(), err=err.fileno())
            try:
                code = child.wait(LONGEST_WAIT)
            finally:
                child.kill()
            for file in (out, err):
                file.seek(0)
            return subprocess.CompletedProcess(command, code, out.read(), err.read())

    def start(self, code: str, *, forked: bool = True, **settings: Any) -> Child:
        """Start a child that runs code; ``forked`` as in ``tests.faults.prepared``."""
        arguments = ["-c", SETUP + textwrap.dedent(code)]
        return self._spawn(Child, arguments, settings, forked=forked)

    @contextmanager
    def cluster(self, *, q: dict[str, Any] | None = None, **settings: Any) -> Iterator[Cluster]:
        """Run a cluster of django-q2: wait until it takes tasks, and kill it at the end.

        Args:
            q: More settings of this cluster, such as ``{"workers": 2}``.
            **settings: More settings of its processes.
        """
        settings = {"Q_CLUSTER": self.settings["Q_CLUSTER"] | _stretched(q or {})} | settings
        with self._spawn(Cluster, ["-m", "django", "qcluster"], settings) as cluster:
            eventually(lambda: cluster.ready, why="a cluster that takes tasks")
            yield cluster

    @contextmanager
    def server(
        self, *, asgi: bool = False, kind: str = "", port: int = 0, **settings: Any
    ) -> Iterator[Server]:
        """Run a web server: a threaded WSGI server, Daphne, or another one of ``SERVERS``.

        Args:
            asgi: Whether to run Daphne.
            kind: The kind in ``SERVERS``.
            port: The port of Daphne; a free one if 0.
            **settings: More settings of its process.
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
        values = self.settings | _stretched(settings or {})
        return os.environ | {
            "DJANGO_SETTINGS_MODULE": "tests.faults.site.settings",
            "FAULTS_SITE": json.dumps(values, default=str),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }

    # Exports

    def init(self, user: str = "ada") -> str:
        """Make a download, and its user if necessary; return the download key."""
        return self.run(_INIT.format(user=user) + "print(key)")

    def enqueue(self, task: str, key: str, *args: Any, **kwargs: Any) -> None:
        """Queue a task for a download, without the checks of ``init_generic_csv_download``."""
        self.run(f"key = {key!r}" + _queue(task, args, kwargs))

    def begin(self, task: str, *args: Any, **kwargs: Any) -> str:
        """Make a download and queue a task for it; return the download key."""
        return self.run(_INIT.format(user="ada") + _queue(task, args, kwargs) + "print(key)")

    def begin_each(self, *tasks: str) -> dict[str, str]:
        """Make a download for each task, and queue the task; return the download keys."""
        code = "".join(
            _INIT.format(user="ada") + _queue(task, (), {}) + "print(key)" for task in tasks
        )
        return dict(zip(tasks, self.run(code).split(), strict=True))

    def begin_path(self, path: str, count: int = 1) -> list[str]:
        """Start a task by its dotted path, so often, and return the download keys."""
        code = f"""
            from django.contrib.auth import get_user_model
            from async_downloads.shortcuts import start_download
            user, _ = get_user_model().objects.get_or_create(username="ada")
            for _ in range({count}):
                print(start_download({path!r}, user, "orders.csv")[1])
        """
        return self.run(code).split()

    def go(self, name: str = "go") -> None:
        """Set a flag that tasks or storages of the site wait for."""
        (self.steering / name).touch()

    def halt(self, name: str = "go") -> None:
        """Unset a flag, or forget the messages of this name."""
        (self.steering / name).unlink(missing_ok=True)

    def reset_steering(self) -> None:
        """Unset all flags, and forget all messages."""
        for path in self.steering.iterdir():
            path.unlink()

    def messages(self, name: str) -> list[str]:
        """Return the lines that processes have appended with ``steering.append(name, line)``."""
        path = self.steering / name
        return path.read_text().splitlines() if path.exists() else []

    def until_messages(self, name: str, count: int = 1) -> list[str]:
        """Wait until processes have appended this many lines, and return them."""

        def enough() -> list[str]:
            lines = self.messages(name)
            return lines if len(lines) >= count else []

        return eventually(enough, why=f"{count} lines in {name}")

    def starts(self, key: str = "") -> list[Start]:
        """Return the starts of tasks in their order, of one download or of all."""
        words = [line.split() for line in self.messages("starts.log") if line.startswith(key)]
        return [Start(int(pid), attempts) for _, pid, attempts in words]

    def until_started(self, key: str, *, number: int = 1) -> Start:
        """Wait for the n-th start of a download's task, and return it."""
        why = f"start {number} of {key}"
        return eventually(lambda: self.starts(key)[number - 1 :], why=why)[0]

    # Results

    def query(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        """Run a statement on the database; placeholders are the driver's."""
        return self.database.query(statement, *parameters)

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of all downloads, the oldest first, with keys as text."""
        rows = self.query("SELECT * FROM async_downloads_download ORDER BY timestamp")
        for row in rows:
            for name in ("id", "claim", "collection_id"):
                row[name] = row[name] and str(uuid.UUID(str(row[name])))
        return rows

    def row(self, key: str) -> dict[str, Any]:
        """Return the row of a download; an empty dictionary if there is none."""
        return next((row for row in self.rows() if row["id"] == key), {})

    def heard_at(self, key: str) -> datetime:
        """Return the time of the last heartbeat on the row of a download."""
        heard_at = self.row(key)["heard_at"]
        return datetime.fromisoformat(heard_at) if isinstance(heard_at, str) else heard_at

    def until(self, key: str, **values: Any) -> dict[str, Any]:
        """Wait until the row of a download has these values, and return it."""

        def row_if_so() -> dict[str, Any]:
            row = self.row(key)
            return row if row and values.items() <= row.items() else {}

        try:
            return eventually(row_if_so, why=f"{key} with {values}")
        except AssertionError as error:
            error.add_note(f"It is: {self.row(key)}")
            raise

    def files(self, key: str = "") -> list[str]:
        """Return the files of one download or of all, as paths below the storage's root."""
        paths = self.media.rglob("*") if self.media.exists() else []
        names = (path.relative_to(self.media).as_posix() for path in paths if path.is_file())
        return sorted(name for name in names if key in name)

    def queued(self) -> int:
        """Return how many tasks of the queue are waiting or not yet acknowledged."""
        if self.broker == "orm":
            return int(self.query("SELECT COUNT(*) AS n FROM django_q_ormq")[0]["n"])
        with redis.Redis.from_url(self.broker) as client:
            return int(client.llen(f"django_q:{self.name}:q"))

    def results(self) -> list[dict[str, Any]]:
        """Return django-q2's rows of tasks that ended: ``success``, ``attempt_count``."""
        return self.query("SELECT * FROM django_q_task ORDER BY stopped")

    def logs(self) -> str:
        """Return the output of all children that were started."""
        return "\n".join(child.log for child in self._children)

    def diagnostics(self) -> str:
        """Return rows, files, starts and logs, to explain a failure."""
        readers = {"Rows": self.rows, "Files": self.files, "Starts": self.starts}
        parts = [f"{name}: {_result(read)}" for name, read in readers.items()]
        parts += [f"--- {child.log_path.name}\n{child.log}" for child in self._children]
        return "\n".join(parts)

    # Internals

    def _spawn(
        self,
        kind: type[Any],
        arguments: list[str],
        settings: dict[str, Any],
        *,
        forked: bool = True,
    ) -> Any:
        log = self.folder / f"{len(self._children)}-{kind.__name__.lower()}.log"
        env = self.environment(settings)
        child = kind([sys.executable, *arguments], env=env, log=log, forked=forked)
        self._children.append(child)
        return child

    def _migrate(self, database: dict[str, Any]) -> None:
        self.run(
            """
            from django.core.management import call_command
            from datetime import timedelta
            from django.utils import timezone
            from django_q.models import Schedule
            call_command("migrate", verbosity=0)
            call_command("createcachetable", verbosity=0)
            # A job runs in a test only if the test wants it.
            Schedule.objects.update(next_run=timezone.now() + timedelta(days=1))
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
            # For scripts; in tests, a fixture of the session does it.
            atexit.register(cls.close_templates)
        return cls._templates

    @classmethod
    def close_templates(cls) -> None:
        """Remove the template databases of this process."""
        Database.close_templates()
        if cls._templates is not None:
            shutil.rmtree(cls._templates, ignore_errors=True)
            cls._templates = None


def until_idle(site: Site, cluster: Cluster) -> None:
    """Wait until the queue is empty, and the cluster has logged the end of each task."""

    def idle() -> bool:
        return site.queued() == 0 and cluster.deliveries == cluster.endings

    eventually(idle, why="an idle cluster")


def _stretched(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with short times multiplied by the slowness of this machine."""
    return settings | {
        name: whole(settings[name])
        for name in STRETCHED
        if isinstance(settings.get(name), int | float) and settings[name] < SHORT
    }


def _result(read: Callable[[], object]) -> str:
    """Return the result of a function, or its error: the database may be down."""
    try:
        return repr(read())
    except Exception as error:
        return f"failed: {error!r}"


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
