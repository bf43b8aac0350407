"""One file that somebody asked for: its states, and how it goes from one to the next."""

import uuid
from contextlib import suppress
from datetime import datetime
from typing import Any, Self

from django.conf import settings as project_settings
from django.db import models, router
from django.db.models import Case, Count, F, Q, When, Window
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from async_downloads import settings
from async_downloads.files.storage import MAX_PATH_LENGTH
from async_downloads.models.collections import DownloadCollection
from async_downloads.models.conditions import (
    CLEARED,
    UNFINISHED,
    DownloadState,
    has_expired,
    status_of,
)
from async_downloads.models.texts import write_text
from async_downloads.models.timing import sign_of_life, stalled_before
from async_downloads.utils.error_text import storable

__all__ = ["Download", "DownloadQuerySet"]


class DownloadQuerySet(models.QuerySet["Download"]):
    """The vocabulary of downloads: which there are, and how they may change."""

    def for_user(self, user_id: Any) -> Self:
        """Downloads that belong to the user with this primary key; None belongs to nobody."""
        # Without this, None would mean IS NULL: the collections that belong to no user.
        return self.none() if user_id is None else self.filter(collection__user_id=user_id)

    def active(self) -> Self:
        """Downloads that have not expired; one that is unfinished never has."""
        return self.exclude(has_expired(timezone.now()))

    def expired(self) -> Self:
        """Finished downloads that have outlived ``TIMEOUT``."""
        return self.filter(has_expired(timezone.now()))

    def overdue(self) -> Self:
        """Unfinished downloads without a heartbeat for ``TIMEOUT``, which are to fail."""
        return self.stalled().filter(expires_at__lte=timezone.now())

    def unfinished(self) -> Self:
        """Downloads that wait for a worker or are with one."""
        return self.filter(state__in=UNFINISHED)

    def stalled(self) -> Self:
        """Unfinished downloads of which nothing was heard for ``STALLED_AFTER`` seconds."""
        return self.unfinished().filter(heard_at__lt=stalled_before())

    def finished(self) -> Self:
        """Downloads that are complete or have failed."""
        return self.exclude(state__in=UNFINISHED)

    def expiring_before(self, until: datetime) -> Self:
        """Finished downloads that would go away before then, except those that were cleared."""
        # The next write to an unfinished one sets its end anew.
        return self.finished().exclude(claim=CLEARED).filter(expires_at__lt=until)

    def counted(self) -> Self:
        """Downloads with ``total`` and ``running``: how many of both there are in all.

        They are counted in the same query, whatever slice of it is taken.
        """
        in_progress = Q(state__in=UNFINISHED, heard_at__gte=stalled_before())
        return self.annotate(
            total=Window(Count("pk")), running=Window(Count("pk", filter=in_progress))
        )

    def newest_first(self) -> Self:
        """Downloads in the order that people see them."""
        return self.order_by("-timestamp", "-pk")

    def claim(self, download_key: uuid.UUID, token: uuid.UUID) -> int:
        """Give a download to the run that holds ``token``, if nobody alive has it."""
        claimable = Q(attempts__lt=settings.MAX_ATTEMPTS) & ~Q(state=DownloadState.COMPLETE)
        # What was reported before the claim stands. First, as MySQL assigns one after the other.
        percentage = Case(When(state=DownloadState.PENDING, then=F("percentage")), default=0)
        return (
            self.unclaimed()
            .filter(claimable, pk=download_key)
            .update(
                percentage=percentage,
                state=DownloadState.RUNNING,
                claim=token,
                attempts=F("attempts") + 1,
                errors="",
                error_detail="",
                started_at=timezone.now(),
                finished_at=None,
                rows_written=None,
                rows_expected=None,
                **sign_of_life(),
            )
        )

    def unclaimed(self) -> Self:
        """Downloads that no run has that gives heartbeats."""
        return self.exclude(state=DownloadState.RUNNING, heard_at__gte=stalled_before())

    def held(self, download_key: uuid.UUID, claim: uuid.UUID | None) -> Self:
        """The download, if it is not complete and its claim is still this one."""
        return self.filter(pk=download_key, claim=claim).exclude(state=DownloadState.COMPLETE)

    def with_another(self, download_key: uuid.UUID, claim: uuid.UUID | None) -> Self:
        """The download, if a run with another claim than this one is at it."""
        running = self.filter(pk=download_key, state=DownloadState.RUNNING)
        return running.exclude(claim=claim).exclude(claim=None)

    def resume(self) -> int:
        """Take up downloads again that the same run has reported as failed."""
        return self.filter(state=DownloadState.FAILED).update(
            state=DownloadState.RUNNING,
            errors="",
            error_detail="",
            finished_at=None,
            **sign_of_life(),
        )

    def release(self) -> int:
        """Give downloads back that a run has claimed and has not begun to write."""
        return self.filter(state=DownloadState.RUNNING).update(
            state=DownloadState.PENDING,
            claim=None,
            attempts=F("attempts") - 1,
            **sign_of_life(),
        )

    def heartbeat(
        self, *, rows_written: int | None = None, rows_expected: int | None = None
    ) -> int:
        """Say that the writer is alive, and how far it is."""
        return self.update(rows_written=rows_written, rows_expected=rows_expected, **sign_of_life())

    def progress(self, percentage: int) -> int:
        """Set the percentage of downloads that are not complete."""
        return self.exclude(state=DownloadState.COMPLETE).update(
            percentage=percentage, **sign_of_life()
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
        """Finish downloads whose whole file lies in the storage at ``path``, maybe renamed."""
        return self.update(
            **(names or {}),
            rows_written=rows_written,
            rows_expected=rows_expected,
            state=DownloadState.COMPLETE,
            percentage=100,
            filepath=path,
            size=size,
            errors="",
            error_detail="",
            finished_at=timezone.now(),
            **sign_of_life(),
        )

    def lose(self, errors: str) -> int:
        """Fail complete downloads whose file is no longer in the storage."""
        return (
            self.filter(state=DownloadState.COMPLETE)
            .exclude(claim=CLEARED)
            .update(state=DownloadState.FAILED, errors=storable(errors), **sign_of_life())
        )

    def fetched(self, user_id: Any) -> int:
        """Count that somebody fetched the files; no sign of life, as it makes nothing live on."""
        return self.filter(state=DownloadState.COMPLETE).update(
            fetch_count=F("fetch_count") + 1, fetched_at=timezone.now(), fetched_by_id=user_id
        )

    def fail(self, errors: str, *, detail: str = "") -> int:
        """Record a failure on downloads that are not complete, nor have failed and expired."""
        gone = Q(state=DownloadState.FAILED, expires_at__lte=timezone.now())
        return self.exclude(Q(state=DownloadState.COMPLETE) | gone)._fail(errors, detail)

    def stop(self, errors: str, *, detail: str = "") -> int:
        """Fail unfinished downloads and take them from the runs that are at them."""
        # Nobody holds it, so that even a run without a claim of its own has lost.
        return self.unfinished()._fail(errors, detail, claim=uuid.uuid4())

    def _fail(self, errors: str, detail: str, **columns: Any) -> int:
        def write(errors: str, detail: str) -> int:
            return self.update(
                state=DownloadState.FAILED,
                errors=errors,
                error_detail=detail,
                finished_at=timezone.now(),
                **columns,
                **sign_of_life(),
            )

        using = self._db or router.db_for_write(self.model)  # type: ignore[attr-defined]
        return write_text(write, errors, detail, using=using)

    def retire(self, moment: datetime) -> int:
        """Have finished downloads expire for good: nothing brings one back."""
        used_up = min(settings.MAX_ATTEMPTS, 32_767)  # more does not fit into the column
        return self.finished().update(expires_at=moment, claim=CLEARED, attempts=used_up)

    def extend(self, until: datetime) -> int:
        """Keep finished downloads at least until then; it is no sign of life."""
        return self.expiring_before(until).update(expires_at=until)


class Download(models.Model):
    """One file that somebody asked for."""

    id = models.UUIDField(_("download key"), primary_key=True, default=uuid.uuid4, editable=False)
    collection = models.ForeignKey(
        DownloadCollection,
        on_delete=models.CASCADE,
        related_name="downloads",
        # The index on collection and timestamp serves the foreign key as well.
        db_index=False,
        verbose_name=_("collection"),
    )
    name = models.TextField(_("name"), help_text=_("What the list calls it."))
    filename = models.TextField(
        _("file name"), help_text=_("The name that it is saved under when fetched.")
    )
    filepath = models.CharField(
        _("path"),
        max_length=MAX_PATH_LENGTH,
        help_text=_("Where the file lies in the storage, or will."),
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
        help_text=_("Rows that there were when it was begun, where that is known."),
    )
    errors = models.TextField(
        _("error"), blank=True, default="", help_text=_("What the owner is told of a failure.")
    )
    error_detail = models.TextField(
        _("error detail"), blank=True, default="", help_text=_("What staff are told of a failure.")
    )
    claim = models.UUIDField(
        _("claim"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("The token of the run that may write."),
    )
    attempts = models.PositiveSmallIntegerField(
        _("attempts"), default=0, help_text=_("Runs that have claimed it.")
    )
    timestamp = models.DateTimeField(_("asked for"), default=timezone.now)
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)
    heard_at = models.DateTimeField(
        _("last heard of"), default=timezone.now, help_text=_("The last write of any kind.")
    )
    expires_at = models.DateTimeField(
        _("expires"),
        null=True,
        blank=True,
        help_text=_("When it goes away by itself; empty for never."),
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

    objects = DownloadQuerySet.as_manager()

    class Meta:
        verbose_name = _("download")
        verbose_name_plural = _("downloads")
        permissions = [("fetch_download", "Can fetch the files of others")]
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
        """The primary key as text: what tasks and pages know a download by."""
        return str(self.pk)

    @property
    def complete(self) -> bool:
        """Whether the whole file is there."""
        return self.state == DownloadState.COMPLETE

    @property
    def cut_short(self) -> bool:
        """Whether its file has fewer rows than there were when it was begun."""
        written, expected = self.rows_written, self.rows_expected
        return self.complete and written is not None and written < (expected or 0)

    @property
    def failed(self) -> bool:
        """Whether the last run ended without a file."""
        return self.state == DownloadState.FAILED

    @property
    def lost(self) -> bool:
        """Whether the whole file was there, and is no longer in the storage."""
        return self.failed and self.size is not None

    @property
    def unfinished(self) -> bool:
        """Whether it waits for a worker or is with one."""
        return self.state in UNFINISHED

    @property
    def stalled(self) -> bool:
        """Whether it is unfinished and nothing was heard of it for ``STALLED_AFTER`` seconds."""
        return self.unfinished and self.heard_at < stalled_before()

    @property
    def overdue(self) -> bool:
        """Whether it is unfinished, stalled, and without a heartbeat for ``TIMEOUT``."""
        return self.stalled and self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def in_progress(self) -> bool:
        """Whether a worker is at it, or may be soon."""
        return self.unfinished and not self.stalled

    @property
    def status_text(self) -> str:
        """The state in words for the owner, with what happened to a stalled one."""
        return status_of(self)

    @property
    def error_text(self) -> str:
        """What the owner is told of a failure, in the language of whoever looks."""
        return gettext(self.errors) if self.errors else ""

    @property
    def url(self) -> str:
        """Where the owner fetches the file; empty until it is complete, or without our URLs."""
        # A worker may have a URLconf of its own.
        with suppress(NoReverseMatch):
            if self.complete:
                return reverse("async_downloads:download", args=[self.pk])
        return ""

    @property
    def css_class(self) -> str | None:
        """The site's extra class for each item."""
        return settings.CSS_CLASS
