"""A router for a site with several databases."""

from typing import Any

#: Apps whose rows are in the second database.
SEPARATE = {"auth", "contenttypes", "async_downloads"}


class SeparateAndReplicated:
    """Writes users and downloads to "two", and reads them from "replica", which lags."""

    def db_for_read(self, model: type[Any], **hints: Any) -> str | None:
        """Return the replica, whatever the hints say."""
        return "replica" if model._meta.app_label in SEPARATE else None

    def db_for_write(self, model: type[Any], **hints: Any) -> str | None:
        """Return the primary database."""
        return "two" if model._meta.app_label in SEPARATE else None

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool | None:
        """Allow relations between rows of the replica and of the primary database."""
        return True if {one._meta.app_label, other._meta.app_label} <= SEPARATE else None
