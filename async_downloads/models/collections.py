"""A collection of downloads for each owner: a user, or a text that names none."""

import uuid
from collections.abc import Collection
from datetime import datetime
from typing import Any, Final, Self

from django.conf import settings as project_settings
from django.contrib.auth import get_user_model
from django.db import connections, models
from django.db.models import Count, Exists, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from async_downloads.owners import MAX_LABEL_LENGTH, Owner, name_of

__all__ = ["DownloadCollection", "DownloadCollectionQuerySet"]

#: The weakest lock that keeps a row from being deleted.
_SHARED_LOCKS: Final = {"mysql": "LOCK IN SHARE MODE", "postgresql": "FOR KEY SHARE"}


def _or_zero(subquery: "models.QuerySet[Any, Any]") -> Coalesce:
    number = models.BigIntegerField()
    return Coalesce(Subquery(subquery, output_field=number), 0, output_field=number)


class DownloadCollectionQuerySet(models.QuerySet["DownloadCollection"]):
    """Select collections, count their downloads, lock one."""

    def lock(self, pks: Collection[uuid.UUID]) -> "list[DownloadCollection]":
        """Return those of these collections that there are, locked until the transaction ends.

        A clean-up deletes empty collections. The lock is the one that a foreign key
        takes by itself, only earlier: it is shared, and prevents a deletion alone.

        Args:
            pks: Primary keys, as many as fit into one query. They are locked in their order.
        """
        connection = connections[self.db]
        lock = _SHARED_LOCKS.get(connection.vendor)
        if lock is None:
            return list(self.filter(pk__in=pks))
        table, column = map(connection.ops.quote_name, (self.model._meta.db_table, "id"))
        values = [self.model._meta.pk.get_db_prep_value(pk, connection) for pk in pks]
        places = ", ".join(["%s"] * len(values))
        statement = (
            f"SELECT * FROM {table} WHERE {column} IN ({places})"  # noqa: S608 (no input)
            f" ORDER BY {column} {lock}"
        )
        return list(self.raw(statement, values))

    def mark_seen(self, moment: datetime) -> int:
        """Record that the owner has seen what had finished by then, unless they have seen more."""
        unseen = Q(seen_at__isnull=True) | Q(seen_at__lt=moment)
        return self.filter(unseen).update(seen_at=moment)

    def named_like(self, text: str) -> Self:
        """Return the collections whose user name or label contains this text."""
        username = get_user_model().USERNAME_FIELD
        return self.filter(Q(label__icontains=text) | Q(**{f"user__{username}__icontains": text}))

    def totalled(self) -> Self:
        """Return the collections with ``count`` and ``bytes`` of their downloads.

        Each is a subquery, so that a page of collections reads only its own downloads.
        """
        downloads = self.model._meta.get_field("downloads").related_model._base_manager
        own = downloads.filter(collection=OuterRef("pk")).order_by().values("collection")
        return self.annotate(
            count=_or_zero(own.annotate(n=Count("pk")).values("n")),
            bytes=_or_zero(own.annotate(n=Sum("size")).values("n")),
        )

    def empty(self) -> Self:
        """Return the collections without downloads."""
        downloads = self.model._meta.get_field("downloads").related_model._base_manager
        return self.filter(~Exists(downloads.filter(collection=OuterRef("pk"))))


class DownloadCollection(models.Model):
    """The downloads of one owner: a user, or a text that names none."""

    id = models.UUIDField(
        primary_key=True,
        editable=False,
        help_text=_("Derived from the owner, so that each owner has one."),
    )
    user = models.OneToOneField(
        project_settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="download_collection",
        null=True,
        blank=True,
        verbose_name=_("user"),
    )
    label = models.CharField(
        _("label"),
        max_length=MAX_LABEL_LENGTH,
        blank=True,
        default="",
        help_text=_("The name of a collection that belongs to no user."),
    )
    key = models.CharField(
        _("collection key"),
        # The format adds some characters around the label.
        max_length=MAX_LABEL_LENGTH + 200,
        db_index=True,
        help_text=_("The key that the documented functions take."),
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    seen_at = models.DateTimeField(
        _("seen"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("The last heartbeat of the downloads that the owner has seen finished."),
    )

    objects = DownloadCollectionQuerySet.as_manager()

    class Meta:
        verbose_name = _("download collection")
        verbose_name_plural = _("download collections")
        constraints = [
            models.CheckConstraint(
                # Not "exactly one": a cascade from the user passes through neither, on
                # databases that cannot defer constraints.
                condition=Q(user__isnull=True) | Q(label=""),
                name="async_downloads_collection_one_owner",
            ),
        ]

    def __str__(self) -> str:
        return str(self.user) if self.user_id is not None else self.label

    @property
    def owner(self) -> Owner:
        """The user or the text that owns the collection."""
        if self.user is not None:
            return Owner(self.user_id, name_of(self.user))
        return Owner(None, self.label)
