"""Run the tasks on django-q2's queue with the code of its worker."""

from multiprocessing import Value
from queue import Queue
from typing import Any

from django_q.brokers import get_broker
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.signing import SignedPackage
from django_q.worker import worker


def waiting() -> list[dict[str, Any]]:
    """Return the waiting tasks in their order."""
    return [package.task for package in OrmQ.objects.order_by("pk")]


def run_waiting() -> list[dict[str, Any]]:
    """Run each waiting task as a worker would, and return them with their results."""
    broker = get_broker()
    tasks: Any = Queue()
    results: Any = Queue()
    for package in OrmQ.objects.filter(key=Conf.CLUSTER_NAME).order_by("pk"):
        tasks.put(SignedPackage.loads(package.payload))
        broker.acknowledge(package.pk)
    tasks.put("STOP")
    worker(tasks, results, Value("f", -1), timeout=None)
    return [results.get_nowait() for _ in range(results.qsize())]
