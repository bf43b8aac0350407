"""Each executor with real workers that a test kills, and the ways to rescue its exports."""

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from django.conf import settings as project_settings

from tests.faults.celery_workers import start_celery
from tests.faults.harness import (
    Child,
    NewSite,
    RedisServer,
    Server,
    Site,
    eventually,
    kill,
)

__all__ = ["EXECUTORS", "Executor", "rescuing"]

RESCUE: Final = "async_downloads.tasks.rescue_stalled_downloads"

#: Seconds between two rescues of a site, which are a minute for a real one.
INTERVAL: Final = 1

#: Runs the command as cron would, with a shorter interval.
CRON: Final = f"""
import time
from django.core.management import call_command
from django.db import connections
while True:
    call_command("rescue_downloads")
    connections.close_all()
    time.sleep({INTERVAL})
"""


@dataclass
class Executor:
    """An executor of a site.

    Attributes:
        site: The site.
        workers: How many tasks it runs at the same time.
        children: The programs that are running.
    """

    site: Site
    workers: int = 1
    beat: bool = False
    children: list[Child] = field(default_factory=list)

    #: The module of its tasks.
    module: ClassVar[str]

    #: How often its workers can rescue by themselves: the names for ``rescuing``.
    ways: ClassVar[tuple[str, ...]] = ("cron", "poll")

    @classmethod
    def site_for(cls, new_site: NewSite, redis: RedisServer, **settings: Any) -> Site:
        """Make a site with this executor."""
        return new_site("postgres", cache="redis", **settings)

    def __enter__(self) -> "Executor":
        self._stack = ExitStack()
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def start(self) -> None:
        """Start what is not running, and wait until it takes tasks."""
        raise NotImplementedError

    def restart(self) -> None:
        """Kill everything, as the end of a machine does, and start it again."""
        for child in self.children:
            child.close()
        self.start()

    def begin(self, task: str, count: int = 1) -> list[str]:
        """Start a task of ``tests/faults/site/tasks.py``, so often; return the download keys."""
        return self.site.begin_path(f"{self.module}.{task}", count)

    def kill(self, pid: int) -> None:
        """Kill the process of a task; what its service manager would start again is started."""
        with contextlib.suppress(ProcessLookupError):
            kill(pid)
        for child in self.children:
            if child.pid == pid:
                # A process is a zombie while the last of its threads end.
                child.wait()
        if not all(child.alive for child in self.children):
            self.start()

    def _keep(self, program: Any) -> Any:
        child = self._stack.enter_context(program)
        self.children = [other for other in self.children if other.alive]
        self.children.append(child)
        return child


class DjangoQ(Executor):
    """A cluster of django-q2 on the ORM broker."""

    module = "tests.faults.site.tasks"
    ways = ("schedule", "poll")

    def start(self) -> None:
        self.children = []
        q = {"workers": self.workers, "queue_limit": max(self.workers, 2)}
        self._keep(self.site.cluster(q=q))


class DjangoQOnRedis(DjangoQ):
    """A cluster of django-q2 on the Redis broker, which keeps no copy of a task."""

    @classmethod
    def site_for(cls, new_site: NewSite, redis: RedisServer, **settings: Any) -> Site:
        return new_site("postgres", cache="redis", broker=redis.url, **settings)


class Celery(Executor):
    """A worker of Celery with child processes, on Redis."""

    module = "tests.faults.site.celery_tasks"
    ways = ("beat", "poll")
    options: ClassVar[dict[str, Any]] = {}

    @classmethod
    def site_for(cls, new_site: NewSite, redis: RedisServer, **settings: Any) -> Site:
        beat = {"rescue": {"task": RESCUE, "schedule": INTERVAL}}
        return new_site(
            "postgres",
            cache="redis",
            CELERY_BROKER=redis.url,
            CELERY_TASK_OPTIONS=cls.options,
            CELERY_CONF={"beat_schedule": beat},
            **settings,
        )

    def start(self) -> None:
        self.children = []
        self._keep(start_celery(self.site, processes=self.workers, beat=self.beat))


class CeleryAcksLate(Celery):
    """The same with ``acks_late``, and without the option that goes with it."""

    options: ClassVar[dict[str, Any]] = {"acks_late": True}


class OwnTasks(Executor):
    """Workers of django-tasks-db, each of which runs one task at a time."""

    module = "tests.faults.site.own_tasks"

    @classmethod
    def site_for(cls, new_site: NewSite, redis: RedisServer, **settings: Any) -> Site:
        apps = [app for app in project_settings.INSTALLED_APPS if app != "tests.shop"]
        site = new_site(
            "postgres",
            cache="redis",
            migrated=False,
            INSTALLED_APPS=apps,
            TASKS=project_settings.TASKS,
            TASKS_PACKAGE=project_settings.TASKS_PACKAGE,
            MIGRATION_MODULES={"django_tasks_db": None},
            **settings,
        )
        migrate = 'call_command("migrate", run_syncdb=True, verbosity=0)'
        site.run(f"from django.core.management import call_command; {migrate}")
        return site

    def start(self) -> None:
        options = ("--backend", "database", "--interval", "0.1", "--no-startup-delay")
        code = f"""
            from django.core.management import execute_from_command_line
            execute_from_command_line(["manage.py", "db_worker", *{options!r}])
        """
        self.children = [child for child in self.children if child.alive]
        while len(self.children) < self.workers:
            self._keep(self.site.start(code))
        for child in self.children:
            eventually(lambda child=child: _is_ready(child), why="a worker of django-tasks-db")  # type: ignore[misc]


class Threads(Executor):
    """Threads of a web server, which is restarted after its death."""

    module = "tests.faults.site.thread_tasks"

    def start(self) -> None:
        self.children = []
        self.server: Server = self._keep(self.site.server())
        self.person = self.server.client()

    def begin(self, task: str, count: int = 1) -> list[str]:
        path = f"/start-path/{self.module}.{task}/"
        return [self.person.begin(path) for _ in range(count)]


#: The executors by names for reports.
EXECUTORS: Final[dict[str, type[Executor]]] = {
    "django-q2, ORM broker": DjangoQ,
    "django-q2, Redis broker": DjangoQOnRedis,
    "Celery": Celery,
    "Celery, acks_late": CeleryAcksLate,
    "django-tasks-db": OwnTasks,
    "threads": Threads,
}


@contextmanager
def rescuing(executor: Executor, way: str) -> Iterator[Callable[[], object]]:
    """Rescue what has stalled on a site, in one way alone.

    Args:
        executor: The executor of the site.
        way: ``"cron"`` runs the command; ``"schedule"`` is that of django-q2, always due;
            ``"beat"`` that of Celery, which runs by itself; ``"poll"`` is a page of the owner.

    Yields:
        A function that a test calls while it waits.
    """
    site = executor.site
    with ExitStack() as stack:
        if way == "poll":
            if isinstance(executor, Threads):
                server = executor.server
            else:
                server = stack.enter_context(site.server())
            yield server.client().poll
        elif way == "schedule":
            yield lambda: _make_due(site)
        else:
            if way == "cron":
                stack.enter_context(site.start(CRON))
            yield lambda: None


def _make_due(site: Site) -> None:
    """Let a minute pass for the schedule; the cluster looks every 30 seconds."""
    site.query("UPDATE django_q_schedule SET next_run = '2026-01-01' WHERE func = %s", RESCUE)
    time.sleep(INTERVAL)


def _is_ready(child: Child) -> bool:
    assert child.alive, f"The worker has ended:\n{child.log}"
    return "Starting worker" in child.log
