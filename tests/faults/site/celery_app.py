"""The same tasks for Celery, as carefully as it can deliver them."""

from celery import Celery
from django.conf import settings

from tests.faults.site import tasks

app = Celery("faults", broker=settings.CELERY_BROKER, set_as_current=False)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_lost_wait=0.2,
    worker_hijack_root_logger=False,
)

for name, function in tasks.supervised.items():
    app.task(function, name=name)
