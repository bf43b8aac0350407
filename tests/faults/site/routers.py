"""Where rows lie in a site with more than one database."""

from typing import Any

#: Users and downloads, which belong together.
APART = {"auth", "contenttypes", "async_downloads"}


class ApartAndReplicated:
    """Users and downloads lie in "two", and what asks to read them is sent to a copy that lags."""

    def db_for_read(self, model: type[Any], **hints: Any) -> str | None:
        """Name the copy, whatever the hints say."""
        return "replica" if model._meta.app_label in APART else None

    def db_for_write(self, model: type[Any], **hints: Any) -> str | None:
        """Name the database that decides."""
        return "two" if model._meta.app_label in APART else None

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool | None:
        """Let what is read from the copy belong to what is written."""
        return True if {one._meta.app_label, other._meta.app_label} <= APART else None
