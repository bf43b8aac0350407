"""Whose downloads: a collection for each user, or for a text that is no user."""

import uuid
from typing import Any, Final, Self

from django.conf import settings as project_settings
from django.contrib.auth import get_user_model
from django.db import connections, models
from django.db.models import Count, Exists, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from async_downloads.owners import MAX_LABEL_LENGTH, Owner

__all__ = ["DownloadCollection", "DownloadCollectionQuerySet"]

#: The weakest lock that keeps a row from being deleted.
_SHARED_LOCKS: Final = {"mysql": "LOCK IN SHARE MODE", "postgresql": "FOR KEY SHARE"}


def _or_zero(subquery: "models.QuerySet[Any, Any]") -> Coalesce:
    number = models.BigIntegerField()
    return Coalesce(Subquery(subquery, output_field=number), 0, output_field=number)


class DownloadCollectionQuerySet(models.QuerySet["DownloadCollection"]):
    """The vocabulary of collections."""

    def lock(self, pk: uuid.UUID) -> "DownloadCollection | None":
        """Return a collection that stays until the transaction ends, or None.

        A clean-up removes collections with nothing left. The lock is the one that
        a foreign key takes by itself, only earlier: any number of transactions
        hold it at once, and it stands in the way of a deletion alone.
        """
        connection = connections[self.db]
        lock = _SHARED_LOCKS.get(connection.vendor)
        if lock is None:
            return self.filter(pk=pk).first()
        table, column = map(connection.ops.quote_name, (self.model._meta.db_table, "id"))
        value = self.model._meta.pk.get_db_prep_value(pk, connection)
        statement = f"SELECT * FROM {table} WHERE {column} = %s {lock}"  # noqa: S608 (no input)
        return next(iter(self.raw(statement, [value])), None)

    def named_like(self, text: str) -> Self:
        """Collections whose owner's name or label has this text in it."""
        username = get_user_model().USERNAME_FIELD
        return self.filter(Q(label__icontains=text) | Q(**{f"user__{username}__icontains": text}))

    def totalled(self) -> Self:
        """Collections with ``count`` and ``bytes``: how many downloads, how large together.

        Each is a subquery, so that a page of collections costs no more than its own.
        """
        downloads = self.model._meta.get_field("downloads").related_model._base_manager
        own = downloads.filter(collection=OuterRef("pk")).order_by().values("collection")
        return self.annotate(
            count=_or_zero(own.annotate(n=Count("pk")).values("n")),
            bytes=_or_zero(own.annotate(n=Sum("size")).values("n")),
        )

    def empty(self) -> Self:
        """Collections with nothing left in them."""
        downloads = self.model._meta.get_field("downloads").related_model._base_manager
        return self.filter(~Exists(downloads.filter(collection=OuterRef("pk"))))


class DownloadCollection(models.Model):
    """The downloads of one owner: a user, or a text that is no user."""

    id = models.UUIDField(
        primary_key=True,
        editable=False,
        help_text=_("Made of the owner, so that there is one for each."),
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
        help_text=_("What the collection is called when it belongs to no user."),
    )
    key = models.CharField(
        _("collection key"),
        # The format around the label takes some room as well.
        max_length=MAX_LABEL_LENGTH + 200,
        db_index=True,
        help_text=_("The key that the documented functions know this collection by."),
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now)

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
        """Whose collection this is."""
        if self.user is not None:
            return Owner(self.user_id, self.user.get_username())
        return Owner(None, self.label)
