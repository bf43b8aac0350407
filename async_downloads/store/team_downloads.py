"""The downloads of teams among those of a person: their versions, and what the person may do.

Each function does for an owner without teams what it would do if there were none.
"""

import uuid

from django.db.models import F, Subquery

from async_downloads.models import Download, DownloadCollection, DownloadQuerySet
from async_downloads.owners import Owner
from async_downloads.store import cache_entries
from async_downloads.store.transactions import database, downloads

__all__ = [
    "collection_keys",
    "get_of_teams",
    "get_version",
    "get_version_and_summary",
    "of_teams",
    "with_seen_at",
    "with_teams",
]


def of_teams(owner: Owner) -> DownloadQuerySet:
    """Return the downloads of the owner's teams, without the owner's own."""
    keys = [team.owner.collection_id for team in owner.teams]
    return downloads().filter(collection__in=keys) if keys else downloads().none()


def get_of_teams(owner: Owner, download_key: uuid.UUID) -> Download | None:
    """Return a download of the owner's teams that has not expired; None for any other one."""
    if not owner.teams:
        return None
    rows = of_teams(owner).active().with_database_clock().filter(pk=download_key)
    download = with_teams(owner, list(rows))[:1]
    if not download or cache_entries.is_cleared(download[0].download_key):
        return None
    return download[0]


def with_teams(owner: Owner, rows: list[Download]) -> list[Download]:
    """Return rows that know the team that the owner sees them with, and what the owner may do."""
    if owner.teams:
        teams = {team.owner.collection_id: team for team in owner.teams}
        for row in rows:
            row.team = teams.get(row.collection_id)
            row.read_only = row.team is not None and not owner.may_change_teams
    return rows


def with_seen_at(owner: Owner, rows: DownloadQuerySet) -> DownloadQuerySet:
    """Return rows with ``seen_at``: when their reader last saw the list."""
    if not owner.teams:
        return rows.annotate(seen_at=F("collection__seen_at"))
    # Of each member, not of the team: the others have not seen it.
    own = DownloadCollection.objects.using(database()).filter(pk=owner.collection_id)
    return rows.annotate(seen_at=Subquery(own.values("seen_at")))


def collection_keys(owner: Owner) -> list[str]:
    """Return the keys of the collections that the owner sees, the owner's own first."""
    return [each.collection_key for each in owner.visible]


def get_version_and_summary(owner: Owner) -> tuple[str | None, object]:
    """Return the version token of all that the owner sees, and the summary of some token."""
    if owner.teams:
        return cache_entries.get_joint_version_and_summary(collection_keys(owner))
    return cache_entries.get_version_and_summary(owner.collection_key)


def get_version(owner: Owner) -> str | None:
    """Return the version token of all that the owner sees."""
    if owner.teams:
        return cache_entries.get_joint_version_and_summary(collection_keys(owner))[0]
    return cache_entries.get_version(owner.collection_key)
