"""The ledger: one row for each file that was handed out."""

from typing import Any, Final, NoReturn

from django.db import models
from django.utils.translation import gettext_lazy as _

from async_downloads.owners import MAX_LABEL_LENGTH

__all__ = ["FetchRecord", "FetchRecordQuerySet"]

#: Characters of an address or a user's primary key.
MAX_TEXT_LENGTH: Final = 255


def _refuse(what: str) -> NoReturn:
    raise TypeError(
        f"Fetch records are append-only, so {what} is refused. The command cleanup_downloads "
        "--ledger-before deletes old ones."
    )


class FetchRecordQuerySet(models.QuerySet["FetchRecord"]):
    """Fetch records: they are inserted and read, and only deleted by their age."""

    def update(self, **kwargs: Any) -> NoReturn:
        """Refuse to change rows."""
        _refuse("update()")

    def delete(self) -> NoReturn:
        """Refuse to delete rows."""
        _refuse("delete()")

    def bulk_update(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse to change rows."""
        _refuse("bulk_update()")

    def bulk_create(
        self,
        objs: Any,
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        *args: Any,
        **kwargs: Any,
    ) -> list["FetchRecord"]:
        """Insert rows, and refuse to overwrite any."""
        if update_conflicts:
            _refuse("bulk_create(update_conflicts=True)")
        return super().bulk_create(objs, batch_size, ignore_conflicts, False, *args, **kwargs)

    def age_out(self) -> int:
        """Delete the rows, which the caller has selected by their age, and return how many."""
        return super().delete()[0]

    # As on the methods of Django: a manager and a template must not have them.
    delete.queryset_only = age_out.queryset_only = True  # type: ignore[attr-defined]
    update.alters_data = delete.alters_data = age_out.alters_data = True  # type: ignore[attr-defined]


class FetchRecord(models.Model):
    """A file that was handed out: when, to whom, which, and to what address.

    It holds texts instead of foreign keys, so that it outlives the download and the users.
    """

    fetched_at = models.DateTimeField(_("fetched"))
    user_key = models.CharField(
        _("primary key of the user"),
        max_length=MAX_TEXT_LENGTH,
        blank=True,
        default="",
        help_text=_("As text; empty for a person who is not signed in."),
    )
    user_name = models.TextField(_("user"), blank=True, default="")
    download_key = models.UUIDField(_("download key"))
    download_name = models.TextField(_("download"))
    file_name = models.TextField(_("file name"))
    owner = models.CharField(
        _("owner"),
        max_length=MAX_LABEL_LENGTH,
        help_text=_("The user name or the label, as it was then."),
    )
    size = models.BigIntegerField(_("size"), null=True, help_text=_("Bytes of the whole file."))
    address = models.CharField(
        _("address"),
        max_length=MAX_TEXT_LENGTH,
        blank=True,
        default="",
        help_text=_("As much of it as the site keeps."),
    )

    objects = FetchRecordQuerySet.as_manager()

    class Meta:
        verbose_name = _("fetch record")
        verbose_name_plural = _("fetch records")
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["fetched_at", "id"], name="async_downloads_fetched"),
            models.Index(
                fields=["download_key", "user_key", "fetched_at"],
                name="async_downloads_fetched_key",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.file_name}, {self.user_name}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert the row; refuse to change one.

        Raises:
            IntegrityError: There is a row with this primary key.
            TypeError: The row exists.
        """
        if not self._state.adding:
            _refuse("save()")
        super().save(using=kwargs.get("using"), force_insert=True)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse to delete the row."""
        _refuse("delete()")

    save.alters_data = True  # type: ignore[attr-defined]
    delete.alters_data = True  # type: ignore[attr-defined]
