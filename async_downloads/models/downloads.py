"""One requested file: its states, and the conditional updates that lead from one to the next."""

import uuid
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final, Self

from django.conf import settings as project_settings
from django.db import models, router
from django.db.models import Case, Count, F, Max, Q, Value, When
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from async_downloads import settings
from async_downloads.files.storage import MAX_PATH_LENGTH
from async_downloads.models.calls import MAX_TASK_LENGTH, Call
from async_downloads.models.collections import DownloadCollection
from async_downloads.models.conditions import (
    CLEARED,
    UNFINISHED,
    DownloadState,
    has_expired,
    has_heartbeat,
    has_stalled,
    is_in_progress,
    is_stuck,
    status_text,
)
from async_downloads.models.labels import file_type, rows_text, short_name
from async_downloads.models.lifetime import (
    ended_columns,
    expiry_unless,
    keep_until,
    menu_until_text,
    timeout_of,
    until_text,
)
from async_downloads.models.reasons import without_advice
from async_downloads.models.texts import write_text
from async_downloads.models.timing import (
    ClockReading,
    DatabaseNow,
    alive_columns,
    heartbeat_columns,
    mail_due,
    stalled_before,
)
from async_downloads.models.waiting import ahead_text, coarse_seconds, time_left_text
from async_downloads.owners import Owner, Team
from async_downloads.utils.error_text import storable

__all__ = ["LONG_COLUMNS", "MAX_LANGUAGE_LENGTH", "Download", "DownloadQuerySet"]

#: Characters of a language code.
MAX_LANGUAGE_LENGTH: Final = 35

#: Columns that may be long, and that no list shows.
LONG_COLUMNS: Final = ("error_detail", "arguments")

#: The columns with the outcome of an attempt, as they are when the next attempt begins.
WITHOUT_OUTCOME: Final = {
    "size": None,
    "rows_written": None,
    "rows_expected": None,
    "errors": "",
    "error_detail": "",
    "finished_at": None,
    "expected_at": None,
}


class DownloadQuerySet(models.QuerySet["Download"]):
    """Select downloads by their state, and change them by conditional updates."""

    def for_user(self, user_id: Any) -> Self:
        """Return the downloads of the user with this primary key; none for None."""
        # Without this, None would mean IS NULL: the collections that belong to no user.
        return self.none() if user_id is None else self.filter(collection__user_id=user_id)

    def visible_to(self, owner: Owner) -> Self:
        """Return the downloads that a user sees: their own, and those of their teams."""
        if not owner.teams:
            return self.for_user(owner.user_id)
        return self.filter(collection__in=[each.collection_id for each in owner.visible])

    def active(self) -> Self:
        """Return the downloads that have not expired; an unfinished one never has."""
        return self.exclude(has_expired(timezone.now()))

    def expired(self) -> Self:
        """Return the finished downloads that have outlived their lifetime, unless they are held."""
        return self.filter(has_expired(timezone.now()))

    def for_good(self) -> Self:
        """Return the finished downloads that never expire, unless they are held."""
        return self.finished().removable().filter(expires_at=None)

    def overdue(self) -> Self:
        """Return the unfinished downloads without a heartbeat for ``TIMEOUT``: they are to fail."""
        return self.stalled().filter(expires_at__lte=timezone.now())

    def unfinished(self) -> Self:
        """Return the downloads that wait for a worker or are with one."""
        return self.filter(state__in=UNFINISHED)

    def stalled(self) -> Self:
        """Return the unfinished downloads without a heartbeat for ``STALLED_AFTER`` seconds."""
        return self.filter(has_stalled())

    def stuck(self) -> Self:
        """Return the running downloads with a heartbeat whose work does not move.

        There are none if ``STUCK_AFTER`` is None.
        """
        return self.filter(is_stuck())

    def in_progress(self) -> Self:
        """Return the unfinished downloads that have not stalled."""
        return self.filter(is_in_progress())

    def finished(self) -> Self:
        """Return the downloads that are complete or have failed."""
        return self.exclude(state__in=UNFINISHED)

    def expiring_before(self, until: datetime) -> Self:
        """Return the finished downloads that expire before then, except those that are cleared."""
        # The next write to an unfinished one sets its expiry anew.
        return self.finished().exclude(claim=CLEARED).filter(expires_at__lt=until)

    def with_database_clock(self) -> Self:
        """Return the downloads such that each knows the time on the clock of the database."""
        return self.annotate(_read_at=DatabaseNow())

    def without_long_columns(self) -> Self:
        """Return the downloads without the columns that may be long, and that no list shows."""
        return self.defer(*LONG_COLUMNS)

    def newest_first(self) -> Self:
        """Return the downloads in the order of the list."""
        return self.order_by("-timestamp", "-pk")

    def by_stage(self) -> Self:
        """Return them as the page of all downloads shows them: those in progress come first."""
        stages = Case(
            When(state__in=UNFINISHED, then=0),
            When(state=DownloadState.COMPLETE, then=1),
            default=2,
        )
        return self.order_by(stages, "-timestamp", "-pk")

    def stages(self) -> tuple[dict[str, int], datetime | None]:
        """Return how many are unfinished, complete and failed, and when the last one finished."""
        rows = self.order_by().values_list("state").annotate(Count("pk"), Max("heard_at"))
        states = {state: (count, newest) for state, count, newest in rows}
        unfinished = sum(states.pop(state, (0, None))[0] for state in UNFINISHED)
        counts = {state: count for state, (count, _) in states.items()}
        newest = max((newest for _, newest in states.values()), default=None)
        return {"unfinished": unfinished, "complete": 0, "failed": 0, **counts}, newest

    def claim(self, download_key: uuid.UUID, token: uuid.UUID) -> int:
        """Claim a download for the attempt with this token, unless another attempt is alive."""
        claimable = Q(attempts__lt=settings.MAX_ATTEMPTS) & ~Q(state=DownloadState.COMPLETE)
        # Progress from before the claim stays. First, as MySQL assigns one after the other.
        percentage = Case(When(state=DownloadState.PENDING, then=F("percentage")), default=0)
        return (
            self.unclaimed()
            .filter(claimable, pk=download_key)
            .update(
                percentage=percentage,
                state=DownloadState.RUNNING,
                claim=token,
                attempts=F("attempts") + 1,
                started_at=timezone.now(),
                **WITHOUT_OUTCOME,
                **heartbeat_columns(),
            )
        )

    def unclaimed(self) -> Self:
        """Return the downloads without an attempt that gives heartbeats."""
        return self.exclude(has_heartbeat(), state=DownloadState.RUNNING)

    def claimed_by(self, download_key: uuid.UUID, token: uuid.UUID | None) -> Self:
        """Return the download, if it is not complete and its claim is this one."""
        return self.filter(pk=download_key, claim=token).exclude(state=DownloadState.COMPLETE)

    def claimed_by_another(self, download_key: uuid.UUID, token: uuid.UUID | None) -> Self:
        """Return the download, if it is running under another claim than this one."""
        running = self.filter(pk=download_key, state=DownloadState.RUNNING)
        return running.exclude(claim=token).exclude(claim=None)

    def resume(self) -> int:
        """Continue downloads that the same attempt has reported as failed."""
        return self.filter(state=DownloadState.FAILED).update(
            state=DownloadState.RUNNING, **WITHOUT_OUTCOME, **heartbeat_columns()
        )

    def release(self) -> int:
        """Release downloads that an attempt has claimed and has not begun to write."""
        return self.filter(state=DownloadState.RUNNING).update(
            state=DownloadState.PENDING,
            claim=None,
            attempts=F("attempts") - 1,
            expected_at=None,
            **heartbeat_columns(),
        )

    def rescuable(self) -> Self:
        """Return the stalled attempts whose download can be built by another attempt."""
        return self._stalled_with_call().filter(attempts__lt=settings.MAX_ATTEMPTS)

    def used_up(self) -> Self:
        """Return the stalled attempts that were the last ones, of downloads with a call."""
        return self._stalled_with_call().filter(attempts__gte=settings.MAX_ATTEMPTS)

    def _stalled_with_call(self) -> Self:
        return self.filter(has_stalled(), state=DownloadState.RUNNING).exclude(task="")

    def rescue(self) -> int:
        """Let downloads whose attempt has stalled wait for another attempt."""
        return self.rescuable()._wait_again()

    def retryable(self) -> Self:
        """Return the failed and stalled downloads with a call."""
        ended = Q(state=DownloadState.FAILED) | has_stalled()
        # The owner has cleared the others, which are yet to be deleted.
        return self.filter(ended).exclude(task="").exclude(claim=CLEARED)

    def retry(self) -> int:
        """Let failed and stalled downloads with a call wait for a first attempt again."""
        return self.retryable()._wait_again(attempts=0, mail_attempts=0, mail_due_at=mail_due())

    def _wait_again(self, **columns: Any) -> int:
        return self.update(
            **columns,
            state=DownloadState.PENDING,
            # No attempt has this token, so that one which comes back has lost its claim.
            claim=uuid.uuid4(),
            times_queued=1,
            percentage=0,
            started_at=None,
            **WITHOUT_OUTCOME,
            **heartbeat_columns(),
        )

    def queued(self, times: int) -> int:
        """Record how often the task of downloads was queued; it is not a heartbeat."""
        return self.update(times_queued=times)

    def record_call(self, call: Call) -> int:
        """Record how unfinished downloads are built, and that their task is queued."""
        return self.unfinished().update(task=call.task, arguments=call.arguments, times_queued=1)

    def set_lifetime(self, lifetime: timedelta | None) -> int:
        """Set how long unfinished downloads are kept after their end."""
        return self.unfinished().update(lifetime=lifetime)

    def heartbeat(
        self,
        *,
        rows_written: int | None = None,
        rows_expected: int | None = None,
        expected_at: datetime | None = None,
    ) -> int:
        """Record that the attempt is alive, how far it is, and when it may end."""
        return self.update(
            rows_written=rows_written,
            rows_expected=rows_expected,
            expected_at=expected_at,
            **_in_between(heartbeat_columns()),
        )

    def heartbeat_alone(self) -> int:
        """Record that the process of the attempt is alive, and nothing about the work."""
        return self.update(**_in_between(alive_columns()))

    def progress(self, percentage: int, *, expected_at: datetime | None = None) -> int:
        """Set the percentage of downloads that are not complete, and when they may end."""
        return self.exclude(state=DownloadState.COMPLETE).update(
            percentage=percentage, expected_at=expected_at, **_in_between(heartbeat_columns())
        )

    def complete(
        self,
        *,
        path: str,
        size: int,
        names: dict[str, str] | None = None,
        rows_written: int | None = None,
        rows_expected: int | None = None,
    ) -> int:
        """Complete downloads whose whole file is in the storage at ``path``, maybe renamed."""
        now = timezone.now()
        return self.update(
            **(names or {}),
            **_mail_after_failure(now),
            rows_written=rows_written,
            rows_expected=rows_expected,
            state=DownloadState.COMPLETE,
            percentage=100,
            filepath=path,
            size=size,
            errors="",
            error_detail="",
            finished_at=now,
            expected_at=None,
            **ended_columns(),
        )

    def to_mail(self) -> Self:
        """Return the ended downloads that were not fetched, and about which a mail is due.

        The first attempt at a mail is due if the download has ended at ``mail_due_at`` or later,
        another one from then on.
        """
        first = Q(mail_attempts=0, finished_at__gte=F("mail_due_at"))
        again = Q(mail_attempts__gt=0, mail_due_at__lte=timezone.now())
        # It may have been made again since.
        not_fetched = Q(fetched_at__isnull=True) | Q(fetched_at__lt=F("finished_at"))
        ended = self.filter(state__in=(DownloadState.COMPLETE, DownloadState.FAILED))
        return ended.active().exclude(claim=CLEARED).filter(first | again, not_fetched)

    def claim_mail(self, again_at: datetime | None) -> int:
        """Claim the mails about downloads; another attempt is due at ``again_at``, if any."""
        return self.to_mail().update(mail_attempts=F("mail_attempts") + 1, mail_due_at=again_at)

    def settle_mail(self) -> int:
        """Record that no mail about downloads is due any more."""
        return self.update(mail_due_at=None)

    def fail_missing(self, errors: str) -> int:
        """Fail complete downloads whose file is missing from the storage."""
        return (
            self.filter(state=DownloadState.COMPLETE)
            .exclude(claim=CLEARED)
            .update(state=DownloadState.FAILED, errors=storable(errors), **ended_columns())
        )

    def count_fetch(self, user_id: Any) -> int:
        """Record a fetch of the files; it prolongs no life, unlike a heartbeat."""
        return self.filter(state=DownloadState.COMPLETE).update(
            fetch_count=F("fetch_count") + 1, fetched_at=timezone.now(), fetched_by_id=user_id
        )

    def fail(self, errors: str, *, detail: str = "") -> int:
        """Record a failure on downloads that are not complete, nor have failed and expired."""
        expired = Q(state=DownloadState.FAILED, expires_at__lte=timezone.now())
        return self.exclude(Q(state=DownloadState.COMPLETE) | expired)._fail(errors, detail)

    def stop(self, errors: str, *, detail: str = "") -> int:
        """Fail unfinished downloads, and take their claims from the attempts that hold them."""
        # No attempt has this token, so that even one without a claim of its own has to stop.
        return self.unfinished()._fail(errors, detail, claim=uuid.uuid4())

    def _fail(self, errors: str, detail: str, **columns: Any) -> int:
        def write(errors: str, detail: str) -> int:
            return self.update(
                state=DownloadState.FAILED,
                errors=errors,
                error_detail=detail,
                finished_at=timezone.now(),
                # The file of an earlier attempt is not the one that is missing now.
                size=None,
                expected_at=None,
                **columns,
                **ended_columns(),
            )

        using = self._db or router.db_for_write(self.model)  # type: ignore[attr-defined]
        return write_text(write, errors, detail, using=using)

    def held_back(self) -> Self:
        """Return the downloads that staff hold."""
        return self.filter(held=True)

    def removable(self) -> Self:
        """Return the downloads that staff do not hold."""
        return self.filter(held=False)

    def hold(self) -> int:
        """Keep downloads from being removed, except those that their owner has cleared."""
        return self.holdable().update(held=True)

    def holdable(self) -> Self:
        """Return the downloads that staff do not hold, and that their owner has not cleared."""
        return self.removable().exclude(claim=CLEARED)

    def end_hold(self) -> int:
        """End the hold on downloads."""
        return self.held_back().update(held=False)

    def retire(self, moment: datetime) -> int:
        """Let finished downloads expire for good: no later attempt revives one."""
        used_up = min(settings.MAX_ATTEMPTS, 32_767)  # more does not fit into the column
        return (
            self.finished()
            .removable()
            .update(expires_at=moment, claim=CLEARED, attempts=used_up, task="", arguments="")
        )

    def extend(self, until: datetime) -> int:
        """Keep finished downloads at least until then, without a heartbeat."""
        return self.expiring_before(until).update(expires_at=until)


def _in_between(columns: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of a heartbeat that leaves the state as it is, perhaps failed."""
    return {**columns, "expires_at": expiry_unless(Q(state=DownloadState.FAILED))}


def _mail_after_failure(now: datetime) -> dict[str, Any]:
    """Return the columns that let a mail follow one that said that the download has failed."""
    if settings.NOTIFY_AFTER is None:
        return {}
    # First, as MySQL assigns one after the other.
    due = Case(When(mail_attempts__gt=0, then=Value(now)), default=F("mail_due_at"))
    return {"mail_due_at": due, "mail_attempts": 0}


class Download(models.Model):
    """One requested file."""

    id = models.UUIDField(_("download key"), primary_key=True, default=uuid.uuid4, editable=False)
    collection = models.ForeignKey(
        DownloadCollection,
        on_delete=models.CASCADE,
        related_name="downloads",
        # The index on collection and timestamp serves the foreign key as well.
        db_index=False,
        verbose_name=_("collection"),
    )
    name = models.TextField(_("name"), help_text=_("Its name in the list."))
    filename = models.TextField(
        _("file name"), help_text=_("The name that a browser saves it under.")
    )
    filepath = models.CharField(
        _("path"),
        max_length=MAX_PATH_LENGTH,
        help_text=_("The path of the file in the storage."),
    )
    state = models.CharField(
        _("state"), max_length=16, choices=DownloadState, default=DownloadState.PENDING
    )
    percentage = models.PositiveSmallIntegerField(_("progress"), default=0)
    size = models.PositiveBigIntegerField(
        _("size"), null=True, blank=True, help_text=_("Bytes of the whole file.")
    )
    rows_written = models.PositiveBigIntegerField(
        _("rows"), null=True, blank=True, help_text=_("Rows of the file, without its header.")
    )
    rows_expected = models.PositiveBigIntegerField(
        _("rows expected"),
        null=True,
        blank=True,
        help_text=_("Rows counted at the start, if known."),
    )
    errors = models.TextField(
        _("error"),
        blank=True,
        default="",
        help_text=_("The reason for a failure, as the owner reads it."),
    )
    error_detail = models.TextField(
        _("error detail"),
        blank=True,
        default="",
        help_text=_("The reason for a failure, for staff only."),
    )
    claim = models.UUIDField(
        _("claim"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("The token of the attempt that may write."),
    )
    attempts = models.PositiveSmallIntegerField(
        _("attempts"), default=0, help_text=_("Attempts that have claimed it.")
    )
    task = models.CharField(
        _("task"),
        max_length=MAX_TASK_LENGTH,
        blank=True,
        default="",
        editable=False,
        help_text=_("The dotted path of the task that builds it; empty if it is not known."),
    )
    arguments = models.TextField(
        _("arguments"),
        blank=True,
        default="",
        editable=False,
        help_text=_("The arguments of the task after the download key, as JSON."),
    )
    times_queued = models.PositiveSmallIntegerField(
        _("times queued"),
        default=0,
        help_text=_("How often its task was queued for the attempt that it waits for."),
    )
    timestamp = models.DateTimeField(_("requested"), default=timezone.now)
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)
    heard_at = models.DateTimeField(
        _("last heartbeat"), default=timezone.now, help_text=_("The last write of any kind.")
    )
    moved_at = models.DateTimeField(
        _("last progress"),
        default=timezone.now,
        help_text=_("When its task last came further; a heartbeat may be later."),
    )
    expected_at = models.DateTimeField(
        _("expected"),
        null=True,
        blank=True,
        help_text=_("When the file may be ready, by the progress of the last minutes."),
    )
    expires_at = models.DateTimeField(
        _("expires"),
        null=True,
        blank=True,
        help_text=_("When the clean-up may remove it; empty for never."),
    )
    lifetime = models.DurationField(
        _("lifetime"),
        null=True,
        blank=True,
        help_text=_(
            "From its end until it expires; empty for the default of the site, 0 for good."
        ),
    )
    held = models.BooleanField(
        _("held"), default=False, help_text=_("Whether staff keep it from being removed.")
    )
    fetch_count = models.PositiveIntegerField(
        _("times fetched"), default=0, help_text=_("How often its file was handed out.")
    )
    fetched_at = models.DateTimeField(_("last fetched"), null=True, blank=True)
    fetched_by = models.ForeignKey(
        project_settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        related_name="+",
        null=True,
        blank=True,
        verbose_name=_("last fetched by"),
    )
    language = models.CharField(
        _("language"),
        max_length=MAX_LANGUAGE_LENGTH,
        blank=True,
        default="",
        editable=False,
        help_text=_("The language in which it was requested."),
    )
    mail_attempts = models.PositiveSmallIntegerField(
        _("attempts at a mail"),
        default=0,
        editable=False,
        help_text=_("How often a mail about its end was attempted."),
    )
    mail_due_at = models.DateTimeField(
        _("mail due"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("From when on a mail about its end is due; empty for none."),
    )

    #: How many downloads are ahead of one that waits, at most ``MAX_AHEAD``. The listing of the
    #: owner sets it; None if it was not read.
    ahead: int | None = None

    #: Whether others are being built while one waits. The listing of the owner sets it, too.
    served: bool | None = None

    #: How many seconds it had waited for the attempt that has just claimed it. Only the signal of
    #: that attempt knows it; otherwise None.
    seconds_queued: float | None = None

    #: The team that the reader of a listing sees it with; None for the reader's own.
    team: Team | None = None

    #: Whether the reader may neither clear nor cancel it, nor have it built again.
    read_only = False

    #: How far the clock of the database is ahead of the clock of this process, if known.
    clock_difference = timedelta()
    _read_at = ClockReading()

    objects = DownloadQuerySet.as_manager()

    class Meta:
        verbose_name = _("download")
        verbose_name_plural = _("downloads")
        permissions = [
            ("fetch_download", "Can fetch the files of others"),
            ("clear_team_downloads", "Can clear and cancel downloads of their teams"),
        ]
        indexes = [
            models.Index(fields=["-timestamp", "-id"], name="async_downloads_newest"),
            models.Index(fields=["collection", "-timestamp"], name="async_downloads_list"),
            models.Index(fields=["expires_at"], name="async_downloads_expired"),
            models.Index(fields=["state", "heard_at"], name="async_downloads_stalled"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(percentage__gte=0, percentage__lte=100),
                name="async_downloads_percentage_range",
            ),
            models.CheckConstraint(
                condition=Q(state__in=[state.value for state in DownloadState]),
                name="async_downloads_state_known",
            ),
            models.CheckConstraint(
                condition=~Q(state=DownloadState.COMPLETE.value)
                | (Q(size__isnull=False, percentage=100) & ~Q(filepath="")),
                name="async_downloads_complete_has_file",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def download_key(self) -> str:
        """The primary key as text, by which tasks and pages know a download."""
        return str(self.pk)

    def database_time(self) -> datetime:
        """Return the time, on the clock of the database if the row was read with it."""
        return timezone.now() + self.clock_difference

    @property
    def complete(self) -> bool:
        """Whether the whole file is there."""
        return self.state == DownloadState.COMPLETE

    @property
    def truncated(self) -> bool:
        """Whether its file has fewer rows than there were at the start."""
        written, expected = self.rows_written, self.rows_expected
        return self.complete and written is not None and written < (expected or 0)

    @property
    def failed(self) -> bool:
        """Whether the last attempt ended without a file."""
        return self.state == DownloadState.FAILED

    @property
    def file_missing(self) -> bool:
        """Whether the whole file was there, and is no longer in the storage."""
        return self.failed and self.size is not None

    @property
    def unfinished(self) -> bool:
        """Whether it waits for a worker or is with one."""
        return self.state in UNFINISHED

    @property
    def stage(self) -> str:
        """The section of the page of all downloads: unfinished, complete or failed."""
        return "unfinished" if self.unfinished else self.state

    @property
    def stalled(self) -> bool:
        """Whether it is unfinished and without a heartbeat for ``STALLED_AFTER`` seconds."""
        return self.unfinished and self.heard_at < stalled_before(self.clock_difference)

    @property
    def stuck(self) -> bool:
        """Whether it is running with a heartbeat, and has not moved for ``STUCK_AFTER`` seconds."""
        stuck_after = settings.STUCK_AFTER
        if stuck_after is None or self.state != DownloadState.RUNNING or self.stalled:
            return False
        return self.database_time() - self.moved_at > timedelta(seconds=stuck_after)

    @property
    def timeout(self) -> float | None:
        """Seconds from its last write to its expiry, or to its failure if it is unfinished."""
        return timeout_of(None if self.unfinished else self.lifetime)

    @property
    def until_text(self) -> str:
        """Until when it is kept, in words for the owner; empty if it does not expire."""
        return until_text(self)

    @property
    def menu_until_text(self) -> str:
        """The same for the menu; empty as well if that is far away and the site's default."""
        return menu_until_text(self)

    @property
    def can_keep(self) -> bool:
        """Whether its owner may keep it for longer."""
        return not self.read_only and keep_until(self) is not None

    @property
    def overdue(self) -> bool:
        """Whether it is unfinished, stalled, and without a heartbeat for ``TIMEOUT``."""
        return self.expires_at is not None and self.expires_at <= timezone.now() and self.stalled

    @property
    def in_progress(self) -> bool:
        """Whether it is unfinished and has not stalled."""
        return self.unfinished and not self.stalled

    @property
    def waiting(self) -> bool:
        """Whether no worker has begun with it, nor reported progress."""
        pending = self.state == DownloadState.PENDING
        return pending and self.started_at is None and not self.percentage

    @property
    def seconds_left(self) -> int | None:
        """How many seconds it may take until it is complete, in tens; None if not known."""
        if self.state != DownloadState.RUNNING or self.stalled or self.expected_at is None:
            return None
        return coarse_seconds(self.expected_at - self.clock_difference)

    @property
    def seconds_building(self) -> float | None:
        """How many seconds the last attempt took; None if none has ended."""
        if self.started_at is None or self.finished_at is None:
            return None
        return max((self.finished_at - self.started_at).total_seconds(), 0.0)

    @property
    def call(self) -> Call | None:
        """The call that builds it; None if it is not recorded."""
        return Call.read(self.task, self.arguments)

    @property
    def retryable(self) -> bool:
        """Whether its reader may let it be built again, after a failure or a stall."""
        return bool(self.task) and not self.read_only and (self.failed or self.stalled)

    @property
    def repeatable(self) -> bool:
        """Whether its reader may request the same file anew."""
        return bool(self.task) and not self.read_only and self.complete

    @property
    def can_retry(self) -> bool:
        """Whether its reader may let it be built again, as the same row or as a new one."""
        return self.retryable or self.repeatable

    @property
    def rescuable(self) -> bool:
        """Whether it has stalled, and another attempt will begin without its owner."""
        if not (settings.RESCUE and self.task and self.stalled):
            return False
        if self.state == DownloadState.PENDING:
            # A task that has run has left the file to another one.
            return self.started_at is None
        return self.attempts < settings.MAX_ATTEMPTS

    @property
    def status_text(self) -> str:
        """The state in words for the owner, with the reason if it has stalled."""
        return status_text(self)

    @property
    def short_name(self) -> str:
        """The name without the date of the request, which a list shows anyway."""
        return short_name(self.name, self.timestamp)

    @property
    def file_type(self) -> str:
        """The type of the file in short, such as "CSV"; empty if its name has none."""
        return file_type(self.filename)

    @property
    def rows_text(self) -> str:
        """How many rows it has, in words for the owner; empty if the percentage says it better."""
        return rows_text(self)

    @property
    def ahead_text(self) -> str:
        """How many are ahead of it, in words for the owner; empty if none are."""
        return ahead_text(self.ahead)

    @property
    def time_left(self) -> str:
        """How long it may take, in words for the owner; empty if that is not known."""
        return time_left_text(self.seconds_left)

    @property
    def error_text(self) -> str:
        """The reason of a failure that the owner reads, in the language of the reader.

        It does not advise to request the file again if the owner may try again.
        """
        errors = without_advice(self.errors) if self.retryable else self.errors
        return gettext(errors) if errors else ""

    @property
    def url(self) -> str:
        """The URL of a complete file; empty for others, and if our URLs are not included."""
        # A worker may have a URLconf of its own.
        with suppress(NoReverseMatch):
            if self.complete:
                return reverse("async_downloads:download", args=[self.pk])
        return ""

    @property
    def css_class(self) -> str | None:
        """The site's extra class for each item."""
        return settings.CSS_CLASS
