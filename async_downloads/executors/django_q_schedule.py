"""The periodic clean-up as a django-q2 schedule.

``ASYNC_DOWNLOADS_CLEANUP_SCHEDULE`` says how often. The first migrate inserts the row, and
each later one updates it when the setting has changed, unless an admin has edited it. The
name of the row states its interval: if the name and the columns differ, the row was edited.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from django.apps import apps
from django.db import connections, router
from django.utils import timezone

from async_downloads import settings
from async_downloads.models import Download
from async_downloads.utils.log import get_logger

__all__ = ["CLEANUP_NAME", "CLEANUP_PATH", "install", "problem"]

logger = get_logger(__name__)

CLEANUP_PATH: Final = "async_downloads.tasks.cleanup_expired_downloads"
CLEANUP_NAME: Final = "async_downloads: remove expired downloads"

#: The limits of the columns of django-q2.
MAX_MINUTES: Final = 32_767
MAX_TEXT: Final = 100


def install(using: str) -> None:
    """Insert, update or delete the schedule of the clean-up, as the setting says.

    Any row that runs the clean-up is a schedule of it, even if an admin has changed its
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
    invalid = problem()
    if invalid is not None:
        logger.error("The clean-up is not scheduled. %s %s", *invalid)
        return
    schedules = Schedule.objects.using(databases[Schedule])
    rows = list(schedules.filter(func=CLEANUP_PATH))
    if rows:
        for row in rows:
            _update(schedules, row)
    elif (value := settings.CLEANUP_SCHEDULE) is not None:
        _create(schedules, _columns(value))


def problem() -> tuple[str, str] | None:
    """Return the value of an invalid setting, and what is accepted; None if it is valid."""
    value = settings.CLEANUP_SCHEDULE
    message = f"ASYNC_DOWNLOADS_CLEANUP_SCHEDULE is {value!r}."
    if value is None or (type(value) is int and 0 < value <= MAX_MINUTES):
        return None
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        return message, (
            f"It must be an int, in minutes, from 1 to {MAX_MINUTES}, a cron text of at most "
            f'{MAX_TEXT} characters such as "0 3 * * *", or None for no schedule.'
        )
    if not apps.is_installed("django_q"):
        # Without django-q2, the setting has no effect.
        return None
    try:
        _next_run(_columns(value))
    except ImportError:
        return message, (
            'django-q2 reads a cron text with croniter: pip install "django-async-downloads[cron]".'
        )
    except ValueError as error:
        return message, f'It must be a valid cron text, such as "0 3 * * *": {error}'
    return None


def _columns(value: int | str) -> dict[str, Any]:
    """Return the columns of a schedule for a value of the setting."""
    from django_q.models import Schedule

    if isinstance(value, str):
        when = {"schedule_type": Schedule.CRON, "minutes": None, "cron": value}
    else:
        when = {"schedule_type": Schedule.MINUTES, "minutes": value, "cron": None}
    return {"name": _name(when), **when, "repeats": -1, "cluster": None}


def _name(when: dict[str, Any]) -> str:
    """Return a name that states the interval, or one without it if that would be too long."""
    text = f"at {when['cron']}" if when["cron"] else f"every {when['minutes']} minutes"
    name = f"{CLEANUP_NAME}, {text}"
    return name if len(name) <= MAX_TEXT else CLEANUP_NAME


def _next_run(columns: dict[str, Any]) -> datetime:
    """Return the time of the first run of a new schedule.

    Raises:
        ImportError: It is a cron text, and croniter is not installed.
        ValueError: The cron text is invalid, or its time never comes.
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


def _create(schedules: Any, columns: dict[str, Any]) -> None:
    schedules.create(func=CLEANUP_PATH, **columns, next_run=_next_run(columns))
    # The table has no unique constraint against a second row. So each process, after its own
    # row is committed, deletes all rows but the oldest: the last process sees all of them.
    ours = schedules.filter(func=CLEANUP_PATH, name__startswith=CLEANUP_NAME)
    oldest = ours.order_by("pk").values_list("pk", flat=True).first()
    ours.filter(pk__gt=oldest).delete()


def _update(schedules: Any, row: Any) -> None:
    """Update a row to the setting, or delete it, unless an admin has edited it."""
    known = {name: getattr(row, name) for name in ("name", "schedule_type", "minutes", "cron")}
    known |= {"repeats": -1, "cluster": None}
    states_interval = known["name"] == _name(known) != CLEANUP_NAME
    extended = any((row.hook, row.args, row.kwargs, row.intended_date_kwarg))
    if not states_interval or extended or row.repeats != -1 or row.cluster is not None:
        return
    # With these conditions, an edit at the same moment stays.
    untouched, value = schedules.filter(pk=row.pk), settings.CLEANUP_SCHEDULE
    for name, column in known.items():
        untouched = untouched.filter(
            **{f"{name}__isnull": True} if column is None else {name: column}
        )
    if value is None:
        untouched.delete()
        return
    columns = _columns(value)
    if columns != known:
        untouched.update(**columns, next_run=_next_run(columns))


def _migrated(model: Any, using: str) -> bool:
    """Return whether the table of a model exists: not after a migration of another app or back."""
    with connections[using].cursor() as cursor:
        return model._meta.db_table in connections[using].introspection.table_names(cursor)
