"""One requested file: its states, and the conditional updates that lead from one to the next."""

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
    has_heartbeat,
    has_stalled,
    is_in_progress,
    status_text,
)
from async_downloads.models.texts import write_text
from async_downloads.models.timing import heartbeat_columns, stalled_before
from async_downloads.utils.error_text import storable

__all__ = ["Download", "DownloadQuerySet"]


class DownloadQuerySet(models.QuerySet["Download"]):
    """Select downloads by their state, and change them by conditional updates."""

    def for_user(self, user_id: Any) -> Self:
        """Return the downloads of the user with this primary key; none for None."""
        # Without this, None would mean IS NULL: the collections that belong to no user.
        return self.none() if user_id is None else self.filter(collection__user_id=user_id)

    def active(self) -> Self:
        """Return the downloads that have not expired; an unfinished one never has."""
        return self.exclude(has_expired(timezone.now()))

    def expired(self) -> Self:
        """Return the finished downloads that have outlived ``TIMEOUT``."""
        return self.filter(has_expired(timezone.now()))

    def overdue(self) -> Self:
        """Return the unfinished downloads without a heartbeat for ``TIMEOUT``: they are to fail."""
        return self.stalled().filter(expires_at__lte=timezone.now())

    def unfinished(self) -> Self:
        """Return the downloads that wait for a worker or are with one."""
        return self.filter(state__in=UNFINISHED)

    def stalled(self) -> Self:
        """Return the unfinished downloads without a heartbeat for ``STALLED_AFTER`` seconds."""
        return self.filter(has_stalled())

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

    def counted(self) -> Self:
        """Return the downloads with ``total`` and ``running``: how many of both there are in all.

        The same query counts them, whatever slice of it is taken.
        """
        return self.annotate(
            total=Window(Count("pk")), running=Window(Count("pk", filter=is_in_progress()))
        )

    def newest_first(self) -> Self:
        """Return the downloads in the order of the list."""
        return self.order_by("-timestamp", "-pk")

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
                errors="",
                error_detail="",
                started_at=timezone.now(),
                finished_at=None,
                rows_written=None,
                rows_expected=None,
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
            state=DownloadState.RUNNING,
            errors="",
            error_detail="",
            finished_at=None,
            **heartbeat_columns(),
        )

    def release(self) -> int:
        """Release downloads that an attempt has claimed and has not begun to write."""
        return self.filter(state=DownloadState.RUNNING).update(
            state=DownloadState.PENDING,
            claim=None,
            attempts=F("attempts") - 1,
            **heartbeat_columns(),
        )

    def heartbeat(
        self, *, rows_written: int | None = None, rows_expected: int | None = None
    ) -> int:
        """Record that the attempt is alive, and how far it is."""
        return self.update(
            rows_written=rows_written, rows_expected=rows_expected, **heartbeat_columns()
        )

    def progress(self, percentage: int) -> int:
        """Set the percentage of downloads that are not complete."""
        return self.exclude(state=DownloadState.COMPLETE).update(
            percentage=percentage, **heartbeat_columns()
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
            **heartbeat_columns(),
        )

    def fail_missing(self, errors: str) -> int:
        """Fail complete downloads whose file is missing from the storage."""
        return (
            self.filter(state=DownloadState.COMPLETE)
            .exclude(claim=CLEARED)
            .update(state=DownloadState.FAILED, errors=storable(errors), **heartbeat_columns())
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
                **columns,
                **heartbeat_columns(),
            )

        using = self._db or router.db_for_write(self.model)  # type: ignore[attr-defined]
        return write_text(write, errors, detail, using=using)

    def retire(self, moment: datetime) -> int:
        """Let finished downloads expire for good: no later attempt revives one."""
        used_up = min(settings.MAX_ATTEMPTS, 32_767)  # more does not fit into the column
        return self.finished().update(expires_at=moment, claim=CLEARED, attempts=used_up)

    def extend(self, until: datetime) -> int:
        """Keep finished downloads at least until then, without a heartbeat."""
        return self.expiring_before(until).update(expires_at=until)


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
    timestamp = models.DateTimeField(_("requested"), default=timezone.now)
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)
    heard_at = models.DateTimeField(
        _("last heartbeat"), default=timezone.now, help_text=_("The last write of any kind.")
    )
    expires_at = models.DateTimeField(
        _("expires"),
        null=True,
        blank=True,
        help_text=_("When the clean-up may remove it; empty for never."),
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
        """The primary key as text, by which tasks and pages know a download."""
        return str(self.pk)

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
    def stalled(self) -> bool:
        """Whether it is unfinished and without a heartbeat for ``STALLED_AFTER`` seconds."""
        return self.unfinished and self.heard_at < stalled_before()

    @property
    def overdue(self) -> bool:
        """Whether it is unfinished, stalled, and without a heartbeat for ``TIMEOUT``."""
        return self.stalled and self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def in_progress(self) -> bool:
        """Whether it is unfinished and has not stalled."""
        return self.unfinished and not self.stalled

    @property
    def status_text(self) -> str:
        """The state in words for the owner, with the reason if it has stalled."""
        return status_text(self)

    @property
    def error_text(self) -> str:
        """The reason of a failure that the owner reads, in the language of the reader."""
        return gettext(self.errors) if self.errors else ""

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
