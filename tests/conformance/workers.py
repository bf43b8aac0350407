"""Real workers that use the tests' own database, storage and cache."""

import itertools
import json
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import redis
from django.conf import settings
from django.db import connections

from async_downloads.testing.conformance import Worker
from tests import services
from tests.faults.processes import ROOT, Child, Cluster, eventually, kill
from tests.pace import LONGEST_WAIT, whole

__all__ = ["STALLED_AFTER", "celery", "django_q", "own_tasks", "threads"]

#: Seconds without a heartbeat after which a task has stalled.
STALLED_AFTER: Final = min(whole(2), 10)

#: Tasks that each executor runs at the same time.
AT_ONCE: Final = 2

#: The program for ``python -c``.
CELERY: Final = """
import sys
import django
django.setup()
from celery.__main__ import main
sys.argv[1:] = ["-A", "tests.conformance.celery_app", "worker", "--concurrency", "{at_once}",
                "--without-mingle", "--without-gossip", "--loglevel", "info"]
main()
"""


@contextmanager
def django_q(folder: Path) -> Iterator[Worker]:
    """A real qcluster on the ORM broker."""
    from django_q.models import Task

    from tests.conformance import plain

    def endings(key: str) -> list[bool]:
        done = Task.objects.order_by("stopped").values_list("args", "success")
        return [success for args, success in done if key in args]

    q = settings.Q_CLUSTER | {"workers": AT_ONCE, "guard_cycle": 0.1}
    env = environment(Q_CLUSTER=q)
    arguments = [sys.executable, "-m", "django", "qcluster"]
    with Cluster(arguments, env=env, log=folder / "cluster.log") as cluster:
        eventually(lambda: cluster.ready, why="a cluster that takes tasks")
        yield Worker(plain.conform, endings, AT_ONCE, kill, plain.coroutine)


@contextmanager
def celery(folder: Path) -> Iterator[Worker]:
    """A real worker of Celery, with processes, on Redis."""
    from tests.conformance import celery_app

    name = f"conformance-{uuid.uuid4().hex[:8]}:"
    prefix = {"global_keyprefix": name}
    conf = {
        "broker_url": services.redis_url(),
        "broker_transport_options": prefix,
        "result_backend": services.redis_url(),
        "result_backend_transport_options": prefix,
        "result_extended": True,
        "worker_hijack_root_logger": False,
    }
    celery_app.app.conf.update(conf)
    client = redis.Redis.from_url(services.redis_url())

    def endings(key: str) -> list[bool]:
        found = client.scan_iter(match=f"{name}celery-task-meta-*")
        results = [json.loads(text) for at in found if (text := client.get(at))]
        return [one["status"] == "SUCCESS" for one in results if key in one["args"]]

    def clear() -> None:
        for at in client.scan_iter(match=f"{name}*"):
            client.delete(at)
        client.close()
        celery_app.app.close()

    env = environment(**{f"CELERY_{key.upper()}": value for key, value in conf.items()})
    arguments = [sys.executable, "-c", CELERY.format(at_once=AT_ONCE)]
    with ExitStack() as stack:
        stack.callback(clear)
        worker = stack.enter_context(Child(arguments, env=env, log=folder / "celery.log"))
        eventually(lambda: ready(worker, " ready."), why="a worker of Celery that is ready")
        yield Worker(celery_app.conform, endings, AT_ONCE, kill, celery_app.coroutine)


@contextmanager
def own_tasks(folder: Path) -> Iterator[Worker]:
    """Real workers of django-tasks-db, each of which runs one task at a time."""
    from django_tasks_db.models import DBTaskResult

    from tests.conformance import own_tasks

    def endings(key: str) -> list[bool]:
        done = DBTaskResult.objects.filter(args_kwargs__args__0=key).finished()
        return [result.status == "SUCCESSFUL" for result in done.order_by("finished_at")]

    options = ("--backend", "database", "--interval", "0.1", "--no-startup-delay")
    arguments = [sys.executable, "-m", "django", "db_worker", *options]
    with ExitStack() as stack:
        logs = (folder / f"{number}.log" for number in itertools.count())

        def start() -> None:
            child = Child(arguments, env=environment(), log=next(logs))
            worker = stack.enter_context(child)
            eventually(lambda: ready(worker, "Starting worker"), why="a worker")

        def kill_and_replace(pid: int) -> None:
            kill(pid)
            start()

        for _ in range(AT_ONCE):
            start()
        yield Worker(own_tasks.conform, endings, AT_ONCE, kill_and_replace, own_tasks.coroutine)


@contextmanager
def threads(folder: Path) -> Iterator[Worker]:
    """Threads of this process."""
    from tests.conformance.thread_tasks import conform, coroutine, futures

    def endings(key: str) -> list[bool]:
        done = [future for at, future in futures if at == key and future.done()]
        return [future.exception() is None for future in done]

    # A thread cannot be killed.
    yield Worker(conform, endings, AT_ONCE, coroutine=coroutine)
    for _, future in futures:
        future.exception(timeout=LONGEST_WAIT)
    futures.clear()


def environment(**more: Any) -> dict[str, str]:
    """Return the environment of a worker process, with more settings."""
    database = connections["default"].settings_dict
    values = {
        "DATABASES": {"default": {key: value for key, value in database.items() if key != "TEST"}},
        "CACHES": settings.CACHES,
        "SECRET_KEY": settings.SECRET_KEY,
        "MEDIA_ROOT": settings.MEDIA_ROOT,
        "INSTALLED_APPS": [app for app in settings.INSTALLED_APPS if app != "tests.shop"],
        "Q_CLUSTER": settings.Q_CLUSTER,
        "TASKS": getattr(settings, "TASKS", {}),
        "ASYNC_DOWNLOADS_CACHE_NAME": "file",
        "ASYNC_DOWNLOADS_STALLED_AFTER": STALLED_AFTER,
        **more,
    }
    return os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.faults.site.settings",
        "FAULTS_SITE": json.dumps(values, default=str),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }


def ready(child: Child, sign: str) -> bool:
    """Return whether a worker has logged that it works; fail if it has ended."""
    assert child.alive, f"The worker has ended:\n{child.log}"
    return sign in child.log
