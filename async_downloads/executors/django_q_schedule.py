"""The periodic jobs as django-q2 schedules: the clean-up, and the rescue of stalled downloads.

``ASYNC_DOWNLOADS_CLEANUP_SCHEDULE`` says how often the clean-up runs; the rescue runs each
minute, unless ``ASYNC_DOWNLOADS_RESCUE`` is off. The first migrate inserts the rows, and
each later one updates them when a setting has changed, unless an admin has edited them. The
name of a row states its interval: if the name and the columns differ, the row was edited.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from django.apps import apps
from django.db import connections, router
from django.utils import timezone

from async_downloads import settings
from async_downloads.models import Download
from async_downloads.utils.log import get_logger

__all__ = [
    "CLEANUP_NAME",
    "CLEANUP_PATH",
    "RESCUE_NAME",
    "RESCUE_PATH",
    "cleanup_problem",
    "install",
    "rescue_problem",
]

logger = get_logger(__name__)

CLEANUP_PATH: Final = "async_downloads.tasks.cleanup_expired_downloads"
CLEANUP_NAME: Final = "async_downloads: remove expired downloads"

RESCUE_PATH: Final = "async_downloads.tasks.rescue_stalled_downloads"
RESCUE_NAME: Final = "async_downloads: rescue stalled downloads"

#: The limits of the columns of django-q2.
MAX_MINUTES: Final = 32_767
MAX_TEXT: Final = 100

#: The value of an invalid setting, and what is accepted; None if it is valid.
Problem = tuple[str, str] | None


class Job(NamedTuple):
    """A periodic job.

    Attributes:
        path: The dotted path of its task.
        name: The name of its schedule, without the interval.
        interval: Returns its setting: minutes, a cron expression, or None for no schedule.
        problem: Returns why the setting is invalid.
        kwargs: The options of its task, as django-q2 reads them.
    """

    path: str
    name: str
    interval: Callable[[], int | str | None]
    problem: Callable[[], Problem]
    kwargs: str = ""


def install(using: str) -> None:
    """Insert, update or delete the schedules of the jobs, as the settings say.

    Any row that runs a job is a schedule of it, even if an admin has changed its
    name, interval or repeats. Processes that migrate at the same time end with one row. An
    invalid setting is logged and changes nothing: a row that the scheduler cannot read
    would stop all other schedules.

    Args:
        using: The database that was just migrated.
    """
    if not apps.is_installed("django_q"):
        return
    from django_q.models import Schedule

    databases = {model: router.db_for_write(model) for model in (Schedule, Download)}
    # The two models may be in different databases, and either may be migrated last.
    if using not in databases.values() or not all(map(_migrated, databases, databases.values())):
        return
    for job in _jobs():
        _install(job, Schedule.objects.using(databases[Schedule]))


def _jobs() -> tuple[Job, ...]:
    return (
        Job(CLEANUP_PATH, CLEANUP_NAME, lambda: settings.CLEANUP_SCHEDULE, cleanup_problem),
        Job(
            RESCUE_PATH,
            RESCUE_NAME,
            lambda: 1 if settings.RESCUE else None,
            rescue_problem,
            # django-q2 keeps a limited number of successes, and a day has 1440 minutes.
            kwargs="q_options={'save': False}",
        ),
    )


def _install(job: Job, schedules: Any) -> None:
    invalid = job.problem()
    if invalid is not None:
        logger.error("%s is not scheduled. %s %s", job.path, *invalid)
        return
    rows = list(schedules.filter(func=job.path))
    if rows:
        for row in rows:
            _update(job, schedules, row)
    elif (value := job.interval()) is not None:
        _create(job, schedules, _columns(job, value))


def rescue_problem() -> Problem:
    """Return the invalid value of ``ASYNC_DOWNLOADS_RESCUE``, and what is accepted."""
    value = settings.RESCUE
    if isinstance(value, bool):
        return None
    return f"ASYNC_DOWNLOADS_RESCUE is {value!r}.", "It must be True or False."


def cleanup_problem() -> Problem:
    """Return the invalid value of ``ASYNC_DOWNLOADS_CLEANUP_SCHEDULE``, and what is accepted."""
    value = settings.CLEANUP_SCHEDULE
    message = f"ASYNC_DOWNLOADS_CLEANUP_SCHEDULE is {value!r}."
    if value is None or (type(value) is int and 0 < value <= MAX_MINUTES):
        return None
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        return message, (
            f"It must be an int, in minutes, from 1 to {MAX_MINUTES}, a cron expression of at most "
            f'{MAX_TEXT} characters such as "0 3 * * *", or None for no schedule.'
        )
    if not apps.is_installed("django_q"):
        # Without django-q2, the setting has no effect.
        return None
    try:
        _next_run(_timing(value))
    except ImportError:
        return message, (
            'A cron expression needs croniter: pip install "django-async-downloads[cron]".'
        )
    except ValueError as error:
        return message, f'It must be a valid cron expression, such as "0 3 * * *": {error}'
    return None


def _columns(job: Job, value: int | str) -> dict[str, Any]:
    """Return the columns of a job's schedule for a value of its setting."""
    timing = _timing(value)
    columns = {"kwargs": job.kwargs or None, "repeats": -1, "cluster": None}
    return {"name": _name(job, timing), **timing, **columns}


def _timing(value: int | str) -> dict[str, Any]:
    """Return the columns that say when a schedule runs."""
    from django_q.models import Schedule

    if isinstance(value, str):
        return {"schedule_type": Schedule.CRON, "minutes": None, "cron": value}
    return {"schedule_type": Schedule.MINUTES, "minutes": value, "cron": None}


def _name(job: Job, when: dict[str, Any]) -> str:
    """Return a name that states the interval, or one without it if that would be too long."""
    minutes = "every minute" if when["minutes"] == 1 else f"every {when['minutes']} minutes"
    name = f"{job.name}, {'at ' + when['cron'] if when['cron'] else minutes}"
    return name if len(name) <= MAX_TEXT else job.name


def _next_run(columns: dict[str, Any]) -> datetime:
    """Return the time of the first run of a new schedule.

    Raises:
        ImportError: It is a cron expression, and croniter is not installed.
        ValueError: The cron expression is invalid, or its time never comes.
    """
    from django_q.models import Schedule, validate_cron

    if columns["cron"] is None:
        return timezone.now() + timedelta(minutes=columns["minutes"])
    try:
        validate_cron(columns["cron"])
        next_run: datetime = Schedule(**columns).calculate_next_run()
    except ImportError:
        raise
    except Exception as error:
        # django-q2 and croniter raise several kinds of errors.
        raise ValueError(" ".join(getattr(error, "messages", None) or [str(error)])) from error
    return next_run


def _create(job: Job, schedules: Any, columns: dict[str, Any]) -> None:
    schedules.create(func=job.path, **columns, next_run=_next_run(columns))
    # The table has no unique constraint against a second row. So each process, after its own
    # row is committed, deletes all rows but the oldest: the last process sees all of them.
    ours = schedules.filter(func=job.path, name__startswith=job.name)
    oldest = ours.order_by("pk").values_list("pk", flat=True).first()
    ours.filter(pk__gt=oldest).delete()


def _update(job: Job, schedules: Any, row: Any) -> None:
    """Update a row to the setting, or delete it, unless an admin has edited it."""
    known = {name: getattr(row, name) for name in ("name", "schedule_type", "minutes", "cron")}
    states_interval = known["name"] == _name(job, known) != job.name
    extended = any((row.hook, row.args, row.intended_date_kwarg))
    edited = extended or (row.kwargs or "") != job.kwargs
    if not states_interval or edited or row.repeats != -1 or row.cluster is not None:
        return
    # With these conditions, an edit at the same moment stays.
    known |= {"kwargs": row.kwargs, "repeats": -1, "cluster": None}
    untouched, value = schedules.filter(pk=row.pk), job.interval()
    for name, column in known.items():
        untouched = untouched.filter(
            **{f"{name}__isnull": True} if column is None else {name: column}
        )
    if value is None:
        untouched.delete()
        return
    columns = _columns(job, value) | {"kwargs": row.kwargs}
    if columns != known:
        untouched.update(**columns, next_run=_next_run(columns))


def _migrated(model: Any, using: str) -> bool:
    """Return whether the table of a model exists: not after a migration of another app or back."""
    with connections[using].cursor() as cursor:
        return model._meta.db_table in connections[using].introspection.table_names(cursor)
