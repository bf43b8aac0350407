"""Functions that ``ASYNC_DOWNLOADS_MEMBERS`` names in tests."""

from typing import Any

from django.contrib.auth.models import Group

from async_downloads import cache
from async_downloads.models import Download
from async_downloads.owners import resolve
from tests.factories import DownloadCollectionFactory, DownloadFactory

#: The dotted path of the function that most tests use.
GROUPS = f"{__name__}.groups_of"


def groups_of(user: Any) -> Any:
    """Return the groups of a user, by one query."""
    return user.groups.all()


def shared(group: Group, **columns: Any) -> Download:
    """Create a download of a team."""
    owner = resolve(group)
    made: Download = DownloadFactory(
        collection=DownloadCollectionFactory(user=None, label=owner.name), **columns
    )
    return made


def team(name: str, *members: Any) -> Group:
    """Create a group with these members."""
    group = Group.objects.create(name=name)
    group.user_set.add(*members)
    return group


def started(group: Group, filename: str = "orders.csv") -> str:
    """Create a download of a team as a site does, and return its key."""
    return cache.init_download(group, filename)[1]
