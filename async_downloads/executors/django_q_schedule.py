"""The periodic clean-up as a django-q2 schedule.

``ASYNC_DOWNLOADS_CLEANUP_SCHEDULE`` says how often. The row is made by the first
migrate. As long as nobody has edited it, each later migrate brings it in line with
the setting; its name says what the setting was, so that a row whose columns say
something else, or whose name does, is known to be an admin's, and stays as it is.
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

#: What the columns of django-q2 hold.
MAX_MINUTES: Final = 32_767
MAX_TEXT: Final = 100


def install(using: str) -> None:
    """Have one schedule of the clean-up, as the setting has it.

    A schedule counts as there if it runs the clean-up, whatever an admin has
    made of its name, its interval or its repeats. Processes that migrate at
    once end with one row between them. A setting that cannot work is logged and
    changes nothing: a row that the scheduler cannot read would stop every other one.

    Args:
        using: The database that was just migrated.
    """
    if not apps.is_installed("django_q"):
        return
    from django_q.models import Schedule

    databases = {model: router.db_for_write(model) for model in (Schedule, Download)}
    # The two may live in two databases, either of which may be migrated last.
    if using not in databases.values() or not all(map(_migrated, databases, databases.values())):
        return
    wrong = problem()
    if wrong is not None:
        logger.error("The clean-up is not scheduled. %s %s", *wrong)
        return
    schedules = Schedule.objects.using(databases[Schedule])
    rows = list(schedules.filter(func=CLEANUP_PATH))
    if rows:
        for row in rows:
            _follow(schedules, row)
    elif (value := settings.CLEANUP_SCHEDULE) is not None:
        _create(schedules, _columns(value))


def problem() -> tuple[str, str] | None:
    """Return what is wrong with the setting, and what to do about it; None if it can work."""
    value = settings.CLEANUP_SCHEDULE
    said = f"ASYNC_DOWNLOADS_CLEANUP_SCHEDULE is {value!r}."
    if value is None or (type(value) is int and 0 < value <= MAX_MINUTES):
        return None
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        return said, (
            f"It must be a whole number of minutes from 1 to {MAX_MINUTES}, a cron text of at most "
            f'{MAX_TEXT} characters such as "0 3 * * *", or None for no schedule.'
        )
    if not apps.is_installed("django_q"):
        # Nobody is there to read it.
        return None
    try:
        _next_run(_columns(value))
    except ImportError:
        return said, (
            'django-q2 reads a cron text with croniter: pip install "django-async-downloads[cron]".'
        )
    except ValueError as error:
        return said, f'It must be a cron text that comes round, such as "0 3 * * *": {error}'
    return None


def _columns(value: int | str) -> dict[str, Any]:
    """Return what a schedule of ours has in its columns."""
    from django_q.models import Schedule

    if isinstance(value, str):
        when = {"schedule_type": Schedule.CRON, "minutes": None, "cron": value}
    else:
        when = {"schedule_type": Schedule.MINUTES, "minutes": value, "cron": None}
    return {"name": _name(when), **when, "repeats": -1, "cluster": None}


def _name(when: dict[str, Any]) -> str:
    """Return a name that says when it runs, or one that does not where that is too long."""
    text = f"at {when['cron']}" if when["cron"] else f"every {when['minutes']} minutes"
    name = f"{CLEANUP_NAME}, {text}"
    return name if len(name) <= MAX_TEXT else CLEANUP_NAME


def _next_run(columns: dict[str, Any]) -> datetime:
    """Return when a schedule that is made now runs first.

    Raises:
        ImportError: It is a cron text, and there is no croniter to read it.
        ValueError: It is none, or one that never comes round.
    """
    from django_q.models import Schedule, validate_cron

    if columns["cron"] is None:
        return timezone.now() + timedelta(minutes=columns["minutes"])
    try:
        validate_cron(columns["cron"])
        found: datetime = Schedule(**columns).calculate_next_run()
    except ImportError:
        raise
    except Exception as error:
        # Its own errors are of several kinds, by what it is that it cannot read.
        raise ValueError(" ".join(getattr(error, "messages", None) or [str(error)])) from error
    return found


def _create(schedules: Any, columns: dict[str, Any]) -> None:
    schedules.create(func=CLEANUP_PATH, **columns, next_run=_next_run(columns))
    # The table has no unique name to race for. Each process removes the rows that
    # are younger than the oldest one it sees after its own is committed: the last one
    # sees all, and the oldest is younger than none.
    ours = schedules.filter(func=CLEANUP_PATH, name__startswith=CLEANUP_NAME)
    oldest = ours.order_by("pk").values_list("pk", flat=True).first()
    ours.filter(pk__gt=oldest).delete()


def _follow(schedules: Any, row: Any) -> None:
    """Bring a row in line with the setting, unless an admin has edited it."""
    known = {name: getattr(row, name) for name in ("name", "schedule_type", "minutes", "cron")}
    known |= {"repeats": -1, "cluster": None}
    said = known["name"] == _name(known) != CLEANUP_NAME
    added = any((row.hook, row.args, row.kwargs, row.intended_date_kwarg))
    if not said or added or row.repeats != -1 or row.cluster is not None:
        return
    # Under these conditions, so that an edit of this very moment stands.
    untouched, wanted = schedules.filter(pk=row.pk), settings.CLEANUP_SCHEDULE
    for name, value in known.items():
        untouched = untouched.filter(
            **{f"{name}__isnull": True} if value is None else {name: value}
        )
    if wanted is None:
        untouched.delete()
        return
    columns = _columns(wanted)
    if columns != known:
        untouched.update(**columns, next_run=_next_run(columns))


def _migrated(model: Any, using: str) -> bool:
    """Return whether a model has its table: not after migrating another app alone, or back."""
    with connections[using].cursor() as cursor:
        return model._meta.db_table in connections[using].introspection.table_names(cursor)
